"""What is said where no finding explains anything: healthy, or why that cannot be told."""

from heldout.diagnosis.curves import CLEAR, RISE, finite, level_at_end, noise_of, smoothed, turn_of
from heldout.diagnosis.evaluation import Evaluation, skill_of
from heldout.diagnosis.findings import CANNOT_TELL, HEALTHY, counted
from heldout.diagnosis.training import FEWEST, UNLEARNED, Curves, learned_since

FELL = 0.1  # of the accuracy, while the loss that belongs to it did not rise


def without_findings(curves: Curves, evaluation: Evaluation | None) -> tuple[str, str]:
    """The verdict and its explanation."""
    reason = _too_few(curves) or _rose(curves) or _contradicts(curves)
    # What a network knows at the end is told by the counts. Without them, or where it knows little, only by its way.
    if reason is None and not _knows(evaluation):
        reason = _learned_nothing(curves)
    return (HEALTHY, _healthy(curves, evaluation)) if reason is None else (CANNOT_TELL, reason)


def _knows(evaluation: Evaluation | None) -> bool:
    validation = evaluation.get("validation") if evaluation else None
    if evaluation is None or validation is None or not evaluation.classes:
        return False
    return skill_of(validation.accuracy, 1 / len(evaluation.classes)) >= UNLEARNED


def _too_few(curves: Curves) -> str | None:
    for kind, values in (("training", curves.training), ("validation", curves.heldout)):
        if len(values) < FEWEST:
            return (
                f"{counted(len(values), 'epoch')} with a {kind} figure: to see where it goes takes at least {FEWEST}."
            )
    return None


def _rose(curves: Curves) -> str | None:
    """Validation turned up while training got no better: no overfitting, and not healthy either."""
    turn = curves.turn
    if turn is None or not turn.is_clear(turn.rise, RISE) or learned_since(turn, curves.training, curves.history):
        return None
    trained, trains = curves.training[min(turn.best, len(curves.training) - 1)], level_at_end(curves.training)
    return (
        f"The {curves.name} was lowest in epoch {curves.number(turn.best)} ({curves.heldout[turn.best]:.4g}) and ends "
        f"at {curves.heldout[-1]:.4g}, but meanwhile the training figure went from {trained:.4g} to {trains:.4g} only: "
        "nothing was learned at its cost, so this is no overfitting. A lower learning rate may tell more."
    )


def _contradicts(curves: Curves) -> str | None:
    """A validation accuracy that falls beside a validation loss that does not rise."""
    right = finite(curves.history.validation_accuracy)
    if not curves.of_loss or len(right) < FEWEST:
        return None
    turn = turn_of([1 - value for value in right])
    if not turn.is_clear(turn.rise, RISE) or turn.rise < FELL:
        return None
    return (
        f"The validation accuracy fell from {1 - turn.floor:.3f} to {1 - turn.end:.3f}, and the validation loss did "
        "not rise: they are hardly of the same answers."
    )


def _learned_nothing(curves: Curves) -> str | None:
    """A validation figure that no epoch after the first made better by more than its noise."""
    history = curves.history
    wrong = [1 - value for value in finite(history.validation_accuracy)]
    for name, values in ((curves.name, curves.heldout), ("share of wrong answers in validation", wrong)):
        if len(values) >= FEWEST and values[0] - min(smoothed(values)) <= CLEAR * noise_of(values):
            return (
                f"The {name} was {values[0]:.4g} in the first epoch and is {level_at_end(values):.4g} at the end, no "
                f"better by more than its noise ({noise_of(values):.2g}): nothing that was learned in these "
                f"{curves.epochs} epochs shows in it."
            )
    return None


def _healthy(curves: Curves, evaluation: Evaluation | None) -> str:
    assert curves.turn is not None
    best, epochs = curves.number(curves.turn.best), curves.number(curves.epochs - 1)
    said = (
        f"The {curves.name} was lowest in epoch {best} of {epochs} ({curves.heldout[curves.turn.best]:.4g}) and ends "
        f"at {curves.heldout[-1]:.4g}: it "
        + (
            f"turned up by {curves.turn.rise:.2g}, too little to matter."
            if curves.turn.rise > CLEAR * curves.turn.noise
            else f"did not turn up by more than its noise ({curves.turn.noise:.2g})."
        )
    )
    train = evaluation.get("train") if evaluation else None
    test = evaluation.get("test") if evaluation else None
    if train is not None and test is not None:
        gap = 100 * (train.accuracy - test.accuracy)
        said += (
            f" Training is answered better than test by {gap:.1f} points; a gap alone is no fault."
            if gap > 0
            else " Test is answered as well as training."
        )
    return said
