"""The verdict where no finding explains anything: healthy, or why that cannot be told."""

from heldout.diagnosis.course import Course
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import CANNOT_TELL, HEALTHY, counted
from heldout.diagnosis.thresholds import MIN_CONTRADICTION, MIN_EPOCHS, MIN_RISE_SIGMAS


def verdict_without_findings(facts: Facts) -> tuple[str, str]:
    """The verdict and its explanation."""
    curves = facts.curves
    heldout, training = curves.heldout, curves.training
    too_few = _too_few_epochs("training", training) or _too_few_epochs("validation", heldout)
    if heldout is None or training is None or too_few is not None:
        return CANNOT_TELL, too_few or ""
    reason = _rose_without_learning(curves, heldout, training) or _contradiction(curves)
    # What a network knows at the end is told by the counts. Without them, or where it knows little, only by its course.
    if reason is None and not facts.knows_validation:
        reason = _learned_nothing(curves.name, heldout, curves.epochs) or _learned_nothing(
            "share of wrong answers in validation", curves.wrong_answers, curves.epochs
        )
    return (HEALTHY, _healthy(facts, heldout)) if reason is None else (CANNOT_TELL, reason)


def _too_few_epochs(kind: str, course: Course | None) -> str | None:
    epochs = 0 if course is None else len(course.values)
    if epochs >= MIN_EPOCHS:
        return None
    return f"{counted(epochs, 'epoch')} with a {kind} figure: to see where it goes takes at least {MIN_EPOCHS}."


def _rose_without_learning(curves: Curves, heldout: Course, training: Course) -> str | None:
    """Validation turned up while training got no better: no overfitting, and not healthy either."""
    if curves.has_learned or not heldout.is_up:
        return None
    return (
        f"The {curves.name} was lowest in epoch {curves.best_epoch} ({heldout.values[heldout.best]:.4g}) and ends "
        f"at {heldout.values[-1]:.4g}, but meanwhile the training figure went from {curves.training_at_best:.4g} to "
        f"{training.last:.4g} only: nothing was learned at its cost, so this is no overfitting. A lower learning rate "
        "may tell more."
    )


def _contradiction(curves: Curves) -> str | None:
    """A validation accuracy that falls beside a validation loss that does not rise."""
    wrong = curves.wrong_answers
    if not curves.of_loss or wrong is None or len(wrong.values) < MIN_EPOCHS:
        return None
    if wrong.rise < MIN_CONTRADICTION or not wrong.is_up:
        return None
    return (
        f"The validation accuracy fell from {1 - wrong.lowest:.3f} to {1 - wrong.last:.3f}, and the validation loss "
        "did not rise: they are hardly of the same answers."
    )


def _learned_nothing(name: str, course: Course | None, epochs: int) -> str | None:
    """No epoch after the first made validation better by more than its noise."""
    if course is None or len(course.values) < MIN_EPOCHS:
        return None
    first = course.values[0]
    if first - course.lowest > MIN_RISE_SIGMAS * course.noise:
        return None
    return (
        f"The {name} was {first:.4g} in the first epoch and is {course.last:.4g} at the end, no better by more than "
        f"its noise ({course.noise:.2g}): nothing that was learned in these {epochs} epochs shows in it."
    )


def _healthy(facts: Facts, heldout: Course) -> str:
    curves = facts.curves
    said = (
        f"The {curves.name} was lowest in epoch {curves.best_epoch} of {curves.epoch_numbers[curves.epochs - 1]} "
        f"({heldout.values[heldout.best]:.4g}) and ends at {heldout.values[-1]:.4g}: it "
        + (
            f"turned up by {heldout.rise:.2g}, too little to matter."
            if heldout.rise > MIN_RISE_SIGMAS * heldout.noise
            else f"did not turn up by more than its noise ({heldout.noise:.2g})."
        )
    )
    train, test = facts.train, facts.test
    if train is not None and test is not None:
        gap = 100 * (train.accuracy - test.accuracy)
        said += (
            f" Training is answered better than test by {gap:.1f} points; a gap alone is no fault."
            if gap > 0
            else " Test is answered as well as training."
        )
    return said
