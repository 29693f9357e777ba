"""The live guard of a running training: whether to warn, and why to stop."""

from heldout.diagnosis.curves import Curves
from heldout.diagnosis.rules import overconfidence, overfitting
from heldout.diagnosis.thresholds import GUARD_MIN_RISE, GUARD_PATIENCE_EPOCHS, MIN_EPOCHS, MIN_TRAINING_FALL
from heldout.words import pluralize
from heldout.words.courses import describe_best_and_end, describe_stopping_at_best, describe_training


def find_reason_to_warn(curves: Curves) -> str | None:
    """The diagnosis' explanation of a rising loss, or None if the loss does not rise enough to matter."""
    return None if curves.rises_mildly else overfitting.explain(curves) or overconfidence.explain(curves)


def find_reason_to_stop(curves: Curves) -> str | None:
    """Say what the curves show, or return None if training should continue.

    This is a different question from overfitting. Training stops if validation's level has exceeded its lowest for some
    epochs, by more than noise and by more than trainings usually recover from, while the training loss kept falling. If
    accuracy has clearly risen since, the later weights are better in one way, and training continues.
    """
    heldout, training = curves.heldout, curves.training
    if heldout is None or training is None or len(training.values) < MIN_EPOCHS:
        return None
    if curves.accuracy is not None and curves.accuracy.rose:
        return None
    epochs_since = curves.epochs - 1 - heldout.best
    if epochs_since < GUARD_PATIENCE_EPOCHS:
        return None
    # On an initial plateau both curves move by only a tiny part of the loss, so compare with the loss itself too.
    least = max(GUARD_MIN_RISE * max(heldout.scale, heldout.lowest), curves.own_noise)
    at_best = curves.training_at_best
    if heldout.rise <= least or at_best - training.last <= MIN_TRAINING_FALL * at_best:
        return None
    return (
        f"{describe_best_and_end(curves, heldout)}, {pluralize(epochs_since, 'epoch')} later, while "
        f"{describe_training(curves, training)}. The {curves.name} is unlikely to get lower again. "
        f"{describe_stopping_at_best(curves, heldout)}"
    )
