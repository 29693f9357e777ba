"""Prints a study as text for people: its arms with intervals around 0, or its learning curve, and its answer."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from heldout.cli.screen import Table, say, say_prose
from heldout.pictures.scales import compute_reach, draw_around_zero
from heldout.words import (
    LOSS,
    NONE,
    POINTS,
    format_duration,
    format_loss,
    format_range,
    format_signed,
    format_signed_range,
    percent,
)
from heldout.words.labels import HOW_TO_READ, TOO_FEW_SEEDS, describe_remedy
from heldout.words.study_answers import say_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.views.study import ArmView, Measure, StudyEstimateView, StudyView

PICTURE_WIDTH = 31  # odd, so that 0 has a column of its own
PICTURE_HEADING = "WORSE".ljust(PICTURE_WIDTH // 2) + "|" + "BETTER".rjust(PICTURE_WIDTH // 2)
HEADINGS = ("REMEDY", "STATUS", "SEEDS", "ACCURACY", "POINTS", "SURELY", "LOSS", "SURELY", PICTURE_HEADING)
ONLY_LOSS = ("REMEDY", "STATUS", "SEEDS", "LOSS", "CHANGE", "SURELY")
MEANS = 3  # the column of the means; a learning curve has the loss there, for measured sizes only
CURVE_HEADINGS = ("IMAGES", "ERROR", "BETWEEN", "LOSS", "")
CURVE_LEGEND = (
    "ERROR: wrong answers on validation images. The true share is between the bounds in 95 of 100 cases (for the "
    "forecast in 90). LOSS is their cross-entropy."
)
SO_FAR = (
    "So far: the mean of the trainings that have ended. Remedies are compared once all of them have their first seeds."
)
# The differences that decide are always shown, however narrow the terminal.
FEWEST_COLUMNS = 5


def show_estimate(estimate: StudyEstimateView) -> None:
    """Print what a study would do."""
    took = "" if estimate.seconds is None else f", about {format_duration(estimate.seconds)}"
    splits = "each seed has its own fold" if estimate.splits == "resampled" else "those of the dataset"
    if estimate.sizes is not None:
        say(f"training images: {', '.join(f'{images:,}' for images in estimate.sizes)}")
        say(f"{estimate.jobs:,} trainings: {len(estimate.sizes)} sizes, {estimate.seeds} seeds each{took}")
        say(f"train and validation: {splits}; the test split is not used")
    else:
        most = f"; at most {estimate.max_jobs:,} until the answer" if estimate.max_jobs > estimate.jobs else ""
        say(f"remedies: {', '.join(estimate.remedies)}")
        say(f"{estimate.jobs:,} trainings for the first look at {estimate.seeds} seeds each{took}{most}")
        say(f"train and validation: {splits}; the test split is measured once, at the end")
    if estimate.left_out:
        say_prose(f"It is a first answer. Continuing it would add {', '.join(estimate.left_out)}.")
    for warning in estimate.warnings:
        say_prose(f"Note: {warning}")
    if estimate.waits_for is not None:
        say(f"It would wait first: {estimate.waits_for}.")


def show_study(study: StudyView, *, says_more: bool = True) -> None:
    """Print a study's progress, its arms or sizes, and its answer. says_more: name commands that show more."""
    say(f"{study.name} {study.status} ({study.id}): {describe_progress(study)}")
    if study.job is not None:
        say(f"It starts from the spec of {study.job}.")
    say("")
    for warning in study.warnings:
        say_prose(f"Note: {warning}")
    if study.headline:
        say_prose(study.headline)
        say_prose(study.summary)
        say("")
    show_arms(study)
    show_answer(study, says_more=says_more)


def show_arms(study: StudyView) -> None:
    """Print the arms, the base first, or the sizes of a learning curve, and how to read them."""
    for line in build_table(study).lines:
        say(line)
    for arm in study.arms:
        if arm.why:
            say_prose(f"{describe_remedy(arm.name)}: {arm.why}")
    say("")
    say_prose(CURVE_LEGEND if study.kind == "learning_curve" else HOW_TO_READ)
    if has_provisional_figures(study):
        say_prose(SO_FAR)


def has_provisional_figures(study: StudyView) -> bool:
    """Return whether the table has means of arms that have not been compared yet, but will be."""
    return not study.has_ended and any(arm.provisional is not None for arm in study.arms)


def build_table(study: StudyView) -> Table:
    """Return a row for each arm; for a learning curve, one for each measured size and for the forecast."""
    if study.kind == "learning_curve":
        return Table(CURVE_HEADINGS, build_size_rows(study), (0, 1, 3))
    headings: Sequence[str] = HEADINGS
    rows, right = build_arm_rows(study), (2, 3, 4, 6)
    if study.only_measure == "accuracy":
        headings, *rows = ((*row[:6], row[8]) for row in (HEADINGS, *rows))
    elif study.only_measure == "loss":
        losses = [_format_means(arm, "loss") for arm in study.arms]
        headings, rows = ONLY_LOSS, [(*row[:3], loss, *row[6:8]) for row, loss in zip(rows, losses, strict=True)]
    first = "ARM" if study.spec is None else "REMEDY"  # what a script changes is called an arm
    means = headings[MEANS] if study.metric is None else study.metric.upper()
    headings = (first, *headings[1:MEANS], means, *headings[MEANS + 1 :])
    return Table(headings, rows, right if study.only_measure is None else right[:3], FEWEST_COLUMNS)


def build_size_rows(study: StudyView) -> list[tuple[str, ...]]:
    """Return the cells of CURVE_HEADINGS for each measured size, and for the forecast."""
    rows: list[tuple[str, ...]] = [
        (f"{size.images:,}", percent(size.error), format_range(size.interval), format_loss(size.loss), "")
        for size in study.sizes or []
    ]
    if (forecast := study.forecast) is not None:
        rows.append(
            (f"{forecast.images:,}", percent(forecast.error), format_range(forecast.interval), NONE, "forecast")
        )
    return rows


def build_arm_rows(study: StudyView) -> list[tuple[str, ...]]:
    """Return the cells of HEADINGS for each arm: means on validation, then differences from the base."""
    differences = [arm.difference for arm in study.arms if arm.difference is not None]
    widest = compute_reach((each.accuracy or 0.0, each.adjusted_intervals.accuracy) for each in differences)
    racing = "running" if study.status == "running" else NONE
    return [_build_row(arm, racing if arm.status == "racing" else arm.status, widest) for arm in study.arms]


def _build_row(arm: ArmView, status: str, widest: float) -> tuple[str, ...]:
    accuracy, loss, bounds = None, None, None
    unknown = TOO_FEW_SEEDS if arm.has_too_few_seeds else NONE
    if arm.difference is not None:
        accuracy, loss, bounds = arm.difference.accuracy, arm.difference.loss, arm.difference.adjusted_intervals
    return (
        describe_remedy(arm.name),
        status,
        str(arm.seeds if arm.provisional is None else arm.provisional.seeds),
        _format_means(arm, "accuracy"),
        format_signed(POINTS, accuracy, None if bounds is None else bounds.accuracy),
        unknown
        if bounds is None or bounds.accuracy is None
        else format_signed_range(POINTS, accuracy, bounds.accuracy),
        format_signed(LOSS, loss, None if bounds is None else bounds.loss),
        unknown if bounds is None or bounds.loss is None else format_signed_range(LOSS, loss, bounds.loss),
        _draw_picture(arm, widest),
    )


def show_answer(study: StudyView, *, says_more: bool = True) -> None:
    """Print the conclusion or forecast in words, and what to do next; nothing while there is none."""
    if study.error is not None:
        say(f"{study.error.code}: {study.error.detail}")
    elif study.forecast is not None:
        say("")
        say(study.forecast.explanation)
    elif study.no_forecast is not None:
        say("")
        say(f"There is no forecast. {study.no_forecast}")
    if study.conclusion is None:
        return
    say("")
    say_prose(study.conclusion.explanation)
    if study.conclusion.gap is not None:
        say_prose(study.conclusion.gap.explanation)
    if study.ensemble is not None and study.ensemble.explanation:
        say_prose(study.ensemble.explanation)
    if (refit := study.conclusion.refit) is not None:
        say_prose(say_model(study.conclusion))
        say(f"`heldout watch {refit}` waits for it; `heldout model {refit} -o FILE` downloads it.")
    if (command := build_winner_command(study)) is not None:
        say(f"To train it again: {command}")
    if says_more and study.can_continue:
        say(f"To continue it: heldout cure {study.id}")
    if says_more:
        say(f"As a picture: heldout plot {study.id}")
        say(f"The whole report, with pictures and next commands: heldout studies report {study.id} --html FILE")


def build_winner_command(study: StudyView) -> str | None:
    """Return the command that trains with the winner's change of the spec; None without a winner or a job to change."""
    if study.conclusion is None or study.conclusion.remedy is None or study.job is None:
        return None
    patch = next((arm.patch for arm in study.arms if arm.name == study.conclusion.remedy), None)
    return None if not patch else shlex.join(["heldout", "train", "--from", study.job, "--patch", json.dumps(patch)])


def describe_progress(study: StudyView) -> str:
    """`12 of 24 trainings, at most 2:10 left`."""
    if study.waits_for is not None:
        return f"waits: {study.waits_for}"
    if study.recorded is not None and study.recorded.metric is not None:
        return f"{sum(len(arm.runs) for arm in study.recorded.arms):,} recorded runs"
    left = (
        ""
        if study.progress.eta_s is None or study.status != "running"
        else f", at most {format_duration(study.progress.eta_s)} left"
    )
    return f"{study.progress.done:,} of {study.progress.jobs:,} trainings{left}"


def _format_means(arm: ArmView, measure: Measure) -> str:
    """`94.5 → 93.1%`: first the base with the same seeds, because an arm may have fewer seeds than the base."""
    show = percent if measure == "accuracy" else format_loss
    if arm.provisional is not None:
        return f"{show(getattr(arm.provisional, measure))} so far"
    reached = None if arm.validation is None else getattr(arm.validation, measure)
    difference = None if arm.difference is None else getattr(arm.difference, measure)
    if reached is None or difference is None:
        return show(reached)
    return f"{show(reached - difference).removesuffix('%')} → {show(reached)}"


def _draw_picture(arm: ArmView, widest: float) -> str:
    """Draw the adjusted interval of accuracy around 0; better is on the right."""
    difference = arm.difference
    if difference is None:
        return draw_around_zero(None, None, widest, PICTURE_WIDTH)
    return draw_around_zero(difference.accuracy, difference.adjusted_intervals.accuracy, widest, PICTURE_WIDTH)
