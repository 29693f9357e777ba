"""The frame that pictures share: colours, title, axes, and lines drawn with characters."""

from collections.abc import Sequence

from heldout.markup import Child, Markup, element
from heldout.pictures.scales import Scale

TRAIN, HELD_OUT, WORSE, BETTER = "#b23c00", "#1f5fbf", "#b23c00", "#00695c"
INK, QUIET, GRID = "#1c2126", "#58626d", "#e1e5ea"
FONT = "12px system-ui, sans-serif"

# Dots of one Braille character, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def svg(width: int, height: int, title: str, *children: Child) -> Markup:
    """A picture on white, with its title above."""
    return element(
        "svg",
        element("title", title),
        element("rect", width=width, height=height, fill="#ffffff"),
        element("text", title, x=12, y=20, fill=INK, font_weight="600"),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        style=f"font: {FONT}; max-width: 100%; height: auto",
    )


def text(
    content: str, x: float, y: float, *, anchor: str = "start", fill: str = QUIET, class_: str | None = None
) -> Markup:
    return element("text", content, x=x, y=y, text_anchor=anchor, fill=fill, class_=class_)


def braille(curves: Sequence[Sequence[tuple[float, float]]], x: Scale, y: Scale, width: int, height: int) -> list[str]:
    """Curves as `height` rows of `width` characters, each of two by four dots.

    Args:
        x, y: from figures to shares of the width and of the height, 0 to 1; y counts from above.
    """
    cells = [[0] * width for _ in range(height)]

    def dot(across: float, down: float) -> None:
        column = min(max(round(across * (2 * width - 1)), 0), 2 * width - 1)
        row = min(max(round(down * (4 * height - 1)), 0), 4 * height - 1)
        cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]

    for curve in curves:
        places = [(x.place(one), y.place(value)) for one, value in curve]
        for (x0, y0), (x1, y1) in zip(places, places[1:] or places, strict=False):
            steps = max(1, round(2 * width * abs(x1 - x0)), round(4 * height * abs(y1 - y0)))
            for step in range(steps + 1):
                dot(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps)
    return ["".join(chr(0x2800 + cell) for cell in row) for row in cells]
