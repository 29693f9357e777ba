"""Whether a network knows images: by counts of answers, or by the accuracies of its curves alone."""

from math import exp

from heldout.diagnosis.course import level_at_end
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.evaluation import skill_of
from heldout.diagnosis.history import finite
from heldout.diagnosis.thresholds import MIN_EPOCHS, MIN_KNOWN_SKILL


def knows(accuracy: float, chance: float) -> bool:
    """Whether most images are answered rightly, beyond guessing."""
    return skill_of(accuracy, chance) >= MIN_KNOWN_SKILL


def known_of_history(curves: Curves) -> tuple[float, float, float] | None:
    """Training's and validation's accuracy at the end, and what guessing gives at most; None where not recorded."""
    history = curves.history
    training, heldout = finite(history.train_accuracy or history.fit_accuracy), finite(history.validation_accuracy)
    if min(len(training), len(heldout)) < MIN_EPOCHS:
        return None
    return level_at_end(training), level_at_end(heldout), _chance_at_most(curves)


def _chance_at_most(curves: Curves) -> float:
    """Of two classes one half. A loss that was once higher than theirs shows that there are more."""
    if not curves.of_loss or curves.heldout is None:
        return 1 / 2
    # Guessing among n classes costs log(n), and a network that has learned something costs less.
    return min(1 / 2, exp(-max(0.0, max(curves.heldout.levels))))
