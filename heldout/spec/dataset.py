"""The dataset spec: what a client says about the images that it uploads, frozen and bounded."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from heldout.spec.part import MAX_SEED, SpecPart

MIN_SIDE, MAX_SIDE = 8, 512
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE, description="Pixels.")]
FolderUse = Literal["train", "validation", "test", "class", "ignore"]
MAX_FOLDERS = 100
MAX_COLUMNS, MAX_COLUMN_CHARACTERS, MAX_VALUE_CHARACTERS = 50, 64, 200
ColumnName = Annotated[str, Field(min_length=1, max_length=MAX_COLUMN_CHARACTERS)]
Share = Annotated[float, Field(gt=0, le=0.5)]
DATASET_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"


def check_name(name: Any) -> Any:
    """Return the name. Raises ValueError with an explanation if it is not allowed or looks like an id."""
    if isinstance(name, str) and name.startswith("ds_"):
        raise ValueError("A name must not begin with `ds_`, as ids do")
    if isinstance(name, str) and not re.fullmatch(DATASET_NAME, name):
        raise ValueError(
            f'Received "{name[:80]}"; expected 1 to 64 lowercase letters (a to z), digits, dots, hyphens and '
            "underscores, with a letter or a digit first"
        )
    return name


class ResizeSpec(SpecPart):
    """One size for all images, and how images of other shapes are resized."""

    height: Side
    width: Side
    rule: Literal["pad", "crop", "stretch"] = Field(
        description="`pad`: the whole image, with black bars. `crop`: the image fills the size, and both ends of its "
        "longer side are cut off. `stretch`: the whole image, with changed proportions."
    )


class SplitSpec(SpecPart):
    """How to split off what the upload lacks: the last share of each class of train, after shuffling.

    The test split is taken first, then validation from the rest.
    """

    existing: Literal["keep", "merge"] = Field(
        "keep", description="`merge` pools the splits of the upload and splits all images again."
    )
    test: Share = Field(0.2, description="Share of each class; at least one image.")
    validation: Share = Field(0.1, description="Share of the rest of each class; at least one image.")
    seed: int = Field(0, ge=0, le=MAX_SEED)
    folders: dict[Annotated[str, Field(min_length=1, max_length=255)], FolderUse] = Field(
        default={},
        max_length=MAX_FOLDERS,
        description="The meaning of top folders whose name does not say it: `train`, `validation`, `test`, `class`, or "
        "`ignore` to leave their images out.",
    )


class GroupColumn(SpecPart):
    """Images with the same value in this column stay in one split, such as those of one patient."""

    column: ColumnName = Field(description="A column of the table next to the images.")


class DatasetSpec(SpecPart):
    """A dataset to be created from one upload."""

    name: str = Field(pattern=DATASET_NAME, description="Versions are numbered under this name: `pets@3`.")
    description: str = Field("", max_length=2000)
    adds_to: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="A version that is ready, as a name, `name@version` or id: the new version has its images first, "
        "then those of the upload. Its splits stay; an uploaded image without a split is for training. Images get the "
        "size and the channels that this version has.",
    )
    splits: SplitSpec = SplitSpec()
    group_by: Annotated[str, Field(min_length=1, max_length=200)] | GroupColumn | None = Field(
        None,
        description="A regular expression with one group, searched in each file's name (`class/file.png`). Images "
        "whose group matches the same text stay in one split. Or a column of the table next to the images.",
    )
    resize: ResizeSpec | None = Field(None, description="Required if the images differ in size.")
    colour: Literal["auto", "grey", "rgb"] = Field(
        "auto", description="`auto`: one channel if all images are grayscale, otherwise three."
    )
    skip_broken: bool = Field(
        False, description="Leave out image files that cannot be read; the audit's `source` names them."
    )

    @field_validator("group_by")
    @classmethod
    def _has_one_group(cls, pattern: str | GroupColumn | None) -> str | GroupColumn | None:
        if not isinstance(pattern, str):
            return pattern
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            where = "" if error.pos is None else f" from character {error.pos + 1} on"
            raise ValueError(f"this is not a regular expression: it cannot be parsed{where}") from None
        except (RecursionError, OverflowError):
            raise ValueError(
                "this is too complex for a regular expression: it is nested or repeated too much"
            ) from None
        if groups != 1:
            raise ValueError(
                f"the expression needs exactly one group in parentheses but has {groups}; `(?:…)` makes a group that "
                "does not count"
            )
        return pattern

    _is_name = field_validator("name", mode="before")(check_name)
