"""What the live guard says of a training that still runs: a warning, or why it should end."""

from heldout.diagnosis.curves import Curves
from heldout.diagnosis.rules import overconfidence, overfitting
from heldout.diagnosis.thresholds import GUARD_MIN_RISE, GUARD_PATIENCE_EPOCHS, MIN_EPOCHS, MIN_TRAINING_FALL
from heldout.words import pluralize
from heldout.words.courses import describe_best_and_end, describe_stopping_at_best, describe_training


def find_reason_to_warn(curves: Curves) -> str | None:
    """What the diagnosis says of a loss that rises, in the same words; None if it does not, or by too little."""
    return None if curves.rises_mildly else overfitting.explain(curves) or overconfidence.explain(curves)


def find_reason_to_stop(curves: Curves) -> str | None:
    """What the curves show; None if training should go on.

    This is a different question from overfitting. For some epochs validation's level has been above its
    lowest, by more than its noise and by so much that few trainings come back, while the training loss went on falling.
    Where accuracy has surely risen since, the later weights are the better ones in one way, and training goes on.
    """
    heldout, training = curves.heldout, curves.training
    if heldout is None or training is None or len(training.values) < MIN_EPOCHS:
        return None
    if curves.accuracy is not None and curves.accuracy.rose:
        return None
    epochs_since = curves.epochs - 1 - heldout.best
    if epochs_since < GUARD_PATIENCE_EPOCHS:
        return None
    # On a plateau, where nothing has come down yet, both move by next to nothing of the loss.
    least = max(GUARD_MIN_RISE * max(heldout.scale, heldout.lowest), curves.own_noise)
    at_best = curves.training_at_best
    if heldout.rise <= least or at_best - training.last <= MIN_TRAINING_FALL * at_best:
        return None
    return (
        f"{describe_best_and_end(curves, heldout)}, {pluralize(epochs_since, 'epoch')} later, while "
        f"{describe_training(curves, training)}. The {curves.name} is unlikely to get lower again. "
        f"{describe_stopping_at_best(curves, heldout)}"
    )
