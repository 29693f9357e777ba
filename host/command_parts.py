"""What all server commands share: options, settings, and how answers are printed."""

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from heldout.service.settings import Settings, make_embedded_settings
from host.homes import is_of_home, keep_private
from models import logs

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of the embedded service. Default: as the environment says.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")]
MAX_OWNER_CHARACTERS = 128


def check_owner_name(name: str) -> str:
    """Return the name if an owner may have it. Raises typer.BadParameter."""
    if not (name.isprintable() and name.strip() and len(name) <= MAX_OWNER_CHARACTERS):
        raise typer.BadParameter(f"expected 1 to {MAX_OWNER_CHARACTERS} printable characters.")
    return name


def configure_settings(home: Path | None) -> Settings:
    """Send logs to standard error, and return the settings: those of the given home, or else the environment's."""
    settings = Settings() if home is None else make_embedded_settings(home)
    if is_of_home(settings):
        keep_private()
    logs.configure(settings.log_level)
    # Otherwise it would log every check of a database's revision.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return settings


def print_json(answer: dict[str, Any]) -> None:
    """Print an answer as one line on standard output."""
    typer.echo(json.dumps(answer, ensure_ascii=False))


def answer(document: dict[str, Any], text: str, *, as_json: bool, to_stderr: bool = False) -> None:
    """Print an answer as JSON or as text. to_stderr: print the text on standard error, as it is only a notice."""
    if as_json:
        print_json(document)
    else:
        typer.echo(text, err=to_stderr)
