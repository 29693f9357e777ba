"""What of a change can be seen to be impossible before a worker tries it."""

from collections.abc import Iterator, Sequence

from heldout.errors.base import FieldError
from heldout.mending.changes import VersionChanges, index_in
from heldout.spec.job import MAX_CLASS_NAMES_BYTES
from heldout.spec.json_pointer import pointer_to
from heldout.stored.evaluation import SPLIT_NAMES

# They exchange height and width.
_NEED_SQUARES = ("transpose", "turn_left", "turn_right")
MAX_REFUSALS = 20


def refusals_of(
    changes: VersionChanges, *, classes: Sequence[str], images: int, shape: tuple[int, int, int]
) -> list[FieldError]:
    """Why the changes do not fit a version, value by value; at most the first few.

    Args:
        images: how many the version has; shape: height, width and channels of one.
    """
    found = []
    for refusal in (*_images(changes, images), *_classes(changes, classes), *_pixels(changes, shape)):
        found.append(refusal)
        if len(found) == MAX_REFUSALS:
            break
    return found


def _images(changes: VersionChanges, images: int) -> Iterator[FieldError]:
    named: list[tuple[tuple[str | int, ...], str | int]] = [
        *((("exclude", place), image) for place, image in enumerate(changes.exclude)),
        *((("relabel", image), image) for image in changes.relabel),
    ]
    for where, image in named:
        index = index_in(image)
        if index is not None and index >= images:
            yield FieldError(
                pointer_to(where), f"There is no image {index}: the version has {images:,}, counted from 0."
            )


def _classes(changes: VersionChanges, classes: Sequence[str]) -> Iterator[FieldError]:
    known = frozenset(classes)

    def unknown(where: tuple[str, ...], name: str) -> Iterator[FieldError]:
        if name not in known:
            listed = ", ".join(map(repr, classes[:10])) + (", …" if len(classes) > 10 else "")
            yield FieldError(pointer_to(where), f"There is no class {name!r}. The classes are {listed}.")

    for image, label in changes.relabel.items():
        yield from unknown(("relabel", image), label)
    for split in SPLIT_NAMES:
        for label, meant in changes.of_split(split).items():
            yield from unknown(("rename_classes", split, label), label)
            yield from unknown(("rename_classes", split, label), meant)
    renamed = changes.of_all_splits()
    for old, new in renamed.items():
        yield from unknown(("rename_classes", old), old)
        if old == new:
            yield FieldError(pointer_to(("rename_classes", old)), f"The class {old!r} is called so already.")
    left = {renamed.get(name, name) for name in classes}
    size = sum(len(name.encode()) for name in left)
    if renamed and size > MAX_CLASS_NAMES_BYTES:
        detail = f"The names of the classes would take {size:,} bytes; at most {MAX_CLASS_NAMES_BYTES:,} are allowed."
        yield FieldError("/rename_classes", detail)
    if len(left) < 2:
        yield FieldError("/rename_classes", "One class would be left; at least two are needed.")


def _pixels(changes: VersionChanges, shape: tuple[int, int, int]) -> Iterator[FieldError]:
    height, width, channels = shape
    for split, change in (changes.pixel_values.of_splits() if changes.pixel_values else {}).items():
        where = pointer_to(("pixel_values", split))
        if change == "swap_channels" and channels == 1:
            yield FieldError(where, "The images have one channel: there is nothing to swap.")
        if change in _NEED_SQUARES and height != width:
            yield FieldError(where, f"The images have {height}×{width} pixels: only square ones can be turned by 90°.")
