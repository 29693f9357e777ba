"""Sentences about curves, shared by several findings. They quote figures of single epochs, never levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.words import format_figure, percent, pluralize

if TYPE_CHECKING:
    from heldout.diagnosis.curves import Curves
    from heldout.diagnosis.loss_trend import AccuracyChange, LossTrend

# As a share of a curve's rise or fall. A last epoch further from its neighbors than this does not represent them.
MAX_SPREAD_OF_ONE_LEVEL = 0.25
# As a share of a loss's scale. Above this noise of single epochs, the text mentions that the loss goes up and down.
MIN_BOUNCE = 0.05


def describe_best_and_end(curves: Curves, heldout: LossTrend) -> str:
    """`The validation loss was lowest in epoch 6 (0.94) and ends at 1.31`."""
    best = format_figure(heldout.values[heldout.best], is_loss=curves.of_loss)
    end = describe_end(heldout, is_loss=curves.of_loss)
    return f"The {curves.name} was lowest in epoch {curves.best_epoch} ({best}) and {end}"


def describe_end(trend: LossTrend, *, is_loss: bool) -> str:
    """`ends at 1.31`; if the last epoch differs from those before it, the range of the last epochs instead."""
    late = trend.late
    is_steady = late in (sorted(late), sorted(late, reverse=True))
    if is_steady or abs(late[-1] - trend.last) <= MAX_SPREAD_OF_ONE_LEVEL * max(trend.rise, abs(trend.fall)):
        return f"ends at {format_figure(late[-1], is_loss=is_loss)}"
    low, high = (format_figure(value, is_loss=is_loss) for value in (min(late), max(late)))
    return (
        f"ends between {low} and {high} (the last {pluralize(len(late), 'epoch')})" if low != high else f"ends at {low}"
    )


def describe_training(curves: Curves, training: LossTrend) -> str:
    """`the training loss fell from 0.9 to 0.2`, since the best epoch of validation."""
    before, last = (
        format_figure(value, is_loss=curves.of_loss) for value in (curves.training_at_best, training.values[-1])
    )
    if training.values[-1] < curves.training_at_best:
        return f"the {curves.training_name} fell from {before} to {last}"
    return f"the {curves.training_name} fell below {before} (and was {last} in the last epoch)"


def describe_accuracy(accuracy: AccuracyChange) -> str:
    """`validation accuracy rose from 44.0% to 76.0%`, from the epoch with the lowest loss to the last one."""
    before, last = accuracy.values[accuracy.best], accuracy.values[-1]
    if accuracy.rose and last > before:
        return f"validation accuracy rose from {percent(before)} to {percent(last)}"
    if accuracy.fell and last < before:
        return f"validation accuracy fell from {percent(before)} to {percent(last)}"
    return f"validation accuracy hardly changed ({percent(before)} then, {percent(last)} in the last epoch)"


def describe_stopping_at_best(curves: Curves, heldout: LossTrend) -> str:
    """Say what keeping the epoch with the lowest loss would have changed, and whether that is better or worse."""
    best, last = (format_figure(heldout.values[place], is_loss=curves.of_loss) for place in (heldout.best, -1))
    text = f"Stopping at epoch {curves.best_epoch} would have lowered the {curves.name} from {last} to {best} (better)"
    accuracy = curves.accuracy
    if accuracy is None:
        return f"{text}."
    then, now = percent(accuracy.values[accuracy.best]), percent(accuracy.values[-1])
    change = accuracy.values[accuracy.best] - accuracy.values[-1]
    if then == now:
        return f"{text} and left accuracy at {now}."
    is_sure = accuracy.rose if change < 0 else accuracy.fell
    judged = ("better" if change > 0 else "worse") if is_sure else "which may be chance"
    return f"{text} and {'raised' if change > 0 else 'lowered'} accuracy from {now} to {then} ({judged})."


def explain_too_little_matters(curves: Curves) -> str:
    """Comment on a loss that ends slightly above its lowest value."""
    return f"That is too little to matter; the weights of epoch {curves.best_epoch} are about as good."


def describe_bouncing(curves: Curves, heldout: LossTrend) -> str:
    """If single epochs differ a lot, a sentence that says so, with a leading space; otherwise an empty string."""
    if heldout.noise <= MIN_BOUNCE * heldout.scale or len(heldout.values) < len(heldout.late) + 1:
        return ""
    late = heldout.values[-max(len(heldout.late), len(heldout.values) // 4) :]
    if late in (sorted(late), sorted(late, reverse=True)):
        return ""
    low, high = (format_figure(value, is_loss=curves.of_loss) for value in (min(late), max(late)))
    return (
        f" The {curves.name} goes up and down from epoch to epoch (between {low} and {high} in the last "
        f"{pluralize(len(late), 'epoch')}), so it matters which epoch is kept. A lower learning rate or larger batches "
        "make it steadier."
    )
