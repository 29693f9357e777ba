"""Reads histories in files and folders from any supported tool."""

import json
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from reprlib import repr as short
from typing import Any

from heldout.cli.outcome import Refused
from heldout.histories.event_files import iterate_scalars
from heldout.histories.joining import SeveralRunsError, join_run
from heldout.histories.reading import read_scalars, read_text
from heldout.histories.recorded import ReadHistory
from heldout.histories.trackers import group_metrics_into_runs, read_offline_runs, read_run_files

EXPECTED = (
    "expected a history that a training tool wrote. Files: Keras' history as JSON, a logger's CSV, JSON or JSON Lines, "
    "a printed log, the output of `heldout metrics JOB --json`, or MLflow's database. Folders: those of TensorBoard "
    "(with `train` and `validation` in it), MLflow or W&B"
)
# How TensorBoard names downloaded scalars of a run.
_DOWNLOADED = re.compile(r"(?:run-)?(?P<run>.*?)-?tag-(?P<tag>.+)\.(?:csv|json)")
_EVENTS = "tfevents"
_WANDB = ".wandb"
_MLFLOW = "mlflow.db"
# File names of Hugging Face's Trainer, Lightning, Ultralytics and MLflow in a training's folder.
_FILES_OF_FOLDERS = ("trainer_state.json", "metrics.csv", "results.csv", "history.csv", _MLFLOW)

_SQLITE_HEAD = b"SQLite format 3\0"
_MAX_METRICS = 10_000_000
# Ordered by a run's start and the time of its values. Deleted runs stay in the database until they are purged.
_METRICS = """
SELECT runs.run_uuid, runs.name, metrics.key, CASE WHEN metrics.is_nan THEN NULL ELSE metrics.value END, metrics.step
FROM metrics JOIN runs ON runs.run_uuid = metrics.run_uuid
WHERE runs.lifecycle_stage = 'active'
ORDER BY runs.start_time, runs.run_uuid, metrics.key, metrics.timestamp, metrics.step
LIMIT ?
"""

# TensorBoard's steps have 64 bits.
_STEPS = range(-(2**63), 2**63)

Scalars = dict[str, list[tuple[int, float]]]


def read_history(path: Path, run: int | None = None) -> ReadHistory:
    """Read the curves in a file, or in a folder of TensorBoard, MLflow, W&B or a training.

    Args:
        run: which run, counted from 1, if there are several.

    Raises:
        OSError: it cannot be read.
        Refused: it holds no history, or several and `run` does not say which.
    """
    try:
        return _read_folder(path, run) if path.is_dir() else _read_file(path, run)
    except SeveralRunsError as error:
        raise Refused(f"{path}: {error}.") from None
    except RecursionError:
        raise Refused(f"{path}: nested too deeply; {EXPECTED}.") from None
    except ValueError as error:
        raise Refused(f"{path}: {error}; {EXPECTED}.") from None


def _read_file(path: Path, run: int | None) -> ReadHistory:
    if _EVENTS in path.name:
        return read_scalars(_read_event_files([path], path.parent), run)
    if path.suffix == _WANDB:
        with path.open("rb") as file:
            return join_run(read_offline_runs(file), run)
    if _is_sqlite(path):
        [rows] = query_mlflow(path, (_METRICS, _MAX_METRICS + 1))
        if len(rows) > _MAX_METRICS:
            raise ValueError(f"the database has more than {_MAX_METRICS:,} values")
        return join_run(group_metrics_into_runs(rows), run)
    return read_text(path.read_text(encoding="utf-8", errors="replace"), run)


def _read_folder(folder: Path, run: int | None) -> ReadHistory:
    events = sorted(file for file in folder.rglob(f"*{_EVENTS}*") if file.is_file())
    if events:
        return read_scalars(_read_event_files(events, folder), run)
    if downloaded := _read_downloads(folder):
        return read_scalars(downloaded, run)
    if metrics := sorted(path for path in folder.rglob("metrics") if path.is_dir()):
        return join_run([read_run_files(metric.parent.name, read_texts(metric)) for metric in metrics], run)
    if folder.name == "metrics" and (texts := read_texts(folder)):
        return join_run([read_run_files(folder.parent.name, texts)], run)
    if offline := sorted({file.resolve() for file in folder.rglob(f"*{_WANDB}") if file.is_file()}):
        found = []
        for file in offline:
            with file.open("rb") as opened:
                found += read_offline_runs(opened)
        return join_run(found, run)
    # MLflow's database is next to its folder of artifacts, `mlruns`.
    beside = [folder.resolve().parent / _MLFLOW] if folder.resolve().name == "mlruns" else []
    for file in (*(folder / name for name in _FILES_OF_FOLDERS), *beside):
        if file.is_file():
            return _read_file(file, run)
    raise ValueError(
        "the folder has neither event files nor scalars that TensorBoard let download, no metrics of MLflow, no file "
        f"of W&B, and none of {', '.join(_FILES_OF_FOLDERS)}"
    )


def read_texts(folder: Path) -> dict[str, str]:
    """Read the texts of all files below a folder, by path: a metric's name may have slashes."""
    return {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8", errors="replace")
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _read_downloads(folder: Path) -> Scalars:
    found: Scalars = {}
    for file in sorted(folder.iterdir()):
        if (named := _DOWNLOADED.fullmatch(file.name)) and file.is_file():
            found[f"{named['run']}/{named['tag']}"] = list(_read_download(file))
    return found


def _read_event_files(files: Iterable[Path], folder: Path) -> Scalars:
    """Read scalars by folder and tag. A run that was continued has several files."""
    found: Scalars = {}
    for path in files:
        run = path.parent.relative_to(folder).as_posix()
        with path.open("rb") as file:
            for scalar in iterate_scalars(file):
                found.setdefault(f"{run}/{scalar.tag}", []).append((scalar.step, scalar.value))
    return found


def _read_download(file: Path) -> Iterable[tuple[int, float]]:
    """Read wall time, step and value of each point, as JSON or as CSV with a header."""
    text = file.read_text(encoding="utf-8")
    rows = json.loads(text) if file.suffix == ".json" else [line.split(",") for line in text.splitlines()[1:]]
    if not isinstance(rows, list):
        raise ValueError(f"{file.name} holds {short(rows)} where a list of points was expected")
    return [_parse_point(row, f"point {number} of {file.name}") for number, row in enumerate(rows, 1)]


def _parse_point(row: Any, name: str) -> tuple[int, float]:
    """Return step and value. Both may be text, as are values that JSON cannot represent as numbers."""
    try:
        _, written, value = row
        step = int(written)
        if step not in _STEPS:
            raise ValueError
        return step, float(value) if isinstance(value, str) else value
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {short(row)}; expected its wall time, whole step and value") from None


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE_HEAD)) == _SQLITE_HEAD


def query_mlflow(path: Path, *queries: tuple[Any, ...]) -> list[list[tuple[Any, ...]]]:
    """Return the rows of each query, given as its SQL and its parameters. The file is only read.

    Raises:
        ValueError: if it is not a database of MLflow, or is damaged.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return [connection.execute(query, values).fetchall() for query, *values in queries]
    except sqlite3.Error as error:
        raise ValueError(f"this SQLite file cannot be read as a database of MLflow ({error})") from None
