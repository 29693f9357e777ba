"""Tables next to images: their labels, splits and other columns by file, as CSV, Parquet or COCO's JSON.

`labels.csv` and `metadata.csv` have a row for each image: `file` or `file_name`, and optionally `label` and `split`.
Any other column stays with the dataset, such as the patient or the camera.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.columns import Columns
from analysis.arrays.dataset import SPLITS
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import MAX_COLUMN_CHARACTERS, MAX_COLUMNS, MAX_VALUE_CHARACTERS
from worker.ingest.archives.members import Archive
from worker.ingest.rejection import IngestLimits, Rejection, clean_name, format_size, list_some
from worker.ingest.sources.split_folders import SPLIT_NAMES
from worker.ingest.splits import NO_SPLIT

STEMS = frozenset({"labels", "metadata"})
FILE_COLUMNS, LABEL_COLUMNS = ("file", "file_name", "filename"), ("label", "class")
SPLIT_COLUMN = "split"
# What pandas calls an index without a name, in CSV, in CSV that it has read before, and in Parquet.
_NO_NAME = re.compile(r"|Unnamed: [\d.]+|__index_level_\d+__")
MAX_TABLE_BYTES = 256 * 1024**2
SHOWN = 5

Rows = list[dict[str, str | None]]


@dataclass
class FileTable:
    """The rows of all tables of an upload.

    names: of the tables. folders, files: (rows,) the folder of the row's table, and the file as the row names it.
    labels: None if no table has a column of them. columns: every other column; None for rows of tables that do not
    have it. unread: tables that name no files, and their columns. unnamed: columns without a name, by their place.
    """

    names: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    labels: list[str | None] | None = None
    splits: list[int] = field(default_factory=list)
    columns: dict[str, list[str | None]] = field(default_factory=dict)
    unread: dict[str, list[str]] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)

    @property
    def called(self) -> str:
        """The name of the table, or of the first one."""
        return repr(clean_name(self.names[0]))

    def match(self, images: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
        """Return the row of each image, or -1, and the files of rows without an image.

        A file is found by its path below the table's folder, else by the end of its path, else by its name alone. The
        last two only count if one image fits.
        """
        ends: dict[int, dict[str, int]] = {}
        by_path = {name: place for place, name in enumerate(images)}

        def find(folder: str, file: str) -> int:
            place = by_path.get(f"{folder}/{file}" if folder else file, -1)
            for depth in (file.count("/"), 0):
                if place < 0:
                    known = ends[depth] = ends.get(depth) or _list_ends(images, depth)
                    place = known.get(_take_end(file, depth), -1)
            return place

        row_of, missing = np.full(len(images), -1, np.int64), []
        for row, (folder, file) in enumerate(zip(self.folders, self.files, strict=True)):
            place = find(folder, file)
            if place < 0:
                missing.append(file or "(no name)")
            elif row_of[place] >= 0:
                raise _make_bad(self.called, f"has two rows for {clean_name(file)!r}. Leave one of them out.", file)
            else:
                row_of[place] = row
        return row_of, missing

    def require_images(self, row_of: NDArray[np.int64], images: Sequence[str]) -> None:
        """Refuse a table that fits none of the images. Raises Rejection."""
        if not (row_of >= 0).any():
            raise _make_bad(
                self.called,
                f"has no row for any image. Its files are called as {clean_name(self.files[0])!r}, and the images as "
                f"{clean_name(images[0])!r}.",
                self.names[0],
            )


def _take_end(path: str, depth: int) -> str:
    return "/".join(path.split("/")[-depth - 1 :])


def _list_ends(images: Sequence[str], depth: int) -> dict[str, int]:
    """Return the place of each image by its file and this many folders above it; -1 if several have the same."""
    found: dict[str, int] = {}
    for place, name in enumerate(images):
        end = _take_end(name, depth)
        found[end] = -1 if end in found else place
    return found


def read_file_tables(archive: Archive, limits: IngestLimits) -> FileTable:
    """Read the tables next to an archive's images. Raises Rejection."""
    table = FileTable()
    for row, name in enumerate(archive.names):
        stem, _, extension = name.rpartition("/")[2].lower().rpartition(".")
        is_table = stem in STEMS and extension in {"csv", "tsv", "parquet"}
        if not is_table and not (extension == "json" and _looks_like_coco(archive, row)):
            continue
        if archive.table["size"][row] > MAX_TABLE_BYTES:
            size = format_size(int(archive.table["size"][row]))
            raise _make_bad(
                repr(clean_name(name)), f"has {size}; at most {format_size(MAX_TABLE_BYTES)} are read.", name
            )
        content = archive.read(row)
        _add(table, name, *_READERS[extension](content, name), limits)
    return table


def _add(
    table: FileTable, name: str, keys: Sequence[str], rows: Sequence[Mapping[str, str | None]], limits: IngestLimits
) -> None:
    """Add the rows of one table. Raises Rejection."""
    called, folder = repr(clean_name(name)), name.rpartition("/")[0]
    doubled = [key for key, count in Counter(keys).items() if count > 1 and not _NO_NAME.fullmatch(key)]
    if doubled:
        shown = list_some([repr(clean_name(key)) for key in doubled], SHOWN)
        raise _make_bad(called, f"has several columns called {shown}. Rename or leave out all but one.", name)
    file_column = next((key for key in keys if key.lower() in FILE_COLUMNS), None)
    if file_column is None:
        table.unread[name] = list(keys)
        return
    if not rows:
        raise _make_bad(called, "has no rows.", name)
    label_column = next((key for key in keys if key.lower() in LABEL_COLUMNS), None)
    split_column = next((key for key in keys if key.lower() == SPLIT_COLUMN), None)
    others = [
        key for key in keys if key not in (file_column, label_column, split_column) and not _NO_NAME.fullmatch(key)
    ]
    table.unnamed += [f"{name}, column {place}" for place, key in enumerate(keys, 1) if _NO_NAME.fullmatch(key)]
    if len(others) > MAX_COLUMNS:
        raise _make_bad(
            called, f"has {len(others)} other columns; at most {MAX_COLUMNS} are kept. Leave some out.", name
        )
    too_long = [key for key in others if len(key) > MAX_COLUMN_CHARACTERS]
    if too_long:
        raise _make_bad(
            called,
            f"has a column whose name has {len(too_long[0])} characters, {clean_name(too_long[0])!r}; at most "
            f"{MAX_COLUMN_CHARACTERS} are kept. Shorten it.",
            name,
        )
    unreadable = [clean_name(key) for key in others if clean_name(key) != key]
    if unreadable:
        raise _make_bad(called, f"has control characters in a column's name, '{unreadable[0]}'. Rename it.", name)
    if len(table.files) + len(rows) > limits.images:
        raise _make_bad(called, f"has {len(rows):,} rows; at most {limits.images:,} images are taken.", name)
    before = len(table.files)
    table.names.append(name)
    for row in rows:
        table.folders.append(folder)
        table.files.append((row[file_column] or "").strip().replace("\\", "/").removeprefix("./"))
        table.splits.append(_read_split(row[split_column] if split_column else None, called, name))
    if label_column is not None:
        known = [None] * before if table.labels is None else table.labels
        table.labels = known + [(row[label_column] or "").strip() or None for row in rows]
    elif table.labels is not None:
        table.labels += [None] * len(rows)
    for key in others:
        column = table.columns.setdefault(key, [])
        column += [None] * (before - len(column))
        column += [(row[key] or "").strip()[:MAX_VALUE_CHARACTERS] or None for row in rows]
    for column in table.columns.values():
        column += [None] * (len(table.files) - len(column))


def _read_split(text: str | None, called: str, name: str) -> int:
    if text is None or not text.strip():
        return NO_SPLIT
    split = SPLIT_NAMES.get(text.strip().lower())
    if split is None:
        raise _make_bad(called, f"names the split {clean_name(text)!r}; expected train, validation or test.", name)
    return SPLITS.index(split)


def _read_csv(content: bytes, name: str) -> tuple[list[str], Rows]:
    called = repr(clean_name(name))
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:  # As in UTF-16 without a mark.
            raise ValueError
    except ValueError:
        raise _make_bad(called, "is not UTF-8. Save it as UTF-8.", name) from None
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    rows: Rows = []
    try:
        keys = [" ".join(key.split()) for key in reader.fieldnames or ()]
        reader.fieldnames, first_line = keys, reader.line_num + 1
        for row in reader:
            if None in row or None in row.values():
                is_one = first_line == reader.line_num
                lines = f"line {first_line}" if is_one else f"the row in lines {first_line} to {reader.line_num}"
                hint = "" if is_one else " Perhaps a quotation mark is missing."
                why = f"has another number of values in {lines} than in its head.{hint}"
                raise _make_bad(called, why, name)
            rows.append(row)
            first_line = reader.line_num + 1
    except csv.Error as error:
        raise _make_bad(called, f"cannot be read as a table ({error}).", name) from None
    return keys, rows


def _read_parquet(content: bytes, name: str) -> tuple[list[str], Rows]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.ParquetFile(io.BytesIO(content)).read(use_threads=False)
        keys, columns = [str(key) for key in found.column_names], [column.to_pylist() for column in found.columns]
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, NotImplementedError):
        raise _make_bad(repr(clean_name(name)), "cannot be read as Parquet. Write it again.", name) from None
    return keys, [
        {key: None if value is None else str(value) for key, value in zip(keys, values, strict=True)}
        for values in zip(*columns, strict=True)
    ]


def _looks_like_coco(archive: Archive, row: int) -> bool:
    head = archive.head(row, 4096)
    return b'"images"' in head or b'"annotations"' in head or b'"categories"' in head


def _read_coco(content: bytes, name: str) -> tuple[list[str], Rows]:
    """Read the one label of each image. Raises Rejection if images have several."""
    called = repr(clean_name(name))
    try:
        found = json.loads(content)
        classes = {entry["id"]: str(entry["name"]) for entry in found["categories"]}
        files = {entry["id"]: str(entry["file_name"]) for entry in found["images"]}
        labels: dict[Any, set[str]] = {key: set() for key in files}
        for entry in found["annotations"]:
            labels[entry["image_id"]].add(classes[entry["category_id"]])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _make_bad(called, "cannot be read as COCO's `images`, `annotations` and `categories`.", name) from None
    several = [key for key, of_image in labels.items() if len(of_image) > 1]
    if several:
        shown = ", ".join(sorted(labels[several[0]])[:SHOWN])
        raise _make_bad(
            called,
            f"gives {len(several):,} of {len(files):,} images several labels, such as "
            f"{clean_name(files[several[0]])!r}: {clean_name(shown)}. Heldout learns one class for each image: cut the "
            "objects out, or keep one label.",
            name,
        )
    split = next((word for word in SPLIT_NAMES if word in name.rpartition("/")[2].lower()), None)
    return ["file", "label", "split"], [
        {"file": file, "label": next(iter(labels[key]), None), "split": None if split is None else SPLIT_NAMES[split]}
        for key, file in files.items()
    ]


_READERS = {
    "csv": _read_csv,
    "tsv": _read_csv,
    "parquet": _read_parquet,
    "json": _read_coco,
}


def require_agreement(images: Sequence[str], labels: Sequence[str], table: FileTable) -> None:
    """Refuse a table whose labels differ from the class folders of its images. Raises Rejection with both."""
    known = set(labels)
    differ = [
        (image, folder, label)
        for image, label in zip(images, labels, strict=True)
        for folder in image.split("/")[:-1]
        if folder in known and folder != label
    ]
    if differ:
        differing = [
            f"{clean_name(image)!r} is in {clean_name(folder)!r}, the table says {clean_name(label)!r}"
            for image, folder, label in differ
        ]
        listed = list_some(differing, SHOWN)
        raise _make_bad(
            table.called,
            f"and the class folders disagree on {len(differ):,} of {len(images):,} images: {listed}. Correct one of "
            "the two.",
            differ[0][0],
        )


def find_folder_split(path: str) -> int:
    """Return the split that one of a path's folders is called by, else NO_SPLIT."""
    named = [SPLIT_NAMES[part.lower()] for part in path.split("/")[:-1] if part.lower() in SPLIT_NAMES]
    return SPLITS.index(named[0]) if named else NO_SPLIT


def group_by_column(columns: Columns, column: str, names: Sequence[str]) -> NDArray[np.int64]:
    """Return (images,) a number for each value of a column, numbered as they come.

    Raises:
        Rejection: `group_unmatched` if there is no such column, or an image has no value.
    """
    if column not in columns:
        known = ", ".join(repr(clean_name(name)) for name in columns) or "none"
        detail = f"There is no column {clean_name(column)!r} to group by; the columns are {known}."
        raise Rejection(RejectionCode.GROUP_UNMATCHED, detail)
    values = columns[column]
    without = [name for name, value in zip(names, values, strict=True) if value is None]
    if without:
        raise Rejection(
            RejectionCode.GROUP_UNMATCHED,
            f"{len(without):,} of {len(names):,} images have no value in the column {clean_name(column)!r}, such as "
            f"{clean_name(without[0])!r}. Each needs one to be grouped.",
            without[0],
        )
    _, groups = np.unique(np.array(values, str), return_inverse=True)
    return groups.astype(np.int64)


def _make_bad(called: str, why: str, member: str) -> Rejection:
    return Rejection(RejectionCode.BAD_TABLE, f"The table {called} {why}", member)
