"""`heldout train` and `heldout watch`: submit a job, follow it until it ends, and suggest next steps."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.cli import shown
from heldout.cli.command import JobId, Service, complete, explain_interrupt
from heldout.cli.figures import format_points
from heldout.cli.outcome import Exit, Refused, exit_of_job
from heldout.cli.progress import JsonLines, display, follow
from heldout.cli.references import DATASET, JOB, MODEL, Names, may_be_path
from heldout.cli.screen import print_blocks, print_json, print_table, say, say_prose
from heldout.cli.spec_files import Preset, apply_settings, drop_example_name, get_spec, parse, read_spec
from heldout.client.failures import ApiProblem, ModelRejected
from heldout.spec.documents import make_patch, merge
from heldout.words import format_loss, format_range, percent

if TYPE_CHECKING:
    from heldout.client.client import Client
    from heldout.stored.results import FinalView
    from heldout.views.job import JobView

COMPARED = ("SPLIT", "BEFORE", "NOW", "POINTS", "LOSS BEFORE", "NOW")
SpecFile = Annotated[
    str | None, typer.Argument(metavar="SPEC.json", help="The job spec; - reads standard input.", show_default=False)
]


def train(
    service: Service,
    spec: SpecFile = None,
    preset: Annotated[
        Preset | None,
        typer.Option(help="Start from this preset instead of a file; --set changes it.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        Names(MODEL, is_file=may_be_path),
        typer.Option(
            metavar="FILE|MODEL",
            help="Train this Keras network: a .keras file, the .json of its architecture, or an uploaded model.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, Names(DATASET), typer.Option(metavar="DATASET", help="Train on this dataset instead of the spec's.")
    ] = None,
    source: Annotated[
        str | None,
        Names(JOB),
        typer.Option(
            "--from", metavar="JOB", help="Take the spec of this job that has ended.", autocompletion=complete(JOB)
        ),
    ] = None,
    remedy: Annotated[str | None, typer.Option(help="With --from: apply this remedy, such as dropout.")] = None,
    patch: Annotated[
        str | None, typer.Option(metavar="JSON", help="With --from: apply this merge patch of its spec (RFC 7396).")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change the spec, such as training.epochs=3. Repeatable."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name the job.")] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "--no-wait", help="Queue the job, print its id, and end.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what the job would cost; queue nothing.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Requests with the same key queue the job only once.")
    ] = None,
) -> Exit | None:
    """Queue a training job and watch it until it ends."""
    if [spec, preset, model, source].count(None) != 3:
        raise Refused(
            "Give one of: a spec's file; --preset overfit, regularized, augmented, resnet20 or photos; --model FILE, a "
            "Keras network; --from JOB, a job that has ended."
        )
    if model is not None and dataset is None:
        raise Refused(f"--model {model} needs --dataset: what it is trained on.")
    if source is None and (remedy is not None or patch is not None):
        option = "--remedy" if remedy is not None else "--patch"
        raise Refused(f"{option} changes the spec of a job that has ended: name the job by --from.")
    named = {"dataset": dataset, "name": name}
    changes = [*(f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None), *(settings or ())]
    if remedy is not None and (patch is not None or changes or dry_run):
        raise Refused(
            f"--remedy {remedy} is the only change: it cannot be combined with --patch, --set, --name, --dataset or "
            "--dry-run."
        )
    if patch is not None and changes:
        raise Refused("--patch is the whole change: put what --set, --name and --dataset would change into it.")
    from heldout.client.resource import make_idempotency_header

    client = service.client
    try:
        make_idempotency_header(idempotency_key)
    except ValueError as error:
        raise Refused(f"--idempotency-key: {error}") from None
    if source is None:
        if model is not None:
            body = _describe_own_network(client, model)
        else:
            body = read_spec(spec) if spec is not None else get_spec(preset or Preset.OVERFIT)
        body = apply_settings(body, changes)
        if name is None:
            body = drop_example_name(body)
        if dry_run:
            service.print(client.jobs.estimate(body), shown.show_estimate)
            return None
        job = _create(client, body, idempotency_key)
        return _report_queued(service, job, detach)
    change = None if patch is None else parse(patch, "--patch")
    if change is not None and not isinstance(change, dict):
        raise Refused(f"--patch {patch}: expected a JSON object.")
    if changes or dry_run:
        before = client.jobs.get(source).view.spec.model_dump(mode="json")
        after = apply_settings(merge(before, change or {}), changes)
        if dry_run:
            service.print(client.jobs.estimate(after), shown.show_estimate)
            return None
        change = make_patch(before, after)
    job = client.jobs.retry(source, remedy=remedy, patch=change, idempotency_key=idempotency_key).view
    return _report_queued(service, job, detach)


def _create(client: Client, body: dict[str, Any], idempotency_key: str | None) -> JobView:
    """Queue the job. If it begins with a network that the service still prepares, wait for that first."""
    try:
        return client.jobs.create(body, idempotency_key=idempotency_key).view
    except ApiProblem as problem:
        if problem.code != "model_unavailable":
            raise
        named = (body["network"].get("backbone") or body["network"])["model"]
        found = client.models.get(named)
        if found.status != "checking":
            raise
    say(f"The service is still preparing {found.name}, once. This can take a minute.", file=sys.stderr)
    found.wait()
    return client.jobs.create(body, idempotency_key=idempotency_key).view


def _describe_own_network(client: Client, model: str) -> dict[str, Any]:
    """Upload the file, unless it is an uploaded model, and return the spec that trains it with fresh weights."""
    try:
        found = client.models.push(model) if may_be_path(model) else client.models.get(model)
    except OSError as error:
        raise Refused(f"--model {model}: {error.strerror or error}") from None
    except ModelRejected as rejected:
        raise Refused(f"--model {rejected}") from None
    return {"network": {"model": found.id}}


def _report_queued(service: Service, job: JobView, detach: bool) -> Exit | None:
    if not detach:
        return watch(service, job.id)
    for event in service.client.jobs.events(job.id):  # a user who watches sees them among the others
        if event.level != "info":
            say(f"{event.message} `heldout queue {job.id}` shows where it waits.", file=sys.stderr)
    service.print_id(job)
    return None


def watch(service: Service, job_id: JobId) -> Exit:
    """Show a job's progress until it ends."""
    client = service.client
    with explain_interrupt("The job", f"`heldout watch {job_id}` shows it again."):
        job = follow(client, job_id, JsonLines() if service.as_json else display())
        final = client.jobs.metrics(job_id).final
    if service.as_json:
        print_json(job, one_line=True)
    else:
        from heldout.documents.job import build_outcome  # slow to load

        print_blocks(build_outcome(job, final))
        show_next_steps(client, job, final)
    return exit_of_job(job.status)


def show_next_steps(client: Client, job: JobView, final: FinalView | None) -> None:
    """Print how an ended job compares with the job that it was made from, and the next commands."""
    if final is None:
        return
    say("")
    compared = _find_parent_job(client, job)
    if compared is not None:
        show_comparison(*compared, final)
    say(f"`heldout diagnose {job.id}` says why this job is worse on unseen images, and what to try.")


def show_comparison(before: JobView, figures: FinalView, final: FinalView) -> None:
    """Print held-out figures of both, and how far to trust them."""
    say(f"Compared with {before.id} ({before.name}), from which it was made:")
    pairs = (("validation", figures.validation, final.validation), ("test", figures.test, final.test))
    rows = [
        (
            name,
            f"{percent(old.accuracy)} ({format_range(old.interval)})",
            f"{percent(new.accuracy)} ({format_range(new.interval)})",
            format_points(new.accuracy - old.accuracy),
            format_loss(old.loss),
            format_loss(new.loss),
        )
        for name, old, new in pairs
        if old is not None and new is not None
    ]
    print_table(COMPARED, rows, right=(3, 4, 5))
    say_prose(
        f"These are one training each, so part of the difference is chance. `heldout cure {before.id}` measures which "
        "changes help beyond chance."
    )


def _find_parent_job(client: Client, job: JobView) -> tuple[JobView, FinalView] | None:
    """Return the job that this one was made from, if both were measured on the same images; else None."""
    if job.retry_of is None:
        return None
    try:
        before = client.jobs.get(job.retry_of).view
        figures = client.jobs.metrics(job.retry_of).final
    except ApiProblem:  # deleted meanwhile
        return None
    is_same = before.dataset.id == job.dataset.id and before.spec.validation == job.spec.validation
    return None if figures is None or not is_same else (before, figures)
