"""The layout of an archive: `class/file` or `split/class/file`, with or without folders around everything."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import FolderUse
from heldout.spec.job import MAX_CLASS_CHARACTERS, MAX_CLASS_NAMES_BYTES
from worker.ingest.images.formats import is_image, is_refused_image
from worker.ingest.rejection import (
    IngestLimits,
    Rejection,
    clean_name,
    make_bad_labels,
    make_broken_files,
    make_no_images,
)
from worker.ingest.sources.split_folders import place_images

READ_EXTENSIONS = frozenset({"png", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib"})
# Skipping these would lose images silently.
REFUSED_EXTENSIONS = frozenset(
    {"gif", "tif", "tiff", "heic", "heif", "avif", "svg", "jp2", "psd", "raw", "dcm", "ppm", "pgm"}
)
NAMED_EXTENSIONS = READ_EXTENSIONS | REFUSED_EXTENSIONS
MAX_SHOWN_FOLDERS = 3


@dataclass(frozen=True)
class LeftOut:
    """Members that are not in the dataset though the owner may expect them; `what` describes them."""

    what: str
    names: list[str]


@dataclass(frozen=True)
class Layout:
    """The members that are images, and what their paths say.

    rows: (images,) positions among the archive's members, in the order of split, class and name, so that the same
    folder gives the same dataset however it was packed. labels: (images,) positions in `classes`. given_splits:
    (images,) positions in SPLITS, or NO_SPLIT throughout. ignored: names of files that are not images. left_out: images
    and
    folders that are not in the dataset. faults: of images that cannot be read, known before they are decoded. notes:
    sentences that tell the owner how folders were understood.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int32]
    given_splits: NDArray[np.int8]
    classes: tuple[str, ...]
    ignored: list[str]
    left_out: list[LeftOut]
    faults: list[Rejection]
    notes: list[str]


def read_folder_layout(
    names: Sequence[str],
    limits: IngestLimits,
    uses: Mapping[str, FolderUse] = MappingProxyType({}),
    head_of: Callable[[int], bytes] = lambda row: b"",
    folders: Sequence[str] = (),
    faults: Sequence[Rejection] = (),
    *,
    skip_broken: bool = False,
    least_classes: int = 2,
) -> Layout:
    """Read classes and splits from the members' names.

    Args: uses has the dataset spec's rules for folders. head_of returns the first bytes of a member, for names that do
    not say whether it is an image. folders are those that the archive lists. faults are of members that cannot be read,
    in `names` or not; with skip_broken the others are still used. least_classes is 1 if images
    are added to a dataset.
    Raises:
        Rejection: with a member that does not fit.
    """
    images, refused, ignored = _find_images(names, head_of, faults)
    if not images:
        if refused:
            raise make_broken_files(refused, can_skip=False)
        raise make_no_images(
            "The archive has no PNG, JPEG, WebP or BMP file. Pack folders named after the classes, with images in them."
            + (f" It has, for example, {clean_name(ignored[0])!r}." if ignored else "")
        )
    try:
        return _build_layout(names, limits, uses, folders, images, refused, ignored, least_classes)
    except Rejection as rejection:
        if refused and not skip_broken:
            # All files of a class or a split may be unreadable.
            raise make_broken_files(refused) from rejection
        if rejection.code in (RejectionCode.UNEXPECTED_LAYOUT, RejectionCode.TOO_FEW_CLASSES):
            hint = describe_labels_elsewhere(names, ignored)
            raise Rejection(rejection.code, f"{rejection.detail} {hint}".rstrip(), rejection.member) from rejection
        raise


def _build_layout(
    names: Sequence[str],
    limits: IngestLimits,
    uses: Mapping[str, FolderUse],
    folders: Sequence[str],
    images: Sequence[int],
    refused: list[Rejection],
    ignored: list[str],
    least_classes: int,
) -> Layout:
    paths = [names[row] for row in images]
    wrapper = ""
    # Folders around everything are left out, unless no class would remain.
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
    classes = check_classes(sorted(set(of_class)), limits, least_classes)
    label_of = {name: label for label, name in enumerate(classes)}
    members = [images[row] for row in placed.rows]
    # Zeros in the place of slashes sort folder by folder.
    keys = [
        (split, path.replace("/", "\0"), names[member])
        for split, path, member in zip(placed.splits, placed.paths, members, strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return Layout(
        rows=np.array(members, np.int64)[order],
        labels=np.array([label_of[name] for name in of_class], np.int32)[order],
        given_splits=np.array(placed.splits, np.int8)[order],
        classes=classes,
        ignored=ignored,
        left_out=[
            *_iterate_left_out("images without labels in", placed.unlabelled, images, names),
            *_iterate_left_out("images that `splits.folders` ignores in", placed.ignored, images, names),
            *_iterate_without_images(folders, names, images),
        ],
        faults=refused,
        notes=_describe_inner_folders(placed.paths),
    )


def _find_strays(paths: Sequence[str]) -> list[str]:
    """Refuse images that are in no class folder: at the top, or next to the class folders."""
    flat = [path for path in paths if "/" not in path]
    tops = {path.partition("/")[0] for path in paths}
    if flat or len(tops) > 1:
        return flat
    beside = [path for path in paths if path.count("/") == 1]
    return [] if len(beside) == len(paths) else beside


def _make_stray(wrapper: str, strays: Sequence[str], count: int) -> Rejection:
    example = wrapper + strays[0]
    if len(strays) == count:
        said = (
            f"All {count:,} images lie in one folder, such as {clean_name(example)!r}, so nothing says their classes."
        )
    elif len(strays) == 1:
        said = f"{clean_name(example)!r} is in no class folder. Move it, or remove it."
    else:
        said = f"{len(strays):,} images, such as {clean_name(example)!r}, are in no class folder. Move or remove them."
    return Rejection(
        RejectionCode.UNEXPECTED_LAYOUT, f"{said} Files must be at `class/file` or `split/class/file`.", example
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


def _find_images(
    names: Sequence[str], head_of: Callable[[int], bytes], faults: Sequence[Rejection]
) -> tuple[list[int], list[Rejection], list[str]]:
    """Return positions of images, faults of those that cannot be read, and names of files that are not images.

    Content decides if the name does not.
    """
    images: list[int] = []
    ignored: list[str] = []
    fault_of = {fault.member: fault for fault in faults}
    known = set(map(clean_name, names)) if faults else set()
    refused = [fault for fault in faults if fault.member not in known]
    for row, name in enumerate(names):
        extension = name.rpartition("/")[2].rpartition(".")[2].lower()
        head = b"" if extension in NAMED_EXTENSIONS else head_of(row)
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


def _iterate_left_out(
    what: str, by_folder: Mapping[str, list[int]], images: Sequence[int], names: Sequence[str]
) -> Iterator[LeftOut]:
    for folder, rows in by_folder.items():
        yield LeftOut(f"{what} the folder {clean_name(folder)!r}", sorted(names[images[row]] for row in rows))


def _iterate_without_images(folders: Sequence[str], names: Sequence[str], images: Sequence[int]) -> Iterator[LeftOut]:
    """Return the highest folders without an image, next to or below folders with images."""
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


def check_classes(classes: Sequence[str], limits: IngestLimits, least: int = 2) -> tuple[str, ...]:
    """Return the names of the classes, if their number is allowed.

    Raises:
        Rejection: `too_few_classes`, `too_many_classes`, `bad_labels`.
    """
    if len(classes) < least:
        only = f"is only one class, {clean_name(classes[0])!r}" if classes else "are no classes"
        raise Rejection(RejectionCode.TOO_FEW_CLASSES, f"There {only}; at least two are needed.")
    if len(classes) > limits.classes:
        raise Rejection(
            RejectionCode.TOO_MANY_CLASSES,
            f"There are {len(classes):,} classes, at most {limits.classes:,} are allowed. Are the labels classes, "
            "rather than numbers or file names?",
        )
    for name in classes:
        if len(name) > MAX_CLASS_CHARACTERS or any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
            raise make_bad_labels(
                f"The class {clean_name(name)!r} has a name of {len(name)} characters; at most {MAX_CLASS_CHARACTERS} "
                "are allowed, without control characters. Rename it.",
                name,
            )
    size = sum(len(name.encode()) for name in classes)
    if size > MAX_CLASS_NAMES_BYTES:
        raise make_bad_labels(
            f"The names of the {len(classes):,} classes take {size:,} bytes; at most {MAX_CLASS_NAMES_BYTES:,} are "
            "allowed. Shorten them."
        )
    return tuple(classes)


_TABLE_EXTENSIONS = frozenset({"csv", "tsv", "xlsx", "xls"})
_NOTE_EXTENSIONS = frozenset({"txt", "xml"})  # a file for each image, as in YOLO and Pascal VOC


def describe_labels_elsewhere(names: Sequence[str], others: Sequence[str]) -> str:
    """Describe files that probably hold the labels, and what to do; empty if there are none.

    Args: names are those of all files, others of those that are not images.
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
    if table is not None:
        return (
            f"The table {clean_name(table)!r} may say the classes, but it is not read: put each image into a folder "
            'named after its class. "Labels in a table" in docs/how-to/datasets.md has the lines of Python for it.'
        )
    return ""


def _get_extension(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2].lower()


def _get_stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]
