"""Reads a job's `predictions.npz`: images behind a confusion, images that were hard to learn, and the whole as CSV."""

import csv
import heapq
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from analysis.arrays.file_names import FileNames
from analysis.arrays.npy_rows import NpyRows
from heldout.stored.evaluation import SplitName
from heldout.views.results import CellView, MemorizedImageView, MemorizedPage, Mistake
from models.blob_files import guard_reading, open_zipped
from models.blobs import Blobs
from models.digests import FileDigest
from models.store.artifacts import Artifact
from models.views.dataset import get_thumbnail_route

ROWS_AT_ONCE = 2000
Block = NDArray[Any]


def _iterate_blocks(stack: ExitStack, blobs: Blobs, key: str, name: str, rows: int = ROWS_AT_ONCE) -> Iterator[Block]:
    # Each array opens the archive separately, so that each has its own read-ahead.
    archive = stack.enter_context(open_zipped(blobs, key))
    return NpyRows(stack.enter_context(archive.open(f"{name}.npy"))).blocks(rows)


def _iterate_split(
    blobs: Blobs, key: str, members: Set[str], split: str, rows: int = ROWS_AT_ONCE
) -> Iterator[tuple[Block, Block, Block, Block | None]]:
    """Yield positions, labels, probabilities and file names, if any, of the images of a split, block by block."""
    if f"{split}_indices.npy" not in members:
        return
    with ExitStack() as stack:
        arrays = (
            _iterate_blocks(stack, blobs, key, f"{split}_{what}", rows)
            for what in ("indices", "labels", "probabilities")
        )
        files = _iterate_blocks(stack, blobs, key, f"{split}_files", rows) if f"{split}_files.npy" in members else None
        for indices, labels, probabilities in zip(*arrays, strict=True):
            yield indices, labels, probabilities, None if files is None else next(files)


def build_cell_view(
    blobs: Blobs,
    predictions: Artifact,
    classes: Sequence[str],
    dataset_id: str,
    *,
    split: SplitName,
    label: str,
    answer: str,
    limit: int,
) -> CellView:
    """Build the view of the `limit` most confident images of a split with this label and this answer.

    Args:
        classes: class names by position. They contain the label and the answer.
        dataset_id: the dataset that the images belong to.
    Raises:
        BlobMissing, ArtifactDamaged, StorageUnavailable.
    """
    key, place, answered = predictions.key, classes.index(label), classes.index(answer)
    most_confident: list[tuple[float, int, str | None]] = []  # probability, position, file name
    total = 0
    with guard_reading(key), open_zipped(blobs, key, predictions.digest) as archive:
        for indices, labels, probabilities, names in _iterate_split(blobs, key, set(archive.namelist()), split):
            for row in ((labels == place) & (probabilities.argmax(axis=1) == answered)).nonzero()[0].tolist():
                total += 1
                member = None if names is None else str(names[row]) or None
                image = float(probabilities[row, answered]), int(indices[row]), member
                if len(most_confident) < limit:
                    heapq.heappush(most_confident, image)
                else:
                    heapq.heappushpop(most_confident, image)
    return CellView(
        object="cell",
        label=label,
        answer=answer,
        count=total,
        images=[
            Mistake(
                index=index,
                member=member,
                thumbnail=get_thumbnail_route(dataset_id, index),
                label=label,
                answer=answer,
                probability=probability,
            )
            for probability, index, member in sorted(most_confident, reverse=True)
        ],
    )


EXPLANATION = (
    "A high sum of losses means that an image is hard, unlike others of its class, or wrongly labeled: look at the "
    "first ones."
)
NOT_KEPT = (
    "This job did not record the losses of its training images, because it measured them only at the end "
    "(evaluation.train: final) or was started by an earlier release. Train it again to see the hardest images."
)


def build_memorized_page(
    blobs: Blobs,
    predictions: Artifact,
    classes: Sequence[str],
    dataset_id: str,
    *,
    label: int | None,
    after: int,
    limit: int,
) -> MemorizedPage:
    """Build the page of `limit` training images after the first `after`, with the largest sums of losses first.

    Args:
        classes: class names by position.
        dataset_id: the dataset that the job trained on.
        label: position of the wanted class. None for all classes.
    Raises:
        BlobMissing, ArtifactDamaged, StorageUnavailable.
    """
    key = predictions.key
    with guard_reading(key), ExitStack() as stack:
        members = set(stack.enter_context(open_zipped(blobs, key, predictions.digest)).namelist())
        if "train_loss_sums.npy" not in members:
            return MemorizedPage(
                object="list", data=[], has_more=False, next=None, explanation=NOT_KEPT, epochs=None, count=None
            )

        def iterate_blocks(what: str) -> Iterator[Block]:
            return _iterate_blocks(stack, blobs, key, f"train_{what}")

        with open_zipped(blobs, key) as archive, archive.open("train_loss_epochs.npy") as file:
            epochs = int(np.lib.format.read_array(file, allow_pickle=False))
        sums, labels, indices = (
            np.concatenate(list(iterate_blocks(what))) for what in ("loss_sums", "labels", "indices")
        )
        rows = np.arange(len(sums)) if label is None else np.flatnonzero(labels == label)
        wanted = rows[np.argsort(-sums[rows], kind="stable")][after : after + limit]
        answers = _read_values_at(wanted, (block.argmax(axis=1) for block in iterate_blocks("probabilities")))
        names = _read_values_at(wanted, iterate_blocks("files")) if "train_files.npy" in members else {}
    images = [
        MemorizedImageView(
            index=int(indices[row]),
            member=names.get(row) or None,
            thumbnail=get_thumbnail_route(dataset_id, int(indices[row])),
            label=classes[labels[row]],
            answer=classes[answers[row]],
            loss_sum=float(sums[row]),
            loss_mean=float(sums[row]) / max(1, epochs),
        )
        for row in wanted.tolist()
    ]
    end = after + len(images)
    has_more = bool(images) and end < len(rows)
    return MemorizedPage(
        object="list",
        data=images,
        has_more=has_more,
        next=end if has_more else None,
        explanation=EXPLANATION,
        epochs=epochs,
        count=len(rows),
    )


def _read_values_at(rows: NDArray[np.int64], blocks: Iterator[NDArray[Any]]) -> dict[int, Any]:
    """Read the values of some rows from an array that arrives in blocks. Stops after the last wanted row."""
    found: dict[int, Any] = {}
    first = 0
    while len(found) < len(rows):
        block = next(blocks)
        for row in rows[(rows >= first) & (rows < first + len(block))].tolist():
            found[row] = block[row - first].item()
        first += len(block)
    return found


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
        rows_at_once = max(1, VALUES_AT_ONCE // max(1, len(classes)))
        for split in SPLITS:
            for indices, labels, probabilities, files in _iterate_split(blobs, key, members, split, rows_at_once):
                names = [""] * len(indices) if files is None else [_make_harmless(name) for name in files.tolist()]
                answers = probabilities.argmax(axis=1)
                texts = probabilities.astype(str)  # the shortest text that parses to the same float32
                rows = zip(indices.tolist(), names, labels.tolist(), answers.tolist(), texts.tolist(), strict=True)
                yield _write_lines(
                    [split, index, name, shown[label], shown[answer], _WORDS[label == answer], row[answer], *row]
                    for index, name, label, answer, row in rows
                )


def iterate_splits_csv(indices: Mapping[str, NDArray[np.int64]], names: FileNames | None) -> Iterator[bytes]:
    """Yield the images of each split as a CSV table, with a line per image. names: of the dataset's images, if any."""
    yield _write_lines([["split", "index", "file"]])
    for split, rows in indices.items():
        for first in range(0, len(rows), ROWS_AT_ONCE):
            yield _write_lines(
                [split, index, "" if names is None else _make_harmless(names[index])]
                for index in rows[first : first + ROWS_AT_ONCE].tolist()
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


def find_answer(blobs: Blobs, predictions: Artifact, index: int) -> tuple[int, int] | None:
    """Find the answer to an image and its label, as positions of classes. None if the job did not answer it.

    Args:
        index: position of the image in the dataset.
    Raises:
        BlobMissing, ArtifactDamaged, StorageUnavailable.
    """
    with guard_reading(predictions.key), open_zipped(blobs, predictions.key, predictions.digest) as archive:
        members = set(archive.namelist())
    with guard_reading(predictions.key):
        for split in reversed(SPLITS):  # training has the most images, and mistakes are elsewhere
            for indices, labels, probabilities, _ in _iterate_split(blobs, predictions.key, members, split):
                for row in (indices == index).nonzero()[0]:
                    return int(probabilities[row].argmax()), int(labels[row])
    return None


def read_answers(blobs: Blobs, predictions: Artifact) -> dict[int, tuple[SplitName, int]]:
    """Read by position in the dataset in which split of the training an image was, and the position of its answer.

    Raises:
        BlobMissing, ArtifactDamaged, StorageUnavailable.
    """
    answers: dict[int, tuple[SplitName, int]] = {}
    with guard_reading(predictions.key), open_zipped(blobs, predictions.key, predictions.digest) as archive:
        members = set(archive.namelist())
        for split in SPLITS:
            for indices, _, probabilities, _ in _iterate_split(blobs, predictions.key, members, split):
                found = probabilities.argmax(axis=1).tolist()
                answers |= {row: (split, answer) for row, answer in zip(indices.tolist(), found, strict=True)}
    return answers


def read_right(blobs: Blobs, predictions: Artifact, split: str) -> tuple[list[bool], tuple[tuple[int, int], ...]]:
    """Read which images of a split are answered correctly, in the dataset's order, and for each class how many.

    Raises:
        BlobMissing, ArtifactDamaged, StorageUnavailable.
    """
    found: list[tuple[int, bool]] = []
    counts: dict[int, tuple[int, int]] = {}
    classes = 0
    with guard_reading(predictions.key), open_zipped(blobs, predictions.key, predictions.digest) as archive:
        for indices, labels, probabilities, _ in _iterate_split(blobs, predictions.key, set(archive.namelist()), split):
            right, classes = probabilities.argmax(axis=1) == labels, probabilities.shape[1]
            found += zip(indices.tolist(), right.tolist(), strict=True)
            for label, is_right in zip(labels.tolist(), right.tolist(), strict=True):
                before, count = counts.get(label, (0, 0))
                counts[label] = before + is_right, count + 1
    recalls = tuple(counts.get(label, (0, 0)) for label in range(classes))
    return [is_right for _, is_right in sorted(found)], recalls
