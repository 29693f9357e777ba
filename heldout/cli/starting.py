"""`heldout init`: writes a script that trains and saves its answers, or what teaches a coding assistant."""

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import typer

from heldout.cli.outcome import Refused
from heldout.cli.screen import say

# Each template, and the file that it becomes.
TEMPLATES = {
    "pytorch": ("pytorch.py.txt", "train.py"),
    "lightning": ("lightning.py.txt", "train.py"),
    "keras": ("keras.py.txt", "train.py"),
    "sklearn": ("sklearn.py.txt", "train.py"),
    "skill": ("SKILL.md", "SKILL.md"),
}


def init(
    what: Annotated[
        Literal["pytorch", "lightning", "keras", "sklearn", "skill"],
        typer.Argument(help="A framework, or skill for a coding assistant.", show_default=False),
    ],
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; by default train.py, or SKILL.md."),
    ] = None,
) -> None:
    """Write a script for `heldout cure --run` to compare. Or write a SKILL.md for a coding assistant."""
    template, name = TEMPLATES[what]
    target = to or Path(name)
    text = (files("heldout") / "templates" / template).read_text(encoding="utf-8")
    text = text.replace(f"python {name}", f"python {shlex.quote(str(target))}")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Refused(f"{target} exists already. Name another file with -o.") from None
    say(f"{target} written.")
