"""A picture of a training: accuracy and loss of training and validation, epoch by epoch."""

from collections.abc import Sequence
from math import isfinite

from heldout.markup import Markup, join_children, tag
from heldout.pictures import kit
from heldout.pictures.picture import Picture
from heldout.pictures.scales import draw_braille
from heldout.views.diagnosis import DiagnosisView
from heldout.views.results import EpochView

WIDTH, HEIGHT, PANEL_LEFT, PANEL_WIDTH, TOP, BOTTOM = 760, 300, (52, 432), 300, 62, 258
COLUMNS, ROWS = 60, 12


def draw_history(epochs: Sequence[EpochView], diagnosis: DiagnosisView | None, name: str) -> Picture:
    """Draw the curves, and mark the best epoch and the epoch from which validation gets worse.

    Args:
        epochs: epochs from `metrics`; may be empty.
        diagnosis: the diagnosis of the same training, if there is one.
    """
    marks = {} if diagnosis is None else {"best": diagnosis.best_epoch, "worse from here": diagnosis.onset_epoch}
    known = {label: epoch for label, epoch in marks.items() if epoch is not None}
    title = f"{name}: training and validation"
    accuracies, losses = (
        [_list_points(epochs, f"{split}_{measure}") for split in ("train", "validation")]
        for measure in ("accuracy", "loss")
    )
    shown = [
        _draw_panel("accuracy, %", accuracies, PANEL_LEFT[0], known, 100.0),
        _draw_panel("loss", losses, PANEL_LEFT[1], known),
    ]
    return Picture(title, kit.draw_svg(WIDTH, HEIGHT, title, _draw_legend(), *shown), _draw_text(title, losses, known))


def _list_points(epochs: Sequence[EpochView], figure: str) -> kit.Course:
    measured = [(epoch.epoch, value) for epoch in epochs if (value := getattr(epoch, figure)) is not None]
    return [kit.CoursePoint(epoch, value, value, value) for epoch, value in measured if isfinite(value)]


def _draw_panel(
    label: str, courses: Sequence[kit.Course], left: int, marks: dict[str, int], factor: float = 1.0
) -> Markup:
    """factor: converts figures to the numbers shown."""
    box = kit.Box(left, left + PANEL_WIDTH, TOP, BOTTOM)
    x, y = kit.scale_epochs(courses, box.left, box.right), kit.scale_figures(courses, BOTTOM, TOP)
    if y is None:
        return kit.draw_text(f"{label}: nothing has been measured yet", left, TOP)
    parts = [kit.draw_courses(f"{label}, by epoch", courses[0], courses[1], box, x, y, factor=factor)]
    for row, (name, epoch) in enumerate(marks.items()):
        place = x.place(epoch)
        parts.append(tag("line", x1=place, x2=place, y1=TOP, y2=BOTTOM, stroke=kit.QUIET, stroke_dasharray="2 3"))
        is_right = place > left + PANEL_WIDTH / 2
        label_at = place - 4 if is_right else place + 4
        parts.append(
            kit.draw_text(f"{name} ({epoch})", label_at, TOP + 12 + 14 * row, anchor="end" if is_right else "start")
        )
    return join_children(*parts)


def _draw_legend() -> Markup:
    return join_children(
        kit.curve([(WIDTH - 230, 16), (WIDTH - 200, 16)], "train"),
        kit.draw_text("training", WIDTH - 194, 20),
        kit.curve([(WIDTH - 120, 16), (WIDTH - 90, 16)], "heldout"),
        kit.draw_text("validation", WIDTH - 84, 20),
    )


def _draw_text(title: str, courses: Sequence[kit.Course], marks: dict[str, int]) -> str:
    """Draw the losses as text: training above, validation below, on one scale."""
    x, y = kit.scale_epochs(courses, 0.0, 1.0), kit.scale_figures(courses, 1.0, 0.0)
    if y is None:
        return f"{title}\nNothing has been measured yet."
    rows = [title]
    for name, points in zip(("training", "validation"), courses, strict=True):
        if points:
            rows.append(f"{name} loss")
            drawn = draw_braille([[(point.epoch, point.mean) for point in points]], x, y, COLUMNS, ROWS // 2)
            edges = {len(drawn) - 1: f"{y.low:.3f}", 0: f"{y.high:.3f}"}
            rows += [f"{edges.get(place, ''):>9} ┤{row}" for place, row in enumerate(drawn)]
    first, last = f"{1}", f"{round(x.high)}"
    rows.append(" " * 11 + first + last.rjust(COLUMNS - len(first)))
    rows += [f"{name}: epoch {epoch}" for name, epoch in marks.items()]
    return "\n".join(rows)
