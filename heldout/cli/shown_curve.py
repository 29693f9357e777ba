"""Prints a learning curve as text for people: the error at each number of images, and the forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.cli.figures import NONE, clock
from heldout.cli.figures import loss as loss_text
from heldout.cli.screen import print_table, say
from heldout.words import percent

if TYPE_CHECKING:
    from heldout.views.study import StudyEstimateView, StudyView

HEADINGS = ("IMAGES", "ERROR", "BETWEEN", "LOSS", "")
RIGHT = (0, 1, 3)


def show_curve_estimate(estimate: StudyEstimateView) -> None:
    """What a learning curve would do."""
    sizes = estimate.sizes or []
    took = "" if estimate.seconds is None else f", about {clock(estimate.seconds)}"
    say(f"training images: {', '.join(f'{images:,}' for images in sizes)}")
    say(f"{estimate.jobs:,} trainings: {len(sizes)} sizes, {estimate.seeds} seeds each{took}")
    splits = "each seed has a fold of its own" if estimate.splits == "resampled" else "those of the dataset"
    say(f"train and validation: {splits}; the test split is not looked at")
    if estimate.waits_for is not None:
        say(f"It would wait first: {estimate.waits_for}.")


def show_curve(study: StudyView) -> None:
    """The table, and what follows from it."""
    print_table(HEADINGS, size_rows(study), right=RIGHT)
    say("")
    say("ERROR: wrong answers on validation images, which surely lies between the bounds (in 95 of 100 cases; of the")
    say("forecast in 90). LOSS is their cross-entropy.")
    if study.error is not None:
        say(f"{study.error.code}: {study.error.detail}")
    elif study.forecast is not None:
        say("")
        say(study.forecast.explanation)
    elif study.no_forecast is not None:
        say("")
        say(f"There is no forecast. {study.no_forecast}")


def size_rows(study: StudyView) -> list[tuple[str, ...]]:
    """The cells of HEADINGS for each size that is measured, and for the forecast."""
    rows: list[tuple[str, ...]] = [
        (f"{one.images:,}", percent(one.error), _between(one.interval), loss_text(one.loss), "")
        for one in study.sizes or []
    ]
    if (one := study.forecast) is not None:
        rows.append((f"{one.images:,}", percent(one.error), _between(one.interval), NONE, "forecast"))
    return rows


def _between(bounds: tuple[float, float] | None) -> str:
    return NONE if bounds is None else f"{percent(bounds[0])} to {percent(bounds[1])}"
