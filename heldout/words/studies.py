"""What a study or a learning curve has found, in words for people who know no statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.words import POINTS, format_signed_range, percent, pluralize
from heldout.words.labels import join_remedies, quote_remedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.views.study import ArmView, DifferenceView, Measure, NeedsView, StudyTestView

MEASURES: tuple[Measure, ...] = ("accuracy", "loss")
# Shares of images: less is no gap, and no change of one.
LEAST_GAP = 0.0005
FLATTERED = (
    "Its epochs are chosen by the validation images that it is compared on, and those of the base are not: it may look "
    "a little better there than it is."
)


def format_points(share: float) -> str:
    """A difference of accuracies, without its sign."""
    value = f"{abs(100 * share):.1f}"
    return f"{value} point" if value == "1.0" else f"{value} points"


def describe_change(difference: DifferenceView, measure: Measure, base_loss: float | None) -> str:
    """`accuracy rises by 3.1 points`, `loss falls by 12.0%`: of what it is without the remedy."""
    change = difference.accuracy if measure == "accuracy" else difference.loss
    if change is None or (measure == "loss" and not base_loss):
        return f"{measure} cannot be compared"
    share = change if measure == "accuracy" else change / (base_loss or 1.0)
    if f"{abs(100 * share):.1f}" == "0.0":
        return f"{measure} stays the same"
    if measure == "loss" and share > 1:
        return f"loss becomes {1 + share:.1f} times as large"
    amount = format_points(share) if measure == "accuracy" else percent(abs(share))
    return f"{measure} {'rises' if change > 0 else 'falls'} by {amount}"


def describe_changes(
    difference: DifferenceView, base_loss: float | None, measures: Sequence[Measure] = MEASURES
) -> str:
    """`accuracy rises by 3.1 points and loss falls by 12.0%`."""
    return " and ".join(describe_change(difference, measure, base_loss) for measure in measures)


def explain_arm(arm: ArmView) -> str:
    """What came of an arm, in both measures with their ranges."""
    difference = arm.difference
    if difference is None:
        return "Not compared yet." if arm.why is None else "It could not be compared."
    scale, ranges = arm.base_loss, difference.adjusted_intervals
    said = [describe_change(difference, measure, scale) for measure in MEASURES]
    if ranges.accuracy is not None and any(ranges.accuracy):
        said[0] += f" (very likely {format_signed_range(POINTS, difference.accuracy, ranges.accuracy)})"
    if ranges.loss is not None and any(ranges.loss) and difference.loss is not None and scale:
        low, high = (bound / scale for bound in ranges.loss)
        said[1] += f" (very likely {format_signed_range(POINTS, difference.loss / scale, (low, high))}%)"
    return f"{said[0][0].upper()}{said[0][1:]}; {said[1]}."


# --- why an arm does not go on ---------------------------------------------------------------------------


def say_worse(difference: DifferenceView, base_loss: float, worse: Sequence[Measure], *, gap_is_smaller: bool) -> str:
    """worse: the measures that are probably worse; where the adjusted interval says so, it is sure."""
    surely = [measure for measure in MEASURES if difference.side(measure) == "worse"]
    better = [measure for measure in MEASURES if difference.side(measure) == "better"]
    text = f"{'Worse' if surely else 'Probably worse'} than the base: "
    text += describe_changes(difference, base_loss, surely or worse)
    text += f", although {describe_changes(difference, base_loss, better)}" if better else ""
    text += " on validation images."
    if gap_is_smaller:
        text += " Its gap to training is smaller, but only because training is worse too: that is no cure."
    return text


def say_no_help(seeds: int, accuracy: float, share_of_loss: float) -> str:
    """accuracy, share_of_loss: the least benefit that matters. Judged by the single interval, not the adjusted one."""
    least = f"{format_points(accuracy)} of accuracy, or of {percent(share_of_loss, 0)} of the loss"
    return (
        f"Probably does not help: after {pluralize(seeds, 'seed')} a benefit of {least}, is unlikely. "
        "The range beside it is wider, since it holds for all remedies at once."
    )


def say_hopeless(difference: DifferenceView, base_loss: float, last_seeds: int) -> str:
    average = describe_changes(difference, base_loss)
    return f"On average {average}. {last_seeds} seeds would not be enough to prove a benefit."


def say_beaten(by: str) -> str:
    return f"{quote_remedy(by)} is surely better."


def say_failed(seed: int, status: str, error: str | None, images: int | None = None) -> str:
    """Why a training left no figures. images: that it was given, of a learning curve."""
    how = "was cancelled" if status == "cancelled" else "failed" + (f" (`{error}`)" if error else "")
    which = "Its training" if images is None else f"The training on {images:,} images"
    return f"{which} with seed number {seed + 1} {how}."


# --- the answer ------------------------------------------------------------------------------------------


def explain_cure(
    winner: ArmView,
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
        fresh_seeds: those that had no part in choosing it and show the same; 0 where none has confirmed it.
        beaten_parts, other_parts: of a combination, the remedies that it is surely better than, and the others.
        also: other cures. simpler_than: those of them that the winner is a part of.
        notes: what else is to be known.
    """
    difference, now, name = winner.difference, winner.validation, quote_remedy(winner.name)
    assert difference is not None
    assert now is not None
    assert now.accuracy is not None
    assert difference.accuracy is not None
    by_accuracy, by_loss = (describe_change(difference, measure, winner.base_loss) for measure in MEASURES)
    from_to = f"from {percent(now.accuracy - difference.accuracy)} to {percent(now.accuracy)}"
    confirmed = "No fresh seeds have confirmed it."
    if fresh_seeds:
        shows = "shows" if fresh_seeds == 1 else "show"
        confirmed = f"{pluralize(fresh_seeds, 'fresh seed')}, which had no part in choosing it, {shows} the same."
    text = [
        f"{name} helps: on validation images {by_accuracy} ({from_to}) and {by_loss}, on average over {winner.seeds} "
        "seeds.",
        f"Allowing for chance in all comparisons of this study, {' and '.join(_describe_at_least(winner))}.",
        confirmed,
        *(f"It is surely better than its part {quote_remedy(part)} alone." for part in beaten_parts),
        *(
            f"It may be no better than its part {quote_remedy(part)}, which alone is no sure cure."
            for part in other_parts
        ),
    ]
    if also:
        text.append(f"{join_remedies(also)} {'helps' if len(also) == 1 else 'help'} too.")
    text += [f"{quote_remedy(arm)} is not surely better than {name}, which is simpler." for arm in simpler_than]
    return " ".join([*text, *notes])


def _describe_at_least(arm: ArmView) -> list[str]:
    """What is sure of a benefit: `accuracy rises by at least 1.2 points`."""
    assert arm.difference is not None
    bounds, said = arm.difference.adjusted_intervals, []
    if arm.difference.side("accuracy") == "better" and bounds.accuracy is not None:
        said.append(f"accuracy rises by at least {format_points(bounds.accuracy[0])}")
    if arm.difference.side("loss") == "better" and bounds.loss is not None and arm.base_loss:
        said.append(f"loss falls by at least {percent(-bounds.loss[1] / arm.base_loss)}")
    return said


def explain_nothing(remedies: Sequence[str], small: Sequence[str], harm: Sequence[str], failed: Sequence[str]) -> str:
    """The answer when no remedy helps.

    Args:
        small: remedies that change too little to matter. harm: sentences. failed: remedies without figures.
    """
    which = "Neither of the two remedies" if len(remedies) == 2 else f"None of the {len(remedies)} remedies"
    text = [f"{quote_remedy(remedies[0])} does not help." if len(remedies) == 1 else f"{which} helps."]
    if small:
        text.append(f"{join_remedies(small)} {'changes' if len(small) == 1 else 'change'} too little to matter.")
    return " ".join([*text, *harm, *_describe_untried(failed)])


def explain_doubt(
    remedies: Sequence[str],
    best: ArmView,
    doubt: str,
    needs: NeedsView,
    notes: Sequence[str],
    failed: Sequence[str],
) -> str:
    """The answer when nothing can be told.

    Args:
        best: the most promising arm. doubt: why it is no cure, as the end of a sentence about its figures.
    """
    assert best.difference is not None
    subject = f"any of the {len(remedies)} remedies"
    if len(remedies) < 3:
        subject = quote_remedy(remedies[0]) if len(remedies) == 1 else "either of the two remedies"
    average = f"on average {describe_changes(best.difference, best.base_loss)}"
    average = f"O{average[1:]}" if len(remedies) == 1 else f"{quote_remedy(best.name)} comes closest: {average}"
    text = [f"Cannot tell whether {subject} helps.", f"{average}{doubt}.", describe_needs(needs)]
    return " ".join([*text, *notes, *_describe_untried(failed)])


def _describe_untried(failed: Sequence[str]) -> list[str]:
    return [f"{join_remedies(failed)} could not be compared."] if failed else []


def describe_harm(worse: Sequence[ArmView]) -> list[str]:
    """The remedies that surely harm, and those that only seem to. worse: most harm first."""
    sure = [arm.name for arm in worse if arm.difference and arm.difference.effect in ("worse", "mixed")]
    doubtful = [arm.name for arm in worse if arm.name not in sure]
    texts = [f"{join_remedies(sure)} {'makes' if len(sure) == 1 else 'make'} it worse."] if sure else []
    if doubtful:
        texts.append(
            f"{join_remedies(doubtful)} {'seems' if len(doubtful) == 1 else 'seem'} to make it worse, but not surely."
        )
    return texts


def explain_test(test: StudyTestView | None, failed: str | None) -> str:
    """Whether it holds on test images. failed: why there are no figures of them."""
    if test is None:
        return "There are no test images to see it on." if failed is None else f"There are no test figures: {failed}"
    changes = describe_changes(test.difference, test.base.loss)
    sides = {test.difference.side(measure, adjusted=False) for measure in MEASURES}
    text = f"On the {test.base.count:,} test images, which nothing was chosen by, {changes}"
    if "worse" in sides:
        return f"{text}: it does not hold there in full."
    return f"{text}." if "better" in sides else f"{text}, which may be chance by itself."


def explain_gap_closed(to: str, before: float, after: float, *, better: float, less: float) -> str:
    """How much of the gap from training to held-out images is closed.

    Args:
        better, less: of what is closed, the part on held-out images, and the part that training accuracy falls.
    """
    if before < LEAST_GAP:
        return f"Without it, there is no gap from training to {to} to close."
    start = f"The gap from training to {to} is {_bare(before)} points without it and {_bare(after)} with it"
    closed = before - after
    if closed < LEAST_GAP:
        return f"{start}: it does not close."
    remains = "nothing remains" if after < LEAST_GAP else f"{_bare(after)} points remain"
    text = f"{start}: {percent(min(1.0, closed / before), 0)} is closed, and {remains}."
    if less < LEAST_GAP:
        return text
    won = f"{_bare(better)} are higher {to} accuracy" if better >= LEAST_GAP else f"none are higher {to} accuracy"
    return f"{text} Of the {_bare(closed)} points closed, {won} and {_bare(less)} lower training accuracy."


def _bare(share: float) -> str:
    return f"{100 * share:.1f}"


def describe_needs(needs: NeedsView | None) -> str:
    """What to do when nothing can be told."""
    seeds = None if needs is None or needs.seeds is None else pluralize(needs.seeds, "more seed")
    images = None if needs is None or needs.images is None else f"{pluralize(needs.images, 'more validation image')}"
    if seeds and images:
        return f"Only {seeds} together with about {images} would probably tell."
    if seeds:
        return f"{seeds} would probably tell."
    if images:
        return f"About {images} would probably tell; more seeds would not."
    return "More seeds or images than is sensible would be needed: try other remedies."


# --- learning curves: errors in wrong answers of 100 images --------------------------------------------------


def describe_forecast(now: float, error: float, interval: tuple[float, float]) -> str:
    """The forecast for twice as many images beside the error of today."""
    low, high = interval
    told = (
        f"Twice as many training images should bring the error from {_of_100(now)} to about {_of_100(error)} of 100 "
        f"images ({_of_100(low)} to {_of_100(high)})."
    )
    return told if high < now else f"{told} It is not sure that they help at all."


def describe_no_forecast(code: str, sizes: Sequence[tuple[int, float]], rise: Sequence[int]) -> str:
    """Why there is none, with the figures that say so.

    Args:
        sizes: training images and the error with them, smallest first.
        rise: the two of them between which the error rises, where that is why.
    """
    if code == "too_short":
        return f"Only {len(sizes)} sizes were measured: too few to go on from."
    if code == "no_errors":
        return "With all images there are no wrong answers on validation: more images cannot show that they help."
    (first, at_first), (images, at_last) = sizes[0], sizes[-1]
    if code == "too_flat":
        return (
            f"The error has hardly fallen: it is {_of_100(at_first)} of 100 images with {first:,} training images and "
            f"{_of_100(at_last)} with {images:,}, which may be chance."
        )
    if code == "one_step":
        before, error = sizes[-2]
        return (
            f"The error has only begun to fall: it is still {_of_100(error)} of 100 images with {before:,} training "
            f"images, and {_of_100(at_last)} with {images:,}. One step does not say how it goes on."
        )
    low, high = rise
    errors = dict(sizes)
    return (
        f"The error does not fall all the way: it rises from {_of_100(errors[low])} of 100 images with {low:,} "
        f"training images to {_of_100(errors[high])} with {high:,}, which is more than chance. Look at the images that "
        "come in between, and at the trainings of these sizes."
    )


def say_too_few_images(images: int, of_a_class: int, times: int) -> str:
    """Why a curve cannot begin."""
    return (
        f"There are {images:,} training images. A learning curve begins with {of_a_class} images of each class and "
        f"needs at least {times} times as many at its end."
    )


def _of_100(share: float) -> str:
    """`9.4`, as the tables beside it say it; `0.02` where that would be nothing."""
    value = 100 * share
    return f"{value:.1f}" if value == 0 or value >= 0.05 else f"{value:.2g}"
