"""What all commands of the server share: the options, the settings and the database they act on, and their answers."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from heldout.service.settings import Settings, make_embedded_settings
from host.homes import refuse_stack, require_file
from models import logs
from models.database import Database
from models.migrations import require_newest

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of the embedded service; without it the environment decides.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
MAX_OWNER_CHARACTERS = 128


def check_owner_name(name: str) -> str:
    """A name that an owner may have. Raises typer.BadParameter."""
    if not (name.isprintable() and name.strip() and len(name) <= MAX_OWNER_CHARACTERS):
        raise typer.BadParameter(f"expected 1 to {MAX_OWNER_CHARACTERS} printable characters.")
    return name


def configure_settings(home: Path | None) -> Settings:
    """Send logs to standard error, since standard output is for answers, and give the settings: the embedded service's
    for a home that was named, else what the environment says.
    """
    settings = Settings() if home is None else make_embedded_settings(home)
    refuse_stack(settings)
    logs.configure(settings.log_level)
    # It would log each look at a database's revision.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return settings


@contextmanager
def open_database(settings: Settings, *, may_make: bool = False) -> Iterator[Database]:
    """The settings' database; closed after the block.

    Args:
        may_make: whatever is there, also nothing; otherwise the tables have to be this release's.
    Raises:
        OperatorError: there is no database yet, or it has tables of another release.
    """
    if not may_make:
        require_file(settings)
    database = Database(settings.database, bounds=settings.quotas)
    try:
        if not may_make:
            require_newest(database)
        yield database
    finally:
        database.dispose()


def print_json(answer: dict[str, Any]) -> None:
    """Print an answer in one line on standard output."""
    typer.echo(json.dumps(answer, ensure_ascii=False))


def answer(document: dict[str, Any], text: str, *, as_json: bool, to_stderr: bool = False) -> None:
    """Print an answer as JSON, or its text where people read it. to_stderr: where the text is no answer but news."""
    if as_json:
        print_json(document)
    else:
        typer.echo(text, err=to_stderr)
