"""The commands of `heldout`, one short function each."""

import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec

import typer

from heldout import __version__
from heldout.answers import Job
from heldout.cli import datasets, server, shown
from heldout.cli.command import AsJson, Home, ends_with_code, print_list, service
from heldout.cli.follow import follow
from heldout.cli.histories import read_history
from heldout.cli.outcome import Exit, Refused, exit_of_job
from heldout.cli.progress import JsonLines, display
from heldout.cli.scores import show_scores
from heldout.cli.screen import print_json, say
from heldout.cli.spec_files import read_spec
from heldout.client import Client, NoService
from heldout.diagnosis import diagnose as judge

P = ParamSpec("P")

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id, job_….", show_default=False)]
SpecFile = Annotated[str, typer.Argument(metavar="SPEC.json", help="The job spec; - reads standard input.")]
Split = Literal["train", "validation", "test"]
Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - is standard output.")]

app = typer.Typer(
    help="Train image classifiers as a service, and learn why test results are worse than training results.",
    epilog="Exit codes: 0 succeeded, 1 failed, 2 wrong usage or refused, 3 cancelled, 4 no service or no right to it, "
    "130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.add_typer(datasets.app, name="datasets")


def command(function: Callable[P, Exit | None]) -> Callable[P, None]:
    """A command of `heldout` itself."""
    return app.command()(ends_with_code(function))


# --- submit and follow ---------------------------------------------------------------------------


@command
def train(
    spec: SpecFile,
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
    body = read_spec(spec, settings or ())
    if name is not None:
        body["name"] = name
    with service(home) as client:
        if dry_run:
            estimate = client.estimate(body)
            print_json(estimate) if as_json else shown.show_estimate(estimate)
            return None
        job = _submit(client, body, idempotency_key)
        if detach:
            print_json(job) if as_json else say(job["id"])
            return None
        return _watch(client, job["id"], as_json)


@command
def watch(job_id: JobId, as_json: AsJson = False, home: Home = None) -> Exit:
    """Show a job's progress until it ends."""
    with service(home) as client:
        return _watch(client, job_id, as_json)


# --- look ----------------------------------------------------------------------------------------


@command
def jobs(
    statuses: Annotated[list[str] | None, typer.Option("--status", help="Only of this status. Repeatable.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only jobs on this dataset.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="Only jobs with this pair. Repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List jobs, newest first."""
    with service(home) as client:
        found = client.jobs(
            statuses=statuses or (), dataset=dataset, metadata=_pairs(metadata), page_size=min(limit + 1, 200)
        )
        listed = list(islice(found, limit + 1))
    print_list(listed[:limit], as_json, shown.show_jobs, has_more=len(listed) > limit)


@command
def show(
    job_id: JobId,
    spec: Annotated[bool, typer.Option("--spec", help="Print its complete spec, ready to be sent again.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show a job."""
    with service(home) as client:
        job = client.get(job_id)
        if spec:
            print_json(job["spec"])
        elif as_json:
            print_json(job)
        else:
            shown.show_job(job, client.metrics(job_id)["final"])


@command
def metrics(job_id: JobId, as_json: AsJson = False, home: Home = None) -> None:
    """Show a job's figures, epoch by epoch and at the end."""
    with service(home) as client:
        found = client.metrics(job_id)
    print_json(found) if as_json else shown.show_metrics(found)


@command
def events(
    job_id: JobId,
    after: Annotated[int, typer.Option(min=0, help="Only events with a number above this.")] = 0,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List what happened to a job, oldest first."""
    with service(home) as client:
        print_list(list(client.events(job_id, after=after)), as_json, shown.show_events)


@command
def queue(job_id: JobId, as_json: AsJson = False, home: Home = None) -> None:
    """Show where a job stands in the queue."""
    with service(home) as client:
        position = client.queue(job_id)
    print_json(position) if as_json else shown.show_queue(position)


@command
def diagnose(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ID|FILE",
            help="A job's id, or a history: Keras' JSON, CSV, our own metrics, or a folder of TensorBoard's.",
        ),
    ],
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Say why test results are worse than training results, and what to try."""
    # A file that is there is meant, even where its name begins as a job's id does.
    if target.startswith("job_") and not Path(target).exists():
        with service(home) as client:
            found = client.diagnosis(target)
    else:
        found = shown.as_answer(judge(read_history(Path(target))))
    print_json(found) if as_json else shown.show_diagnosis(found)


@command
def confusion(
    job_id: JobId,
    split: Annotated[Split | None, typer.Option(help="Of which split; default test, if it was measured.")] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show who is taken for whom, class by class, and the surest mistakes."""
    with service(home) as client:
        found = client.confusion(job_id)
    if as_json:
        print_json(found)
        return
    wanted = split or ("test" if "test" in found["splits"] else "validation")
    if wanted not in found["splits"]:
        raise Refused("This job did not measure its test split (evaluation.test is never).")
    show_scores(found, wanted)


# --- fetch ---------------------------------------------------------------------------------------


@command
def model(job_id: JobId, output: Output, as_json: AsJson = False, home: Home = None) -> None:
    """Download a job's trained model, a .keras file."""
    with service(home) as client:
        size = client.download_model(job_id, _target(output, as_json))
    _print_download(output, size, as_json)


@command
def predictions(job_id: JobId, output: Output, as_json: AsJson = False, home: Home = None) -> None:
    """Download a job's predictions on every split, an .npz file."""
    with service(home) as client:
        size = client.download_predictions(job_id, _target(output, as_json))
    _print_download(output, size, as_json)


# --- change --------------------------------------------------------------------------------------


@command
def cancel(job_id: JobId, as_json: AsJson = False, home: Home = None) -> None:
    """Cancel a job; its whole epochs are kept."""
    with service(home) as client:
        _print_status(client.cancel(job_id), as_json)


@command
def pause(job_id: JobId, as_json: AsJson = False, home: Home = None) -> None:
    """Pause a job; it goes on later from where it was."""
    with service(home) as client:
        _print_status(client.pause(job_id), as_json)


@command
def resume(job_id: JobId, as_json: AsJson = False, home: Home = None) -> None:
    """Queue a paused job again."""
    with service(home) as client:
        _print_status(client.resume(job_id), as_json)


@command
def retry(job_id: JobId, as_json: AsJson = False, home: Home = None) -> None:
    """Queue a new job with the spec of one that has ended, and print its id."""
    with service(home) as client:
        job = client.retry(job_id)
    print_json(job) if as_json else say(job["id"])


@command
def change(
    job_id: JobId,
    priority: Annotated[int | None, typer.Option(help="-100 to 100; higher starts first.")] = None,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="All its pairs from now on. Repeatable.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Change a job that is still queued."""
    if priority is None and name is None and metadata is None:
        raise Refused("Nothing to change: give --priority, --name or --metadata.")
    with service(home) as client:
        pairs = None if metadata is None else _pairs(metadata)
        _print_status(client.change(job_id, priority=priority, name=name, metadata=pairs), as_json)


@command
def delete(job_id: JobId, as_json: AsJson = False, home: Home = None) -> None:
    """Delete a job that has ended, with its model."""
    with service(home) as client:
        client.delete(job_id)
    print_json({"id": job_id, "object": "job", "deleted": True}) if as_json else say(f"{job_id} deleted")


# --- the server's commands, and the whole --------------------------------------------------------


def _add_server_command(name: str, about: str) -> None:
    @app.command(name, help=about, add_help_option=False)
    def become() -> None:
        raise typer.Exit(server.start(sys.argv[1:]))


for _name, _about in server.COMMANDS.items():
    _add_server_command(_name, _about)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"heldout {__version__}")
        raise typer.Exit


@app.callback()
def heldout(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Train image classifiers as a service, and learn why test results are worse than training results."""


def _submit(client: Client, body: dict[str, Any], idempotency_key: str | None) -> Job:
    try:
        return client.submit(body, idempotency_key=idempotency_key)
    except ValueError as error:
        raise Refused(f"--idempotency-key: {error}") from None


def _watch(client: Client, job_id: str, as_json: bool) -> Exit:
    try:
        job = follow(client, job_id, JsonLines() if as_json else display())
        final = client.metrics(job_id)["final"]
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # below the ^C
        say(f"The job goes on. `heldout watch {job_id}` shows it again.", file=sys.stderr)
        return Exit.INTERRUPTED
    except NoService as failure:
        raise NoService(f"{failure} The job may go on; `heldout watch {job_id}` shows it again.") from None
    print_json(job, one_line=True) if as_json else shown.show_outcome(job, final)
    return exit_of_job(job["status"])


def _print_status(job: Job, as_json: bool) -> None:
    print_json(job) if as_json else say(f"{job['id']} {job['status']}")


def _target(output: str, as_json: bool) -> Path:
    if output == "-" and as_json:
        raise Refused("--json and -o - would mix on standard output.")
    return Path("/dev/stdout" if output == "-" else output)


def _print_download(output: str, size: int, as_json: bool) -> None:
    if as_json:
        print_json({"path": str(Path(output).absolute()), "size_bytes": size})
    elif output != "-":
        say(f"{output}: {size:,} bytes")


def _pairs(pairs: list[str] | None) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs or ()]
    for key, separator, _ in split:
        if not separator:
            raise Refused(f"--metadata {key}: expected KEY=VALUE")
    return {key: value for key, _, value in split}
