"""The command that lists who changed what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import AsJson, Home, open_service, print_list
from heldout.cli.figures import format_moment
from heldout.cli.screen import print_table

if TYPE_CHECKING:
    from heldout.views.account import ActivityView


def activity(
    action: Annotated[str | None, typer.Option(help="Only this action, such as submit_job.")] = None,
    key_id: Annotated[str | None, typer.Option("--key", metavar="ID", help="Only changes made with this key.")] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="ID", help="Only changes of this job, dataset or other thing.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List who changed what, newest first. Needs a key of scope admin."""
    with open_service(home) as client:
        found = client.account.activity(action=action, key_id=key_id, subject=subject, page_size=min(limit + 1, 200))
        listed = list(islice(found, limit + 1))
    print_list(listed[:limit], as_json, _show, has_more=len(listed) > limit)


def _show(entries: Sequence[ActivityView]) -> None:
    rows = [
        (format_moment(entry.created_at), entry.action, entry.subject, entry.key_id or "operator", entry.address)
        for entry in entries
    ]
    print_table(("WHEN", "ACTION", "SUBJECT", "KEY", "FROM"), rows)
