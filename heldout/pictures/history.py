"""A training as a picture: accuracy and loss of training and validation, epoch by epoch."""

from collections.abc import Callable, Sequence
from math import isfinite

from heldout.markup import Markup, element, joined
from heldout.pictures.axes import START_SHARE, Box, curve, epoch_columns
from heldout.pictures.canvas import QUIET, braille, svg, text
from heldout.pictures.picture import Picture
from heldout.pictures.scales import Scale, scale_of
from heldout.views.diagnosis import DiagnosisView
from heldout.views.metrics import EpochView

WIDTH, HEIGHT, PANEL_LEFT, PANEL_WIDTH, TOP, BOTTOM = 760, 300, (52, 432), 300, 62, 258
COLUMNS, ROWS = 60, 12

Curve = list[tuple[float, float]]
Figure = Callable[[EpochView], float | None]


def history_picture(epochs: Sequence[EpochView], diagnosis: DiagnosisView | None, name: str) -> Picture:
    """The curves, with the best epoch and the one from which validation worsens marked.

    Args:
        epochs: as `metrics` gives them; there may be none.
        diagnosis: of the same training, where there is one.
    """
    marks = {} if diagnosis is None else {"best": diagnosis.best_epoch, "worse from here": diagnosis.onset_epoch}
    known = {label: epoch for label, epoch in marks.items() if epoch is not None}
    title = f"{name}: training and validation"
    accuracies = (
        _curve(epochs, lambda epoch: epoch.train_accuracy),
        _curve(epochs, lambda epoch: epoch.validation_accuracy),
    )
    losses = (_curve(epochs, lambda epoch: epoch.train_loss), _curve(epochs, lambda epoch: epoch.validation_loss))
    shown = [
        _panel("accuracy, %", *accuracies, PANEL_LEFT[0], known, 100.0),
        _panel("loss", *losses, PANEL_LEFT[1], known),
    ]
    return Picture(title, svg(WIDTH, HEIGHT, title, _legend(), *shown), _text(title, *losses, known))


def _curve(epochs: Sequence[EpochView], figure: Figure) -> Curve:
    measured = [(float(one.epoch), value) for one in epochs if (value := figure(one)) is not None]
    return [(epoch, value) for epoch, value in measured if isfinite(value)]


def _scales(
    train: Curve, validation: Curve, left: float, right: float, bottom: float, top: float
) -> tuple[Scale, Scale]:
    points = train + validation
    last = max(epoch for epoch, _ in points)
    late = [value for epoch, value in points if epoch > START_SHARE * last]
    return Scale(1, max(last, 2), left, right), scale_of(late, bottom, top)


def _panel(
    label: str, train: Curve, validation: Curve, left: int, marks: dict[str, int], factor: float = 1.0
) -> Markup:
    """factor: from figures to written numbers."""
    if not train and not validation:
        return text(f"{label}: nothing has been measured yet", left, TOP)
    box = Box(left, left + PANEL_WIDTH, TOP, BOTTOM)
    x, y = _scales(train, validation, box.left, box.right, BOTTOM, TOP)
    parts = [box.frame(f"{label}, by epoch", y, epoch_columns(x), factor=factor)]
    for row, (name, epoch) in enumerate(marks.items()):
        place = x.place(epoch)
        parts.append(element("line", x1=place, x2=place, y1=TOP, y2=BOTTOM, stroke=QUIET, stroke_dasharray="2 3"))
        is_right = place > left + PANEL_WIDTH / 2
        label_at = place - 4 if is_right else place + 4
        parts.append(text(f"{name} ({epoch})", label_at, TOP + 12 + 14 * row, anchor="end" if is_right else "start"))
    for points, name in ((train, "train"), (validation, "heldout")):
        if points:
            parts.append(
                curve([(x.place(epoch), min(max(y.place(value), TOP), BOTTOM)) for epoch, value in points], name)
            )
    return joined(*parts)


def _legend() -> Markup:
    return joined(
        curve([(WIDTH - 230, 16), (WIDTH - 200, 16)], "train"),
        text("training", WIDTH - 194, 20),
        curve([(WIDTH - 120, 16), (WIDTH - 90, 16)], "heldout"),
        text("validation", WIDTH - 84, 20),
    )


def _text(title: str, train: Curve, validation: Curve, marks: dict[str, int]) -> str:
    """The losses with characters: training above, validation below, on one scale."""
    if not train and not validation:
        return f"{title}\nNothing has been measured yet."
    x, y = _scales(train, validation, 0.0, 1.0, 1.0, 0.0)
    rows = [title]
    for name, points in (("training", train), ("validation", validation)):
        if points:
            rows.append(f"{name} loss")
            drawn = braille([points], x, y, COLUMNS, ROWS // 2)
            rows += [f"{_edge(y, place, len(drawn)):>9} ┤{row}" for place, row in enumerate(drawn)]
    first, last = f"{1}", f"{round(x.high)}"
    rows.append(" " * 11 + first + last.rjust(COLUMNS - len(first)))
    rows += [f"{name}: epoch {epoch}" for name, epoch in marks.items()]
    return "\n".join(rows)


def _edge(y: Scale, place: int, rows: int) -> str:
    if place == 0:
        return f"{y.high:.3f}"
    return f"{y.low:.3f}" if place == rows - 1 else ""
