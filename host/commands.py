"""The server's own commands: migrate, keys, check, backup and restore.

`python -m api` adds the commands that serve HTTP, and runs them all.
"""

import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from heldout.access.rights import SCOPES, Scope
from heldout.errors import DatabaseUnavailable, HeldoutError, OperatorError, StorageUnavailable
from host.backup import back_up
from host.check import report
from host.command_parts import AsJson, HomeOption, answer, check_owner_name, configure_settings, print_json
from host.homes import make_home, open_database
from host.restore import restore as fill
from models import pretrained
from models.blobs import Blobs
from models.bundled import register
from models.migrations import upgrade
from models.store import activity, keys
from models.tables import KeyRow

# How many of the files that a backup lacks are named.
SHOWN_MISSING = 5

commands = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys_commands = typer.Typer(no_args_is_help=True, help="Make, roll, list and revoke API keys.")
commands.add_typer(keys_commands, name="keys")


@commands.command()
def migrate(as_json: AsJson = False, home: HomeOption = None) -> None:
    """Update the database to this release, and add bundled datasets and pretrained weights."""
    settings = configure_settings(home)
    make_home(settings.home_path)
    with open_database(settings, may_make=True) as database:
        revision = upgrade(database)
        added = register(database, Blobs(settings.blobs_url), settings.datasets)
        pretrained.register_chosen(database, Blobs(settings.blobs_url), settings.pretrained)
    answer(
        {"object": "migration", "revision": revision, "datasets_added": sorted(added)},
        f"The database is at revision {revision}. Datasets added: {', '.join(added) or 'none'}.",
        as_json=as_json,
        to_stderr=True,
    )


def _parse_scopes(names: list[str] | None) -> tuple[Scope, ...]:
    unknown = [name for name in names or () if name not in SCOPES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not a scope. Use {', '.join(SCOPES)}.", param_hint="--scope")
    return tuple(scope for scope in SCOPES if not names or scope in names)


@keys_commands.command("create")
def create_key(
    owner: Annotated[
        str,
        typer.Option(callback=check_owner_name, metavar="NAME", help="The owner whose data the key gives access to."),
    ],
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What the key may do: read, write, admin. Repeatable. Default: all."),
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="Days until the key expires. Default: never.")] = None,
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Make a key and print it on standard output. It is never shown again."""
    wanted = _parse_scopes(scopes)
    with open_database(configure_settings(home)) as database, database.write() as session:
        expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
        key = keys.make(session, owner, scopes=wanted, expires_at=expires_at)
        shown = _dump_key(keys.get_row(session, key))
        activity.add(session, owner, "keys create", subject=shown["id"])
    answer({**shown, "key": key}, key, as_json=as_json)


@keys_commands.command("roll")
def roll_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.", show_default=False)],
    overlap_h: Annotated[float, typer.Option("--overlap", min=0, help="Hours for which the old key still works.")] = 24,
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Replace a key: make a new one and print it. The old key still works for a while."""
    with open_database(configure_settings(home)) as database, database.write() as session:
        owner = keys.get_owner(session, key_id)
        key = keys.roll(session, owner, key_id, overlap_s=3600 * overlap_h)
        shown = _dump_key(keys.get_row(session, key))
        activity.add(session, owner, "keys roll", subject=key_id)
    answer({**shown, "key": key}, key, as_json=as_json)


@keys_commands.command("list")
def list_keys(as_json: AsJson = False, home: HomeOption = None) -> None:
    """List all keys: id, owner, creation time, state, scopes and last use."""
    with open_database(configure_settings(home)) as database, database.read() as session:
        rows = keys.list_all(session)
    if as_json:
        print_json({"object": "list", "data": [_dump_key(row) for row in rows], "has_more": False})
        return
    for row in rows:
        state = f"revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else "active"
        if row.revoked_at is None and row.expires_at is not None:
            state = f"expires {row.expires_at:%Y-%m-%d %H:%M}"
        used = f"used {row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never used"
        made = f"{row.created_at:%Y-%m-%d %H:%M}"
        typer.echo(f"{row.id}  {row.owner}  {made}  {state}  {','.join(row.scopes)}  {used}")


@keys_commands.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.", show_default=False)],
    with_made: Annotated[
        bool, typer.Option("--with-made", help="Also revoke the keys that it made, and disable their webhooks.")
    ] = False,
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Revoke a key. It stops working immediately."""
    with open_database(configure_settings(home)) as database, database.write() as session:
        if not keys.revoke(session, key_id, with_made=with_made):
            raise OperatorError(f"No active key has the id {key_id!r}. `heldout keys list` shows them.")
        activity.add(session, keys.get_owner(session, key_id), "keys revoke", subject=key_id)
    answer(
        {"id": key_id, "object": "key", "revoked": True}, f"Key {key_id} is revoked.", as_json=as_json, to_stderr=True
    )


@commands.command()
def check(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read every stored file, and fix the bundled datasets.")
    ] = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="With --deep: delete the files that belong to nothing.")
    ] = False,
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Report what works and what is wrong: settings, database, broker, blobs, datasets, TensorFlow and GPU."""
    if collect and not deep:
        raise typer.BadParameter("--collect needs --deep, which compares rows with files to find what to delete.")
    works = report(configure_settings(home), typer.echo, as_json=as_json, deep=deep, collect=collect)
    raise typer.Exit(0 if works else 1)


@commands.command()
def backup(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to write; must not exist.", show_default=False)
    ],
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Back up the database and its files into a new folder. The service keeps running."""
    about = back_up(configure_settings(home), folder.absolute())
    if as_json:
        print_json({"object": "backup", "folder": str(folder.absolute()), **asdict(about)})
        return
    typer.echo(
        f"Backed up to {folder}: {about.database} of {about.made_at}, {about.files:,} files, {about.bytes:,} bytes."
    )
    if about.missing:
        typer.echo(
            f"{len(about.missing):,} files that it names were missing: {', '.join(about.missing[:SHOWN_MISSING])}"
            f"{', …' if len(about.missing) > SHOWN_MISSING else ''}. They may have been deleted during the backup. If "
            "not, `heldout check --deep` says what they are.",
            err=True,
        )


@commands.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder made by `backup`.", show_default=False)],
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Restore a backup into an empty database and a blob store. No service may be using them."""
    about = fill(configure_settings(home), folder.absolute())
    answer(
        {"object": "restored_backup", "folder": str(folder.absolute()), **asdict(about)},
        f"Restored the {about.database} backup of {about.made_at}: {about.files:,} files.",
        as_json=as_json,
    )


def _dump_key(key: KeyRow) -> dict[str, Any]:
    revoked_at = None if key.revoked_at is None else key.revoked_at.isoformat()
    return {
        "id": key.id,
        "object": "key",
        "owner": key.owner,
        "scopes": key.scopes,
        "made_by": key.made_by,
        "created_at": key.created_at.isoformat(),
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
        "last_used_at": None if key.last_used_at is None else key.last_used_at.isoformat(),
        "revoked_at": revoked_at,
    }


def main() -> None:
    """Run a command. An expected failure prints one line and exits with a status other than 0."""
    try:
        commands(prog_name="heldout")  # users started `heldout`, which has become this program
    except DatabaseUnavailable:
        message = "The database does not answer or has no tables. Check its URL and password, then `heldout migrate`."
    except StorageUnavailable:
        message = "The blob store does not answer or cannot be written. Check HELDOUT_BLOBS and the disk."
    except HeldoutError as error:
        message = error.detail
    except ValueError as error:  # settings: pydantic's ValidationError is one
        from heldout.service.start import describe_error

        message = describe_error(error)
    else:
        return
    print(f"heldout: {message}", file=sys.stderr)
    sys.exit(1)
