"""`heldout train` and `heldout watch`: submit a job, and follow it until it ends."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.cli import shown
from heldout.cli.command import AsJson, Home, JobId, service
from heldout.cli.follow import follow
from heldout.cli.outcome import Exit, Refused, exit_of_job
from heldout.cli.progress import JsonLines, display
from heldout.cli.screen import print_json, say
from heldout.cli.spec_files import parse, read_spec
from heldout.failures import NoService

if TYPE_CHECKING:
    from heldout.client import Client
    from heldout.views.job import JobView

SpecFile = Annotated[
    str | None, typer.Argument(metavar="SPEC.json", help="The job spec; - reads standard input.", show_default=False)
]


def train(
    spec: SpecFile = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="JOB", help="Take the spec of this job that has ended.")
    ] = None,
    remedy: Annotated[str | None, typer.Option(help="With --from: with this remedy, such as dropout.")] = None,
    patch: Annotated[
        str | None, typer.Option(metavar="JSON", help="With --from: with this merge patch of its spec (RFC 7396).")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change the spec, such as training.epochs=3. Repeatable."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name the job.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "--no-wait", help="Queue the job, print its id, end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what the job would cost; queue nothing.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key queues the job once, however often it is sent.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> Exit | None:
    """Queue a training job and watch it until it ends."""
    if (spec is None) == (source is None):
        raise Refused("Give a spec's file, or a job to take it from: --from JOB.")
    if remedy is not None and source is None:
        raise Refused("--remedy changes the spec of a job that has ended: name the job by --from.")
    if patch is not None and (source is None or remedy is not None):
        raise Refused("--patch changes the spec of a job that has ended: name the job by --from, and no --remedy.")
    with service(home) as client:
        if source is not None:
            changes = {"set": settings, "name": name, "dry-run": dry_run or None}
            given = [f"--{option}" for option, value in changes.items() if value]
            if given:
                raise Refused(f"{given[0]} changes a spec's file. Write one by `heldout show --spec {source}`.")
            job = client.retry(source, remedy=remedy, patch=_patch(patch), idempotency_key=idempotency_key)
            return _queued(client, job, detach, as_json)
        body = read_spec(spec or "", settings or ())
        if name is not None:
            body["name"] = name
        if dry_run:
            estimate = client.estimate(body)
            print_json(estimate) if as_json else shown.show_estimate(estimate)
            return None
        return _queued(client, _submit(client, body, idempotency_key), detach, as_json)


def _patch(text: str | None) -> dict[str, Any] | None:
    patch = None if text is None else parse(text, "--patch")
    if patch is not None and not isinstance(patch, dict):
        raise Refused(f"--patch {text}: expected a JSON object.")
    return patch


def _queued(client: "Client", job: "JobView", detach: bool, as_json: bool) -> Exit | None:
    if job.spec.resources.required_gpus and job.status == "queued":
        say(
            f"{job.id} asks for a GPU. It waits until a worker that has one takes it: `heldout queue {job.id}` shows "
            "its place. With `--set resources.device=auto` it runs on whatever there is.",
            file=sys.stderr,
        )
    if not detach:
        return _watch(client, job.id, as_json)
    print_json(job) if as_json else say(job.id)
    return None


def watch(job_id: JobId, as_json: AsJson = False, home: Home = None) -> Exit:
    """Show a job's progress until it ends."""
    with service(home) as client:
        return _watch(client, job_id, as_json)


def _submit(client: "Client", body: dict[str, Any], idempotency_key: str | None) -> "JobView":
    try:
        return client.submit(body, idempotency_key=idempotency_key)
    except ValueError as error:
        raise Refused(f"--idempotency-key: {error}") from None


def _watch(client: "Client", job_id: str, as_json: bool) -> Exit:
    try:
        job = follow(client, job_id, JsonLines() if as_json else display())
        final = client.metrics(job_id).final
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # below the ^C
        say(f"The job goes on. `heldout watch {job_id}` shows it again.", file=sys.stderr)
        return Exit.INTERRUPTED
    except NoService as failure:
        raise NoService(f"{failure} The job may go on; `heldout watch {job_id}` shows it again.") from None
    print_json(job, one_line=True) if as_json else shown.show_outcome(job, final)
    return exit_of_job(job.status)
