"""A picture of a study: the effect of each remedy around 0, or the error by number of training images."""

from collections.abc import Callable, Sequence

from heldout.markup import Markup, join_children, tag
from heldout.pictures.kit import BETTER, INK, QUIET, WORSE, Box, draw_sizes, draw_svg, draw_text, draw_upright_grid
from heldout.pictures.picture import Picture
from heldout.pictures.scales import Scale, compute_reach, draw_around_zero, format_ticks
from heldout.studies.spec import Measure
from heldout.views.study import ArmView, CurvePointView, ForecastView, StudyView
from heldout.words import percent

WIDTH, TOP, ROW = 760, 78, 28
NAMES, PANEL, BETWEEN = 180, 250, 40
CURVE_HEIGHT, CURVE = 300, Box(60, 730, 60, 262)
TEXT_WIDTH = 31  # odd, so that 0 has a column of its own

NOTHING_YET = "No remedy has been compared with the base yet."
LEGEND = "A line shows where the true change very likely lies. If it includes 0, the change may be chance."

# Mean and adjusted interval of a difference, oriented so that better is positive.
Change = tuple[float, tuple[float, float] | None]


def draw_study(study: StudyView) -> Picture:
    """Draw the interval of each remedy around 0, or the learning curve with its forecast."""
    return _draw_curve(study) if study.kind == "learning_curve" else _draw_arms(study)


# --- remedies -------------------------------------------------------------------------------------


def _draw_arms(study: StudyView) -> Picture:
    title = f"{study.name}: what each remedy changes on unseen images"
    arms = [arm for arm in study.arms if arm.difference is not None]
    if not arms:
        return Picture(title, draw_svg(WIDTH, 70, title, draw_text(NOTHING_YET, 12, 48)), f"{title}\n{NOTHING_YET}")
    height = TOP + ROW * len(arms) + 50
    names = [
        draw_text(
            _get_arm_name(arm), NAMES - 12, TOP + ROW * row + 18, anchor="end", fill=QUIET if _is_out(arm) else INK
        )
        for row, arm in enumerate(arms)
    ]
    accuracies, losses = (_list_changes(arms, measure) for measure in ("accuracy", "loss"))
    panels = [
        _draw_panel("accuracy, points", accuracies, NAMES, 100),
        _draw_panel("loss (lower is to the right)", losses, NAMES + PANEL + BETWEEN, -1),
    ]
    legend = draw_text(LEGEND, 12, height - 8)
    return Picture(title, draw_svg(WIDTH, height, title, *names, *panels, legend), _draw_arms_text(title, arms))


def _draw_panel(label: str, changes: Sequence[Change | None], left: int, factor: int) -> Markup:
    """factor: converts changes, of which more is better, to the numbers shown."""
    right, bottom = left + PANEL, TOP + ROW * len(changes)
    known = [change for change in changes if change is not None]
    reach = 1.05 * abs(factor) * compute_reach(known) or 1.0
    x = Scale(-reach, reach, left, right)
    written = [tick * factor / abs(factor) for tick in x.ticks]
    parts = [
        draw_text(label, left, TOP - 30, fill=INK),
        draw_text("← worse", left, TOP - 12),
        draw_text("better →", right, TOP - 12, anchor="end"),
        draw_upright_grid(x, TOP - 4, bottom, format_ticks(written, sign=True)),
    ]
    for row, change in enumerate(changes):
        if change is not None:
            parts.append(_draw_interval(change, x, TOP + ROW * row + 14, abs(factor)))
    return join_children(*parts)


def _draw_interval(change: Change, x: Scale, y: int, factor: int) -> Markup:
    mean, bounds = change
    low, high = (factor * bound for bound in bounds or (mean, mean))
    colour = BETTER if low > 0 else WORSE if high < 0 else QUIET

    def place(value: float) -> float:
        return x.place(min(max(value, x.low), x.high))

    return join_children(
        tag("line", x1=place(low), x2=place(high), y1=y, y2=y, stroke=colour, stroke_width=3),
        tag("circle", cx=place(factor * mean), cy=y, r=5, fill=colour),
    )


def _draw_arms_text(title: str, arms: Sequence[ArmView]) -> str:
    """Draw the same as text: accuracy, then loss."""
    room = max(len(_get_arm_name(arm)) for arm in arms)
    head = "WORSE".ljust(TEXT_WIDTH // 2) + "|" + "BETTER".rjust(TEXT_WIDTH // 2)
    lines = [title]
    for label, changes, form in (
        ("accuracy, points", _list_changes(arms, "accuracy"), lambda value: f"{100 * value:+.1f}"),
        ("loss (lower is to the right)", _list_changes(arms, "loss"), lambda value: f"{-value:+.3f}"),
    ):
        reach = compute_reach(change for change in changes if change is not None)
        lines += ["", f"{' ' * room}  {head}  {label}"]
        for arm, change in zip(arms, changes, strict=True):
            mean, bounds = change or (None, None)
            drawn = draw_around_zero(mean, bounds, reach, TEXT_WIDTH).ljust(TEXT_WIDTH)
            lines.append(f"{_get_arm_name(arm).rjust(room)}  {drawn}  {_format_change(change, form)}".rstrip())
    return "\n".join([*lines, "", LEGEND])


def _format_change(change: Change | None, form: Callable[[float], str]) -> str:
    if change is None:
        return ""
    mean, bounds = change
    written = [form(mean)] if bounds is None else [form(mean), *sorted(map(form, bounds), key=float)]
    return written[0] if len(written) == 1 else f"{written[0]} [{written[1]}, {written[2]}]"


def _list_changes(arms: Sequence[ArmView], measure: Measure) -> list[Change | None]:
    """List changes of a measure. Those of the loss are negated, so that better is on the same side."""
    found: list[Change | None] = []
    for arm in arms:
        mean: float | None = getattr(arm.difference, measure, None)
        adjusted = None if arm.difference is None else arm.difference.adjusted_intervals
        bounds: tuple[float, float] | None = getattr(adjusted, measure, None)
        if mean is not None and measure == "loss":
            mean, bounds = -mean, None if bounds is None else (-bounds[1], -bounds[0])
        found.append(None if mean is None else (mean, bounds))
    return found


def _is_out(arm: ArmView) -> bool:
    return arm.status == "dropped"


def _get_arm_name(arm: ArmView) -> str:
    return f"{arm.name} (dropped)" if _is_out(arm) else arm.name


# --- learning curves ------------------------------------------------------------------------------


def _draw_curve(study: StudyView) -> Picture:
    title = f"{study.name}: wrong answers by the number of training images"
    points: list[CurvePointView | ForecastView] = [*(study.sizes or [])]
    if study.forecast is not None:
        points.append(study.forecast)
    if not points:
        said = "No size has been measured yet."
        return Picture(title, draw_svg(WIDTH, 70, title, draw_text(said, 12, 48)), f"{title}\n{said}")
    hollow = "" if study.forecast is None else "; the hollow dot is the forecast"
    chart = draw_sizes(f"wrong answers on unseen images, %{hollow}", study.sizes or [], study.forecast, CURVE, dot=4)
    return Picture(title, draw_svg(WIDTH, CURVE_HEIGHT, title, chart), _draw_curve_text(title, points, study.forecast))


def _draw_curve_text(title: str, points: Sequence[CurvePointView | ForecastView], forecast: ForecastView | None) -> str:
    """Draw a row for each size: its error as `o` between its bounds, on one scale from 0."""
    most = max(value for point in points for value in (point.error, *(point.interval or ())))
    x = Scale(0.0, most or 1.0, 0.0, 2.0 * TEXT_WIDTH)
    room = max(len(f"{point.images:,}") for point in points)
    lines = [title]
    for point in points:
        low, high = (round(x.place(bound)) for bound in point.interval or (point.error, point.error))
        cells = [" "] * low + ["-"] * (high - low + 1)
        cells[round(x.place(point.error))] = "o"
        said = percent(point.error) + (" (forecast)" if point is forecast else "")
        lines.append(f"{point.images:>{room},} images {''.join(cells).ljust(2 * TEXT_WIDTH + 1)} {said}")
    return "\n".join(lines)
