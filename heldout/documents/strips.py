"""Strips: small pictures in the cells of a table, on one scale for a column.

A strip is described by positions in percent of its width. It is drawn here as SVG and as characters, and by
`web/src/parts/table.tsx` in the browser.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from heldout.markup import Attribute, Markup, join_children, tag
from heldout.pictures.kit import BETTER, GRID, HELD_OUT, INK, QUIET, TRAIN, WORSE
from heldout.pictures.scales import Scale, format_ticks

Tone = Literal["better", "worse", "may_be_chance", "train", "heldout"]
# Colors apply if a picture stands alone; the page of a report has its own, by class.
COLOURS = {"better": BETTER, "worse": WORSE, "may_be_chance": QUIET, "train": TRAIN, "heldout": HELD_OUT}
MIDDLE = "50%"
COLUMNS = 31  # odd, so that the middle has a column of its own


@dataclass(frozen=True)
class Mark:
    """A shape from `start` to `end`, in percent of the width; a range that reaches 0 or 100 continues beyond it."""

    shape: Literal["bar", "range", "dot", "ring"]
    start: float
    end: float
    tone: Tone


@dataclass(frozen=True)
class Strip:
    """text: the picture in words, for those who cannot see it."""

    marks: Sequence[Mark]
    text: str


@dataclass(frozen=True)
class Axis:
    """The heading of a column of strips. ticks: positions with their numbers. low, high: words for both ends."""

    name: str
    ticks: Sequence[tuple[float, str]]
    low: str = ""
    high: str = ""


def make_axis(
    scale: Scale, name: str = "picture", low: str = "", high: str = "", *, factor: float = 1.0, sign: bool = False
) -> Axis:
    """Make the axis of a scale from 0 to 100. factor: converts figures to the numbers shown."""
    written = Scale(factor * scale.low, factor * scale.high, scale.start, scale.end)
    ticks = zip(written.ticks, format_ticks(written.ticks, sign=sign), strict=True)
    return Axis(name, [(round(written.place(tick), 2), text) for tick, text in ticks], low, high)


def make_mark(
    shape: Literal["bar", "range", "dot", "ring"], scale: Scale, start: float, end: float, tone: Tone
) -> Mark:
    """Place a shape between two figures."""
    low, high = sorted(round(min(max(scale.place(value), 0.0), 100.0), 2) for value in (start, end))
    return Mark(shape, low, high, tone)


def mark_interval(scale: Scale, value: float, bounds: tuple[float, float] | None, tone: Tone) -> list[Mark]:
    """Mark what was measured, if it is on the scale, and the range of what may be true."""
    marks = [] if bounds is None else [make_mark("range", scale, *bounds, tone)]
    return [*marks, make_mark("dot", scale, value, value, tone)] if 0 <= scale.place(value) <= 100 else marks


def draw_strip(strip: Strip, axis: Axis, **place: Attribute) -> Markup:
    """Draw a strip as wide as its cell, or at a place in a larger picture."""
    label: dict[str, Attribute] = {"class_": "strip", "role": "img", "aria_label": strip.text}
    return tag("svg", tag("title", strip.text), _draw_grid(axis), map(_draw_mark, strip.marks), **label, **place)


def draw_axis(axis: Axis, **place: Attribute) -> Markup:
    numbers = [tag("text", text, x=f"{at:g}%", y="85%", text_anchor="middle", fill=QUIET) for at, text in axis.ticks]
    low = tag("text", axis.low, x="1%", y="35%", class_="end", fill=QUIET)
    high = tag("text", axis.high, x="99%", y="35%", text_anchor="end", class_="end", fill=QUIET)
    return tag("svg", low, high, numbers, class_="strip", aria_hidden="true", **place)


def _draw_grid(axis: Axis) -> list[Markup]:
    lines = []
    for at, text in axis.ticks:
        name, colour = ("zero", INK) if text == "0" else ("grid", GRID)
        lines.append(tag("line", x1=f"{at:g}%", x2=f"{at:g}%", y1="0%", y2="100%", class_=name, stroke=colour))
    return lines


def _draw_mark(mark: Mark) -> Markup:
    start, end, colour = f"{mark.start:g}%", f"{mark.end:g}%", COLOURS[mark.tone]
    match mark.shape:
        case "bar":
            width = f"{max(mark.end - mark.start, 0.5):g}%"
            return tag("rect", x=start, y="22%", width=width, height="56%", class_=f"bar {mark.tone}", fill=colour)
        case "range":
            styled: dict[str, Attribute] = {"class_": f"range {mark.tone}", "stroke": colour, "stroke_width": 3}
            line = tag("line", x1=start, x2=end, y1=MIDDLE, y2=MIDDLE, **styled)
            return join_children(line, *(_draw_end(at, mark.tone) for at in (mark.start, mark.end)))
        case "dot":
            return tag("circle", cx=start, cy=MIDDLE, r=6, class_=f"dot {mark.tone}", fill=colour)
        case "ring":
            return tag("circle", cx=start, cy=MIDDLE, r=5, class_="ring", fill="#ffffff", stroke=INK, stroke_width=2)


def _draw_end(at: float, tone: Tone) -> Markup:
    if 0 < at < 100:
        ends = {"y1": "32%", "y2": "68%", "class_": f"cap {tone}", "stroke": COLOURS[tone]}
        return tag("line", x1=f"{at:g}%", x2=f"{at:g}%", **ends)
    arrow, anchor = ("▶", "end") if at else ("◀", "start")
    return tag("text", arrow, x=f"{at:g}%", y="66%", text_anchor=anchor, class_="end", fill=QUIET)


def draw_characters(strip: Strip, axis: Axis) -> str:
    """Draw `-----o---|`: ranges, what was measured as `o`, bars, and 0 as `|`. What is cut off ends in `<` or `>`."""
    cells = [" "] * COLUMNS

    def find(place: float) -> int:
        return round(place / 100 * (COLUMNS - 1))

    zero = next((find(at) for at, text in axis.ticks if text == "0"), None)
    for mark in strip.marks:
        sign = {"bar": "█", "range": "-", "dot": "o", "ring": "o"}[mark.shape]
        for place in range(find(mark.start), find(mark.end) + 1):
            cells[place] = sign if mark.shape != "range" or cells[place] == " " else cells[place]
        if zero is not None and mark.shape == "range":
            cells[zero] = "|"
        if mark.shape == "range" and mark.start <= 0:
            cells[0] = "<"
        if mark.shape == "range" and mark.end >= 100:
            cells[-1] = ">"
    if zero is not None and cells[zero] == " ":
        cells[zero] = "|"
    return "".join(cells).rstrip()
