"""Refuses changes that are clearly impossible before a worker tries them."""

from collections.abc import Iterator, Sequence

from heldout.errors.base import FieldError
from heldout.fixes.changes import VersionChanges, parse_index
from heldout.spec.job import MAX_CLASS_NAMES_BYTES
from heldout.spec.json_pointer import make_pointer
from heldout.stored.evaluation import SPLIT_NAMES

# These swap height and width.
_NEED_SQUARES = ("transpose", "turn_left", "turn_right")
MAX_REFUSALS = 20


def list_refusals(
    changes: VersionChanges, *, classes: Sequence[str], images: int, shape: tuple[int, int, int]
) -> list[FieldError]:
    """List why the changes do not fit a version, value by value; at most MAX_REFUSALS.

    Args:
        images: how many images the version has. shape: height, width and channels of an image.
    """
    found = []
    for refusal in (*_check_images(changes, images), *_check_classes(changes, classes), *_check_pixels(changes, shape)):
        found.append(refusal)
        if len(found) == MAX_REFUSALS:
            break
    return found


def _check_images(changes: VersionChanges, images: int) -> Iterator[FieldError]:
    named: list[tuple[tuple[str | int, ...], str | int]] = [
        *((("exclude", place), image) for place, image in enumerate(changes.exclude)),
        *((("relabel", image), image) for image in changes.relabel),
    ]
    for where, image in named:
        index = parse_index(image)
        if index is not None and index >= images:
            yield FieldError(
                make_pointer(where), f"There is no image {index}: the version has {images:,}, counted from 0."
            )


def _check_classes(changes: VersionChanges, classes: Sequence[str]) -> Iterator[FieldError]:
    known = frozenset(classes)

    def refuse_unknown(where: tuple[str, ...], name: str) -> Iterator[FieldError]:
        if name not in known:
            listed = ", ".join(map(repr, classes[:10])) + (", …" if len(classes) > 10 else "")
            yield FieldError(make_pointer(where), f"There is no class {name!r}. The classes are {listed}.")

    for image, label in changes.relabel.items():
        yield from refuse_unknown(("relabel", image), label)
    for split in SPLIT_NAMES:
        for label, meant in changes.get_for_split(split).items():
            yield from refuse_unknown(("rename_classes", split, label), label)
            yield from refuse_unknown(("rename_classes", split, label), meant)
    renamed = changes.get_for_all_splits()
    for old, new in renamed.items():
        yield from refuse_unknown(("rename_classes", old), old)
        if old == new:
            yield FieldError(make_pointer(("rename_classes", old)), f"The class already has the name {old!r}.")
    left = {renamed.get(name, name) for name in classes}
    size = sum(len(name.encode()) for name in left)
    if renamed and size > MAX_CLASS_NAMES_BYTES:
        detail = f"The names of the classes would take {size:,} bytes; at most {MAX_CLASS_NAMES_BYTES:,} are allowed."
        yield FieldError("/rename_classes", detail)
    if len(left) < 2:
        yield FieldError("/rename_classes", "One class would be left; at least two are needed.")


def _check_pixels(changes: VersionChanges, shape: tuple[int, int, int]) -> Iterator[FieldError]:
    height, width, channels = shape
    for split, change in (changes.pixel_values.group_by_split() if changes.pixel_values else {}).items():
        where = make_pointer(("pixel_values", split))
        if change == "swap_channels" and channels == 1:
            yield FieldError(where, "The images have one channel, so there is nothing to swap.")
        if change in _NEED_SQUARES and height != width:
            yield FieldError(
                where, f"The images have {height}×{width} pixels; only square images can be rotated by 90°."
            )
