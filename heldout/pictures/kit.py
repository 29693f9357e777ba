"""Shapes shared by all pictures of the client and of reports: frames, axes, courses.

Each shape has its colors as attributes, which apply if a picture stands alone, and a class, with which the page of a
report can override them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from heldout.markup import Attribute, Child, Markup, join_children, tag
from heldout.pictures.scales import Scale, choose_scale, format_ticks

TRAIN, HELD_OUT, WORSE, BETTER = "#b23c00", "#1f5fbf", "#b23c00", "#00695c"
INK, QUIET, GRID = "#1c2126", "#58626d", "#e1e5ea"
FONT = "12px system-ui, sans-serif"
SVG = "http://www.w3.org/2000/svg"
COLOURS = {"train": TRAIN, "heldout": HELD_OUT}
# The first epochs are far from the end of a training, so only later epochs set the scale.
START_SHARE = 0.15


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
        xmlns=SVG,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        style=f"font: {FONT}; max-width: 100%; height: auto",
    )


def draw_chart(width: int, height: int, title: str, *children: Child) -> Markup:
    """Draw a chart for a panel, which shows the title itself."""
    about: dict[str, Attribute] = {"class_": "chart", "role": "img", "aria_label": title, "xmlns": SVG}
    font: dict[str, Attribute] = {"font_family": "system-ui, sans-serif", "font_size": 11}
    return tag("svg", tag("title", title), *children, viewBox=f"0 0 {width} {height}", **about, **font)


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
