"""Small pictures for the rows of a table: an interval around 0, and the way from training to validation.

Their places are in percent of the cell's width, so that they fit a phone as well as paper.
"""

from heldout.markup import Markup, element, joined
from heldout.pictures.scales import Scale, tick_texts
from heldout.views.study import Side

MIDDLE = "50%"
EDGES = 0.0, 100.0


def interval_strip(
    scale: Scale, value: float, bounds: tuple[float, float] | None, side: Side, *, alternative: str
) -> Markup:
    """A dot for what was measured, a bar for where the true figure may be, and the line at 0.

    What lies outside of the picture ends at its edge, in an arrow.
    """
    bar = None
    if bounds is not None:
        low, high = (_within(scale, bound) for bound in bounds)
        bar = joined(
            _line(low, high, f"bar {side}"),
            *(_end(scale, bound, side) for bound in bounds),
        )
    inside = _is_inside(scale, value)
    dot = element("circle", cx=_percent(scale, value), cy=MIDDLE, r=6, class_=f"dot {side}") if inside else None
    return _strip(joined(_grid(scale), bar, dot), alternative)


def _end(scale: Scale, bound: float, side: Side) -> Markup:
    if _is_inside(scale, bound):
        end = _percent(scale, bound)
        return element("line", x1=end, x2=end, y1="32%", y2="68%", class_=f"cap {side}")
    is_left = scale.place(bound) < EDGES[0]
    anchor = "start" if is_left else "end"
    return element("text", "◀" if is_left else "▶", x=_within(scale, bound), y="66%", text_anchor=anchor, class_="end")


def _is_inside(scale: Scale, value: float) -> bool:
    return EDGES[0] <= scale.place(value) <= EDGES[1]


def _within(scale: Scale, value: float) -> str:
    return f"{min(max(scale.place(value), EDGES[0]), EDGES[1]):.2f}%"


def way_strip(scale: Scale, train: float, validation: float, *, alternative: str) -> Markup:
    """A ring for training, a dot for validation, and the gap between them."""
    ends = _percent(scale, train), _percent(scale, validation)
    return _strip(
        joined(
            _grid(scale),
            _line(*ends, "bar gap"),
            element("circle", cx=ends[0], cy=MIDDLE, r=5, class_="ring"),
            element("circle", cx=ends[1], cy=MIDDLE, r=6, class_="dot heldout"),
        ),
        alternative,
    )


def axis_strip(scale: Scale, low: str, high: str, *, factor: float = 1.0, sign: bool = False) -> Markup:
    """The numbers of the scale, with a word for each end. factor: from figures to written numbers."""
    written = Scale(factor * scale.low, factor * scale.high, scale.start, scale.end)
    ticks = written.ticks
    numbers = [
        element("text", text, x=_percent(written, tick), y="85%", text_anchor="middle")
        for tick, text in zip(ticks, tick_texts(ticks, sign=sign), strict=True)
    ]
    words = (
        element("text", low, x="1%", y="35%", class_="end"),
        element("text", high, x="99%", y="35%", text_anchor="end", class_="end"),
    )
    return _strip(joined(*words, *numbers), "")


def _grid(scale: Scale) -> Markup:
    lines = []
    for tick in scale.ticks:
        x = _percent(scale, tick)
        lines.append(element("line", x1=x, x2=x, y1="0%", y2="100%", class_="zero" if abs(tick) < 1e-12 else "grid"))
    return joined(*lines)


def _line(start: str, end: str, class_: str) -> Markup:
    return element("line", x1=start, x2=end, y1=MIDDLE, y2=MIDDLE, class_=class_)


def _percent(scale: Scale, value: float) -> str:
    return f"{scale.place(value):.2f}%"


def _strip(content: Markup, alternative: str) -> Markup:
    if not alternative:
        return element("svg", content, class_="strip", aria_hidden="true")
    return element("svg", element("title", alternative), content, class_="strip", role="img", aria_label=alternative)
