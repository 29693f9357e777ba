"""The mistakes of trainings on the map of their dataset, as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.blocks import Block, Heading, Panel, Panels
from heldout.markup import Attribute, Markup, tag
from heldout.pictures.kit import GRID, HELD_OUT, TRAIN, draw_chart
from heldout.words import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from heldout.views.looks import MapPointsView, MapView

WIDTH, HEIGHT, MARGIN = 640, 400, 8


def build_mistakes(maps: Mapping[str, MapView]) -> list[Block]:
    """Mark wrong answers on a map for each training, by its name. Empty if no map has answers."""
    shown = {name: found.points for name, found in maps.items() if found.points is not None and found.points.answer}
    panels = [Panel(*_draw_map(name, points)) for name, points in shown.items()]
    if not panels:
        return []
    return [
        Heading("Where are the mistakes?", is_folded=True),
        Panels(
            panels,
            "Images that look alike to a pretrained network are near each other. Gray: answered right. Red: wrong in "
            "training. Blue: wrong in validation or test. Mistakes that lie together have something in common; the "
            "page of the job shows their images.",
        ),
    ]


def _draw_map(name: str, points: MapPointsView) -> tuple[str, list[Markup]]:
    """Return the title and the chart. Images without an answer are left out."""
    right, train, held_out = list[str](), list[str](), list[str]()
    answers = points.answer or ()
    for x, y, split, label, answer in zip(points.x, points.y, points.split, points.label, answers, strict=True):
        if answer is not None:
            kind = right if answer == label else train if split == "train" else held_out
            kind.append(f"M{MARGIN + x * (WIDTH - 2 * MARGIN):.0f} {MARGIN + y * (HEIGHT - 2 * MARGIN):.0f}h0")
    shown = pluralize(len(right) + len(train) + len(held_out), "image")
    mistakes = f"{pluralize(len(train), 'mistake')} in training and {len(held_out):,} elsewhere, among {shown}"
    title = f"{name}: {mistakes}" if name else mistakes
    dots = [_draw_dots(right, GRID, 4), _draw_dots(train, TRAIN, 5), _draw_dots(held_out, HELD_OUT, 6)]
    return title, [draw_chart(WIDTH, HEIGHT, title, *dots)]


def _draw_dots(places: Iterable[str], color: str, size: int) -> Markup:
    styled: dict[str, Attribute] = {"stroke": color, "stroke_width": size, "stroke_linecap": "round"}
    return tag("path", d="".join(places), fill="none", **styled)
