"""The dataset spec: what a client says about images that it uploads, frozen and bounded."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from heldout.spec.job import MAX_SEED, SpecPart

MIN_SIDE, MAX_SIDE = 8, 512
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE, description="Pixels.")]
FolderUse = Literal["train", "validation", "test", "class", "ignore"]
MAX_FOLDERS = 100
Share = Annotated[float, Field(gt=0, le=0.5)]
DATASET_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"


def refuse_name(name: Any) -> Any:
    """The same name. Raises ValueError, in words, if the pattern does not allow it or it looks like an id."""
    if isinstance(name, str) and name.startswith("ds_"):
        raise ValueError("must not begin with `ds_`, as ids do")
    if isinstance(name, str) and not re.fullmatch(DATASET_NAME, name):
        raise ValueError(
            "must have 1 to 64 small letters from a to z, digits, dots, hyphens and underscores, and begin with a "
            "letter or a digit"
        )
    return name


class ResizeSpec(SpecPart):
    """One size for all images, and how an image of another shape gets it."""

    height: Side
    width: Side
    rule: Literal["pad", "crop", "stretch"] = Field(
        description="`pad`: the whole image, with black bars; `crop`: fills the size, what hangs over at both ends of "
        "the longer side is cut off; `stretch`: the whole image, its proportions changed."
    )


class SplitSpec(SpecPart):
    """How splits that the upload does not have are cut from train: the last share of each class, after shuffling.

    The test split is cut first, then validation from what is left.
    """

    existing: Literal["keep", "merge"] = Field(
        "keep", description="`merge` pools the splits that the upload has, and cuts all of them anew."
    )
    test: Share = Field(0.2, description="Share of each class; at least one image.")
    validation: Share = Field(0.1, description="Share of what is left of each class; at least one image.")
    seed: int = Field(0, ge=0, le=MAX_SEED)
    folders: dict[Annotated[str, Field(min_length=1, max_length=255)], FolderUse] = Field(
        default={},
        max_length=MAX_FOLDERS,
        description="What a top folder of the upload is where its name does not say: `train`, `validation`, `test`, "
        "`class`, or `ignore` to leave its images out.",
    )


class DatasetSpec(SpecPart):
    """A dataset to be made from one upload."""

    name: str = Field(pattern=DATASET_NAME, description="Versions are counted under it: `pets@3`.")
    description: str = Field("", max_length=2000)
    splits: SplitSpec = SplitSpec()
    group_by: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="A regular expression with one group, searched in each file's name (`class/file.png`). Images for "
        "which the group matched the same text stay in one split.",
    )
    resize: ResizeSpec | None = Field(None, description="Needed where the images differ in size.")
    colour: Literal["auto", "grey", "rgb"] = Field(
        "auto", description="`auto`: one channel where every image is grey, else three."
    )
    skip_broken: bool = Field(
        False, description="Go on without image files that cannot be read; the audit's `source` names them."
    )

    @field_validator("group_by")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            where = "" if error.pos is None else f" from character {error.pos + 1} on"
            raise ValueError(f"not a regular expression: it cannot be understood{where}") from None
        except (RecursionError, OverflowError):
            raise ValueError("not a regular expression that can be used: it is nested or repeated too much") from None
        if groups != 1:
            raise ValueError(
                f"needs exactly one group in parentheses and has {groups}; `(?:…)` makes one that does not count"
            )
        return pattern

    _is_name = field_validator("name", mode="before")(refuse_name)
