"""The options that say how an upload is to be read, as `push` and `audit` take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.cli.ingests import checked_spec
from heldout.cli.outcome import Refused

if TYPE_CHECKING:
    from heldout.datasets import DatasetSpec

TestShare = Annotated[
    float | None, typer.Option("--test", help="Fraction of the images for the test split, if the upload has none.")
]
ValidationShare = Annotated[
    float | None, typer.Option("--validation", help="Fraction for the validation split, if it has none.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of the random splits.")]
Merge = Annotated[bool, typer.Option("--merge", help="Ignore the upload's own splits and split anew.")]
Folders = Annotated[
    list[str] | None,
    typer.Option(
        "--folder",
        metavar="NAME=USE",
        help="What a folder is: train, validation, test, class, ignore; repeatable.",
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option("--group-by", metavar="REGEX", help="Images whose names match the same group stay together."),
]
Resize = Annotated[str | None, typer.Option("--resize", metavar="HxW", help="One size for all, such as 64x64.")]
Rule = Annotated[str, typer.Option("--rule", help="How an image gets that size: pad, crop or stretch.")]
Colour = Annotated[str, typer.Option("--colour", help="auto, grey or rgb.")]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Go on without files that cannot be read.")]


def upload_fields(
    *,
    test: float | None,
    validation: float | None,
    seed: int | None,
    merge: bool,
    folder: list[str] | None,
    group_by: str | None,
    resize: str | None,
    rule: str,
    colour: str,
    skip_broken: bool,
) -> dict[str, Any]:
    """The fields of a dataset's spec that were given. Raises Refused."""
    splits = {
        "test": test,
        "validation": validation,
        "seed": seed,
        "existing": "merge" if merge else None,
        "folders": _folders(folder or []) or None,
    }
    fields = {
        "splits": {field: value for field, value in splits.items() if value is not None} or None,
        "group_by": group_by,
        "resize": None if resize is None else _size(resize, rule),
        "colour": None if colour == "auto" else colour,
        "skip_broken": skip_broken or None,
    }
    return {field: value for field, value in fields.items() if value is not None}


def dataset_spec(fields: dict[str, Any]) -> DatasetSpec:
    """Refused here as the service would refuse it, before a byte is sent or read. Raises Refused."""
    from heldout.datasets import DatasetSpec  # takes longer to load than `--help` takes

    return checked_spec(DatasetSpec, fields)


def _size(text: str, rule: str) -> dict[str, int | str]:
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise Refused(f"--resize {text}: expected HEIGHTxWIDTH, such as 64x64")
    return {"height": int(height), "width": int(width), "rule": rule}


def _folders(texts: list[str]) -> dict[str, str]:
    uses = {}
    for text in texts:
        name, equals, use = text.rpartition("=")
        if not (name and equals):
            raise Refused(f"--folder {text}: expected NAME=USE, such as samples=ignore")
        uses[name.strip("/")] = use
    return uses
