"""The results of studies of recorded trainings, worded for people who know no statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.words import pluralize
from heldout.words.changes import describe_change, format_measure, rename_measure
from heldout.words.labels import join_remedies, quote_remedy, say_helps
from heldout.words.studies import describe_at_least, describe_needs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.metrics import Measure
    from heldout.views.study import ArmView, NeedsView

NOTHING_TO_COMPARE = "Fewer than two runs of the base, or of every other arm, have answers."
TOO_FEW_RUNS = "Fewer than two of its runs have answers."
TOO_FEW_TO_CONFIRM = "there are too few seeds for one half to choose it and the other half to confirm it"
NOT_CONFIRMED = "the half of the seeds that did not choose it, drawn by lot, does not prove it alone"
_STOPPED = (
    "No one knows when this recording was stopped. If it was stopped because it looked good, the difference may be "
    "smaller than it seems."
)


def say_not_chosen(chosen: str) -> str:
    return f"the half of the seeds that chooses, drawn by lot, prefers {quote_remedy(chosen)}"


def describe_matching(count: int, *, is_paired: bool, left_out: tuple[int, int]) -> str:
    """Say whether an arm's runs are paired with the base's. left_out: runs of the arm and of the base."""
    if not is_paired:
        return "Not paired with the base, because they share too few seeds."
    text = f"Paired with the base by seed: {pluralize(count, 'pair')}."
    own, base = left_out
    if not own and not base:
        return text
    parts = [f"{own} of its runs"] if own else []
    parts += [f"{base} of the base's"] if base else []
    return f"{text} Left out, because the other arm has no such seed: {' and '.join(parts)}."


def explain_scope(metric: str | None, images: int | None) -> list[str]:
    """Say what an interval of final figures covers."""
    if metric is None:
        return []
    if images is None:
        return [
            "This holds on these images: final figures show the luck of the seeds, not the luck of the images. Give "
            "the number of images to include it."
        ]
    return [f"The luck of the {images:,} images is included, as if each arm had images of its own."]


def explain_better(
    winner: ArmView,
    metric: str | None,
    objective: Measure | None,
    *,
    others: Sequence[str],
    confirming: int,
    doubt: str,
    notes: Sequence[str],
) -> str:
    """The answer when an arm is better than the base.

    Args:
        metric: the name of final figures; None for answers to images.
        objective: the measure that decides; None if both do, or for final figures.
        others: other arms that are better. confirming: how many runs that did not choose it prove it alone; 0 if it is
            not a cure. doubt: why it is not. notes: further sentences to add.
    """
    assert winner.difference is not None
    name = quote_remedy(winner.name)
    changes = " and ".join(_describe(winner, measure, metric) for measure in winner.difference.measures)
    least = " and ".join(rename_measure(text, metric) for text in describe_at_least(winner))
    where = "on validation images, " if metric is None else ""
    text = [
        f"{name} {say_helps(objective) if confirming else 'is better than the base'}: {where}{changes}, averaged over "
        f"{pluralize(winner.seeds, 'run')}.",
        f"Allowing for chance in all comparisons, {least}.",
    ]
    if confirming:
        text.append(
            f"One half of the seeds chose it, and {pluralize(confirming, 'run')} of the other half, drawn by lot "
            "before any figure was read, prove it alone."
        )
    else:
        text += [f"It is not called a cure, because {doubt}.", _STOPPED]
    if others:
        text.append(f"{join_remedies(others)} {'is' if len(others) == 1 else 'are'} better than the base too.")
    return " ".join([*text, *notes])


def explain_worse(arms: Sequence[ArmView], metric: str | None, scope: Sequence[str]) -> str:
    """The answer when every arm is worse than the base."""
    text = []
    for arm in arms:
        assert arm.difference is not None
        worse = [measure for measure in arm.difference.measures if arm.difference.side(measure) == "worse"]
        changes = " and ".join(_describe(arm, measure, metric) for measure in worse)
        text.append(f"{quote_remedy(arm.name)} is worse than the base: {changes}.")
    return " ".join([*text, *scope])


def explain_doubt(
    best: ArmView,
    metric: str | None,
    needs: NeedsView | None,
    *,
    several: bool,
    small: Sequence[str],
    worse: Sequence[str],
    scope: Sequence[str],
) -> str:
    """The answer when the runs cannot tell. needs: None if nothing is undecided.

    small, worse: arms that change too little to matter, or are worse.
    """
    assert best.difference is not None
    changes = " and ".join(_describe(best, measure, metric) for measure in best.difference.measures)
    name = quote_remedy(best.name)
    text = ["These runs cannot tell whether any arm is better than the base."]
    if not several:
        text = [f"These runs cannot tell whether {name} is better than the base."]
    average = f"{name} comes closest: on average, {changes}" if several else f"On average, {changes}"
    text.append(f"{average}, which may be chance with {pluralize(best.seeds, 'run')}.")
    if needs is not None:
        text.append(describe_needs(needs))
    if small:
        text.append(
            f"{join_remedies(small)} probably {'makes' if len(small) == 1 else 'make'} no difference that matters."
        )
    if worse:
        text.append(f"{join_remedies(worse)} {'is' if len(worse) == 1 else 'are'} worse than the base.")
    return " ".join([*text, *scope])


def _describe(arm: ArmView, measure: Measure, metric: str | None) -> str:
    assert arm.difference is not None
    text = rename_measure(describe_change(arm.difference, measure, arm.base_loss), metric)
    reached = None if arm.validation is None else arm.validation.get(measure)
    change = arm.difference.get(measure)
    if reached is None or change is None:
        return text
    before, after = (format_measure(measure, value) for value in (reached - change, reached))
    return f"{text} (from {before} to {after})"
