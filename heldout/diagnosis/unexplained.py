"""The verdict where no finding explains anything: healthy, or why that cannot be told."""

from heldout.diagnosis.course import Course
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import CANNOT_TELL, HEALTHY
from heldout.diagnosis.thresholds import MIN_CONTRADICTION, MIN_EPOCHS, MIN_RISE_SIGMAS
from heldout.diagnosis.words import change_of, counted, figure_of, percent


def verdict_without_findings(facts: Facts) -> tuple[str, str]:
    """The verdict and its explanation."""
    curves = facts.curves
    heldout, training = curves.heldout, curves.training
    too_few = _too_few_epochs("Training", training) or _too_few_epochs("Validation", heldout)
    if heldout is None or training is None or too_few is not None:
        return CANNOT_TELL, too_few or ""
    reason = _rose_without_learning(curves, heldout, training) or _contradiction(curves)
    # The counts tell what a network knows at the end. Without them, or where it knows little, only its course does.
    if reason is None and not facts.knows_validation:
        reason = _learned_nothing(curves)
    return (HEALTHY, _healthy(facts, heldout)) if reason is None else (CANNOT_TELL, reason)


def _too_few_epochs(kind: str, course: Course | None) -> str | None:
    epochs = 0 if course is None else len(course.values)
    if epochs >= MIN_EPOCHS:
        return None
    known = f"only {counted(epochs, 'epoch')}" if epochs else "no epoch"
    return f"{kind} results are known for {known}: at least {MIN_EPOCHS} epochs are needed to see a trend."


def _rose_without_learning(curves: Curves, heldout: Course, training: Course) -> str | None:
    """Validation turned up while training got no better: no overfitting, and not healthy either."""
    if curves.has_learned or not heldout.is_up:
        return None
    best, last, at_best, at_end = (
        figure_of(value, is_loss=curves.of_loss)
        for value in (heldout.values[heldout.best], heldout.values[-1], curves.training_at_best, training.last)
    )
    return (
        f"The {curves.name} was lowest in epoch {curves.best_epoch} ({best}) and ends at {last}, but meanwhile the "
        f"{curves.training_name} went from {at_best} to {at_end}: nothing was learned, so this is not overfitting. A "
        "lower learning rate may help."
    )


def _contradiction(curves: Curves) -> str | None:
    """A validation accuracy that falls beside a validation loss that does not rise."""
    wrong = curves.wrong_answers
    if not curves.of_loss or wrong is None or len(wrong.values) < MIN_EPOCHS:
        return None
    if wrong.rise < MIN_CONTRADICTION or not wrong.is_up:
        return None
    return (
        f"Validation accuracy fell from {percent(1 - wrong.lowest)} to {percent(1 - wrong.last)}, but the validation "
        "loss did not rise. Check that both belong to the same training."
    )


def _learned_nothing(curves: Curves) -> str | None:
    """No epoch after the first made validation better by more than its noise."""
    both = (
        (curves.name, curves.heldout, curves.of_loss),
        ("share of wrong validation answers", curves.wrong_answers, False),
    )
    for name, course, is_loss in both:
        if course is None or len(course.values) < MIN_EPOCHS:
            continue
        first, last = course.values[0], course.last
        if first - course.lowest <= MIN_RISE_SIGMAS * course.noise:
            return (
                f"The {name} was {figure_of(first, is_loss=is_loss)} after the first epoch and is "
                f"{figure_of(last, is_loss=is_loss)} after {counted(curves.epochs, 'epoch')}, and no epoch in between "
                "was clearly better: what the network learned does not help with validation images."
            )
    return None


def _healthy(facts: Facts, heldout: Course) -> str:
    curves = facts.curves
    best, last = (
        figure_of(value, is_loss=curves.of_loss) for value in (heldout.values[heldout.best], heldout.values[-1])
    )
    explanation = (
        f"The {curves.name} was lowest in epoch {curves.best_epoch} of {curves.epoch_numbers[curves.epochs - 1]} "
        f"({best}) and ends at {last}. "
    )
    if heldout.rise > MIN_RISE_SIGMAS * heldout.noise:
        explanation += f"It rose by {change_of(heldout.rise, is_loss=curves.of_loss)}, too little to matter."
    else:
        explanation += "It did not clearly rise again."
    if facts.train is None or facts.test is None:
        return explanation
    gap = f"{100 * (facts.train.accuracy - facts.test.accuracy):.1f}"
    if float(gap) > 0:
        return f"{explanation} Training accuracy is {gap} points higher than test accuracy; a gap alone is not a fault."
    return f"{explanation} Test accuracy is at least as good as training accuracy."
