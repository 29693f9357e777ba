"""Runs of MLflow, from its folder or database, and of W&B, from its offline files or exported charts."""

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from heldout.histories.event_files import NotThisFormatError, read_fields
from heldout.histories.recorded import Point, RecordedRun
from heldout.histories.rows import read_row_runs


def group_metrics_into_runs(rows: Iterable[Sequence[Any]]) -> list[RecordedRun]:
    """Group rows of run, its name, metric, value (None means NaN) and step by run, in order of appearance."""
    names: dict[str, str] = {}
    curves: dict[str, dict[str, list[Point]]] = {}
    for run, name, metric, value, step in rows:
        names.setdefault(run, name or run)
        curves.setdefault(run, {}).setdefault(metric, []).append((step, math.nan if value is None else value))
    return [RecordedRun(of_run, name=names[run]) for run, of_run in curves.items()]


def read_run_files(name: str, files: Mapping[str, str]) -> RecordedRun:
    """Read a run from its metric files by name, whose lines contain time, value and step.

    Raises:
        ValueError: if a line does not.
    """
    curves: dict[str, list[Point]] = {}
    for metric, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            parts = line.split()
            try:
                _, value, step = (float(part) for part in parts[:3])
            except ValueError:
                raise ValueError(
                    f"line {number} of the metric {metric!r} is {line[:100]!r}; expected its time, value and step"
                ) from None
            curves.setdefault(metric, []).append((step, value))
    return RecordedRun(curves=curves, name=name)


_MAX_RECORD_BYTES = 65536 * 16

# LevelDB's log format: a file header, then blocks that contain parts of records.
_FILE_HEADER_BYTES = 7
_BLOCK_BYTES = 32768
_RECORD_HEADER = struct.Struct("<IHB")  # checksum, length, kind
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
# Field numbers of the messages.
_RECORD_HISTORY, _HISTORY_ITEM = 2, 1
_ITEM_KEY, _ITEM_NESTED_KEY, _ITEM_VALUE_JSON = 1, 2, 16


def read_offline_runs(file: BinaryIO) -> list[RecordedRun]:
    """Read the run from the `.wandb` file of an offline run.

    Raises:
        NotThisFormatError: if it is not such a file, or is damaged.
    """
    return read_row_runs([row for record in _read_records(file) if (row := _read_row(record))])


def _read_records(file: BinaryIO) -> Iterator[bytes]:
    """Yield all records; an incomplete last one is left out."""
    if file.read(_FILE_HEADER_BYTES)[:4] != b":W&B":
        raise NotThisFormatError("this is not the file of an offline run of W&B")
    at, parts = _FILE_HEADER_BYTES, b""
    while True:
        if _BLOCK_BYTES - at % _BLOCK_BYTES < _RECORD_HEADER.size:  # padded with zeros
            at += len(file.read(_BLOCK_BYTES - at % _BLOCK_BYTES))
        head = file.read(_RECORD_HEADER.size)
        if len(head) < _RECORD_HEADER.size:
            return
        _, length, kind = _RECORD_HEADER.unpack(head)
        data = file.read(length)
        if len(data) < length or kind not in {_FULL, _FIRST, _MIDDLE, _LAST}:
            return
        at += _RECORD_HEADER.size + length
        parts = data if kind in {_FULL, _FIRST} else parts + data if len(parts) < _MAX_RECORD_BYTES else parts
        if kind in {_FULL, _LAST} and len(parts) < _MAX_RECORD_BYTES:
            yield parts


def _read_row(record: bytes) -> dict[str, object]:
    """Read what one call of `log` recorded; empty for other kinds of records."""
    return {
        "/".join(_read_name(item.parts)): _read_value(item.parts[_ITEM_VALUE_JSON])
        for history in read_fields(record).parts[_RECORD_HISTORY]
        for item in map(read_fields, read_fields(history).parts[_HISTORY_ITEM])
    }


def _read_name(parts: Mapping[int, Sequence[bytes]]) -> list[str]:
    return [name.decode("utf-8", "replace") for name in (*parts[_ITEM_KEY], *parts[_ITEM_NESTED_KEY]) if name]


def _read_value(written: Sequence[bytes]) -> object:
    try:
        return json.loads(written[-1]) if written else ""
    except ValueError:
        return written[-1].decode("utf-8", "replace")
