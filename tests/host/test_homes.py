"""Commands find the database of a home, create none, and leave that of another release unchanged."""

import json
from pathlib import Path

import pytest
from alembic import command as alembic_command
from alembic.config import Config

from models.database import Database
from models.migrations import FOLDER, get_newest, migrating

ROOT = Path(__file__).resolve().parents[2]
SQLITE = "heldout.db"


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
