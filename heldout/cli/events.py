"""The command `heldout events`: what happened to one job, or to all that one has, until now or from now on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli import shown
from heldout.cli.command import AsJson, Home, print_list, service
from heldout.cli.screen import print_json

if TYPE_CHECKING:
    from heldout.client import Client
    from heldout.views.event import EventView, OwnerEventView

    Events = Iterator[EventView] | Iterator[OwnerEventView]


def events(
    job_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A job's id; without it: all that you have.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show what happens from now on, until Ctrl-C or the job's end.")
    ] = False,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Only events with a number above this; with --follow, begin there.", metavar="N"),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List or follow what happens. Of a job, or of all jobs, datasets, studies and models; oldest first."""
    with service(home) as client:
        if not follow:
            print_list(list(_past(client, job_id, after or 0)), as_json, shown.show_events)
        elif as_json:
            for event in _coming(client, job_id, after):
                print_json(event, one_line=True)
        else:
            shown.show_events(_coming(client, job_id, after))


def _past(client: "Client", job_id: str | None, after: int) -> "Events":
    return client.all_events(after=after) if job_id is None else client.events(job_id, after=after)


def _coming(client: "Client", job_id: str | None, after: int | None) -> "Events":
    return client.follow_all_events(after=after) if job_id is None else client.follow_events(job_id, after=after)
