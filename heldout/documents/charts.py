"""The charts of documents. Each is described once, with its numbers as text, and drawn by one function as SVG.

The dashboard draws the same description in `web/src/charts/`. A new kind is a class here, listed in `Chart`, with what
`_Kind` asks for, and a component there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from heldout.markup import Markup, tag
from heldout.pictures.kit import BETTER, HELD_OUT, INK, WORSE, draw_svg, draw_text, draw_upright_grid
from heldout.pictures.scales import choose_scale, format_ticks

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 760, 180, 560, 46, 30, 18
COLUMNS = 40


@dataclass(frozen=True)
class Level:
    """The first or last bar of a waterfall. text: its value as written. note: the images it was measured on."""

    name: str
    value: float
    text: str
    note: str


@dataclass(frozen=True)
class Change:
    """One step. interval: of the change. cause: what it comes from, if known."""

    name: str
    change: float
    text: str
    interval: tuple[float, float] | None
    range: str
    explanation: str
    cause: str


@dataclass(frozen=True)
class Waterfall:
    """The changes from one level to another, in order; together they are the whole difference.

    measure: what is shown, in one word. is_share: whether levels are between 0 and 1, and written in percent.
    """

    measure: str
    title: str
    note: str
    start: Level
    changes: Sequence[Change]
    end: Level
    is_share: bool = True
    kind: Literal["waterfall"] = "waterfall"

    @property
    def headings(self) -> tuple[str, ...]:
        return ("", self.measure, "95% interval", "cause", "what it is")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The numbers as a table; the last column explains them."""
        first, last = ((f"{level.name}, {level.note}", level.text, "", "", "") for level in (self.start, self.end))
        changes = ((step.name, step.text, step.range, step.cause, step.explanation) for step in self.changes)
        return [first, *changes, last]

    def draw(self, title: str = "") -> Markup:
        """Draw a bar for each change, at the level that it starts from."""
        bars = self._list_bars()
        height = TOP + ROW * len(bars) + 30
        x = choose_scale([end for _, start, end, _ in bars for end in (start, end)], LEFT, RIGHT)
        ticks = [f"{written}{'%' if self.is_share else ''}" for written in format_ticks(x.ticks)]
        parts = [draw_upright_grid(x, TOP - 8, height - 24, ticks)]
        for number, (label, start, end, text) in enumerate(bars):
            y = TOP + ROW * number
            is_worse = (end < start) == self.is_share
            low, high = sorted((x.place(start), x.place(end)))
            if start == end:
                low, high = low - 2, low + 2
            colour = HELD_OUT if start == end else WORSE if is_worse else BETTER
            parts.append(draw_text(label, LEFT - 12, y + 14, anchor="end", fill=INK))
            parts.append(tag("rect", x=low, y=y, width=max(high - low, 1.0), height=BAR, fill=colour))
            parts.append(draw_text(text, RIGHT + 10, y + 14))
        return draw_svg(WIDTH, height, title or self.title, *parts)

    def draw_characters(self) -> list[str]:
        bars = self._list_bars()
        x = choose_scale([end for _, start, end, _ in bars for end in (start, end)], 0.0, COLUMNS - 1.0)
        width = max(len(label) for label, *_ in bars)
        lines = []
        for label, start, end, text in bars:
            low, high = sorted((round(x.place(start)), round(x.place(end))))
            mark = "│" if start == end else "█"
            lines.append(f"{label:>{width}} {(' ' * low + mark * (high - low + 1)).ljust(COLUMNS)} {text}")
        return [*lines, self.note]

    def _list_bars(self) -> list[tuple[str, float, float, str]]:
        """List the label, the start and end of the bar as written, and the text next to it."""
        factor = 100 if self.is_share else 1
        level = factor * self.start.value
        bars = [(self.start.name, level, level, self.start.text)]
        for step in self.changes:
            after = level + factor * step.change
            bars.append((step.name, level, after, f"{step.text} ({step.range})" if step.interval else step.text))
            level = after
        end = factor * self.end.value
        return [*bars, (self.end.name, end, end, self.end.text)]


Chart = Waterfall
