"""`heldout export`: a job's model for another runtime, proven there."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import AsJson, Home, JobId, service
from heldout.cli.outcome import Refused
from heldout.cli.results import target_of
from heldout.cli.screen import is_terminal, print_json, say
from heldout.errors import NotReady
from heldout.lifecycle import TERMINAL
from heldout.stored.artifacts import MODEL_SUFFIXES, ExportFormat

if TYPE_CHECKING:
    from heldout.client import Client
    from heldout.views.export import ExportReportView

WAIT_S = 10


def export(
    job_id: JobId,
    format_: Annotated[ExportFormat, typer.Option("--format", help="For which runtime.")] = ExportFormat.ONNX,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write it; by default the job's id, here; - is standard output.",
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Export once more after an export that failed.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Download a job's model for another runtime. It was loaded there again, and its answers compared."""
    output = output or f"{job_id}{MODEL_SUFFIXES[format_]}"
    to = target_of(output, as_json)
    with service(home) as client:
        if again:
            client.order_export(job_id, format_.value)
        report = _waited_for(client, job_id, format_, quiet=as_json)
        size = client.download_model(job_id, to, format_.value)
    if as_json:
        from heldout.views.base import as_json as as_plain

        print_json({"path": str(to.absolute()), "size_bytes": size, "report": as_plain(report)})
    elif output != "-":
        say(f"{output}: {size:,} bytes")
        whose = "the job's own predictions" if report.compared_with == "predictions" else "what Keras says"
        say(
            f"Loaded again by {report.runtime}: the answers to {report.images:,} {report.split} images are {whose}, "
            f"probabilities within {report.max_difference:.1g}."
        )


def card(
    job_id: JobId,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - is standard output.")
    ] = "-",
    home: Home = None,
) -> None:
    """Print a job's model card. What the model is for, how well it does, on what data, and how it is made again."""
    with service(home) as client:
        text = client.model_card(job_id)
    if output == "-":
        for line in text.splitlines():
            say(line)
    else:
        Path(output).write_text(text, encoding="utf-8")


def _waited_for(client: Client, job_id: str, format_: ExportFormat, *, quiet: bool) -> ExportReportView:
    """The report, once the export has ended. The first request orders it."""
    status = client.get(job_id).status
    if status not in {one.value for one in TERMINAL}:
        raise Refused(f"Job {job_id} is {status}; it has a model when it ends. `heldout watch {job_id}` follows it.")
    began = time.monotonic()
    try:
        while True:
            try:
                return client.export_report(job_id, format_.value, wait_s=WAIT_S)
            except NotReady:
                if not quiet:
                    _show_progress(time.monotonic() - began)
    finally:
        if is_terminal(sys.stderr) and not quiet:
            sys.stderr.write("\r\033[K")


def _show_progress(seconds: float) -> None:
    line = f"writing the model and comparing its answers: {seconds:.0f} s"
    if is_terminal(sys.stderr):
        sys.stderr.write(f"\r\033[K{line}")
        sys.stderr.flush()
    else:
        say(line, file=sys.stderr)
