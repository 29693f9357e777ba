"""Commands about jobs: list them, show one and its events, cancel, pause, resume, retry, change and delete it."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heldout.cli import shown
from heldout.cli.command import JobId, Service
from heldout.cli.outcome import Refused
from heldout.cli.references import DATASET, JOB, STUDY, Names
from heldout.cli.screen import print_blocks, print_json, say

if TYPE_CHECKING:
    from heldout.views.job import JobView


def jobs(
    service: Service,
    statuses: Annotated[list[str] | None, typer.Option("--status", help="Only of this status. Repeatable.")] = None,
    dataset: Annotated[str | None, Names(DATASET), typer.Option(help="Only jobs on this dataset.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only jobs with this pair. Repeatable.")
    ] = None,
    study: Annotated[
        str | None,
        Names(STUDY, is_file=lambda text: text == "none"),
        typer.Option(metavar="STUDY", help="Only the trainings of this study; none: only jobs of no study."),
    ] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only jobs with this text in their name.")] = None,
    sort: Annotated[
        Literal["created", "name", "best", "gap"],
        typer.Option(help="Newest, by name, highest validation accuracy, or widest gap first."),
    ] = "created",
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
) -> None:
    """List jobs, newest first or sorted."""
    found = service.client.jobs.list(
        statuses=statuses or (),
        dataset=dataset,
        metadata=_parse_pairs(metadata),
        study=study,
        search=search,
        sort=sort,
        page_size=min(limit + 1, 200),
    )
    service.print_list(found, shown.show_jobs, limit=limit)


def show(
    service: Service,
    job_id: JobId,
    spec: Annotated[bool, typer.Option("--spec", help="Print its complete spec, ready to send again.")] = False,
) -> None:
    """Show a job."""
    client = service.client
    job = client.jobs.get(job_id).view
    if spec or service.as_json:
        print_json(job.spec if spec else job)
    else:
        final = client.jobs.metrics(job_id).final
        from heldout.documents.job import build_job  # slow to load

        print_blocks(build_job(job, final, None if final is None else client.jobs.diagnosis(job_id)))


def metrics(
    service: Service,
    job_id: JobId,
    format_: Annotated[
        Literal["keras", "csv"] | None,
        typer.Option("--format", help="Print the curves as Keras' History, or as the table of its CSVLogger."),
    ] = None,
) -> None:
    """Show a job's figures, epoch by epoch and at the end."""
    if format_ == "csv" and service.as_json:
        raise Refused("--json and --format csv would mix on standard output.")
    found = service.client.jobs.metrics(job_id)
    if format_ is not None:
        from heldout.integrations import keras_history  # loads views, which `--help` does not need

        if format_ == "keras":
            print_json(keras_history.build_keras_history(found), one_line=True)
        else:
            sys.stdout.write(keras_history.write_csv(found))
        return
    service.print(found, shown.show_metrics)


def events(
    service: Service,
    job_id: Annotated[
        str | None,
        Names(JOB),
        typer.Argument(metavar="[JOB]", help="Only events of this job, instead of all your events."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show new events until Ctrl-C or the job's end.")
    ] = False,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Only events with a number above this; with --follow, start there.", metavar="N"),
    ] = None,
) -> None:
    """List or follow events, oldest first. Without a job: those of all jobs, datasets, studies and models."""
    client = service.client
    if not follow:
        past = client.events.list if job_id is None else partial(client.jobs.events, job_id)
        service.print_list(past(after=after or 0), shown.show_events)
        return
    coming = client.events.follow if job_id is None else partial(client.jobs.follow_events, job_id)
    if not service.as_json:
        shown.show_events(coming(after=after))
        return
    for event in coming(after=after):
        print_json(event, one_line=True)


def queue(service: Service, job_id: JobId) -> None:
    """Show where a job stands in the queue."""
    service.print(service.client.jobs.queue(job_id), shown.show_queue)


def cancel(service: Service, job_id: JobId) -> None:
    """Cancel a job; its complete epochs are kept."""
    service.print(service.client.jobs.cancel(job_id).view, _say_status)


def pause(service: Service, job_id: JobId) -> None:
    """Pause a job; it can continue later from where it was."""
    service.print(service.client.jobs.pause(job_id).view, _say_status)


def resume(service: Service, job_id: JobId) -> None:
    """Queue a paused job again."""
    service.print(service.client.jobs.resume(job_id).view, _say_status)


def retry(
    service: Service,
    job_id: JobId,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Continue from its last state, up to this many epochs in total.")
    ] = None,
    remedy: Annotated[str | None, typer.Option(help="Apply this remedy, such as dropout.")] = None,
) -> None:
    """Train an ended job again. Queue a new job with its spec, and print the new id."""
    service.print_id(service.client.jobs.retry(job_id, epochs=epochs, remedy=remedy).view)


def change(
    service: Service,
    job_id: JobId,
    priority: Annotated[int | None, typer.Option(help="-100 to 100; higher starts first.")] = None,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Set one of its pairs. Repeatable.")
    ] = None,
    remove_metadata: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Remove a pair. Repeatable.")] = None,
) -> None:
    """Change a job's name, metadata or priority. The priority can change only while the job is queued."""
    pairs = {**_parse_pairs(metadata), **dict.fromkeys(remove_metadata or ())} or None
    if priority is None and name is None and pairs is None:
        raise Refused("Nothing to change: give --priority, --name, --metadata or --remove-metadata.")
    service.print(service.client.jobs.update(job_id, priority=priority, name=name, metadata=pairs).view, _say_status)


def delete(service: Service, job_id: JobId) -> None:
    """Delete a job that has ended, with its model."""
    service.client.jobs.delete(job_id)
    service.print_deleted("job", job_id)


def _say_status(job: JobView) -> None:
    say(f"{job.id} {job.status}")


def _parse_pairs(pairs: list[str] | None) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs or ()]
    for key, separator, _ in split:
        if not separator:
            raise Refused(f"--metadata {key}: expected KEY=VALUE")
    return {key: value for key, _, value in split}
