"""Writes a job's `predictions.npz` as a CSV table, one line per image, while it is sent."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from analysis.arrays.npy_rows import NpyRows
from models.blob_files import guard_reading, open_zipped
from models.blobs import Blobs
from models.digests import FileDigest

# Values per piece. Writing one takes a few milliseconds, for which other requests wait.
VALUES_AT_ONCE = 5000
# Spreadsheets treat texts with these beginnings as formulas.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def iterate_csv(blobs: Blobs, key: str, classes: Sequence[str], expected: FileDigest | None = None) -> Iterator[bytes]:
    """Yield the table in UTF-8 pieces: `split,index,file,label,answer,correct,probability,p_<class>…`.

    `file` is empty if the images have no names.

    Args:
        classes: the dataset's classes, for files of earlier releases, which do not contain them.
        expected: the digest of the stored file, if known.
    Raises:
        BlobMissing: before the first piece.
        ArtifactDamaged, StorageUnavailable: at any piece. With `expected`, ArtifactDamaged only before the first one.
    """
    with guard_reading(key):
        with open_zipped(blobs, key, expected) as archive:
            members = set(archive.namelist())
            if "classes.npy" in members:
                with archive.open("classes.npy") as member:
                    classes = [name for block in NpyRows(member).blocks(VALUES_AT_ONCE) for name in block.tolist()]
        heads = ("split", "index", "file", "label", "answer", "correct", "probability")
        yield _write_lines([[*heads, *(f"p_{name}" for name in classes)]])
        shown = [_make_harmless(name) for name in classes]
        for split in SPLITS:
            if f"{split}_indices.npy" in members:
                yield from _split_chunks(blobs, key, split, shown, has_files=f"{split}_files.npy" in members)


def _split_chunks(blobs: Blobs, key: str, split: str, classes: Sequence[str], *, has_files: bool) -> Iterator[bytes]:
    rows_at_once = max(1, VALUES_AT_ONCE // max(1, len(classes)))
    with ExitStack() as stack:

        def iterate_blocks(what: str) -> Iterator[NDArray[Any]]:
            # Each array opens the archive separately, so that each has its own read-ahead.
            archive = stack.enter_context(open_zipped(blobs, key))
            return NpyRows(stack.enter_context(archive.open(f"{split}_{what}.npy"))).blocks(rows_at_once)

        files = iterate_blocks("files") if has_files else None
        for indices, labels, probabilities in zip(
            iterate_blocks("indices"), iterate_blocks("labels"), iterate_blocks("probabilities"), strict=True
        ):
            names = [""] * len(indices) if files is None else [_make_harmless(name) for name in next(files).tolist()]
            answers = probabilities.argmax(axis=1)
            texts = probabilities.astype(str)  # the shortest text that parses to the same float32
            rows = zip(indices.tolist(), names, labels.tolist(), answers.tolist(), texts.tolist(), strict=True)
            yield _write_lines(
                [split, index, name, classes[label], classes[answer], _WORDS[label == answer], row[answer], *row]
                for index, name, label, answer, row in rows
            )


_WORDS = {True: "true", False: "false"}


def _write_lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _make_harmless(text: str) -> str:
    """Prefix a text with an apostrophe if a spreadsheet would treat it as a formula. Numbers are harmless."""
    if not text.startswith(FORMULA_STARTS):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
