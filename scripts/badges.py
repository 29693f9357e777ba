"""Writes the badges of the README from pyproject.toml, so that they say nothing that is not so."""

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from heldout.markup import tag

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "badges"
CHARACTER, PADDING, HEIGHT = 6.6, 10, 20


def list_badges() -> dict[Path, Callable[[], str]]:
    """Return each badge's file and what writes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = [text.rpartition(" ")[2] for text in project["classifiers"] if "Python :: 3." in text]
    said = {"python": " | ".join(pythons), "license": project["license"]}
    return {FOLDER / f"{name}.svg": partial(draw_badge, name, text) for name, text in said.items()}


def draw_badge(name: str, text: str) -> str:
    """Return a picture of two words in a row."""
    first, second = (len(part) * CHARACTER + 2 * PADDING for part in (name, text))
    boxes = [
        tag("rect", width=first, height=HEIGHT, fill="#444c56"),
        tag("rect", x=first, width=second, height=HEIGHT, fill="#00695c"),
    ]
    words = [
        tag("text", part, x=x, y=14, text_anchor="middle")
        for part, x in ((name, first / 2), (text, first + second / 2))
    ]
    svg = tag(
        "svg",
        tag("title", f"{name}: {text}"),
        boxes,
        tag("g", words, fill="#ffffff", font_family="Verdana, sans-serif", font_size=11),
        xmlns="http://www.w3.org/2000/svg",
        width=first + second,
        height=HEIGHT,
        role="img",
    )
    return f"{svg}\n"
