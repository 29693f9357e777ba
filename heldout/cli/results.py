"""Commands about the results of a job: its confusion matrix, hardest images, model and predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heldout.cli.command import AsJson, Home, JobId, open_service
from heldout.cli.figures import format_points
from heldout.cli.outcome import Refused
from heldout.cli.screen import print_json, print_table, say
from heldout.stored.artifacts import PredictionsFormat
from heldout.words import percent

if TYPE_CHECKING:
    from heldout.views.results import ClassScores, ConfusionView, SplitScores

Split = Literal["train", "validation", "test"]
PAGE = 200  # images per request
SHOWN_MISTAKES = 5
Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Output file; - is standard output.")]


def confusion(
    job_id: JobId,
    split: Annotated[
        Split | None, typer.Option(help="Which split to show; by default test, if it was measured.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show which classes are mistaken for which, with scores for each and the most confident mistakes."""
    with open_service(home) as client:
        found = client.jobs.confusion(job_id)
    if as_json:
        print_json(found)
        return
    measured: tuple[Split, ...] = ("test", "validation", "train")
    wanted = split or next(split_name for split_name in measured if split_name in found.splits)
    if wanted == "test" and wanted not in found.splits:
        raise Refused("This job did not measure its test split (evaluation.test is never).")
    if wanted not in found.splits:
        raise Refused("This job trained on its validation images, so it was not measured on them.")
    show_scores(found, wanted)


def show_scores(confusion: ConfusionView, split: Split) -> None:
    """One split of a job's kept weights."""
    found, classes = confusion.splits[split], confusion.classes
    rows = [_build_row(found, label, classes) for label in range(len(classes))]
    print_table(
        ("CLASS", "IMAGES", "PRECISION", "RECALL", "F1", "GAP", "MOST MISTAKEN FOR"), rows, right=(1, 2, 3, 4, 5)
    )
    say("")
    say(f"{split}; the gap is recall in training less recall here, in points.")
    say(f"calibration error: {percent(found.calibration_error)}")
    if found.mistakes:
        say("most confident mistakes:")
    for mistake in found.mistakes[:SHOWN_MISTAKES]:
        named = f" ({mistake.member})" if mistake.member else ""
        say(
            f"  image {mistake.index}{named}: {mistake.label} classified as {mistake.answer}, "
            f"{percent(mistake.probability)} sure"
        )


def _build_row(found: SplitScores, label: int, classes: list[str]) -> tuple[str | int, ...]:
    scores: ClassScores = found.per_class[label]
    # No matrix is printed for many classes.
    answers = found.confusion[label] if found.confusion else [0]
    wrong = [0 if answer == label else count for answer, count in enumerate(answers)]
    most = max(range(len(wrong)), key=wrong.__getitem__)
    return (
        scores.label,
        scores.count,
        percent(scores.precision),
        percent(scores.recall),
        percent(scores.f1),
        format_points(scores.gap),
        f"{classes[most]} ({wrong[most]:,})" if wrong[most] else "",
    )


def memorized(
    job_id: JobId,
    class_: Annotated[str | None, typer.Option("--class", metavar="NAME", help="Only images of this class.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many images to list, the hardest first.")] = 20,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show which training images were hardest to learn: hard, unusual, and wrongly labeled ones."""
    with open_service(home) as client:
        page = client.jobs.memorized(job_id, class_=class_, limit=min(limit, PAGE))
        images = list(page.data)
        while page.next is not None and len(images) < limit:
            page = client.jobs.memorized(job_id, class_=class_, limit=min(limit - len(images), PAGE), after=page.next)
            images += page.data
    if as_json:
        print_json(page.model_copy(update={"data": images}))
        return
    say(page.explanation)
    if not images:
        return
    say("")
    rows = [
        (image.member or str(image.index), image.label, image.answer, f"{image.loss_sum:.2f}", f"{image.loss_mean:.3f}")
        for image in images
    ]
    print_table(("IMAGE", "LABEL", "ANSWER", "SUM OF LOSSES", "PER EPOCH"), rows, right=(3, 4))


def model(job_id: JobId, output: Output, as_json: AsJson = False, home: Home = None) -> None:
    """Download a job's trained model, a .keras file."""
    with open_service(home) as client:
        size = client.jobs.download_model(job_id, choose_target(output, as_json))
    _print_download(output, size, as_json)


def predictions(
    job_id: JobId,
    output: Output,
    format_: Annotated[
        PredictionsFormat | None,
        typer.Option("--format", help="By default csv if FILE ends in .csv, else npz."),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Download a job's answers to all images, as arrays or as a table with one line for each image."""
    wanted = format_ or ("csv" if output.lower().endswith(".csv") else "npz")
    with open_service(home) as client:
        size = client.jobs.download_predictions(job_id, choose_target(output, as_json), wanted)
    _print_download(output, size, as_json)


def choose_target(output: str, as_json: bool) -> Path:
    if output == "-" and as_json:
        raise Refused("--json and -o - would mix on standard output.")
    return Path("/dev/stdout" if output == "-" else output)


def _print_download(output: str, size: int, as_json: bool) -> None:
    if as_json:
        print_json({"path": str(Path(output).absolute()), "size_bytes": size})
    elif output != "-":
        say(f"{output}: {size:,} bytes")
