"""`heldout init`: writes a script that trains and saves its answers, or the skill for a coding assistant."""

import shlex
from importlib.resources import files as package_files
from pathlib import Path
from typing import Annotated, Literal

import typer

from heldout.cli.outcome import Refused
from heldout.cli.screen import say
from heldout.skill import read_skill

# Each template, all of which become train.py.
TEMPLATES = {
    "pytorch": "pytorch.py.txt",
    "lightning": "lightning.py.txt",
    "keras": "keras.py.txt",
    "sklearn": "sklearn.py.txt",
}
SKILL = "heldout"


def init(
    what: Annotated[
        Literal["pytorch", "lightning", "keras", "sklearn", "skill"],
        typer.Argument(help="A framework, or skill for a coding assistant.", show_default=False),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="The script, by default train.py; or the folder of skills, by default skills.",
        ),
    ] = None,
) -> None:
    """Write a script for `heldout cure --run` to compare. Or write the skill for a coding assistant, a folder."""
    if what == "skill":
        files = _find_skill_files(to or Path("skills"))
    else:
        target = to or Path("train.py")
        text = (package_files("heldout") / "templates" / TEMPLATES[what]).read_text(encoding="utf-8")
        files = {target: text.replace("python train.py", f"python {shlex.quote(str(target))}").encode()}
    there = next((path for path in files if path.exists()), None)
    if there is not None:
        raise Refused(f"{there} exists already. Name another place with -o.")
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
    say(f"{next(iter(files))} written.")


def _find_skill_files(folder: Path) -> dict[Path, bytes]:
    """Return the files of the skill by their paths. The folder of a skill has its name."""
    folder = folder.parent if folder.name == "SKILL.md" else folder
    folder = folder if folder.name == SKILL else folder / SKILL
    return {folder / name: content for name, content in read_skill().items()}
