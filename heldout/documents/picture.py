"""A figure as a picture that stands alone: one SVG element, and the same as text."""

import textwrap
from collections.abc import Iterable

from heldout.documents.blocks import Block, Figure, Table
from heldout.documents.strips import Axis, Strip, draw_axis, draw_strip
from heldout.documents.terminal import render_terminal
from heldout.markup import Markup, join_children
from heldout.pictures.kit import INK, draw_svg, draw_text
from heldout.pictures.picture import Picture
from heldout.words import NONE

WIDTH, LEFT, STRIP, ROW, TOP, NOTE, LINE = 760, 190, 350, 30, 40, 115, 16


def draw_figure(title: str, blocks: Iterable[Block], missing: str) -> Picture:
    """Draw the tables of the first figure below each other. missing: what to say without one."""
    figure = next((block for block in blocks if isinstance(block, Figure)), None)
    if figure is None:
        return Picture(title, draw_svg(WIDTH, 70, title, draw_text(missing, 12, 48)), f"{title}\n{missing}")
    parts, height = [], TOP
    for table in figure.charts:
        parts.append(_draw_table(table, height))
        height += ROW * (len(table.rows) + 2)
        for line in textwrap.wrap(table.note, NOTE):
            height += LINE
            parts.append(draw_text(line, 12, height))
        height += ROW
    return Picture(title, draw_svg(WIDTH, height, title, *parts), "\n".join([title, "", *render_terminal([figure])]))


def _draw_table(table: Table, top: int) -> Markup:
    """Draw its strips, with the name of each row at the left, and its figures at the right."""
    place = next(place for place, heading in enumerate(table.headings) if isinstance(heading, Axis))
    axis = table.headings[place]
    assert isinstance(axis, Axis)
    at = {"x": LEFT, "width": STRIP, "height": ROW}
    parts = [draw_text(table.caption, 12, top + 14, fill=INK), draw_axis(axis, y=top + ROW, **at)]
    for number, row in enumerate(table.rows, 2):
        y, cell = top + ROW * number, row[place]
        value, bounds = (str(row[column]) for column in table.numbers[:2])
        text = value if bounds in ("", NONE) else f"{value} ({bounds})"
        parts.append(draw_text(str(row[0]), LEFT - 12, y + 19, anchor="end", fill=INK))
        parts.append(draw_text(text, LEFT + STRIP + 12, y + 19))
        if isinstance(cell, Strip):
            parts.append(draw_strip(cell, axis, y=y, **at))
    return join_children(*parts)
