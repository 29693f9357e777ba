"""Which database a home has: commands find that one, make none, and no home gets a second one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command as alembic_command
from alembic.config import Config

from heldout.errors import OperatorError
from host.homes import POSTGRES_FOLDER, database_in
from models.database import Database
from models.migrations import FOLDER, migrating, newest, upgrade

ROOT = Path(__file__).resolve().parents[2]
SQLITE = "heldout.db"


def command(home: Path, *words: str) -> tuple[int, str]:
    """A command of the server: its status, and all that it says. It makes no log-in link and trains nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "api", *words, "--home", str(home)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("HELDOUT_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def put_sqlite(home: Path) -> None:
    database = Database(f"sqlite:///{home / SQLITE}")
    upgrade(database)
    database.dispose()


def put_postgres(home: Path) -> None:
    (home / POSTGRES_FOLDER / "data").mkdir(parents=True)
    (home / POSTGRES_FOLDER / "data" / "PG_VERSION").write_text("18\n")


def test_a_home_says_which_database_it_has(tmp_path: Path) -> None:
    assert database_in(tmp_path) is None
    put_postgres(tmp_path)
    assert database_in(tmp_path) == "postgresql"
    put_sqlite(tmp_path)
    with pytest.raises(OperatorError, match="two databases"):
        database_in(tmp_path)
    (tmp_path / POSTGRES_FOLDER).rename(tmp_path / "set-aside")
    assert database_in(tmp_path) == "sqlite"


def test_a_service_of_the_other_kind_does_not_start_in_a_home(tmp_path: Path) -> None:
    local, stack = tmp_path / "local", tmp_path / "stack"
    local.mkdir()
    put_sqlite(local)
    put_postgres(stack)
    for home, arguments, of in ((local, ["--stack"], "heldout up"), (stack, [], "heldout up --stack")):
        before = sorted(home.rglob("*"))
        status, said = command(home, "up", "--port", "0", *arguments)
        assert (status, f"is that of `{of}`" in said) == (1, True), said
        assert set(home.rglob("*")) - set(before) <= {home / "lock", home / "logs"}


@pytest.mark.parametrize(
    "words", [("owners", "list"), ("keys", "list"), ("check",), ("check", "--deep", "--collect"), ("backup",)]
)
def test_no_command_guesses_which_of_two_databases_is_meant(tmp_path: Path, words: tuple[str, ...]) -> None:
    home = tmp_path / "home"
    put_postgres(home)
    put_sqlite(home)
    status, said = command(home, *words, *([str(tmp_path / "backup")] if words == ("backup",) else []))
    assert (status, "two databases" in said) == (1, True), said
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("words", [("owners", "list"), ("keys", "create", "--owner", "ann"), ("backup",)])
def test_a_command_says_that_there_is_no_database_and_makes_none(tmp_path: Path, words: tuple[str, ...]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    status, said = command(home, *words, *([str(tmp_path / "backup")] if words == ("backup",) else []))
    assert (status, f"no database at {home / SQLITE}" in said) == (1, True), said
    assert not (home / SQLITE).exists()


def test_a_check_says_so_too(tmp_path: Path) -> None:
    status, said = command(tmp_path, "check", "--deep", "--json")
    parts = {part["name"]: part for part in json.loads(said)["parts"]}
    assert (status, parts["database"]["works"], parts["files"]["works"]) == (1, False, False)
    assert "no database at" in parts["database"]["detail"]
    assert not (tmp_path / SQLITE).exists()


@pytest.mark.parametrize("words", [("up",), ("migrate",)])
def test_a_home_that_cannot_be_made_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    status, said = command(tmp_path / "file" / "home", *words)
    assert (status, said.count("\n")) == (1, 1), said
    assert f"The home {tmp_path / 'file' / 'home'} cannot be made: Not a directory" in said


@pytest.fixture
def old_home(tmp_path: Path) -> Path:
    """A home whose database an earlier release has made."""
    database = Database(f"sqlite:///{tmp_path / SQLITE}")
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    with migrating(database) as connection:
        config.attributes["connection"] = connection
        alembic_command.upgrade(config, "0009")
    database.dispose()
    return tmp_path


@pytest.mark.parametrize(
    "words", [("owners", "list"), ("keys", "create", "--owner", "ann"), ("keys", "list"), ("backup",)]
)
def test_a_database_of_another_release_is_named_and_left_as_it_is(old_home: Path, words: tuple[str, ...]) -> None:
    folder = old_home / "backup"
    status, said = command(old_home, *words, *([str(folder)] if words == ("backup",) else []))
    assert (status, said.count("\n")) == (1, 1), said
    assert "at revision 0009" in said
    assert not folder.exists()


def test_a_check_says_at_which_revision_the_database_of_another_release_is(old_home: Path) -> None:
    status, said = command(old_home, "check", "--deep", "--json")
    parts = {part["name"]: part["detail"] for part in json.loads(said)["parts"] if not part["works"]}
    assert (status, set(parts)) == (1, {"database", "datasets", "files"})
    assert f"at revision 0009, needed is {newest()}" in parts["database"]
    assert "revision 0009" in parts["files"]
