"""Whether a training that still runs should end: a lower validation loss is not to be expected any more."""

from heldout.diagnosis.curves import Curves
from heldout.diagnosis.thresholds import GUARD_MIN_RISE, GUARD_PATIENCE_EPOCHS, MIN_EPOCHS, MIN_TRAINING_FALL
from heldout.diagnosis.words import figure_of


def reason_to_stop(curves: Curves) -> str | None:
    """What the curves show; None if training should go on.

    This is a different question from overfitting. For some epochs validation's level has been above its
    lowest, by more than its noise and by so much that few trainings come back, while the training loss went on falling.
    """
    heldout, training = curves.heldout, curves.training
    if heldout is None or training is None or len(training.values) < MIN_EPOCHS:
        return None
    epochs_since = curves.epochs - 1 - heldout.best
    if epochs_since < GUARD_PATIENCE_EPOCHS:
        return None
    # On a plateau, where nothing has come down yet, both move by next to nothing of the loss.
    least = max(GUARD_MIN_RISE * max(heldout.scale, heldout.lowest), curves.own_noise)
    at_best = curves.training_at_best
    if heldout.rise <= least or at_best - training.last <= MIN_TRAINING_FALL * at_best:
        return None
    best, now, trained, trains = (
        figure_of(value, is_loss=curves.of_loss)
        for value in (heldout.values[heldout.best], heldout.values[-1], at_best, training.last)
    )
    return (
        f"The {curves.name} was lowest in epoch {curves.best_epoch} ({best}), {epochs_since} epochs ago. It is {now} "
        f"now, while the {curves.training_name} fell from {trained} to {trains}: the {curves.name} is unlikely to get "
        "lower again."
    )
