"""Histories in files: our own metrics, Keras' dictionary as JSON, CSV, and what TensorBoard writes or lets download."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from reprlib import repr as short
from typing import Any

from heldout.cli.outcome import Refused
from heldout.diagnosis.foreign import from_keras, from_scalars, from_table
from heldout.diagnosis.history import History, from_epochs
from heldout.tensorboard import scalars

EXPECTED = (
    "expected Keras' history as JSON, a CSV such as its logger writes, the output of `heldout metrics ID --json`, or a "
    "folder of TensorBoard's (with `train` and `validation` in it)"
)
# How TensorBoard names a run's scalars where they are downloaded.
_DOWNLOADED = re.compile(r"(?:run-)?(?P<run>.*?)-?tag-(?P<tag>.+)\.(?:csv|json)")
_EVENTS = "tfevents"

# TensorBoard's steps have 64 bits.
_STEPS = range(-(2**63), 2**63)

Scalars = dict[str, list[tuple[int, float]]]


def read_history(path: Path) -> History:
    """The curves in a file, or in a folder of TensorBoard's.

    Raises:
        OSError: it cannot be read.
        Refused: it holds no history.
    """
    try:
        if path.is_dir():
            return from_scalars(_of_folder(path))
        if _EVENTS in path.name:
            return from_scalars(_of_event_files([path], path.parent))
        text = path.read_text(encoding="utf-8", errors="replace")
        if text.lstrip().startswith("{"):
            return _of_json(json.loads(text))
        return from_table(text)
    except RecursionError:
        raise Refused(f"{path}: nested too deeply; {EXPECTED}.") from None
    except ValueError as error:
        raise Refused(f"{path}: {error}; {EXPECTED}.") from None


def _of_json(content: Mapping[str, Any]) -> History:
    if isinstance(content.get("epochs"), list) and content.get("object") == "metrics":
        if any(not isinstance(epoch, dict) for epoch in content["epochs"]):
            raise ValueError("an epoch of these metrics is no object")
        return from_epochs(content["epochs"])
    return from_keras(content["history"] if isinstance(content.get("history"), dict) else content)


def _of_folder(folder: Path) -> Scalars:
    events = sorted(file for file in folder.rglob(f"*{_EVENTS}*") if file.is_file())
    if events:
        return _of_event_files(events, folder)
    found: Scalars = {}
    for file in sorted(folder.iterdir()):
        if (named := _DOWNLOADED.fullmatch(file.name)) and file.is_file():
            found[f"{named['run']}/{named['tag']}"] = list(_downloaded(file))
    if not found:
        raise ValueError("the folder has neither event files nor scalars that TensorBoard let download")
    return found


def _of_event_files(files: Iterable[Path], folder: Path) -> Scalars:
    """By the folder that a file lies in and the tag; a run that was continued has several files."""
    found: Scalars = {}
    for path in files:
        run = path.parent.relative_to(folder).as_posix()
        with path.open("rb") as file:
            for one in scalars(file):
                found.setdefault(f"{run}/{one.tag}", []).append((one.step, one.value))
    return found


def _downloaded(file: Path) -> Iterable[tuple[int, float]]:
    """Wall time, step and value of each point, as JSON or below a line of names."""
    text = file.read_text(encoding="utf-8")
    rows = json.loads(text) if file.suffix == ".json" else [line.split(",") for line in text.splitlines()[1:]]
    if not isinstance(rows, list):
        raise ValueError(f"{file.name} holds {short(rows)} where a list of points was expected")
    return [_point(row, f"point {number} of {file.name}") for number, row in enumerate(rows, 1)]


def _point(row: Any, name: str) -> tuple[int, float]:
    """Its step and value; either may be written as text, and what is no number in JSON is."""
    try:
        _, written, value = row
        step = int(written)
        if step not in _STEPS:
            raise ValueError
        return step, float(value) if isinstance(value, str) else value
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {short(row)}; expected its wall time, whole step and value") from None
