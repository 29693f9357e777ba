"""Images in an archive's folders: `class/file` or `split/class/file`, with or without folders around everything."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec, FolderUse
from worker.ingest.archives.members import Archive
from worker.ingest.images.batches import iterate_cuts
from worker.ingest.images.formats import HEAD_BYTES, is_image, is_refused_image
from worker.ingest.rejection import (
    IngestLimits,
    Rejection,
    clean_name,
    format_size,
    list_some,
    make_broken_files,
    make_no_images,
)
from worker.ingest.sources.base import ImageFiles, LeftOut, check_classes
from worker.ingest.sources.file_tables import FileTable, find_folder_split, read_file_tables, require_agreement
from worker.ingest.sources.split_folders import place_images, split_named
from worker.ingest.splits import NO_SPLIT

READ_EXTENSIONS = frozenset({"png", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib"})
# Skipping these would lose images silently.
REFUSED_EXTENSIONS = frozenset(
    {"gif", "tif", "tiff", "heic", "heif", "avif", "svg", "jp2", "psd", "raw", "dcm", "ppm", "pgm"}
)
NAMED_EXTENSIONS = READ_EXTENSIONS | REFUSED_EXTENSIONS
MAX_SHOWN_FOLDERS = 3


class FolderSource(ImageFiles):
    """An archive of image files in folders, sorted by split, class and name, however it was packed.

    Raises:
        Rejection: names a member that does not fit.
    """

    def __init__(self, archive: Archive, spec: DatasetSpec, limits: IngestLimits) -> None:
        self.kind = f"image folder in {archive.kind}"
        images, self.faults, self.passed_over = _find_images(archive, limits)
        if not images and self.faults:
            raise make_broken_files(self.faults, can_skip=False)
        if not images:
            example = f" It has, for example, {clean_name(self.passed_over[0])!r}." if self.passed_over else ""
            raise make_no_images(
                "The archive has no PNG, JPEG, WebP or BMP file. Pack folders named after the classes, with images in "
                f"them.{example}"
            )
        table = read_file_tables(archive, limits)
        self.passed_over = [name for name in self.passed_over if name not in set(table.names)]
        row_of, missing = table.match(names := [archive.names[row] for row in images])
        if table.names:
            table.require_images(row_of, names)
        try:
            if table.labels is not None:
                members = np.array(images)[self._place_by_table(names, row_of, table, spec, limits)]
            else:
                members = self._place(archive, images, spec, limits)
            self._archive = archive.select(members)
        except Rejection as rejection:
            if self.faults and not spec.skip_broken:
                # Perhaps no file of a class or a split is readable.
                raise make_broken_files(self.faults) from rejection
            if rejection.code in (RejectionCode.UNEXPECTED_LAYOUT, RejectionCode.TOO_FEW_CLASSES):
                hint = describe_labels_elsewhere(archive.names, self.passed_over, table.unread)
                raise Rejection(rejection.code, f"{rejection.detail} {hint}".rstrip(), rejection.member) from rejection
            raise
        self.names = self._archive.names
        self.notes = [*self.notes, *(describe_unread(name, keys) for name, keys in table.unread.items())]
        if table.names:
            row_at = dict(zip(names, row_of.tolist(), strict=True))
            self._take_columns(table, [row_at[name] for name in self.names], missing)

    def _take_columns(self, table: FileTable, rows: Sequence[int], missing: list[str]) -> None:
        """Keep the columns of the images, and list rows and images that have no counterpart."""
        self.columns = {
            name: [None if row < 0 else values[row] for row in rows] for name, values in table.columns.items()
        }
        if missing:
            self.left_out = [*self.left_out, LeftOut(f"rows of {table.called} without an image", missing)]
        if table.unnamed:
            self.left_out = [*self.left_out, LeftOut("columns without a name", table.unnamed)]
        without = [name for name, row in zip(self.names, rows, strict=True) if row < 0]
        if without and table.labels is None:
            self.left_out = [*self.left_out, LeftOut(f"columns of images without a row in {table.called}", without)]

    def _place_by_table(
        self,
        names: Sequence[str],
        row_of: NDArray[np.int64],
        table: FileTable,
        spec: DatasetSpec,
        limits: IngestLimits,
    ) -> NDArray[np.int64]:
        """Read classes and splits from a table, and return the places in `names` that are used, in order."""
        assert table.labels is not None
        labels = [None if row < 0 else table.labels[row] for row in row_of.tolist()]
        kept = [place for place, label in enumerate(labels) if label is not None]
        without_row = sorted(names[place] for place in np.flatnonzero(row_of < 0).tolist())
        without_label = sorted(
            name for name, row, label in zip(names, row_of, labels, strict=True) if row >= 0 and not label
        )
        of_class = [label for label in labels if label is not None]
        require_agreement([names[place] for place in kept], of_class, table)
        self.classes = check_classes(sorted(set(of_class)), limits, 1 if spec.adds_to else 2)
        label_of = {name: label for label, name in enumerate(self.classes)}
        splits = [table.splits[row_of[place]] for place in kept]
        if all(split == NO_SPLIT for split in splits):
            splits = [find_folder_split(names[place]) for place in kept]
        keys = list(zip(splits, of_class, (names[place] for place in kept), strict=True))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self.labels = np.array([label_of[name] for name in of_class], np.int32)[order]
        self.given_splits = np.array(splits, np.int8)[order]
        self.left_out = [
            *([LeftOut(f"images without a row in {table.called}", without_row)] if without_row else []),
            *([LeftOut(f"images without a label in {table.called}", without_label)] if without_label else []),
        ]
        self.notes = [f"Labels are those of the table {table.called}."]
        return np.array(kept, np.int64)[order]

    def _place(
        self, archive: Archive, images: Sequence[int], spec: DatasetSpec, limits: IngestLimits
    ) -> NDArray[np.int64]:
        """Read classes and splits from the names of `images`. Returns the members to use, in order."""
        names, uses = archive.names, spec.splits.folders
        if spec.adds_to and not uses:
            uses = _find_only_split(names)
        paths = [names[row] for row in images]
        wrapper = ""
        # Drop folders around everything, unless no class would remain.
        while (
            len({path.partition("/")[0] for path in paths}) == 1
            and min(path.count("/") for path in paths) > 1
            and not (uses.keys() & {paths[0].partition("/")[0]})
        ):
            wrapper += f"{paths[0].partition('/')[0]}/"
            paths = [path.partition("/")[2] for path in paths]
        if strays := _find_strays(paths):
            raise _make_stray(wrapper, strays, len(paths))
        placed = place_images(paths, uses)
        of_class = [path.partition("/")[0] for path in placed.paths]
        # Images added to a dataset may be of one class.
        self.classes = check_classes(sorted(set(of_class)), limits, 1 if spec.adds_to else 2)
        label_of = {name: label for label, name in enumerate(self.classes)}
        members = [images[row] for row in placed.rows]
        # Zeros instead of slashes sort folder by folder.
        keys = [
            (split, path.replace("/", "\0"), names[member])
            for split, path, member in zip(placed.splits, placed.paths, members, strict=True)
        ]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self.labels = np.array([label_of[name] for name in of_class], np.int32)[order]
        self.given_splits = np.array(placed.splits, np.int8)[order]
        self.left_out = [
            *_iterate_left_out("images without labels in", placed.unlabelled, images, names),
            *_iterate_left_out("images that `splits.folders` ignores in", placed.ignored, images, names),
            *_iterate_without_images(archive.folders, names, images),
        ]
        self.notes = _describe_inner_folders(placed.paths)
        return np.array(members, np.int64)[order]

    def iterate_parts(self, row_bytes: int) -> Iterator[tuple[Sequence[str], Callable[[int], bytes]]]:
        for first, end in iterate_cuts(self._archive.table["packed"], row_bytes):
            part = self._archive.select(np.arange(first, end))
            yield part.names, part.read


def _find_images(archive: Archive, limits: IngestLimits) -> tuple[list[int], list[Rejection], list[str]]:
    """Return positions of images, faults of unreadable ones, and names of files that are not images.

    The content decides where the name does not.
    """
    images: list[int] = []
    ignored: list[str] = []
    faults = [*archive.faults, *_iterate_too_large(archive, limits)]
    fault_of = {fault.member: fault for fault in faults}
    known = set(map(clean_name, archive.names)) if faults else set()
    refused = [fault for fault in faults if fault.member not in known]
    for row, name in enumerate(archive.names):
        extension = _get_extension(name)
        head = b"" if extension in NAMED_EXTENSIONS else archive.head(row, HEAD_BYTES)
        if extension in READ_EXTENSIONS or is_image(head):
            if fault := fault_of.get(clean_name(name)):
                refused.append(fault)
            else:
                images.append(row)
        elif extension in REFUSED_EXTENSIONS or is_refused_image(head):
            what = "has a format that is not read. Convert it to PNG, JPEG, WebP or BMP."
            refused.append(Rejection(RejectionCode.UNSUPPORTED_IMAGE, f"{clean_name(name)!r} {what}", name))
        else:
            ignored.append(name)
    return images, refused, ignored


def _iterate_too_large(archive: Archive, limits: IngestLimits) -> Iterator[Rejection]:
    for row in np.flatnonzero(archive.table["size"] > limits.member_bytes).tolist():
        name = archive.names[row]
        yield Rejection(
            RejectionCode.MEMBER_TOO_LARGE,
            f"{clean_name(name)!r} has {format_size(int(archive.table['size'][row]))}; an image file may have "
            f"{format_size(limits.member_bytes)}. Save it smaller.",
            name,
        )


def _find_only_split(names: Sequence[str]) -> dict[str, FolderUse]:
    """Return the one folder around all images if it is named like a split, so that test images alone can be added."""
    tops = {name.partition("/")[0] for name in names}
    use = split_named(next(iter(tops))) if len(tops) == 1 else None
    return {next(iter(tops)): cast(FolderUse, use[0])} if use and not use[1] else {}


def _find_strays(paths: Sequence[str]) -> list[str]:
    """Refuse images outside of class folders: at the top, or next to class folders."""
    flat = [path for path in paths if "/" not in path]
    tops = {path.partition("/")[0] for path in paths}
    if flat or len(tops) > 1:
        return flat
    beside = [path for path in paths if path.count("/") == 1]
    return [] if len(beside) == len(paths) else beside


def _make_stray(wrapper: str, strays: Sequence[str], count: int) -> Rejection:
    example = wrapper + strays[0]
    if len(strays) == count:
        fault = (
            f"All {count:,} images lie in one folder, such as {clean_name(example)!r}, so nothing says their classes."
        )
    elif len(strays) == 1:
        fault = f"{clean_name(example)!r} is in no class folder. Move it, or remove it."
    else:
        fault = f"{len(strays):,} images, such as {clean_name(example)!r}, are in no class folder. Move or remove them."
    return Rejection(
        RejectionCode.UNEXPECTED_LAYOUT, f"{fault} Files must be at `class/file` or `split/class/file`.", example
    )


def _describe_inner_folders(paths: Sequence[str]) -> list[str]:
    """Describe folders inside classes, which may have been meant as classes."""
    inner: dict[str, set[str]] = {}
    for path in paths:
        parts = path.split("/", 2)
        if len(parts) > 2:
            inner.setdefault(parts[0], set()).add(parts[1])
    several = sorted(name for name, folders in inner.items() if len(folders) > 1)
    if not several:
        return []
    folders = ", ".join(repr(clean_name(name, 60)) for name in sorted(inner[several[0]])[:MAX_SHOWN_FOLDERS])
    return [
        f"{len(several):,} {'class has' if len(several) == 1 else 'classes have'} several folders inside: "
        f"{clean_name(several[0])!r} has {len(inner[several[0]]):,}, such as {folders}. All images in them are of that "
        "class. If they are the classes, pack them without the outer folder."
    ]


def _iterate_left_out(
    what: str, by_folder: Mapping[str, list[int]], images: Sequence[int], names: Sequence[str]
) -> Iterator[LeftOut]:
    for folder, rows in by_folder.items():
        yield LeftOut(f"{what} the folder {clean_name(folder)!r}", sorted(names[images[row]] for row in rows))


def _iterate_without_images(folders: Sequence[str], names: Sequence[str], images: Sequence[int]) -> Iterator[LeftOut]:
    """Yield the topmost folders without images, next to or below folders with images."""
    full = {""}
    for row in images:
        parent = names[row]
        while (parent := parent.rpartition("/")[0]) not in full:
            full.add(parent)
    seen: set[str] = set()
    for path in (*(f"{folder}/" for folder in folders), *names):
        while (path := path.rpartition("/")[0]) and path not in seen:
            seen.add(path)
    empty = sorted(folder for folder in seen if folder not in full and folder.rpartition("/")[0] in full)
    if empty:
        yield LeftOut("folders without images", empty)


def describe_unread(name: str, columns: Sequence[str]) -> str:
    """Say why a table next to the images is not read."""
    named = [repr(clean_name(column)) if column else "a column without a name" for column in columns]
    has = list_some(named, MAX_SHOWN_FOLDERS)
    return f"The table {clean_name(name)!r} is not read: it has {has}, but no column `file` or `file_name`."


_TABLE_EXTENSIONS = frozenset({"csv", "tsv", "xlsx", "xls"})
_NOTE_EXTENSIONS = frozenset({"txt", "xml"})  # one file per image, as in YOLO and Pascal VOC


def describe_labels_elsewhere(names: Sequence[str], others: Sequence[str], unread: Mapping[str, Sequence[str]]) -> str:
    """Describe files that probably contain the labels, and say what to do. Empty without such files.

    Args: names are of all files, others of files that are not images, unread of tables, with their columns.
    """
    notes = [name for name in others if _get_extension(name) in _NOTE_EXTENSIONS]
    stems = {_get_stem(name) for name in set(names) - set(others)}
    of_images = [name for name in notes if _get_stem(name) in stems]
    annotations = [name for name in others if _get_extension(name) == "json" and "annotation" in name.lower()]
    if of_images or annotations:
        seen = clean_name((of_images or annotations)[0])
        return (
            f"{seen!r} looks like boxes or outlines of objects. Heldout learns one class for each image: cut the "
            "objects out, and put each into a folder named after its class."
        )
    table = next((name for name in others if _get_extension(name) in _TABLE_EXTENSIONS), None)
    if unread:
        return describe_unread(*next(iter(unread.items())))
    if table is not None:
        return (
            f"The table {clean_name(table)!r} may say the classes. It is read if it is called `labels.csv` and has the "
            "columns `file` and `label`."
        )
    return ""


def _get_extension(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2].lower()


def _get_stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]
