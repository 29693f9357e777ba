"""`heldout export`: the model of a job, or the ensemble of a study, for another runtime; `heldout card`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import Home, JobId, Service, make_argument
from heldout.cli.outcome import Refused
from heldout.cli.references import JOB, STUDY, Names
from heldout.cli.results import NamedOutput, Output, choose_target
from heldout.cli.screen import print_json, say, show_waiting
from heldout.errors import NotReady
from heldout.lifecycle.job import TERMINAL
from heldout.stored.artifacts import ExportFormat, ExportFormatName, ModelFormatName
from heldout.words import format_duration

if TYPE_CHECKING:
    from heldout.client.client import Client
    from heldout.views.model import ExportReportView

WAIT_S = 10
_SUFFIXES_WITHOUT_MODEL = {"python": ".py", "keras_config": ".json"}


def export(
    service: Service,
    source_id: Annotated[
        str,
        Names(JOB, STUDY),
        make_argument(
            "JOB|STUDY", "A job, or a study with an ensemble: its id, the beginning of one, its name, or last.", JOB
        ),
    ],
    format_: Annotated[
        ModelFormatName,
        typer.Option(
            "--format",
            help="The runtime; python is a script that trains the job again, keras_config the layers of an uploaded "
            "model with the changes that it was trained with.",
        ),
    ] = "onnx",
    output: NamedOutput = None,
    again: Annotated[bool, typer.Option("--again", help="Export again after a failed export.")] = False,
) -> None:
    """Download a model for another runtime. It was loaded there, and its answers were verified."""
    suffixes = {format_facts.value: format_facts.facts.suffix for format_facts in ExportFormat}
    output = output or f"{source_id}{(suffixes | _SUFFIXES_WITHOUT_MODEL)[format_]}"
    to = choose_target(output, service)
    report = None
    client = service.client
    if format_ != "python" and format_ != "keras_config":
        if again:
            client.jobs.export(source_id, format_)
        report = _wait_for_export(client, source_id, format_, quiet=service.as_json)
    size = client.jobs.download_model(source_id, to, format_)
    if service.as_json:
        print_json({"path": str(to.absolute()), "size_bytes": size, "report": report})
    elif output != "-":
        say(f"{output}: {size:,} bytes")
        if report is None:
            use = "`keras.models.model_from_json` builds it, with new weights."
            say(f"`python {output} --help` says what it needs." if format_ == "python" else use)
            return
        own = "the mean of its jobs' predictions" if source_id.startswith("std_") else "the job's own predictions"
        whose = own if report.compared_with == "predictions" else "what Keras says"
        say(
            f"Loaded again by {report.runtime}: the answers to {report.images:,} {report.split} images are {whose}, "
            f"probabilities within {report.max_difference:.1g}."
        )


def card(job_id: JobId, output: Output = "-", home: Home = None) -> None:
    """Print a job's model card. It describes the model's use, results and data, and how to reproduce it."""
    from heldout.client.client import Client  # loading its views takes longer than `--help`

    with Client(home=home) as client:
        text = client.jobs.model_card(job_id)
    if output == "-":
        for line in text.splitlines():
            say(line)
    else:
        Path(output).write_text(text, encoding="utf-8")


def _wait_for_export(client: Client, source_id: str, format_: ExportFormatName, *, quiet: bool) -> ExportReportView:
    """Return the report after the export has ended. The first request orders it."""
    is_study = source_id.startswith("std_")
    status = client.studies.get(source_id).status if is_study else client.jobs.get(source_id).status
    if status not in {terminal.value for terminal in TERMINAL}:
        follow = f"`heldout studies {source_id} --watch`" if is_study else f"`heldout watch {source_id}`"
        raise Refused(f"{source_id} is {status}; it has a model when it ends. {follow} follows it.")
    began = time.monotonic()
    with show_waiting(quiet=quiet) as tell:
        while True:
            try:
                return client.jobs.export_report(source_id, format_, wait_s=WAIT_S)
            except NotReady:
                tell(f"writing the model and comparing its answers: {format_duration(time.monotonic() - began)}")
