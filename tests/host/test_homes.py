"""Commands find the database of a home, create none, and leave that of another release unchanged."""

import json
import os
from pathlib import Path

import pytest
from alembic import command as alembic_command
from alembic.config import Config

from heldout.errors import OperatorError
from host.homes import lock_home, move_into_file
from models.blobs import Blobs
from models.database import Database
from models.migrations import FOLDER, get_newest, migrating, upgrade
from models.store import keys

ROOT = Path(__file__).resolve().parents[2]
SQLITE = "heldout.db"


@pytest.mark.parametrize(
    "words",
    [("up", "--port", "0"), ("migrate",), ("owners", "list"), ("check", "--deep", "--collect"), ("backup", "copy")],
)
def test_the_home_of_an_earlier_releases_stack_is_named_and_left_unchanged(
    run_on_home, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("18\n")
    before = sorted(tmp_path.rglob("*"))
    status, _, output = run_on_home(tmp_path, *words)
    assert (status, f"{tmp_path / 'postgres'} is a database of `heldout up --stack`" in output) == (1, True), output
    assert sorted(tmp_path.rglob("*")) == before


def test_the_removed_stack_option_names_its_replacement(run_on_home, tmp_path: Path) -> None:
    status, _, output = run_on_home(tmp_path, "up", "--stack", "--port", "0")
    assert (status, output.count("\n"), "`docker compose up`" in output) == (1, 1, True), output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("owners", "list"), ("keys", "create", "--owner", "ann"), ("backup",)])
def test_commands_report_a_missing_database_and_create_none(
    run_on_home, tmp_path: Path, words: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    status, _, output = run_on_home(home, *words, *([str(tmp_path / "backup")] if words == ("backup",) else []))
    assert (status, f"no database at {home / SQLITE}" in output) == (1, True), output
    assert not (home / SQLITE).exists()


def test_check_reports_a_missing_database_too(run_on_home, tmp_path: Path) -> None:
    status, output, _ = run_on_home(tmp_path, "check", "--deep", "--json")
    parts = {part["name"]: part for part in json.loads(output)["parts"]}
    assert (status, parts["database"]["works"], parts["files"]["works"]) == (1, False, False)
    assert "no database at" in parts["database"]["detail"]
    assert not (tmp_path / SQLITE).exists()


@pytest.mark.parametrize("words", [("up",), ("migrate",)])
def test_a_home_that_cannot_be_created_is_named(run_on_home, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    status, _, output = run_on_home(tmp_path / "file" / "home", *words)
    assert (status, output.count("\n")) == (1, 1), output
    assert f"The home {tmp_path / 'file' / 'home'} cannot be made: Not a directory" in output


def test_studies_that_an_earlier_release_kept_in_a_folder_move_into_one_file_once(tmp_path: Path) -> None:
    old, file = tmp_path / "heldout-runs" / "service", tmp_path / "heldout-studies.sqlite"
    key, answers = "jobs/run_1/told/0/answers.npz", os.urandom(2_500_000)
    (old / "blobs").mkdir(parents=True)
    database = Database(f"sqlite:///{old / SQLITE}")  # stays open: what a killed service wrote counts, too
    upgrade(database)
    with database.write() as session:
        made = keys.make(session, "ann")
    Blobs((old / "blobs").as_uri()).put(key, answers)
    with lock_home(old), pytest.raises(OperatorError, match="already runs"):
        move_into_file(file)
    assert not file.exists()
    move_into_file(file)
    moved, blobs = Database(f"sqlite:///{file}"), Blobs(f"sqlite:///{file}")
    with moved.read() as session:
        assert keys.find_caller(session, made) is not None
    assert blobs.read(key) == answers
    blobs.put(key, b"later")
    move_into_file(file)
    assert blobs.read(key) == b"later"
    for opened in (database, moved):
        opened.dispose()
    assert {path.name for path in tmp_path.iterdir()} == {"heldout-runs", file.name}


@pytest.fixture
def old_home(tmp_path: Path) -> Path:
    """Return a home whose database was made by an earlier release."""
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
def test_a_database_of_another_release_is_named_and_left_unchanged(
    run_on_home, old_home: Path, words: tuple[str, ...]
) -> None:
    folder = old_home / "backup"
    status, _, output = run_on_home(old_home, *words, *([str(folder)] if words == ("backup",) else []))
    assert (status, output.count("\n")) == (1, 1), output
    assert "at revision 0009" in output
    assert not folder.exists()


def test_check_reports_the_revision_of_another_releases_database(run_on_home, old_home: Path) -> None:
    status, output, _ = run_on_home(old_home, "check", "--deep", "--json")
    parts = {part["name"]: part["detail"] for part in json.loads(output)["parts"] if not part["works"]}
    assert (status, set(parts)) == (1, {"database", "datasets", "files"})
    assert f"at revision 0009, but needs {get_newest()}" in parts["database"]
    assert "revision 0009" in parts["files"]
