"""The evidence of a study as blocks: how its arms compare, what test images say of the winner, and learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.attempts import build_attempts
from heldout.documents.blocks import Block, Cell, Figure, Heading, Paragraph, Table
from heldout.documents.strips import Axis, Strip, make_axis, make_mark, mark_interval
from heldout.metrics import METRICS
from heldout.pictures.scales import choose_scale, compute_reach
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
    pluralize,
)
from heldout.words.labels import EFFECTS, HOW_TO_READ, TOO_FEW_SEEDS, describe_remedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.metrics import Measure
    from heldout.pictures.scales import Scale
    from heldout.views.study import ArmView, CurvePointView, ForecastView, StudyView, TestFiguresView
    from heldout.views.study_figures import Answer, Interval
    from heldout.words import Unit

HOW_TO_READ_PICTURES = (
    "In the pictures, the line at 0 is the base, the dot is what was measured, and the bar is its range. "
    "Farther right is better. An arrow at the edge means that the bar continues beyond it."
)
HOW_TO_READ_SIZES = (
    "on validation images. The true value is very likely between the bounds: in 95 of 100 cases, for the "
    "forecast in 90."
)
SO_FAR = (
    "So far: the mean of the trainings that have ended. Remedies are compared once all of them have their first seeds."
)
TOGETHER = (
    '"Together" means that the probabilities of all networks of one remedy are averaged (an ensemble). This is often '
    "better than a single network, but every answer needs the computing of all of them."
)
ANSWERS: dict[Answer, str] = {"as_good": "as good", "worse": "worse", "cannot_tell": "cannot tell"}
_MEASURES: dict[Measure, tuple[str, str, Unit]] = {
    "accuracy": ("Accuracy on validation images, compared with the base", "points", POINTS),
    "loss": ("Loss on validation images, compared with the base; lower is better", "loss", LOSS),
}


def _describe_measure(measure: Measure) -> tuple[str, str, Unit]:
    """The caption of a measure's table, the heading of its differences, and their unit."""
    if measure in _MEASURES:
        return _MEASURES[measure]
    metric = METRICS[measure]
    caption = f"{metric.name[0].upper()}{metric.name[1:]} on validation images, compared with the unchanged network"
    return (caption, "points", POINTS) if metric.is_share else (f"{caption}; lower is better", metric.name, LOSS)


def build_evidence(study: StudyView) -> list[Block]:
    if study.judge is not None:
        return build_attempts(study.judge)
    if study.kind == "learning_curve":
        return _build_sizes(study)
    return [*build_comparison(study), *_build_test(study)]


def tabulate_study(study: StudyView) -> Table | None:
    """The first table of the evidence, which can be shown while the study runs; None before there are figures."""
    figures = (block for block in build_evidence(study) if isinstance(block, Figure))
    return next((figure.charts[0] for figure in figures), None)


def build_comparison(study: StudyView) -> list[Block]:
    """How the arms differ from the base, in each measure that was compared."""
    blocks: list[Block] = [Heading("What helped, and by how much?" if study.margin is None else "Which are as good?")]
    if not any(arm.validation or arm.provisional for arm in study.arms):
        return [*blocks, Paragraph("Nothing has been compared.")]
    if has_provisional_figures(study):
        blocks.append(Paragraph(SO_FAR, "hint"))
    return [*blocks, Paragraph(HOW_TO_READ_PICTURES, "picture"), build_arms(study), Paragraph(HOW_TO_READ, "hint")]


def has_provisional_figures(study: StudyView) -> bool:
    """Return whether the tables have means of arms that have not been compared yet, but will be."""
    return not study.has_ended and any(arm.provisional is not None for arm in study.arms)


def build_arms(study: StudyView) -> Figure:
    """Build a row for each arm, the base first: by how much it differs from the base."""
    arms = [study.arms[0], *sort_arms(study)]
    measures: list[Measure] = ["accuracy", "loss"] if study.only_measure is None else [study.only_measure]
    return Figure("Arms", [_tabulate_arms(study, arms, measure) for measure in measures])


def sort_arms(study: StudyView) -> list[ArmView]:
    """Put the winner first, then the others by right answers or the objective, and last those not compared yet."""

    def place(arm: ArmView) -> tuple[bool, float]:
        gained = None if arm.difference is None else arm.difference.benefit
        return arm is not study.winner, float("inf") if gained is None else -gained

    return sorted(study.arms[1:], key=place)


def format_arm_name(study: StudyView, arm: ArmView) -> str:
    """`base`, `label smoothing (chosen)`."""
    if arm is study.arms[0]:
        return "base"
    running = "running" if arm.status == "racing" and study.status == "running" else ""
    state = "chosen" if arm is study.winner else "dropped" if arm.status == "dropped" else running
    return f"{describe_remedy(arm.name)} ({state})" if state else describe_remedy(arm.name)


def _tabulate_arms(study: StudyView, arms: Sequence[ArmView], measure: Measure) -> Table:
    caption, column, unit = _describe_measure(measure)
    if study.metric is not None:
        caption, column = f"{study.metric} of recorded runs, compared with the base", study.metric
    scale = _choose_scale(arms, measure)
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        picture: Cell = ""
        value, bounds, effect = None, None, NONE
        if arm.difference is not None:
            value, bounds = arm.difference.get(measure), arm.difference.adjusted_intervals.get(measure)
        written, between = format_signed(unit, value, bounds), format_signed_range(unit, value, bounds)
        if arm.difference is not None and value is not None:
            side = arm.difference.side(measure)
            effect = EFFECTS[side]
            marks = [] if scale is None else mark_interval(scale, value, bounds, side)
            picture = Strip(marks, f"Measured {written}, very likely {between}, {effect}")
        if bounds is None and arm.has_too_few_seeds:
            between = TOO_FEW_SEEDS
        seeds = arm.seeds if arm.provisional is None else arm.provisional.seeds
        if arm.answer is not None:
            effect = ANSWERS[arm.answer]
        reached = _format_means(arm, measure)
        row = (format_arm_name(study, arm), picture, written, between, effect, reached, f"{seeds:,}")
        size = NONE if arm.parameters is None else f"{arm.parameters:,}"
        time = NONE if arm.seconds is None else format_duration(arm.seconds)
        rows.append(row if study.margin is None else (*row, size, time))
    axis: str | Axis = ""
    if scale is not None:
        axis = make_axis(scale, "picture", "← worse", "better →", factor=unit.scale, sign=True)
    first = "remedy" if study.spec else "arm"
    headings = (first, axis, column, "very likely between", "verdict", "reached", "trainings")
    return Table(
        caption,
        headings if study.margin is None else (*headings, "parameters", "time of a training"),
        rows,
        [place for place, arm in enumerate(arms) if arm is study.winner],
        (2, 3, 5, 6, 7, 8)[: len(rows[0]) - 3],
        name=METRICS[measure].name.capitalize() if measure in _MEASURES else METRICS[measure].name,
    )


def _choose_scale(arms: Sequence[ArmView], measure: Measure) -> Scale | None:
    """A scale with better on the right that includes 0. An arm with extreme values does not squeeze the others."""
    known: list[tuple[float, Interval]] = [
        (value, arm.difference.adjusted_intervals.get(measure))
        for arm in arms
        if arm.difference is not None and (value := arm.difference.get(measure)) is not None
    ]
    if not known:
        return None
    most = compute_reach(known)
    shown = [min(max(end, -most), most) for value, bounds in known for end in (value, *(bounds or ()))]
    return choose_scale([0.0, *shown], *((2.0, 98.0) if METRICS[measure].is_share else (98.0, 2.0)))


def _format_means(arm: ArmView, measure: Measure) -> str:
    """`94.5 → 93.1%`: first the base with the same seeds, because an arm may have fewer seeds than the base."""
    show = percent if METRICS[measure].is_share else format_loss
    if arm.provisional is not None:
        return f"{show(arm.provisional.get(measure))} so far"
    reached = None if arm.validation is None else arm.validation.get(measure)
    difference = None if arm.difference is None else arm.difference.get(measure)
    if reached is None or difference is None:
        return show(reached)
    return f"{show(reached - difference).removesuffix('%')} → {show(reached)}"


def _build_test(study: StudyView) -> list[Block]:
    """Compare the base and the winner on test images, alone and as ensembles."""
    conclusion, winner = study.conclusion, study.winner
    if conclusion is None or winner is None:
        return []
    name, rows = describe_remedy(winner.name), []
    if (test := conclusion.test) is not None:
        measured, bounds = test.difference, test.difference.intervals
        difference = (
            f"difference: {name} minus base",
            "",
            format_signed(POINTS, measured.accuracy, bounds.accuracy),
            format_signed_range(POINTS, measured.accuracy, bounds.accuracy),
            format_signed(LOSS, measured.loss, bounds.loss),
            format_signed_range(LOSS, measured.loss, bounds.loss),
        )
        rows += [_make_test_row("base", test.base), _make_test_row(name, test.winner), difference]
    if study.ensemble is not None:
        rows += [
            _make_test_row(f"{of}, {figures.members} together, {split}", shown)
            for of, figures in (("base", study.ensemble.base), (name, study.ensemble.winner))
            for split, shown in (("validation", figures.validation), ("test", figures.test))
            if shown is not None
        ]
    if not rows:
        return []
    how = "These images were not used to choose anything. They were used only after the choice."
    headings = ("network", "images", "right", "very likely between", "loss", "very likely between")
    return [
        Heading("Does it hold on test images?"),
        Paragraph(how if study.ensemble is None else f"{how} {TOGETHER}", "hint"),
        Table("On test images: means over the trainings", headings, rows, (1,), tuple(range(1, 6))),
    ]


def _make_test_row(name: str, figures: TestFiguresView) -> tuple[str, ...]:
    bounds, losses = figures.intervals.accuracy, figures.intervals.loss
    between = NONE if losses is None else f"{format_loss(losses[0])} to {format_loss(losses[1])}"
    right = (percent(figures.accuracy), format_range(bounds))
    return (name, f"{figures.count:,}", *right, format_loss(figures.loss), between)


def build_gaps(study: StudyView) -> list[Block]:
    """Build the gap from training to validation for each arm."""
    shown = [
        (arm, arm.train, arm.validation)
        for arm in (study.arms[0], *sort_arms(study))
        if arm.train is not None and arm.validation is not None
    ]
    accuracies = [figures.accuracy for _, *both in shown for figures in both if figures.accuracy is not None]
    if not accuracies:
        return []
    scale = choose_scale([*accuracies, 1.0], 4, 96)
    rows: list[tuple[Cell, ...]] = []
    for arm, train, validation in shown:
        picture: Cell = ""
        gap, ends = NONE, (percent(train.accuracy), percent(validation.accuracy))
        if train.accuracy is not None and validation.accuracy is not None:
            gap = f"{100 * (train.accuracy - validation.accuracy):.1f}"
            marks = [
                make_mark("range", scale, train.accuracy, validation.accuracy, "heldout"),
                make_mark("ring", scale, train.accuracy, train.accuracy, "train"),
                make_mark("dot", scale, validation.accuracy, validation.accuracy, "heldout"),
            ]
            picture = Strip(marks, f"From {ends[0]} in training to {ends[1]} in validation")
        losses = (format_loss(train.loss), format_loss(validation.loss))
        rows.append((format_arm_name(study, arm), picture, *ends, gap, *losses))
    axis = make_axis(scale, "training and validation", "fewer right", "more right", factor=100)
    figures = ("training", "validation", "gap, points", "training loss", "validation loss")
    marked = [place for place, (arm, *_) in enumerate(shown) if arm is study.winner]
    return [
        Heading("How far is training from validation?", is_folded=True),
        Paragraph(
            "The ring shows right answers on training images, and the dot on validation images, which the network did "
            "not learn from. The distance between them is the gap.",
            "picture",
        ),
        Paragraph(
            "A smaller gap is good only if validation got better: a network that just learns less has a small gap too.",
            "hint",
        ),
        Table("Means over the trainings of each remedy", ("remedy", axis, *figures), rows, marked, tuple(range(2, 7))),
    ]


def _build_sizes(study: StudyView) -> list[Block]:
    """Show the error at each number of training images, or the study's objective, and the forecast."""
    heading = Heading("How much do more training images help?")
    sizes, forecast = study.sizes or [], study.forecast
    if not sizes:
        return [heading, Paragraph("Nothing has been measured yet.")]
    points: list[CurvePointView | ForecastView] = [*sizes, *([] if forecast is None else [forecast])]
    objective = None if study.objective in (None, "accuracy") else METRICS[study.objective].name
    what = "wrong answers" if objective is None else objective

    def convert(errors: Sequence[float]) -> list[float]:
        return list(errors) if objective is None else [1 - error for error in reversed(errors)]

    shown = [end for point in points for end in convert([point.error, *(point.interval or ())])]
    scale = choose_scale([0.0, *shown] if objective is None else shown, 2.0, 98.0)
    rows: list[tuple[Cell, ...]] = []
    for size in points:
        [value], bounds = convert([size.error]), None
        if size.interval is not None:
            low, high = convert(size.interval)
            bounds = low, high
        marks = mark_interval(scale, value, bounds, "may_be_chance" if size is forecast else "heldout")
        written, between = percent(value), format_range(bounds)
        loss = NONE if size is forecast else format_loss(getattr(size, "loss", None))
        source = "forecast" if size is forecast else pluralize(len(getattr(size, "jobs", ())), "training")
        picture = Strip(marks, f"{written} {'wrong' if objective is None else what}, very likely {between}")
        rows.append((f"{size.images:,}", picture, written, between, loss, source))
    ends = ("fewer wrong", "more wrong") if objective is None else ("worse", "better")
    axis = make_axis(scale, f"{what}, %", *ends, factor=100)
    headings = ("training images", axis, what, "very likely between", "loss", "source")
    what = what[:1].upper() + what[1:]
    table = Table(
        *(f"{what} by training images", headings, rows, (), (2, 3, 4)),
        note=f"{what} {HOW_TO_READ_SIZES}",
        name="Error" if objective is None else what,
    )
    return [heading, Figure("Learning curve", [table])]
