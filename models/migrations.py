"""Runs Alembic's migrations from inside the service."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from models.database import Database, translated

FOLDER = Path(__file__).resolve().parent.parent / "alembic"


def upgrade(database: Database) -> str:
    """Bring the database to the newest revision and give that back. Raises DatabaseUnavailable."""
    config = _config()
    with translated(), database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return newest()


def newest() -> str:
    """The revision that this release needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def current(database: Database) -> str | None:
    """The revision that the database is at; None for an empty one. Raises DatabaseUnavailable."""
    with translated(), database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config
