"""The changes that turn a ready version of a dataset into a new version, frozen and bounded.

They are applied in this order, whatever the order in the body: `columns`, `exclude`, `rename_classes` of single splits,
`relabel`, `rename_classes` of all splits, `pixel_values`, `drop_copies`, `resplit`.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from heldout.errors.base import FieldError
from heldout.spec.dataset import DATASET_NAME, MAX_COLUMNS, MAX_VALUE_CHARACTERS, ColumnName, Share, check_name
from heldout.spec.documents import make_pointer
from heldout.spec.job import MAX_CLASS_NAMES_BYTES
from heldout.spec.part import MAX_SEED, SpecPart
from heldout.stored.evaluation import SPLIT_NAMES, SplitName

MAX_NAMED_IMAGES = 100_000
MAX_RENAMED_CLASSES = 2000
MAX_FACTOR, MAX_OFFSET = 1e6, 1e9
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]
MemberName = Annotated[str, Field(min_length=1, max_length=1024)]
ClassName = Annotated[str, Field(min_length=1, max_length=128)]
ColumnValue = Annotated[str, Field(max_length=MAX_VALUE_CHARACTERS)] | int | float | bool | None
NamedPixelChange = Literal[
    "invert", "swap_channels", "transpose", "turn_left", "turn_right", "upside_down", "flip_vertical", "flip_horizontal"
]


class LinearChange(SpecPart):
    """Each pixel value becomes `factor * value + offset`, clipped to the dataset's range."""

    factor: float = Field(1.0, ge=-MAX_FACTOR, le=MAX_FACTOR)
    offset: float = Field(0.0, ge=-MAX_OFFSET, le=MAX_OFFSET, description="In units of the pixel values.")
    bottom: float | None = Field(
        None, ge=-MAX_OFFSET, le=MAX_OFFSET, description="New value of pixels at the lower end of the range."
    )
    top: float | None = Field(
        None, ge=-MAX_OFFSET, le=MAX_OFFSET, description="New value of pixels at the upper end of the range."
    )

    @model_validator(mode="after")
    def _check_changes_something(self) -> Self:
        if self == LinearChange.model_construct():
            raise ValueError("this changes nothing; give a `factor` other than 1, an `offset` other than 0, or both")
        return self


PixelChange = NamedPixelChange | LinearChange


class PixelValues(SpecPart):
    """The change of each split's pixels; splits that are not named stay unchanged.

    `invert` swaps light and dark, `swap_channels` the first and last color; the others rotate or mirror the images.
    """

    train: PixelChange | None = None
    validation: PixelChange | None = None
    test: PixelChange | None = None

    def group_by_split(self) -> dict[SplitName, PixelChange]:
        """Return the changes by split."""
        return {split: change for split in SPLIT_NAMES if (change := getattr(self, split)) is not None}


class ResplitSpec(SpecPart):
    """How to split all images again; absent fields are as in the upload."""

    test: Share | None = None
    validation: Share | None = None
    seed: int | None = Field(None, ge=0, le=MAX_SEED)


class VersionChanges(SpecPart):
    """Changes applied to an existing version. At least one is required."""

    columns: dict[ColumnName, dict[MemberName, ColumnValue]] = Field(
        default={},
        max_length=MAX_COLUMNS,
        description="`{column: {image: value}}`, by position or file name: adds columns such as the patient or the "
        "camera, or changes values of existing ones. null removes a value.",
    )
    exclude: tuple[Index | MemberName, ...] = Field(
        (),
        max_length=MAX_NAMED_IMAGES,
        strict=False,
        description="Images to leave out, by position or file name; text of only digits is a position.",
    )
    relabel: dict[MemberName, ClassName] = Field(
        default={},
        max_length=MAX_NAMED_IMAGES,
        description="New classes of single images, by position or file name. Uses the class names before "
        "`rename_classes`.",
    )
    rename_classes: dict[ClassName, ClassName | dict[ClassName, ClassName]] = Field(
        default={},
        max_length=MAX_RENAMED_CLASSES,
        description="`{old: new}` for all splits; an existing name merges two classes. Or `{split: {label: class}}` if "
        "the labels of one split mean other classes.",
    )
    pixel_values: PixelValues | None = None
    resplit: bool | ResplitSpec = Field(False, description="Split all images again; copies and groups stay together.")
    drop_copies: bool = Field(
        False,
        description="Keep one image of each cluster of copies: in test if there is one, else in validation, else in "
        "train. If copies have different labels, none is kept.",
    )

    @field_validator("rename_classes")
    @classmethod
    def _check_splits(cls, renamed: dict[str, Any]) -> dict[str, Any]:
        for name, meant in renamed.items():
            if not isinstance(meant, dict):
                continue
            if name not in SPLIT_NAMES:
                raise ValueError(f"{name!r} is not a split: rename labels of one split as {{'test': {{old: new}}}}")
            if not 0 < len(meant) <= MAX_RENAMED_CLASSES:
                raise ValueError(f"{name!r} renames {len(meant)} classes; 1 to {MAX_RENAMED_CLASSES:,} are accepted")
        return renamed

    @model_validator(mode="after")
    def _check_changes_something(self) -> Self:
        if not self.body():
            raise ValueError(
                "no change is given; expected at least one of columns, exclude, relabel, rename_classes, pixel_values, "
                "resplit, drop_copies"
            )
        return self

    def body(self) -> dict[str, Any]:
        """Return the changes as JSON, without absent ones."""
        whole = self.model_dump(mode="json", exclude_defaults=True, include=set(VersionChanges.model_fields))
        return {name: value for name, value in whole.items() if value not in (None, {}, [], False)}

    def get_for_split(self, split: str) -> dict[str, str]:
        """Return the classes that labels of one split mean, for labels that do not mean themselves."""
        meant = self.rename_classes.get(split)
        return meant if isinstance(meant, dict) else {}

    def get_for_all_splits(self) -> dict[str, str]:
        """Return the new names of classes."""
        return {old: new for old, new in self.rename_classes.items() if isinstance(new, str)}


class VersionSpec(VersionChanges):
    """A new version of a dataset, derived from one that is ready."""

    name: str | None = Field(
        None,
        pattern=DATASET_NAME,
        description="Name of the new version; by default the name of the version it is derived from.",
    )

    _is_name = field_validator("name", mode="before")(check_name)

    def changes(self) -> VersionChanges:
        """Return the changes without the name."""
        return VersionChanges.model_validate_json(self.model_dump_json(exclude={"name"}, exclude_defaults=True))


def parse_index(image: int | str) -> int | None:
    """Parse the position from a reference to an image; None if it is a file name."""
    if isinstance(image, int):
        return image
    return int(image) if image.isascii() and image.isdigit() and len(image) < 11 else None


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
        *((("columns", name, image), image) for name, values in changes.columns.items() for image in values),
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
