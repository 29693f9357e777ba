"""The mistakes of a job on the map of its dataset, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.blocks import Block, Heading, Panel, Panels
from heldout.markup import Attribute, Markup, tag
from heldout.pictures.kit import GRID, HELD_OUT, TRAIN, draw_chart
from heldout.words import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heldout.views.looks import MapView

WIDTH, HEIGHT, MARGIN = 640, 400, 8


def build_mistakes(found: MapView) -> list[Block]:
    """Mark wrong answers on the map. Empty if the map has no answers."""
    points = found.points
    if points is None or points.answer is None:
        return []
    right, train, held_out = list[str](), list[str](), list[str]()
    for x, y, split, label, answer in zip(points.x, points.y, points.split, points.label, points.answer, strict=True):
        if answer is not None:
            kind = right if answer == label else train if split == "train" else held_out
            kind.append(f"M{MARGIN + x * (WIDTH - 2 * MARGIN):.0f} {MARGIN + y * (HEIGHT - 2 * MARGIN):.0f}h0")
    title = f"{pluralize(len(train) + len(held_out), 'mistake')} among {pluralize(len(points.index), 'image')}"
    dots = [_draw_dots(right, GRID, 4), _draw_dots(train, TRAIN, 5), _draw_dots(held_out, HELD_OUT, 6)]
    chart = draw_chart(WIDTH, HEIGHT, title, *dots)
    return [
        Heading("Where are the mistakes?", is_folded=True),
        Panels(
            [Panel(title, [chart])],
            "Images that look alike to a pretrained network are near each other. Gray: answered right. Red: wrong in "
            f"training ({len(train):,}). Blue: wrong in validation or test ({len(held_out):,}). Mistakes that lie "
            "together have something in common; the page of the job shows their images.",
        ),
    ]


def _draw_dots(places: Iterable[str], color: str, size: int) -> Markup:
    styled: dict[str, Attribute] = {"stroke": color, "stroke_width": size, "stroke_linecap": "round"}
    return tag("path", d="".join(places), fill="none", **styled)
