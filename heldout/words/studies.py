"""The results of studies and learning curves, worded for people who know no statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.metrics import FEWEST_OF_RAREST, METRICS, SMALLEST
from heldout.words import LOSS, POINTS, format_signed_range, percent, pluralize
from heldout.words.changes import (
    describe_change,
    describe_changes,
    format_change,
    format_measure,
    format_points,
    rename_measure,
)
from heldout.words.labels import TOO_FEW_SEEDS, join_remedies, name_measure, quote_remedy, say_helps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.metrics import Measure
    from heldout.views.study import ArmView, NeedsView, StudyTestView
    from heldout.views.study_figures import DifferenceView

# As a share of images. Anything smaller counts as no gap, or as no change of one.
MIN_GAP = 0.0005
CHOSEN_ON_VALIDATION = (
    "Its best epoch is chosen on the same validation images that it is compared on, and the base's is not. It may look "
    "slightly better there than it is."
)


def explain_arm(arm: ArmView, metric: str | None = None) -> str:
    """The result of an arm in each measure, with ranges. metric: the name of final figures."""
    difference = arm.difference
    if difference is None:
        return "Not compared." if arm.why is None else "It could not be compared."
    scale, ranges = arm.base_loss, difference.adjusted_intervals
    changes = {measure: describe_change(difference, measure, scale) for measure in difference.measures}
    if ranges.accuracy is not None and any(ranges.accuracy):
        changes["accuracy"] += f" (very likely {format_signed_range(POINTS, difference.accuracy, ranges.accuracy)})"
    if ranges.loss is not None and any(ranges.loss) and difference.loss is not None and scale:
        low, high = (bound / scale for bound in ranges.loss)
        changes["loss"] += f" (very likely {format_signed_range(POINTS, difference.loss / scale, (low, high))}%)"
    bounds = ranges.objective
    if difference.measure is not None and bounds is not None and any(bounds):
        is_share = METRICS[difference.measure].is_share
        unit = POINTS if is_share else LOSS
        changes[difference.measure] += f" (very likely {format_signed_range(unit, difference.objective, bounds)})"
    text = "; ".join(rename_measure(changes[measure], metric) for measure in difference.measures)
    has_ranges = any(ranges.get(measure) is not None for measure in difference.measures)
    text += f" ({TOO_FEW_SEEDS})" if arm.has_too_few_seeds and not has_ranges else ""
    return f"{text[:1].upper()}{text[1:]}."


# --- why an arm is dropped -------------------------------------------------------------------------------


def say_worse(difference: DifferenceView, base_loss: float, worse: Sequence[Measure], *, gap_is_smaller: bool) -> str:
    """Say how an arm is worse. worse: the measures that are probably worse; adjusted intervals make it certain."""
    clearly = [measure for measure in difference.measures if difference.side(measure) == "worse"]
    better = [measure for measure in difference.measures if difference.side(measure) == "better"]
    text = f"{'Worse' if clearly else 'Probably worse'} than the base: "
    text += describe_changes(difference, base_loss, clearly or worse)
    text += f", although {describe_changes(difference, base_loss, better)}" if better else ""
    text += " on validation images."
    if gap_is_smaller:
        text += (
            " Its gap to training is smaller, but only because training is worse too, which does not count as a cure."
        )
    return text


def say_no_help(seeds: int, measures: Sequence[Measure], accuracy: float, share_of_loss: float) -> str:
    """accuracy, share_of_loss: the least benefit that matters. Judged by the single interval, not the adjusted one."""
    leasts = [
        f"{format_points(accuracy)} of {name_measure(measure)}"
        if METRICS[measure].is_share
        else f"{percent(share_of_loss, 0)} of the {name_measure(measure)}"
        for measure in measures
    ]
    least = ", or ".join(leasts) + ("," if len(measures) > 1 else "")
    return (
        f"Probably does not help: after {pluralize(seeds, 'seed')}, a benefit of {least} is unlikely. "
        "The range shown is wider because it holds for all remedies at once."
    )


def say_hopeless(difference: DifferenceView, base_loss: float, last_seeds: int) -> str:
    average = describe_changes(difference, base_loss)
    return f"On average, {average}. The {last_seeds} seeds that the study allows cannot show a benefit."


def say_beaten(by: str) -> str:
    return f"{quote_remedy(by)} is clearly better."


def say_too_few(rarest: int, measure: Measure) -> str:
    """Say that a class has too few images, as the end of a sentence about figures."""
    images = "one image" if rarest == 1 else f"{rarest} images"
    which = SMALLEST[METRICS[measure].depends_on or "classes"]
    return f", but there is too little to say: {which} has {images}, and {FEWEST_OF_RAREST} are needed"


def say_held(leader: str) -> str:
    """Say why a first answer gave an arm no more seeds."""
    return f"It may still help. A first answer gives more seeds only to {quote_remedy(leader)}, which leads."


def say_failed(seed: int, status: str, error: str | None, images: int | None = None) -> str:
    """Say why a training has no figures. images: for a learning curve, how many it was given."""
    how = "was cancelled" if status == "cancelled" else "failed" + (f" (`{error}`)" if error else "")
    which = "Its training" if images is None else f"The training on {images:,} images"
    return f"{which} with seed number {seed + 1} {how}."


# --- the answer ------------------------------------------------------------------------------------------


def explain_cure(
    winner: ArmView,
    objective: Measure | None,
    *,
    fresh_seeds: int,
    beaten_parts: Sequence[str],
    other_parts: Sequence[str],
    also: Sequence[str],
    simpler_than: Sequence[str],
    notes: Sequence[str],
) -> str:
    """The answer when one arm has won.

    Args:
        objective: the measure that decides; None if both do.
        fresh_seeds: how many seeds that had no part in choosing it show the same; 0 if it is not confirmed.
        beaten_parts, other_parts: the remedies of a combination that it is clearly better than, and the others.
        also: other cures. simpler_than: those of them that contain the winner.
        notes: further sentences to add.
    """
    difference, now, name = winner.difference, winner.validation, quote_remedy(winner.name)
    assert difference is not None
    assert now is not None
    changes = {measure: describe_change(difference, measure, winner.base_loss) for measure in difference.measures}
    if now.accuracy is not None and difference.accuracy is not None:
        changes["accuracy"] += f" (from {percent(now.accuracy - difference.accuracy)} to {percent(now.accuracy)})"
    if difference.measure is not None and now.objective is not None and difference.objective is not None:
        before = format_measure(difference.measure, now.objective - difference.objective)
        changes[difference.measure] += f" (from {before} to {format_measure(difference.measure, now.objective)})"
    confirmed = "No new seeds have confirmed it."
    if fresh_seeds:
        shows = "shows" if fresh_seeds == 1 else "show"
        confirmed = f"{pluralize(fresh_seeds, 'fresh seed')}, which had no part in choosing it, {shows} the same."
    text = [
        f"{name} {say_helps(objective)}: on validation images, {' and '.join(changes.values())}, averaged over "
        f"{winner.seeds} seeds.",
        f"Allowing for chance in all comparisons of this study, {' and '.join(describe_at_least(winner))}.",
        confirmed,
        *(f"It is clearly better than {quote_remedy(part)} alone." for part in beaten_parts),
        *(
            f"It may be no better than {quote_remedy(part)}, which is not a confirmed cure by itself."
            for part in other_parts
        ),
    ]
    if also:
        text.append(f"{join_remedies(also)} {say_helps(objective, is_plural=len(also) > 1)} too.")
    text += [f"{quote_remedy(arm)} is not clearly better than {name}, which is simpler." for arm in simpler_than]
    return " ".join([*text, *notes])


def describe_at_least(arm: ArmView) -> list[str]:
    """The least benefit: `accuracy rises by at least 1.2 points`."""
    assert arm.difference is not None
    bounds, parts = arm.difference.adjusted_intervals, []
    if arm.difference.side("accuracy") == "better" and bounds.accuracy is not None:
        parts.append(f"accuracy rises by at least {format_points(bounds.accuracy[0])}")
    if arm.difference.side("loss") == "better" and bounds.loss is not None and arm.base_loss:
        parts.append(f"loss falls by at least {percent(-bounds.loss[1] / arm.base_loss)}")
    measure = arm.difference.measure
    if measure is not None and bounds.objective is not None and arm.difference.side(measure) == "better":
        low, high = bounds.objective
        is_share = METRICS[measure].is_share
        least = format_change(measure, low if is_share else high)
        parts.append(f"{name_measure(measure)} {'rises' if is_share else 'falls'} by at least {least}")
    return parts


def explain_nothing(
    remedies: Sequence[str],
    objective: Measure | None,
    small: Sequence[str],
    harm: Sequence[str],
    failed: Sequence[str],
) -> str:
    """The answer when no remedy helps.

    Args:
        remedies: those that were compared.
        objective: the measure that decides; None if both do.
        small: remedies that change too little to matter.
        harm: sentences about the remedies that harm.
        failed: remedies without figures.
    """
    which = "Neither of the two remedies" if len(remedies) == 2 else f"None of the {len(remedies)} remedies"
    text = [f"{which} {say_helps(objective)}."]
    if len(remedies) == 1:
        text = [f"{quote_remedy(remedies[0])} {say_helps(objective, negated=True)}."]
    if small:
        text.append(f"{join_remedies(small)} {'changes' if len(small) == 1 else 'change'} too little to matter.")
    return " ".join([*text, *harm, *_describe_untried(failed)])


def explain_doubt(
    remedies: Sequence[str],
    best: ArmView,
    objective: Measure | None,
    doubt: str,
    needs: NeedsView,
    notes: Sequence[str],
    failed: Sequence[str],
    *,
    is_first: bool = False,
) -> str:
    """The answer when the study cannot tell.

    Args:
        remedies: those that were compared. best: the most promising arm.
        objective: the measure that decides; None if both do.
        doubt: why it is not a cure, as the end of a sentence about its figures.
        is_first: whether the study can be continued.
    """
    assert best.difference is not None
    subject = f"any of the {len(remedies)} remedies"
    if len(remedies) < 3:
        subject = quote_remedy(remedies[0]) if len(remedies) == 1 else "either of the two remedies"
    average = f"on average, {describe_changes(best.difference, best.base_loss)}"
    average = f"O{average[1:]}" if len(remedies) == 1 else f"{quote_remedy(best.name)} comes closest: {average}"
    text = [
        f"Cannot tell {'yet ' if is_first else ''}whether {subject} {say_helps(objective)}.",
        f"{average}{doubt}.",
        describe_needs(needs),
    ]
    return " ".join([*text, *notes, *_describe_untried(failed)])


def _describe_untried(failed: Sequence[str]) -> list[str]:
    return [f"{join_remedies(failed)} could not be compared."] if failed else []


TWO_SEEDS = (
    "Two seeds tell nothing: by chance alone, a difference of two seeds may be tens of points. Use at least 3 seeds."
)


def warn_of_seeds(seeds: int) -> list[str]:
    """Warn of a study whose first look has too few seeds."""
    return [TWO_SEEDS] if seeds < 3 else []


def warn_of_other_test(points: float | None) -> str:
    """Say which part of a gap no remedy closes. points: what it costs, as a share of the images, if measured."""
    size = "" if points is None else f" ({format_points(points)})"
    return (
        "The test images are of another kind than those of training and validation. Training remedies cannot close "
        f"that part of the gap{size}: only images like the test images in training, or splitting all images again, can."
    )


def say_ways_on(left_out: Sequence[str], *, has_more_seeds: bool) -> list[str]:
    """Say what continuing the study adds; nothing if it cannot be continued.

    Args:
        left_out: remedies that were not tried.
        has_more_seeds: whether arms that may still win get more seeds.
    """
    adds = ["more seeds for the remedies that may still help"] if has_more_seeds else []
    adds += [f"the remedies not tried yet ({join_remedies(left_out)})"] if left_out else []
    return [f"Continue the study to tell more. That adds {' and '.join(adds)}."] if adds else []


def describe_harm(worse: Sequence[ArmView]) -> list[str]:
    """Name the remedies that clearly harm, and those that only seem to. worse: most harm first."""
    sure = [arm.name for arm in worse if arm.difference and arm.difference.effect in ("worse", "mixed")]
    doubtful = [arm.name for arm in worse if arm.name not in sure]
    texts = [f"{join_remedies(sure)} {'makes' if len(sure) == 1 else 'make'} it worse."] if sure else []
    if doubtful:
        seem = "seems" if len(doubtful) == 1 else "seem"
        texts.append(f"{join_remedies(doubtful)} {seem} to make it worse, but that may be chance.")
    return texts


def explain_test(test: StudyTestView | None, failed: str | None) -> str:
    """Say whether the result holds on test images. failed: why there are no figures for them."""
    if test is None:
        return "There are no test images to check it on." if failed is None else f"There are no test figures: {failed}"
    changes = describe_changes(test.difference, test.base.loss)
    sides = {test.difference.side(measure, adjusted=False) for measure in test.difference.measures}
    text = f"On the {test.base.count:,} test images, which had no part in any choice, {changes}"
    if "worse" in sides:
        return f"{text}: the result does not fully hold there."
    return f"{text}." if "better" in sides else f"{text}, which on its own may be chance."


def explain_gap_closed(to: str, before: float, after: float, *, better: float, less: float) -> str:
    """Say how much of the gap between training and held-out images is closed.

    Args:
        better, less: how much of that is higher held-out accuracy, and how much is lower training accuracy.
    """
    if before < MIN_GAP:
        return f"Without it, there is no gap between training and {to} to close."
    closed = before - after
    without, remaining = _format_bare(before), _format_bare(after)
    start = f"The gap between training and {to} is {without} points without it and {remaining} with it"
    if closed < MIN_GAP:
        return f"{start}: it grows." if closed <= -MIN_GAP else f"{start}: it does not close."
    remains = "nothing remains" if after < MIN_GAP else f"{remaining} points remain"
    text = f"{start}: {percent(min(1.0, closed / before), 0)} is closed, and {remains}."
    if less < MIN_GAP:
        return text
    won = f"{_format_bare(better)} come" if better >= MIN_GAP else "none come"
    return (
        f"{text} Of the {_format_bare(closed)} points closed, {won} from higher {to} accuracy and {_format_bare(less)} "
        "from lower training accuracy."
    )


def _format_bare(share: float) -> str:
    return f"{100 * share:.1f}"


def describe_needs(needs: NeedsView | None) -> str:
    """Say what a study that cannot tell would need."""
    seeds = None if needs is None or needs.seeds is None else pluralize(needs.seeds, "more seed")
    images = None if needs is None or needs.images is None else f"{pluralize(needs.images, 'more validation image')}"
    if seeds and images:
        return f"Only {seeds} together with about {images} would probably tell."
    if seeds:
        return f"{seeds} would probably tell."
    if images:
        return f"About {images} would probably tell; more seeds would not."
    return "It would take unreasonably many seeds or images to tell: try other remedies."
