"""Parquet in the Hugging Face image layout: a column `image` of {bytes, path} and a column of labels."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


class _Table:
    """One Parquet file, called `name`.

    split: according to its name. rows: their number. classes: names for integer labels.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.name, self._path = name, path
        self.split = _split_in(name)
        with self._guard_reading(), pq.ParquetFile(path) as file:
            self.rows = file.metadata.num_rows
            self._find_columns(file.schema_arrow)

    def _find_columns(self, schema: Any) -> None:
        features = _read_features(schema)
        by_feature = {str(feature.get("_type")): key for key, feature in reversed(features.items())}
        image = by_feature.get("Image") or next((key for key in IMAGE_NAMES if key in schema.names), None)
        label = by_feature.get("ClassLabel") or next((key for key in LABEL_NAMES if key in schema.names), None)
        if image is None or label is None or not {image, label} <= set(schema.names):
            raise Rejection(
                RejectionCode.BAD_TABLE,
                f"{clean_name(self.name)!r} has the columns {clean_name(', '.join(schema.names))}. Expected are "
                "`image` (bytes, path) and `label`, as Hugging Face's `datasets` writes them.",
                self.name,
            )
        type_ = schema.field(image).type
        self.label, self._image, self._path_in_image = label, image, ""
        if pa.types.is_struct(type_):
            fields = [type_.field(index).name for index in range(type_.num_fields)]
            self._path_in_image = f"{image}.path" if "path" in fields else ""
            if "bytes" in fields:
                self._image, type_ = f"{image}.bytes", type_.field("bytes").type
        if not (pa.types.is_binary(type_) or pa.types.is_large_binary(type_)):
            raise Rejection(
                RejectionCode.BAD_TABLE,
                f"The column {clean_name(image)!r} of {clean_name(self.name)!r} is of type "
                f"{clean_name(str(type_), 80)}; expected are image files as bytes. Write them with "
                "`Dataset.cast_column(…, Image())` and `to_parquet`.",
                self.name,
            )
        names = features.get(label, {}).get("names")
        self.classes = tuple(map(str, names)) if isinstance(names, list) else None

    def read_labels(self) -> list[NDArray[Any]]:
        """Return the labels in parts, as integers or text."""
        return [self._convert_labels(column) for column in self._iterate_column(self.label, 65_536)]

    def _convert_labels(self, column: Any) -> NDArray[Any]:
        if column.null_count:
            raise make_bad_labels(f"{clean_name(self.name)!r} has rows without a label. Leave them out.", self.name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if not (pa.types.is_integer(column.type) or is_text):
            raise make_bad_labels(
                f"The labels in {clean_name(self.name)!r} are of type {clean_name(str(column.type), 80)}; expected are "
                "whole numbers or text, one an image.",
                self.name,
            )
        with self._guard_reading():
            return column.to_numpy(zero_copy_only=False).astype(str if is_text else np.int64)

    def read_names(self) -> list[str]:
        """Return the name of each image."""
        unnamed = (f"{self.name}[{row}]" for row in range(self.rows))
        if not self._path_in_image:
            return list(unnamed)
        names: list[str] = []
        for column in self._iterate_column(self._path_in_image, 65_536):
            with self._guard_reading():
                paths = column.to_pylist()
            names += [clean_name(path) if path else default for path, default in zip(paths, unnamed, strict=False)]
        return names

    def iterate_files(self, most: int) -> Iterator[list[bytes]]:
        """Yield image files, at most `most` at a time. Rows without an image are empty files."""
        empty = 0
        for column in self._iterate_column(self._image, most):
            empty += column.null_count
            with self._guard_reading():
                files = column.to_pylist()
            yield [file or b"" for file in files]
        if empty == self.rows:
            raise Rejection(
                RejectionCode.UNREADABLE_MEMBER,
                f"{clean_name(self.name)!r} has no image's bytes. Embed the files (`embed_external_files`).",
                self.name,
            )

    def _iterate_column(self, column: str, batch_rows: int) -> Iterator[Any]:
        # Pages are read one at a time, because a row group may not fit in memory.
        with self._guard_reading(), pq.ParquetFile(self._path, pre_buffer=False, buffer_size=BATCH_BYTES) as file:
            seen = 0
            for batch in file.iter_batches(batch_rows, columns=[column], use_threads=False):
                found = batch.column(0)
                if pa.types.is_struct(found.type):
                    found = found.flatten()[0]
                seen += len(found)
                yield found
            if seen != self.rows:
                raise self._make_unreadable(f": it has {seen:,} rows and declares {self.rows:,}")

    @contextmanager
    def _guard_reading(self) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, NotImplementedError):
            raise self._make_unreadable() from None

    def _make_unreadable(self, why: str = "") -> Rejection:
        return Rejection(
            RejectionCode.BAD_TABLE,
            f"{clean_name(self.name)!r} cannot be read as Parquet{why}. Write it again.",
            self.name,
        )


class TableSource(ImageFiles):
    """One Parquet file, or several in an archive, each with a split or a part of one."""

    def __init__(self, files: Sequence[tuple[Path, str]], passed_over: Sequence[str], limits: IngestLimits) -> None:
        self.kind = "parquet" if len(files) == 1 else f"parquet, {len(files)} files"
        self.passed_over = passed_over
        self._tables = [_Table(path, name) for path, name in files]
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
        self.names = [name for table in self._tables for name in table.read_names()]

    def iterate_parts(self, row_bytes: int) -> Iterator[tuple[Sequence[str], Callable[[int], bytes]]]:
        first = 0
        for table in self._tables:
            for files in table.iterate_files(count_in_batch(row_bytes)):
                yield self.names[first : first + len(files)], files.__getitem__
                first += len(files)


def unpack_tables(archive: Archive, scratch: Path) -> list[tuple[Path, str]]:
    """Unpack the Parquet files of an archive into `scratch`, sorted by split and name."""
    rows = [row for row, name in enumerate(archive.names) if name.lower().endswith(".parquet")]
    files = []
    for row in sorted(rows, key=lambda row: (_order(archive.names[row]), archive.names[row])):
        path = scratch / f"table-{row}.parquet"
        with path.open("wb") as out:
            out.writelines(archive.stream(row))
        files.append((path, archive.names[row]))
    return files


def _order(name: str) -> int:
    split = _split_in(name)
    return SPLITS.index(split) if split else NO_SPLIT


def _split_in(name: str) -> str | None:
    found = SPLIT_IN_NAME.findall(name)
    return SPLIT_NAMES[found[-1].lower()] if found else None


def _read_features(schema: Any) -> dict[str, dict[str, Any]]:
    """Read what Hugging Face's library notes about columns. Empty if it is missing or malformed."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {str(key): feature for key, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _read_labels(tables: Sequence[_Table], limits: IngestLimits) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    first = tables[0]
    for table in tables:
        if table.classes != first.classes:
            raise make_bad_labels(
                f"{clean_name(table.name)!r} names other classes than {clean_name(first.name)!r}.", table.name
            )
    values = [part for table in tables for part in table.read_labels()]
    is_named = first.classes is not None and values[0].dtype.kind == "i"
    return number_classes(values, first.classes if is_named else None, first.label, limits)
