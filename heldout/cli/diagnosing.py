"""The commands `diagnose`, for a job, curves and predictions from any tool, and `diagnoses`."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import Service, make_argument
from heldout.cli.figures import format_moment
from heldout.cli.host_commands import INSTALL_DATA, ServerMissing, find_program
from heldout.cli.outcome import Refused
from heldout.cli.references import JOB, Names, may_be_path
from heldout.cli.screen import print_blocks, print_table, say
from heldout.client.failures import NoService

if TYPE_CHECKING:
    from heldout.histories.recorded import ReadHistory
    from heldout.views.diagnosis import DiagnosisView, KeptDiagnosisView
    from heldout.views.job import JobView
    from heldout.views.proof import ProofView

# First bytes of an .npz, and of an array that numpy.save writes.
_ARRAYS = (b"PK", b"\x93NUMPY")
_LONGEST_FIRST_LINE = 100_000
NEEDED_FOR_PREDICTIONS = ("numpy",)


def diagnose(
    service: Service,
    target: Annotated[
        str,
        Names(JOB, is_file=may_be_path),
        make_argument(
            "JOB|FILE",
            "A job; a history from any tool, in a file or in a folder of TensorBoard, MLflow (or its mlflow.db) or "
            "W&B; or predictions, an .npz or a CSV.",
            JOB,
        ),
    ],
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The network's answers to labeled images: an .npz with arrays such as test_labels and "
            "test_probabilities, or a CSV with split, label and answer. They are read on this machine if NumPy and the "
            "server's code are installed, and sent to the service otherwise.",
        ),
    ] = None,
    run: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Which run of a file that holds several, counted from 1.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="N|NAMES", help="How many classes there are, or their names with commas between them."),
    ] = None,
    prove: Annotated[
        bool, typer.Option("--prove", help="Make sure of a job's verdict first, by short trainings that decide it.")
    ] = False,
    trainings: Annotated[int | None, typer.Option(min=1, max=100, help="With --prove: at most this many.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="With --prove: in about this time.")] = None,
) -> None:
    """Say why test results are poor, and what to try."""
    # An existing file takes precedence, even if its name begins like a job's id.
    if target.startswith("job_") and not Path(target).exists():
        if run is not None:
            raise Refused(f"--run is for files with several histories, and {target} is not a file.")
        if predictions is not None or classes is not None:
            raise Refused(f"--predictions and --classes are for files, and {target} is not a file.")
        if prove:
            _prove(service, target, trainings, seconds)
        found = service.client.jobs.diagnosis(target)
        if not service.as_json:
            job = service.client.jobs.get(target).view
            proof = service.client.jobs.proof(target) if job.has_ended and found.figures else None
            _show_diagnosis(found, job, proof)
            return
    elif prove:
        raise Refused(
            f"{target} records a training that has ended elsewhere, so it cannot be trained again here, and no "
            "short training can make its verdict more certain. `heldout cure --run COMMAND --prove` proves a script."
        )
    elif holds_predictions(file := Path(target)):
        if run is not None or predictions is not None:
            raise Refused(
                f"{target} holds predictions, so --run and --predictions mean nothing. Name a history first, and the "
                "predictions with --predictions."
            )
        found = diagnose_predictions(service, file, None, _parse_classes(classes))
    else:
        found = _diagnose_history(service, file, run, predictions, _parse_classes(classes))
    service.print(found, _show_diagnosis)


# How often a proof's state is asked for.
POLL_S = 1.0


def _prove(service: Service, job_id: str, trainings: int | None, seconds: float | None) -> None:
    """Order a proof, show its plan, and wait until it has ended. Ctrl-C leaves it running."""
    jobs = service.client.jobs
    planned = jobs.proof(job_id)
    say(planned.summary)
    proof, shown = jobs.prove(job_id, trainings=trainings, seconds=seconds), 0
    while not proof.has_ended:
        time.sleep(POLL_S)
        proof = jobs.proof(job_id)
        for tried in proof.tried[shown:]:
            say(tried.sentence)
        shown = len(proof.tried)
    say(proof.summary)


def _show_diagnosis(diagnosis: "DiagnosisView", job: "JobView | None" = None, proof: "ProofView | None" = None) -> None:
    from heldout.documents.diagnosis import build_diagnosis

    print_blocks(build_diagnosis(diagnosis, job, proof=proof))


def diagnoses(service: Service) -> None:
    """List the diagnoses of other trainings that you keep. The page `/diagnoses/ID` of the service shows one."""
    service.print_list(service.client.diagnoses.list(), _show_kept)


def _show_kept(kept: "list[KeptDiagnosisView]") -> None:
    rows = [(diagnosis.id, format_moment(diagnosis.created_at), diagnosis.headline) for diagnosis in kept]
    print_table(("ID", "KEPT", "HEADLINE"), rows)


def _diagnose_history(
    service: Service, file: Path, run: int | None, predictions: Path | None, classes: int | list[str] | None
) -> "DiagnosisView":
    from heldout.cli.histories import read_history  # slow to load, and only this command needs them
    from heldout.histories.verdict import judge_curves
    from heldout.views.diagnosis import DiagnosisView

    read = read_history(file, run)
    if predictions is not None:
        return diagnose_predictions(service, predictions, read, classes)
    return DiagnosisView.of(judge_curves(read, classes))


def diagnose_predictions(
    service: Service, file: Path, read: "ReadHistory | None", classes: int | list[str] | None
) -> "DiagnosisView":
    from heldout.histories.verdict import add_reading_notes

    history = None if read is None else read.to_metrics()
    found = _diagnose_here(file, history, classes)
    if found is None:
        try:
            found = service.client.diagnoses.create_from_predictions(file, history=history, classes=classes)
        except NoService as failure:
            raise NoService(f"{failure} To diagnose predictions without one: {INSTALL_DATA}.") from None
    if read is None:
        return found
    verdict, explanation = add_reading_notes(read, found.verdict, found.explanation)
    return found.model_copy(update={"verdict": verdict, "explanation": explanation})


def _diagnose_here(file: Path, history: object, classes: int | list[str] | None) -> "DiagnosisView | None":
    """Diagnose predictions in a process of this machine. None if what it needs is not installed. Raises Refused."""
    from heldout.views.diagnosis import DiagnosisView

    try:
        program = find_program("analysis.answers", NEEDED_FOR_PREDICTIONS, "heldout diagnose")
    except ServerMissing:
        return None
    asked = json.dumps({"file": str(file), "history": history, "classes": classes})
    done = subprocess.run(program, input=asked, env=dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr.strip())
    return DiagnosisView.model_validate_json(done.stdout)


def holds_predictions(file: Path) -> bool:
    """Return whether a file has answers to images, and not curves."""
    from heldout.histories.prediction_names import is_table_of_predictions
    from heldout.histories.rows import SEPARATORS

    if not file.is_file():
        return False
    with file.open("rb") as opened:
        start = opened.readline(_LONGEST_FIRST_LINE)
    if start.startswith(_ARRAYS):
        return True
    first = start.decode("utf-8-sig", "replace")
    return is_table_of_predictions([name.strip(' "\r\n') for name in first.split(max(SEPARATORS, key=first.count))])


def _parse_classes(text: str | None) -> int | list[str] | None:
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    names = [name.strip() for name in text.split(",")]
    if len(names) < 2 or not all(names):
        raise Refused(f"--classes {text}: expected a number, or names with commas between them.")
    return names
