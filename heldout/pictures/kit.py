"""Shapes shared by all pictures of the client and of reports: frames, axes, courses, intervals.

Each shape has its colors as attributes, which apply if a picture stands alone, and a class, with which the page of a
report can override them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2
from typing import NamedTuple

from heldout.markup import Attribute, Child, Markup, join_children, tag
from heldout.pictures.scales import Scale, choose_scale, format_ticks
from heldout.views.study import CurvePointView, ForecastView, Side

TRAIN, HELD_OUT, WORSE, BETTER = "#b23c00", "#1f5fbf", "#b23c00", "#00695c"
INK, QUIET, GRID = "#1c2126", "#58626d", "#e1e5ea"
FONT = "12px system-ui, sans-serif"
COLOURS = {"train": TRAIN, "heldout": HELD_OUT, "forecast": HELD_OUT}
# The first epochs are far from the end of a training, so only later epochs set the scale.
START_SHARE = 0.15
DOT = 12  # room next to the first and last dot of a row
# Positions in strips are percentages of a cell's width, so that they fit phones and paper.
MIDDLE = "50%"
EDGES = 0.0, 100.0


class CoursePoint(NamedTuple):
    """A figure at an epoch: mean, lowest and highest over trainings, which are equal for a single training."""

    epoch: float
    mean: float
    low: float
    high: float


Course = Sequence[CoursePoint]


def draw_svg(width: int, height: int, title: str, *children: Child) -> Markup:
    """Draw a picture on white, with its title at the top."""
    return tag(
        "svg",
        tag("title", title),
        tag("rect", width=width, height=height, fill="#ffffff"),
        tag("text", title, x=12, y=20, fill=INK, font_weight="600"),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        style=f"font: {FONT}; max-width: 100%; height: auto",
    )


def draw_text(
    content: str, x: float, y: float, *, anchor: str = "start", fill: str = QUIET, class_: str | None = None
) -> Markup:
    return tag("text", content, x=x, y=y, text_anchor=anchor, fill=fill, class_=class_)


@dataclass(frozen=True)
class Box:
    """The area of a chart's figures, in the picture's units."""

    left: int
    right: int
    top: int
    bottom: int

    @property
    def clip(self) -> dict[str, Attribute]:
        """Attributes of an element that clips its content to this box."""
        width, height = self.right - self.left, self.bottom - self.top
        view = f"{self.left} {self.top} {width} {height}"
        return {"x": self.left, "y": self.top, "width": width, "height": height, "viewBox": view}

    def frame(self, title: str, y: Scale, columns: Sequence[tuple[float, str]], *, factor: float = 1.0) -> Markup:
        """Draw the title, grid lines with numbers at the left, and the labels below.

        Args:
            columns: positions from left to right, with their labels.
            factor: converts figures to the numbers shown.
        """
        written = Scale(factor * y.low, factor * y.high, y.start, y.end)
        parts = [draw_text(title, self.left, self.top - 10, class_="name")]
        for tick, number in zip(written.ticks, format_ticks(written.ticks), strict=True):
            place = written.place(tick)
            parts.append(tag("line", x1=self.left, x2=self.right, y1=place, y2=place, stroke=GRID, class_="grid"))
            parts.append(draw_text(number, self.left - 6, place + 4, anchor="end"))
        return join_children(
            *parts, *(draw_text(said, place, self.bottom + 16, anchor="middle") for place, said in columns)
        )


def draw_upright_grid(x: Scale, top: float, bottom: float, numbers: Sequence[str]) -> Markup:
    """Draw a line for each tick with its number below; the line at 0 is dark."""
    parts = []
    for tick, number in zip(x.ticks, numbers, strict=True):
        place = x.place(tick)
        parts.append(tag("line", x1=place, x2=place, y1=top, y2=bottom, stroke=INK if number == "0" else GRID))
        parts.append(draw_text(number, place, bottom + 16, anchor="middle"))
    return join_children(*parts)


def curve(points: Sequence[tuple[float, float]], name: str) -> Markup:
    """Draw a line through points, dashed unless it is about held-out images; a single point is a dot."""
    if len(points) == 1:
        [(x, y)] = points
        return tag("circle", cx=x, cy=y, r=3, fill=COLOURS[name], class_=f"point {name}")
    return tag(
        "polyline",
        points=_format_points(points),
        fill="none",
        stroke=COLOURS[name],
        stroke_width=2,
        stroke_dasharray=None if name == "heldout" else "5 4",
        class_=f"mean {name}",
    )


def _format_points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def scale_epochs(courses: Iterable[Course], start: float, end: float) -> Scale:
    """Make a scale from the first epoch to the last epoch of all courses."""
    last = max((point.epoch for course in courses for point in course), default=2)
    return Scale(1, max(last, 2), start, end)


def scale_figures(courses: Iterable[Course], start: float, end: float) -> Scale | None:
    """Make a scale for the figures after the first epochs of each course; None without such figures."""
    late = [point for course in courses for point in course if point.epoch > START_SHARE * course[-1].epoch]
    values = [value for point in late for value in (point.low, point.high)]
    return choose_scale(values, start, end) if values else None


def draw_courses(
    title: str, train: Course, held_out: Course, box: Box, x: Scale, y: Scale, *, factor: float = 1.0
) -> Markup:
    """Draw training dashed and held-out images solid, with bands if any. factor: converts to the numbers shown."""
    lines: list[Markup] = []
    for name, course in (("train", train), ("heldout", held_out)):
        upper = [(x.place(point.epoch), y.place(point.high)) for point in course]
        lower = [(x.place(point.epoch), y.place(point.low)) for point in course]
        if upper != lower:
            outline = _format_points([*upper, *reversed(lower)])
            band: dict[str, Attribute] = {"fill": COLOURS[name], "fill_opacity": 0.15, "class_": f"band {name}"}
            lines.append(tag("polygon", points=outline, **band))
        if course:
            lines.append(curve([(x.place(point.epoch), y.place(point.mean)) for point in course], name))
    columns = [(x.place(tick), f"{round(tick):,}") for tick in x.ticks if tick == round(tick)]
    return join_children(box.frame(title, y, columns, factor=factor), tag("svg", lines, **box.clip))


def draw_sizes(
    title: str, sizes: Sequence[CurvePointView], forecast: ForecastView | None, box: Box, *, dot: int = 3
) -> Markup:
    """Draw the error at each number of training images, with its interval; the forecast is hollow and dashed.

    The horizontal scale is logarithmic, because the comparison is about doubling the images.
    """
    points: list[CurvePointView | ForecastView] = [*sizes, *([] if forecast is None else [forecast])]
    errors = [value for point in points for value in (point.error, *(point.interval or ()))]
    first, last = log2(points[0].images), log2(points[-1].images)
    x = Scale(first, max(last, first + 1), box.left + DOT, box.right - DOT)
    y = choose_scale([0.0, *errors], box.bottom, box.top, room=0.02)
    places = [(x.place(log2(point.images)), y.place(point.error)) for point in points]
    columns = [(across, f"{point.images:,}") for point, (across, _) in zip(points, places, strict=True)]
    parts = [box.frame(title, y, columns, factor=100.0)]
    if sizes:
        parts.append(curve(places[: len(sizes)], "heldout"))
    if forecast is not None and sizes:
        parts.append(curve(places[-2:], "forecast"))
    for point, (across, down) in zip(points, places, strict=True):
        name = "forecast" if point is forecast else "heldout"
        stroke: dict[str, Attribute] = {"stroke": COLOURS[name], "stroke_width": 2}
        if point.interval is not None:
            low, high = (y.place(bound) for bound in point.interval)
            parts.append(tag("line", x1=across, x2=across, y1=low, y2=high, class_=f"whisker {name}", **stroke))
        filled: dict[str, Attribute] = {"fill": "#ffffff", **stroke} if point is forecast else {"fill": COLOURS[name]}
        parts.append(tag("circle", cx=across, cy=down, r=dot, class_=f"point {name}", **filled))
    return join_children(*parts)


# --- strips: small pictures for the rows of a table ----------------------------------------------


def draw_interval_strip(
    scale: Scale, value: float, bounds: tuple[float, float] | None, side: Side, *, alternative: str
) -> Markup:
    """Draw a dot for the measured figure, a bar for where the true figure may be, and the line at 0.

    Bars that reach outside the picture end at its edge with an arrow.
    """
    bar = None
    if bounds is not None:
        low, high = (_place_within(scale, bound) for bound in bounds)
        bar = join_children(_draw_line(low, high, f"bar {side}"), *(_draw_end(scale, bound, side) for bound in bounds))
    inside = _is_inside(scale, value)
    dot = tag("circle", cx=_format_percent(scale, value), cy=MIDDLE, r=6, class_=f"dot {side}") if inside else None
    return _draw_strip(join_children(_draw_strip_grid(scale), bar, dot), alternative)


def _draw_end(scale: Scale, bound: float, side: Side) -> Markup:
    if _is_inside(scale, bound):
        end = _format_percent(scale, bound)
        return tag("line", x1=end, x2=end, y1="32%", y2="68%", class_=f"cap {side}")
    is_left = scale.place(bound) < EDGES[0]
    anchor = "start" if is_left else "end"
    return tag(
        "text", "◀" if is_left else "▶", x=_place_within(scale, bound), y="66%", text_anchor=anchor, class_="end"
    )


def _is_inside(scale: Scale, value: float) -> bool:
    return EDGES[0] <= scale.place(value) <= EDGES[1]


def _place_within(scale: Scale, value: float) -> str:
    return f"{min(max(scale.place(value), EDGES[0]), EDGES[1]):.2f}%"


def draw_way_strip(scale: Scale, train: float, validation: float, *, alternative: str) -> Markup:
    """Draw a ring for training, a dot for validation, and the gap between them."""
    ends = _format_percent(scale, train), _format_percent(scale, validation)
    return _draw_strip(
        join_children(
            _draw_strip_grid(scale),
            _draw_line(*ends, "bar gap"),
            tag("circle", cx=ends[0], cy=MIDDLE, r=5, class_="ring"),
            tag("circle", cx=ends[1], cy=MIDDLE, r=6, class_="dot heldout"),
        ),
        alternative,
    )


def draw_axis_strip(scale: Scale, low: str, high: str, *, factor: float = 1.0, sign: bool = False) -> Markup:
    """Draw the numbers of the scale, with a word for each end. factor: converts figures to the numbers shown."""
    written = Scale(factor * scale.low, factor * scale.high, scale.start, scale.end)
    ticks = written.ticks
    numbers = [
        tag("text", text, x=_format_percent(written, tick), y="85%", text_anchor="middle")
        for tick, text in zip(ticks, format_ticks(ticks, sign=sign), strict=True)
    ]
    words = (
        tag("text", low, x="1%", y="35%", class_="end"),
        tag("text", high, x="99%", y="35%", text_anchor="end", class_="end"),
    )
    return _draw_strip(join_children(*words, *numbers), "")


def _draw_strip_grid(scale: Scale) -> Markup:
    lines = []
    for tick in scale.ticks:
        x = _format_percent(scale, tick)
        lines.append(tag("line", x1=x, x2=x, y1="0%", y2="100%", class_="zero" if abs(tick) < 1e-12 else "grid"))
    return join_children(*lines)


def _draw_line(start: str, end: str, class_: str) -> Markup:
    return tag("line", x1=start, x2=end, y1=MIDDLE, y2=MIDDLE, class_=class_)


def _format_percent(scale: Scale, value: float) -> str:
    return f"{scale.place(value):.2f}%"


def _draw_strip(content: Markup, alternative: str) -> Markup:
    if not alternative:
        return tag("svg", content, class_="strip", aria_hidden="true")
    return tag("svg", tag("title", alternative), content, class_="strip", role="img", aria_label=alternative)
