"""`heldout owners`: shows and limits what owners use, and suspends them. Works directly on the database."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.scheduling.fair_share import MAX_WEIGHT, MIN_WEIGHT
from heldout.access.rights import Quota
from heldout.errors import OperatorError, StudyFinished, StudyNotFound
from host.command_parts import AsJson, HomeOption, answer, check_owner_name, configure_settings, print_json
from host.homes import open_database
from models.database import Database, Session
from models.store import activity, owners, studies, study_jobs
from models.store.owners import Owner

owners_commands = typer.Typer(
    no_args_is_help=True, help="Show what owners use, limit, suspend and resume them, or cancel all their work."
)

OwnerName = Annotated[
    str,
    typer.Argument(callback=check_owner_name, metavar="NAME", help="As `owners list` shows it.", show_default=False),
]
MAX_BOUND = 2**53
_CHANGE = re.compile(r"([a-z_]+)=(\d{1,16}|none|default)")


@owners_commands.command("list")
def list_owners(as_json: AsJson = False, home: HomeOption = None) -> None:
    """List owners: weight, recent use, waiting and running jobs, and whether they are suspended."""
    with open_database(configure_settings(home)) as database, database.read() as session:
        found = owners.list_owners(session)
    if as_json:
        print_json({"object": "list", "data": [_dump_owner(found_owner) for found_owner in found], "has_more": False})
        return
    for found_owner in found:
        state = _describe_state(found_owner)
        typer.echo(
            f"{found_owner.name}  weight {found_owner.weight:g}  used recently {found_owner.used_slot_s:,.0f} "
            f"slot-seconds  {found_owner.queued} waiting  {found_owner.running} running{f'  {state}' if state else ''}"
        )


@owners_commands.command("show")
def show_owner(name: OwnerName, as_json: AsJson = False, home: HomeOption = None) -> None:
    """Show an owner and all quotas: how much is used, and how much is allowed."""
    settings = configure_settings(home)
    with open_database(settings) as database, database.read() as session:
        owner = _get_known_owner(session, name)
        quotas = owners.list_quotas(session, name)
    if as_json:
        print_json({**_dump_owner(owner), "quotas": [quota.model_dump(mode="json") for quota in quotas]})
        return
    typer.echo(
        f"{owner.name}: weight {owner.weight:g}{f', {_describe_state(owner)}' if _describe_state(owner) else ''}"
    )
    typer.echo(f"  used recently: {owner.used_slot_s:,.0f} slot-seconds")
    for quota in quotas:
        allowed = "unlimited" if quota.allowed is None else f"{quota.allowed:,}"
        own = " (own)" if quota.quota in owner.own_quotas else ""
        typer.echo(f"  {quota.quota.value}: {quota.used:,.0f} of {allowed}{own} - {quota.quota.meaning}")


@owners_commands.command("limit")
def limit_owner(
    name: OwnerName,
    weight: Annotated[
        float | None,
        typer.Option(min=MIN_WEIGHT, max=MAX_WEIGHT, help="Share of the slots. The default is 1; 2 is twice as many."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="QUOTA=N",
            help="Set a quota to a number, to `none` (unlimited) or to `default` (the setting's value). Repeatable.",
        ),
    ] = None,
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Change an owner's weight and quotas, starting with the next job and request."""
    changes = dict(_parse_change(setting) for setting in set_ or ())
    if weight is None and not changes:
        raise typer.BadParameter("give --weight, or --set QUOTA=N.")
    with _change(name, "limit", home) as session:
        owners.limit(session, name, weight=weight, changes=changes)
    _print_owner(name, "limited", as_json, home)


@owners_commands.command("suspend")
def suspend_owner(name: OwnerName, as_json: AsJson = False, home: HomeOption = None) -> None:
    """Accept nothing new from an owner, and start none of its jobs. Running jobs continue until `cancel-all`."""
    with _change(name, "suspend", home) as session:
        owners.suspend(session, name)
    _print_owner(name, "suspended", as_json, home)


@owners_commands.command("resume")
def resume_owner(name: OwnerName, as_json: AsJson = False, home: HomeOption = None) -> None:
    """Let a suspended owner continue."""
    with _change(name, "resume", home) as session:
        if not owners.resume(session, name):
            raise OperatorError(f"{name} is not suspended.")
    _print_owner(name, "no longer suspended", as_json, home)


@owners_commands.command("cancel-all")
def cancel_all(name: OwnerName, as_json: AsJson = False, home: HomeOption = None) -> None:
    """Cancel all studies and jobs of an owner, including uploads that are being checked."""
    with open_database(configure_settings(home)) as database:
        with database.write() as session:
            _get_known_owner(session, name)
            activity.add(session, name, "owners cancel-all")
        studies, jobs = _cancel_studies(database, name), _cancel_jobs(database, name)
    answer(
        {"object": "owner", "name": name, "studies_cancelled": studies, "jobs_cancelled": jobs},
        f"Cancelled {jobs} jobs and {studies} studies of {name}.",
        as_json=as_json,
        to_stderr=True,
    )


def _cancel_studies(database: Database, name: str) -> int:
    with database.read() as session:
        ids = studies.list_open(session, owner=name)
    count = 0
    for study_id in ids:
        try:
            with database.write() as session:
                study_jobs.request_cancel(session, name, study_id)
        except (StudyNotFound, StudyFinished):
            continue  # it ended meanwhile
        database.write_in_pieces(partial(study_jobs.cancel_some, study_id))
        count += 1
    return count


def _cancel_jobs(database: Database, name: str) -> int:
    cancelled: list[str] = []

    def cancel_next(session: Session, after: str) -> str | None:
        ids = owners.cancel_some_jobs(session, name, after)
        cancelled.extend(ids)
        return ids[-1] if ids else None

    database.write_in_pieces(cancel_next)
    return len(cancelled)


def _parse_change(text: str) -> tuple[Quota, int | str | None]:
    match = _CHANGE.fullmatch(text)
    if match is None or match[1] not in set(Quota):
        names = ", ".join(Quota)
        raise typer.BadParameter(
            f"received {text!r}; expected QUOTA=N, where N is a number, `none` or `default`, and QUOTA one of {names}."
        )
    quota, value = Quota(match[1]), match[2]
    if value.isdigit():
        if int(value) > MAX_BOUND:
            raise typer.BadParameter(f"received {text!r}; at most {MAX_BOUND}.")
        return quota, int(value)
    return quota, None if value == "none" else value


def _get_known_owner(session: Session, name: str) -> Owner:
    owner = owners.find(session, name)
    if owner is None:
        raise OperatorError(f"There is no owner {name!r}. `heldout owners list` shows all owners with a key or jobs.")
    return owner


@contextmanager
def _change(name: str, action: str, home: Path | None) -> Iterator[Session]:
    """Yield a session to change a known owner, and note the change in the activity log."""
    with open_database(configure_settings(home)) as database, database.write() as session:
        _get_known_owner(session, name)
        yield session
        activity.add(session, name, f"owners {action}")


def _print_owner(name: str, what: str, as_json: bool, home: Path | None) -> None:
    with open_database(configure_settings(home)) as database, database.read() as session:
        owner = _get_known_owner(session, name)
    answer(_dump_owner(owner), f"{name} is {what}.", as_json=as_json, to_stderr=True)


def _describe_state(owner: Owner) -> str:
    if owner.suspended_at is not None:
        return f"suspended since {owner.suspended_at:%Y-%m-%d %H:%M}"
    return "" if owner.held_until is None else f"slot-seconds used up, held until {owner.held_until:%Y-%m-%d %H:%M}"


def _dump_owner(owner: Owner) -> dict[str, Any]:
    moments = {"suspended_at": owner.suspended_at, "held_until": owner.held_until}
    return {
        "object": "owner",
        "name": owner.name,
        "weight": owner.weight,
        "used_slot_seconds": owner.used_slot_s,
        "queued": owner.queued,
        "running": owner.running,
        **{field: None if moment is None else moment.isoformat() for field, moment in moments.items()},
        "own_quotas": dict(owner.own_quotas),
    }
