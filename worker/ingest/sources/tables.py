"""Parquet in the Hugging Face image layout: a column `image` of {bytes, path} and a column of labels."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.lifecycle.resources import RejectionCode
from worker.ingest.archives.members import Archive
from worker.ingest.images.batches import BATCH_BYTES, count_in_batch
from worker.ingest.rejection import IngestLimits, Rejection, clean_name, make_bad_labels, make_no_images
from worker.ingest.sources.base import ImageFiles
from worker.ingest.sources.labels import number_classes
from worker.ingest.sources.split_folders import SPLIT_NAMES
from worker.ingest.splits import NO_SPLIT

IMAGE_NAMES, LABEL_NAMES = ("image", "img", "images"), ("label", "labels", "class", "fine_label")
SPLIT_IN_NAME = re.compile(rf"(?:^|[/_.-])({'|'.join(SPLIT_NAMES)})(?=[/_.-])", re.IGNORECASE)


@dataclass(frozen=True)
class _TableColumns:
    """Names of the columns that are read; `path` is None where images have no names."""

    bytes: str
    path: str | None
    label: str
    classes: tuple[str, ...] | None  # the names that numbers in `label` stand for


@dataclass(frozen=True)
class _Table:
    """One Parquet file: where it lies, what it is called, the split that its name says, and its columns."""

    path: Path
    name: str
    split: str | None
    rows: int
    columns: _TableColumns


class TableSource(ImageFiles):
    """One Parquet file, or several in an archive, a split or a part of one each."""

    def __init__(self, files: Sequence[tuple[Path, str]], passed_over: Sequence[str], limits: IngestLimits) -> None:
        self.kind = "parquet" if len(files) == 1 else f"parquet, {len(files)} files"
        self.passed_over = passed_over
        self._tables = [_open_table(path, name) for path, name in files]
        count = sum(table.rows for table in self._tables)
        if count > limits.images:
            raise Rejection(
                RejectionCode.TOO_MANY_MEMBERS, f"There are {count:,} rows; at most {limits.images:,} are taken."
            )
        if not count:
            raise make_no_images("The table has no rows.")
        named_splits = [table.split for table in self._tables]
        if any(named_splits) and None in named_splits:
            odd = self._tables[named_splits.index(None)].name
            raise Rejection(
                RejectionCode.UNEXPECTED_LAYOUT,
                f"{clean_name(odd)!r} names no split and other files do. Begin each file's name with train, validation "
                "or test.",
                odd,
            )
        of_tables = [
            np.full(table.rows, SPLITS.index(table.split) if table.split else NO_SPLIT) for table in self._tables
        ]
        self.given_splits: NDArray[np.int8] = np.concatenate(of_tables).astype(np.int8)
        self.labels, self.classes = _read_labels(self._tables, limits)
        self.names = _read_names(self._tables)

    def iterate_parts(self, row_bytes: int) -> Iterator[tuple[Sequence[str], Callable[[int], bytes]]]:
        first = 0
        for table in self._tables:
            for files in _iterate_files(table, count_in_batch(row_bytes)):
                yield self.names[first : first + len(files)], files.__getitem__
                first += len(files)


def unpack_tables(archive: Archive, scratch: Path) -> list[tuple[Path, str]]:
    """The Parquet files of an archive, unpacked into `scratch`, in the order of their splits and names."""
    rows = [row for row, name in enumerate(archive.names) if name.lower().endswith(".parquet")]
    files = []
    for row in sorted(rows, key=lambda row: (_order(archive.names[row]), archive.names[row])):
        path = scratch / f"table-{row}.parquet"
        with path.open("wb") as out:
            for piece in archive.stream(row):
                out.write(piece)
        files.append((path, archive.names[row]))
    return files


def _order(name: str) -> int:
    split = _split_in(name)
    return SPLITS.index(split) if split else NO_SPLIT


def _split_in(name: str) -> str | None:
    found = SPLIT_IN_NAME.findall(name)
    return SPLIT_NAMES[found[-1].lower()] if found else None


def _open_table(path: Path, name: str) -> _Table:
    with _guard_reading(name), pq.ParquetFile(path) as file:
        return _Table(path, name, _split_in(name), file.metadata.num_rows, _find_columns(file.schema_arrow, name))


def _find_columns(schema: Any, name: str) -> _TableColumns:
    features = _read_features(schema)
    by_feature = {str(feature.get("_type")): key for key, feature in reversed(features.items())}
    image = by_feature.get("Image") or next((key for key in IMAGE_NAMES if key in schema.names), None)
    label = by_feature.get("ClassLabel") or next((key for key in LABEL_NAMES if key in schema.names), None)
    if image is None or label is None or not {image, label} <= set(schema.names):
        raise Rejection(
            RejectionCode.BAD_TABLE,
            f"{clean_name(name)!r} has the columns {clean_name(', '.join(schema.names))}. Expected are `image` (bytes, "
            "path) and `label`, as Hugging Face's `datasets` writes them.",
            name,
        )
    type_ = schema.field(image).type
    has_path = False
    column = image
    if pa.types.is_struct(type_):
        fields = [type_.field(index).name for index in range(type_.num_fields)]
        has_path = "path" in fields
        column, type_ = (f"{image}.bytes", type_.field("bytes").type) if "bytes" in fields else (image, type_)
    if not (pa.types.is_binary(type_) or pa.types.is_large_binary(type_)):
        raise Rejection(
            RejectionCode.BAD_TABLE,
            f"The column {clean_name(image)!r} of {clean_name(name)!r} is of type {clean_name(str(type_), 80)}; "
            "expected are image files as bytes. Write them with `Dataset.cast_column(…, Image())` and `to_parquet`.",
            name,
        )
    names = features.get(label, {}).get("names")
    classes = tuple(map(str, names)) if isinstance(names, list) else None
    return _TableColumns(column, f"{image}.path" if has_path else None, label, classes)


def _read_features(schema: Any) -> dict[str, dict[str, Any]]:
    """What Hugging Face's library notes about columns; nothing if it is not there or not as expected."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {str(key): feature for key, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _read_labels(tables: Sequence[_Table], limits: IngestLimits) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    values: list[Any] = []
    classes = tables[0].columns.classes
    for table in tables:
        if table.columns.classes != classes:
            raise make_bad_labels(
                f"{clean_name(table.name)!r} names other classes than {clean_name(tables[0].name)!r}.", table.name
            )
        for column in _iterate_column(table, table.columns.label, 65_536):
            if column.null_count:
                raise make_bad_labels(
                    f"{clean_name(table.name)!r} has rows without a label. Leave them out.", table.name
                )
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
            if not (pa.types.is_integer(column.type) or is_text):
                raise make_bad_labels(
                    f"The labels in {clean_name(table.name)!r} are of type {clean_name(str(column.type), 80)}; "
                    "expected are whole numbers or text, one an image.",
                    table.name,
                )
            with _guard_reading(table.name):
                found = column.to_numpy(zero_copy_only=False)
                values.append(found.astype(np.int64) if pa.types.is_integer(column.type) else found.astype(str))
    is_named = classes is not None and values[0].dtype.kind == "i"
    return number_classes(values, classes if is_named else None, tables[0].columns.label, limits)


def _read_names(tables: Sequence[_Table]) -> list[str]:
    names: list[str] = []
    for table in tables:
        unnamed = (f"{table.name}[{row}]" for row in range(table.rows))
        if table.columns.path is None:
            names += unnamed
            continue
        for column in _iterate_column(table, table.columns.path, 65_536):
            with _guard_reading(table.name):
                paths = column.to_pylist()
            names += [clean_name(path) if path else default for path, default in zip(paths, unnamed, strict=False)]
    return names


def _iterate_files(table: _Table, most: int) -> Iterator[list[bytes]]:
    """The images of a table as files, at most `most` at a time; rows without an image are empty files."""
    empty = 0
    for column in _iterate_column(table, table.columns.bytes, most):
        empty += column.null_count
        with _guard_reading(table.name):
            files = column.to_pylist()
        yield [file or b"" for file in files]
    if empty == table.rows:
        raise Rejection(
            RejectionCode.UNREADABLE_MEMBER,
            f"{clean_name(table.name)!r} has no image's bytes. Embed the files (`embed_external_files`).",
            table.name,
        )


def _iterate_column(table: _Table, column: str, batch_rows: int) -> Iterator[Any]:
    # Pages are read one after the other, so that memory does not grow with the size of a row group.
    with _guard_reading(table.name), pq.ParquetFile(table.path, pre_buffer=False, buffer_size=BATCH_BYTES) as file:
        seen = 0
        for batch in file.iter_batches(batch_rows, columns=[column], use_threads=False):
            found = batch.column(0)
            if pa.types.is_struct(found.type):
                found = found.flatten()[0]
            seen += len(found)
            yield found
        if seen != table.rows:
            raise _make_unreadable(table.name, f": it has {seen:,} rows and declares {table.rows:,}")


@contextmanager
def _guard_reading(name: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, NotImplementedError):
        raise _make_unreadable(name) from None


def _make_unreadable(name: str, why: str = "") -> Rejection:
    return Rejection(
        RejectionCode.BAD_TABLE, f"{clean_name(name)!r} cannot be read as Parquet{why}. Write it again.", name
    )
