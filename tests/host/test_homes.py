"""The database of a home: commands find it, create none, and leave that of another release alone."""

import json
from pathlib import Path

import pytest
from alembic import command as alembic_command
from alembic.config import Config

from models.database import Database
from models.migrations import FOLDER, get_newest, migrating

ROOT = Path(__file__).resolve().parents[2]
SQLITE = "heldout.db"


@pytest.mark.parametrize(
    "words",
    [("up", "--port", "0"), ("migrate",), ("owners", "list"), ("check", "--deep", "--collect"), ("backup", "copy")],
)
def test_a_home_of_an_earlier_releases_stack_is_named_and_left_as_it_is(
    run_on_home, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("18\n")
    before = sorted(tmp_path.rglob("*"))
    status, _, said = run_on_home(tmp_path, *words)
    assert (status, f"{tmp_path / 'postgres'} is a database of `heldout up --stack`" in said) == (1, True), said
    assert sorted(tmp_path.rglob("*")) == before


def test_the_stack_that_is_no_longer_there_names_the_one_that_is(run_on_home, tmp_path: Path) -> None:
    status, _, said = run_on_home(tmp_path, "up", "--stack", "--port", "0")
    assert (status, said.count("\n"), "`docker compose up`" in said) == (1, 1, True), said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("owners", "list"), ("keys", "create", "--owner", "ann"), ("backup",)])
def test_a_command_says_that_there_is_no_database_and_makes_none(
    run_on_home, tmp_path: Path, words: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    status, _, said = run_on_home(home, *words, *([str(tmp_path / "backup")] if words == ("backup",) else []))
    assert (status, f"no database at {home / SQLITE}" in said) == (1, True), said
    assert not (home / SQLITE).exists()


def test_a_check_says_so_too(run_on_home, tmp_path: Path) -> None:
    status, said, _ = run_on_home(tmp_path, "check", "--deep", "--json")
    parts = {part["name"]: part for part in json.loads(said)["parts"]}
    assert (status, parts["database"]["works"], parts["files"]["works"]) == (1, False, False)
    assert "no database at" in parts["database"]["detail"]
    assert not (tmp_path / SQLITE).exists()


@pytest.mark.parametrize("words", [("up",), ("migrate",)])
def test_a_home_that_cannot_be_made_is_named(run_on_home, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    status, _, said = run_on_home(tmp_path / "file" / "home", *words)
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
def test_a_database_of_another_release_is_named_and_left_as_it_is(
    run_on_home, old_home: Path, words: tuple[str, ...]
) -> None:
    folder = old_home / "backup"
    status, _, said = run_on_home(old_home, *words, *([str(folder)] if words == ("backup",) else []))
    assert (status, said.count("\n")) == (1, 1), said
    assert "at revision 0009" in said
    assert not folder.exists()


def test_a_check_says_at_which_revision_the_database_of_another_release_is(run_on_home, old_home: Path) -> None:
    status, said, _ = run_on_home(old_home, "check", "--deep", "--json")
    parts = {part["name"]: part["detail"] for part in json.loads(said)["parts"] if not part["works"]}
    assert (status, set(parts)) == (1, {"database", "datasets", "files"})
    assert f"at revision 0009, but needs {get_newest()}" in parts["database"]
    assert "revision 0009" in parts["files"]
