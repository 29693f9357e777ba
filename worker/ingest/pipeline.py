"""The steps of an ingest, or of a version derived from another: open, cut splits, decode, audit, preview, report."""

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from analysis.arrays.columns import COLUMNS_FILE, Columns, read_columns, write_columns
from analysis.arrays.dataset import FILES, compute_content_address, compute_split_digests, load, save_beside
from analysis.arrays.file_names import MEMBERS_FILE
from analysis.arrays.pictures import compute_tile_size, draw_tile
from analysis.arrays.relations import FILE_NAME, find_units, save_relations
from heldout.fixes.changes import VersionChanges
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec, GroupColumn
from heldout.stored.audit import IngestedContent, StoredAudit
from worker.ingest.audit import audit, compare_splits, look_again
from worker.ingest.audit.copies import build_relations, find_copies
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.scan import replace_splits, scan
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import (
    IngestLimits,
    Rejection,
    clean_name,
    empty_folder,
    format_size,
    group_by_fault,
    make_out_of_memory,
)
from worker.ingest.sources.base import LeftOut, StoredImages, UploadSource
from worker.ingest.sources.file_tables import group_by_column
from worker.ingest.sources.opening import AddedSource, open_source
from worker.ingest.sources.stored import BaseVersion, DerivedSource
from worker.ingest.splits import Splits, find_groups, make_splits

MAX_NAMES = 20


def run(
    source: Path,
    spec: DatasetSpec,
    target: Path,
    limits: IngestLimits = IngestLimits(),  # noqa: B008 - frozen
    pool: ProcessPool | None = None,
    base: BaseVersion | None = None,
) -> IngestedContent:
    """Ingest the upload in the file `source` into the folder `target`, which is empty or does not exist.

    Writes the four files of the internal format, `audit.json`, `relations.npz`, `members.txt` with the name of each
    image on a line, and a contact sheet `preview/<number>.png` for each class. The images are never all in memory at
    once.

    Args:
        base: the version that the images are added to. If its images have no names, the group rule is ignored.
    Raises:
        Rejection: the upload is rejected. `target` is empty then.
    """
    if base is not None and not base.is_named and not isinstance(spec.group_by, GroupColumn):
        spec = spec.model_copy(update={"group_by": None})

    def open_all(scratch: Path) -> UploadSource:
        upload = open_source(source, spec, scratch, limits)
        return upload if base is None else AddedSource(base, upload, limits)

    return ingest(open_all, source.stat().st_size, spec, target, limits, pool)


def ingest(
    opening: Callable[[Path], UploadSource],
    size_bytes: int,
    spec: DatasetSpec,
    target: Path,
    limits: IngestLimits,
    pool: ProcessPool | None,
) -> IngestedContent:
    """Ingest any source. Raises Rejection, with `target` empty.

    Args: opening receives a folder to unpack into; size_bytes is the size of the source; pool is closed at the end, and
    created if None.
    """
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise ValueError(f"{target} is not empty")
    with _empty_if_broken(target, limits), pool or ProcessPool(limits.processes) as pool:
        scratch = target / ".scratch"
        scratch.mkdir()
        opened = opening(scratch)
        names, labels, given_splits = opened.names, opened.labels, opened.given_splits
        columns = opened.columns
        count = len(names)
        groups = _find_groups(names, columns, spec)
        splits = make_splits(labels, given_splits, spec.splits, groups)
        stored = opened.store(target / "images.npy", spec, limits, pool)
        shutil.rmtree(scratch)
        if stored.skipped:
            kept = np.setdiff1d(np.arange(count), stored.skipped)
            names, labels, given_splits = [names[row] for row in kept.tolist()], labels[kept], given_splits[kept]
            columns = {name: [values[row] for row in kept.tolist()] for name, values in columns.items()}
            count = len(names)
            groups = _find_groups(names, columns, spec)
            splits = make_splits(labels, given_splits, spec.splits, groups)
        dataset = IngestedDataset(
            stored.pixels,
            labels,
            splits.indices,
            opened.classes,
            names,
            stored.value_range,
            groups,
            stored.different,
            stored.copies,
        )
        seen = scan(dataset, pool)
        copies = find_copies(dataset, seen, pool)
        relations = build_relations(copies, groups)
        if splits.cut and (units := find_units(relations)) is not None:
            # Only now is it known which images belong together.
            splits = make_splits(labels, given_splits, spec.splits, units)
            dataset = replace(dataset, splits=splits.indices)
            seen = replace_splits(seen, dataset)
        save_beside(target, dataset.labels, dataset.splits, dataset.classes, dataset.value_range)
        compared = compare_splits(dataset, pool)
        copies = look_again(dataset, compared.undone_by, copies, pool)
        by = spec.group_by.column if isinstance(spec.group_by, GroupColumn) else None
        found = audit(dataset, seen, copies, compared, {name: columns[name] for name in columns if name != by})
        save_relations(build_relations(copies, groups), target / FILE_NAME)
        write_previews(target / "preview", dataset)
        with (target / MEMBERS_FILE).open("w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in names)
        if columns:
            write_columns(columns, target / COLUMNS_FILE)
        written = load(target)
        content = IngestedContent(
            sha256=compute_content_address(written),
            size_bytes=sum((target / name).stat().st_size for name in FILES),
            shape=stored.pixels.shape[1:],
            dtype=stored.pixels.dtype.name,
            value_range=dataset.value_range,
            classes=dataset.classes,
            splits={
                split: {**found.splits[split], "sha256": digest}
                for split, digest in compute_split_digests(written).items()
            },
            different=tuple((first, second) for first, second in dataset.different.tolist()),
        )
        described = _describe_source(size_bytes, opened, stored, dataset, splits)
        audited = StoredAudit.model_validate({"sha256": content.sha256, "source": described, **vars(found)})
        (target / StoredAudit.file_name).write_bytes(audited.to_bytes())
        return content


def _find_groups(names: Sequence[str], columns: Columns, spec: DatasetSpec) -> NDArray[np.int64] | None:
    if isinstance(spec.group_by, GroupColumn):
        return group_by_column(columns, spec.group_by.column, names)
    return find_groups(names, spec.group_by)


@contextmanager
def _empty_if_broken(target: Path, limits: IngestLimits) -> Iterator[None]:
    """Empty `target` if the block fails. Raises Rejection if memory or the disk was too small."""
    try:
        yield
    except BaseException as error:
        empty_folder(target)
        if isinstance(error, MemoryError):
            raise make_out_of_memory(limits) from None
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Rejection(
                RejectionCode.DISK_FULL, "The worker's disk is full. Try again later, or tell the operator."
            ) from None
        raise


def _describe_source(
    size_bytes: int, opened: UploadSource, stored: StoredImages, dataset: IngestedDataset, splits: Splits
) -> dict[str, Any]:
    """Describe format, members and the origin of the splits."""
    return {
        "format": opened.kind,
        "size_bytes": size_bytes,
        "images": len(dataset.labels),
        "encodings": dict(sorted(stored.encodings.items())),
        "passed_over": {
            "count": len(opened.passed_over),
            "names": [clean_name(name) for name in opened.passed_over[:MAX_NAMES]],
        },
        "left_out": [
            {
                "what": left_out.what,
                "count": len(left_out.names),
                "names": [clean_name(name) for name in left_out.names[:MAX_NAMES]],
            }
            for left_out in _list_left_out(opened, stored)
        ],
        "notes": [*opened.notes, *stored.notes],
        "splits": _describe_origins(splits, stored),
        **({"columns": list(opened.columns)} if opened.columns else {}),
        "groups": None if dataset.groups is None else int(np.max(dataset.groups)) + 1,
        **({} if stored.derived is None else {"changes": dict(stored.derived)}),
    }


def _list_left_out(opened: UploadSource, stored: StoredImages) -> list[LeftOut]:
    broken = [
        LeftOut(f"files that cannot be read, {what}", names) for what, names in group_by_fault(stored.faults).items()
    ]
    if stored.derived is not None and stored.skipped:
        broken.append(LeftOut("copies", [opened.names[row] for row in stored.skipped]))
    return [*opened.left_out, *broken]


def _describe_origins(splits: Splits, stored: StoredImages) -> dict[str, str]:
    """Say where each split came from. Splits that a derived version kept come from its predecessor."""
    if stored.derived is None:
        return dict(splits.origin)
    return {split: stored.derived["from"] if origin == "upload" else origin for split, origin in splits.origin.items()}


COLUMNS, ROWS = 10, 4
GAP = 2
BACKGROUND = (128, 128, 128)


def write_previews(folder: Path, dataset: IngestedDataset) -> None:
    """Write `<number>.png` for each class: at most 40 evenly chosen images, train first.

    A class without images gets an empty sheet.
    """
    folder.mkdir()
    order = np.lexsort((dataset.split_of, dataset.labels))
    ends = np.cumsum(np.bincount(dataset.labels, minlength=len(dataset.classes)))
    for label, rows in enumerate(np.split(order, ends[:-1])):
        chosen = (
            rows[np.unique(np.linspace(0, len(rows) - 1, COLUMNS * ROWS).round().astype(np.int64))]
            if len(rows)
            else rows
        )
        draw_contact_sheet(dataset.pixels.take(chosen), dataset.value_range).save(folder / f"{label}.png")


def draw_contact_sheet(images: NDArray[Any], value_range: tuple[float, float]) -> Image.Image:
    """Arrange images (count, height, width, channels) in rows of ten."""
    count, height, width, _ = images.shape
    (tile_width, tile_height), _ = compute_tile_size(height, width)
    rows = max(1, -(-count // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * (tile_width + GAP) + GAP, rows * (tile_height + GAP) + GAP), BACKGROUND)
    for place, image in enumerate(images):
        row, column = divmod(place, COLUMNS)
        at = GAP + column * (tile_width + GAP), GAP + row * (tile_height + GAP)
        sheet.paste(draw_tile(image, value_range), at)
    return sheet


def derive(
    base: BaseVersion,
    spec: DatasetSpec,
    changes: VersionChanges,
    target: Path,
    limits: IngestLimits = IngestLimits(),  # noqa: B008 - frozen
    pool: ProcessPool | None = None,
) -> IngestedContent:
    """Write a version with changes into the folder `target`, as `run` writes an upload.

    Pairs that were marked as different stay marked. If images have no names, the group rule is ignored.

    Raises:
        Rejection: also if nothing would change.
    """
    if not base.is_named and not isinstance(spec.group_by, GroupColumn):
        spec = spec.model_copy(update={"group_by": None})
    report = ingest(lambda scratch: DerivedSource(base, changes, limits), base.size_bytes, spec, target, limits, pool)
    columns = read_columns(target / COLUMNS_FILE)
    if report.sha256 == base.sha256 and columns == base.columns:
        empty_folder(target)
        other = " Cut with another `seed`." if changes.resplit else ""
        raise Rejection(
            RejectionCode.NOTHING_CHANGED,
            f"With these changes {base.called} stays as it is: there is nothing for them to change.{other}",
        )
    return report


def relate(
    content: Path,
    target: Path,
    limits: IngestLimits,
    *,
    names: Path | None = None,
    group_by: str | None = None,
    pool: ProcessPool | None = None,
) -> dict[str, str]:
    """Write the relations of a stored dataset into the folder `target`, and return the digest of each of its splits.

    Args:
        content: the folder of the dataset's files in the internal format.
        names: a file with the name that each image had in the upload, one per line.
        group_by: the upload's group rule. There are no groups without both, or if the rule does not match the names.
    Raises:
        Rejection: a process of the scan died, or needed more memory than it may use.
    """
    images = load(content)
    dataset = IngestedDataset(
        Pixels.of(content / "images.npy"), images.labels, images.splits, images.classes, (), images.value_range
    )
    try:
        with pool or ProcessPool(limits.processes) as pool:
            copies = find_copies(dataset, scan(dataset, pool), pool)
            copies = look_again(dataset, compare_splits(dataset, pool).undone_by, copies, pool)
    except MemoryError:
        raise Rejection(
            RejectionCode.OUT_OF_MEMORY, f"To find copies takes more than {format_size(limits.memory_bytes)} of memory."
        ) from None
    save_relations(build_relations(copies, _read_groups(names, group_by, len(images.labels))), target / FILE_NAME)
    return compute_split_digests(images)


def _read_groups(names: Path | None, group_by: str | None, count: int) -> NDArray[np.int64] | None:
    if names is None or group_by is None:
        return None
    of_images = names.read_text(encoding="utf-8").split("\n")[:-1]
    if len(of_images) != count:
        return None
    try:
        return find_groups(of_images, group_by)
    except Rejection:  # The names fitted at ingest. Copies are worth storing even without groups.
        return None
