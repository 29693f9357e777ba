"""Columns of a dataset: further values of its images, such as the patient or the camera."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

COLUMNS_FILE = "columns.json"

# A list for each column, in the order of the images. None where a value is unknown.
Columns = Mapping[str, Sequence[str | None]]


def make_columns_key(dataset_id: str) -> str:
    """Return where the columns of a dataset are stored, if it has any."""
    return f"datasets/{dataset_id}/{COLUMNS_FILE}"


def read_columns(path: Path) -> dict[str, list[str | None]]:
    """Read the columns; none if there is no such file."""
    return parse_columns(path.read_bytes()) if path.exists() else {}


def parse_columns(content: bytes) -> dict[str, list[str | None]]:
    """Read the content of the file."""
    columns: dict[str, list[str | None]] = json.loads(content)
    return columns


def write_columns(columns: Columns, path: Path) -> None:
    """Write the columns, always alike."""
    path.write_text(json.dumps(dict(columns), ensure_ascii=False), encoding="utf-8")
