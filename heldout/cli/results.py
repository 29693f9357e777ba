"""Commands about the results of a job: confusion, hardest images, heatmaps, model, predictions, answers, pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heldout.cli.command import JobId, Service, make_argument
from heldout.cli.figures import format_points
from heldout.cli.outcome import Refused
from heldout.cli.references import JOB, STUDY, Names
from heldout.cli.screen import print_json, print_table, say
from heldout.stored.artifacts import PredictionsFormat
from heldout.words import percent

if TYPE_CHECKING:
    from heldout.client.client import Client
    from heldout.pictures.picture import Picture
    from heldout.views.results import ClassScores, ConfusionView, PredictionView, SplitScores

Split = Literal["train", "validation", "test"]
What = Literal["history", "gap", "confusion"]
ShownMap = Literal["answer", "label", "both"]
PAGE = 200  # images per request
SHOWN_MISTAKES = 5
Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Output file; - is standard output.")]
NamedOutput = Annotated[
    str | None,
    typer.Option(
        *("--output", "-o"),
        metavar="FILE",
        help="Output file; by default named after the id, in this folder. - is standard output.",
    ),
]


def confusion(
    service: Service,
    job_id: JobId,
    split: Annotated[
        Split | None, typer.Option(help="Which split to show; by default test, if it was measured.")
    ] = None,
) -> None:
    """Show which classes are mistaken for which. Scores of each class and the most confident mistakes follow."""
    found = service.client.jobs.confusion(job_id)
    if service.as_json:
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
    service: Service,
    job_id: JobId,
    class_: Annotated[str | None, typer.Option("--class", metavar="NAME", help="Only images of this class.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many images to list, the hardest first.")] = 20,
) -> None:
    """Show which training images were hardest to learn. They are hard, unusual, or wrongly labeled."""
    client = service.client
    page = client.jobs.memorized(job_id, class_=class_, limit=min(limit, PAGE))
    images = list(page.data)
    while page.next is not None and len(images) < limit:
        page = client.jobs.memorized(job_id, class_=class_, limit=min(limit - len(images), PAGE), after=page.next)
        images += page.data
    if service.as_json:
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


def explain(
    service: Service,
    job_id: JobId,
    index: Annotated[
        int, typer.Argument(metavar="INDEX", min=0, help="Position of an image, as `heldout confusion` lists mistakes.")
    ],
    of: Annotated[ShownMap, typer.Option(help="What speaks for the answer, for the label, or both.")] = "both",
    output: NamedOutput = None,
    again: Annotated[bool, typer.Option("--again", help="Compute it again if that failed.")] = False,
) -> None:
    """Draw where a job's network looks at an image. Yellow places speak most for its answer, or for the label."""
    output = output or f"{job_id}-{index}.png"
    target = choose_target(output, service)
    picture = service.client.jobs.heatmap(job_id, index, of=of, again=again)
    target.write_bytes(picture)
    _print_download(output, len(picture), service)


def model(service: Service, job_id: JobId, output: Output) -> None:
    """Download a job's trained model, a .keras file."""
    size = service.client.jobs.download_model(job_id, choose_target(output, service))
    _print_download(output, size, service)


def predictions(
    service: Service,
    job_id: JobId,
    output: Output,
    format_: Annotated[
        PredictionsFormat | None, typer.Option("--format", help="By default csv if FILE ends in .csv, else npz.")
    ] = None,
) -> None:
    """Download a job's answers to all images. They are arrays, or a table with one line for each image."""
    wanted = format_ or ("csv" if output.lower().endswith(".csv") else "npz")
    size = service.client.jobs.download_predictions(job_id, choose_target(output, service), wanted)
    _print_download(output, size, service)


def choose_target(output: str, service: Service) -> Path:
    if output == "-" and service.as_json:
        raise Refused("--json and -o - would mix on standard output.")
    return Path("/dev/stdout" if output == "-" else output)


def _print_download(output: str, size: int, service: Service) -> None:
    if service.as_json:
        print_json({"path": str(Path(output).absolute()), "size_bytes": size})
    elif output != "-":
        say(f"{output}: {size:,} bytes")


SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".npy"}
# Limits of one request that a service accepts with its default settings, even for large images.
MAX_FILES = 64
MAX_BYTES = 16 * 1024**2
RUNNERS_UP = 2


def predict(
    service: Service,
    job_id: JobId,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|FOLDER…", help="PNG, JPEG, WebP, BMP or .npy files, or folders with them."),
    ],
    top_k: Annotated[int, typer.Option(min=1, max=1000, help="How many classes to list.")] = 5,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help='Below this probability the answer is "uncertain".')
    ] = None,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Calibrate probabilities with the temperature fitted on validation.")
    ] = False,
) -> None:
    """Classify images with a job's model. They are prepared like the dataset's own images."""
    files = _list_files(images)
    parts = [
        service.client.jobs.predict(job_id, part, top_k=top_k, threshold=threshold, calibrated=calibrated)
        for part in _divide_into_parts(files)
    ]
    predictions = [prediction for part in parts for prediction in part.predictions]
    if service.as_json:
        print_json(parts[0].model_copy(update={"predictions": predictions}))
        return
    _show_predictions(predictions)
    if parts[0].temperature is not None:
        say(f"Probabilities under temperature {parts[0].temperature:.3g}.", file=sys.stderr)


def _list_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files in the given order; those of a folder sorted by name, including subfolders."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            if not below:
                raise Refused(f"{path} has no PNG, JPEG, WebP, BMP or .npy file.")
            found += below
        else:
            found.append(path)
    return found


def _divide_into_parts(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield the files of each request."""
    part: list[Path] = []
    size = 0
    for file in files:
        more = file.stat().st_size
        if part and (len(part) == MAX_FILES or size + more > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(file)
        size += more
    yield part


def _show_predictions(predictions: Sequence[PredictionView]) -> None:
    rows = []
    for number, prediction in enumerate(predictions, 1):
        others = ", ".join(
            f"{other.label} {percent(other.probability)}" for other in prediction.top[1 : RUNNERS_UP + 1]
        )
        rows.append([prediction.name or str(number), prediction.answer, percent(prediction.probability), others])
    print_table(["IMAGE", "ANSWER", "PROBABILITY", "NEXT"], rows, right=(2,))


def plot(
    service: Service,
    subject: Annotated[
        str,
        Names(JOB, STUDY),
        make_argument("JOB|STUDY", "A job or a study: its id, the beginning of one, its name, or last.", JOB, STUDY),
    ],
    what: Annotated[
        What | None,
        typer.Option(
            help="For a job: the curves of training and validation (the default), the gap from training "
            "to test, or the confusion matrix.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[Split | None, typer.Option(help="The split of the confusion; by default test.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write FILE.svg, FILE.html or FILE.png instead."),
    ] = None,
) -> None:
    """Draw a job's curves, gap or confusion. Of a study, draw what its remedies change."""
    from heldout.pictures.picture import SUFFIXES, NoPng

    if output is not None and output.suffix.lower() not in SUFFIXES:
        raise Refused(f"-o {output}: expected a name that ends in {', '.join(SUFFIXES)}.")
    picture = _draw_picture(service.client, subject, what, split)
    if output is None:
        if service.as_json:
            print_json({"title": picture.title, "svg": picture.svg})
            return
        for line in picture.text.split("\n"):  # `say` escapes control characters, which a name may have
            say(line)
        return
    try:
        picture.save(output)
    except NoPng as error:
        raise Refused(str(error)) from None
    service.print({"title": picture.title, "file": str(output)}, lambda saved: say(saved["file"]))


def _draw_picture(client: Client, subject: str, what: What | None, split: Split | None) -> Picture:
    from heldout.pictures.confusion import NotMeasured

    if subject.startswith("std_"):
        if what is not None or split is not None:
            raise Refused(f"--what and --split are for jobs, and {subject} is a study.")
        return client.studies.get(subject).plot()
    if split is not None and what != "confusion":
        raise Refused("--split says whose confusion is drawn: give --what confusion too.")
    try:
        return client.jobs.get(subject).plot(what or "history", split=split)
    except NotMeasured as error:
        raise Refused(str(error)) from None
