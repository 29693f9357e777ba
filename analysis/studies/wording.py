"""What a study has found, in words for people who know no statistics. Pure."""

from analysis.studies.comparing import Comparison, GainUnit
from analysis.studies.standing import (
    MEASURES,
    RELEVANT_ACCURACY,
    RELEVANT_SHARE_OF_LOSS,
    Judgement,
    Measure,
    benefit,
    mean_benefit,
    surely_worse,
)
from analysis.studies.state import Run
from heldout.remedy_words import quoted
from heldout.views.study import NeedsView
from heldout.words import counted, percent


def points(share: float) -> str:
    """A difference of accuracies, without its sign."""
    value = f"{abs(100 * share):.1f}"
    return f"{value} point" if value == "1.0" else f"{value} points"


def none_of(count: int) -> str:
    """Of several remedies: `None of the 3 remedies`."""
    return "Neither of the two remedies" if count == 2 else f"None of the {count} remedies"


def any_of(count: int) -> str:
    """Of several remedies: `any of the 3 remedies`."""
    return "either of the two remedies" if count == 2 else f"any of the {count} remedies"


def change_of_accuracy(difference: float) -> str:
    """`accuracy rises by 3.1 points`."""
    if f"{abs(100 * difference):.1f}" == "0.0":
        return "accuracy stays the same"
    return f"accuracy {'rises' if difference > 0 else 'falls'} by {points(difference)}"


def change_of_loss(difference: float, before: float) -> str:
    """`loss falls by 12.0%`, of what it was before."""
    share = difference / before
    if f"{abs(100 * share):.1f}" == "0.0":
        return "loss stays the same"
    if share > 1:
        return f"loss becomes {1 + share:.1f} times as large"
    return f"loss {'rises' if share > 0 else 'falls'} by {percent(abs(share))}"


def change(comparison: Comparison, measure: Measure, unit: GainUnit) -> str:
    """What an arm does to one measure, on average."""
    if measure == "accuracy":
        return change_of_accuracy(comparison.accuracy.mean)
    return change_of_loss(comparison.loss.mean, unit.loss)


def changes(comparison: Comparison, unit: GainUnit) -> str:
    """What an arm does to accuracy and to loss, on average."""
    return f"{change(comparison, 'accuracy', unit)} and {change(comparison, 'loss', unit)}"


def at_least(comparison: Comparison, measure: Measure, unit: GainUnit, error: float) -> str:
    """What is sure of a benefit: `accuracy rises by at least 1.2 points`."""
    low = benefit(comparison, measure)(error)[0]
    if measure == "accuracy":
        return f"accuracy rises by at least {points(low)}"
    return f"loss falls by at least {percent(low / unit.loss)}"


def worse_than_base(
    comparison: Comparison, judgement: Judgement, unit: GainUnit, error: float, *, gap_is_smaller: bool
) -> str:
    """Why an arm is no cure that makes a measure worse; sure only where the interval says so that decides.

    Args:
        error: how often that interval may miss.
    """
    surely = surely_worse(comparison, error)
    worse = surely or judgement.worse
    text = f"{'Worse' if surely else 'Probably worse'} than the base: "
    text += " and ".join(change(comparison, m, unit) for m in worse)
    others = [m for m in MEASURES if m not in worse]
    if judgement.better:
        text += f", although {' and '.join(change(comparison, m, unit) for m in judgement.better)}"
    elif others and gap_is_smaller:
        text += f" ({change(comparison, others[0], unit)})"
    text += " on validation images."
    if gap_is_smaller:
        text += " Its gap to training is smaller, but only because training is worse too: that is no cure."
    return text


def no_help(seeds: int) -> str:
    """Why an arm is no cure that changes nothing."""
    least = f"{points(RELEVANT_ACCURACY)} of accuracy, or of {percent(RELEVANT_SHARE_OF_LOSS, 0)} of the loss"
    # Judged by the single interval: the adjusted one beside it may reach farther.
    return (
        f"Probably does not help: after {counted(seeds, 'seed')} a benefit of {least}, is unlikely. "
        "The range beside it is wider, since it holds for all remedies at once."
    )


def hopeless(comparison: Comparison, unit: GainUnit, last_seeds: int) -> str:
    """Why an arm does not go on though it may help a little."""
    average = f"On average {changes(comparison, unit)}."
    if all(mean_benefit(comparison, measure) <= 0 for measure in MEASURES):
        return f"{average} It would not become a sure cure with {last_seeds} seeds either."
    return f"{average} This may be chance, and {last_seeds} seeds would not be enough to tell."


def beaten(by: str) -> str:
    """Why an arm does not go on that another one beats."""
    return f"{quoted(by)} is surely better."


def flattered() -> str:
    """What is to be known of an arm whose epochs are chosen by the images that judge it."""
    return (
        "Its epochs are chosen by the validation images that it is compared on, and those of the base are not: it "
        "may look a little better there than it is."
    )


def failed(run: Run) -> str:
    """Why an arm has no figures."""
    how = "was cancelled" if run.status == "cancelled" else "failed" + (f" (`{run.error}`)" if run.error else "")
    return f"Its training with seed number {run.key.seed + 1} {how}."


def what_would_tell(needs: NeedsView) -> str:
    """What to do when nothing can be told."""
    seeds = None if needs.seeds is None else counted(needs.seeds, "more seed")
    images = None
    if needs.images is not None:
        images = f"about {counted(needs.images, 'more validation image')}"
    if seeds and images:
        return f"Only {seeds} together with {images} would probably tell."
    if seeds:
        return f"{seeds[0].upper()}{seeds[1:]} would probably tell."
    if images:
        return f"More seeds would not help. {images[0].upper()}{images[1:]} would probably tell."
    return "To tell would take more seeds and validation images than is sensible."
