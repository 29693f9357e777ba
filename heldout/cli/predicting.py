"""`heldout predict`: a job's model answers images."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import AsJson, Home, JobId, open_service
from heldout.cli.outcome import Refused
from heldout.cli.screen import print_json, print_table, say
from heldout.words import percent

if TYPE_CHECKING:
    from heldout.views.results import PredictionView

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".npy"}
# Limits of one request that a service accepts with its default settings, even for large images.
MAX_FILES = 64
MAX_BYTES = 16 * 1024**2
RUNNERS_UP = 2


def predict(
    job_id: JobId,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|FOLDER…", help="PNG, JPEG, WebP, BMP or .npy files, or folders with them."),
    ],
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=1000, help="How many classes to list.")] = 5,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0, max=1, help='Below this probability the answer is "uncertain".'),
    ] = None,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Calibrate probabilities with the temperature fitted on validation.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Ask a job's model what images show. They are prepared like the dataset's own images."""
    files = _list_files(images)
    with open_service(home) as client:
        parts = [
            client.jobs.predict(job_id, part, top_k=top_k, threshold=threshold, calibrated=calibrated)
            for part in _divide_into_parts(files)
        ]
    predictions = [prediction for part in parts for prediction in part.predictions]
    if as_json:
        print_json(parts[0].model_copy(update={"predictions": predictions}))
        return
    _show(predictions)
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


def _show(predictions: Sequence[PredictionView]) -> None:
    rows = []
    for number, prediction in enumerate(predictions, 1):
        others = ", ".join(
            f"{other.label} {percent(other.probability)}" for other in prediction.top[1 : RUNNERS_UP + 1]
        )
        rows.append([prediction.name or str(number), prediction.answer, percent(prediction.probability), others])
    print_table(["IMAGE", "ANSWER", "PROBABILITY", "NEXT"], rows, right=(2,))
