"""Histories that other programs have written: Keras' dictionary as JSON, the CSV of its logger, our own metrics."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heldout.cli.outcome import Refused
from heldout.diagnosis.history import History, from_epochs, from_keras

EXPECTED = "expected Keras' history as JSON, the CSV of its logger, or the output of `heldout metrics ID --json`"


def read_history(path: Path) -> History:
    """The curves in a file.

    Raises:
        OSError: it cannot be read.
        Refused: it holds no history.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        if text.lstrip().startswith("{"):
            return _of_json(json.loads(text))
        return from_keras(_columns(text))
    except (ValueError, TypeError, AttributeError) as error:
        raise Refused(f"{path}: {error}; {EXPECTED}.") from None


def _of_json(content: Mapping[str, Any]) -> History:
    if isinstance(content.get("epochs"), list) and content.get("object") == "metrics":
        return from_epochs(content["epochs"])
    return from_keras(content["history"] if isinstance(content.get("history"), dict) else content)


def _columns(text: str) -> dict[str, list[float | None]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        raise ValueError("no rows")
    return {name: [_number(row[name]) for row in rows] for name in rows[0] if name}


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
