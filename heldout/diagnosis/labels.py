"""What accuracies say of the labels: all of them noise that was learned by heart, or some of them wrong."""

from heldout.diagnosis import remedies
from heldout.diagnosis.curves import finite, smoothed
from heldout.diagnosis.evaluation import Evaluation, skill_of
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.history import History
from heldout.intervals import newcombe_interval, wilson_interval

LEARNED = 0.6  # skill on the training images from which they are known by heart
NOTHING = 0.25  # skill that held-out images may show where nothing holds for them
# Skill on the training images from which a comparison says something: a network that names one class is right as often
# as that class is there.
BEGUN = 0.3
# Of many comparisons some are beyond an interval of 95 % by chance.
SURE = 0.99


def memorised_noise(history: History, evaluation: Evaluation | None) -> Finding | None:
    """The training images are known by heart, and nothing holds beyond them."""
    train = evaluation.get("train") if evaluation else None
    validation = evaluation.get("validation") if evaluation else None
    classes = len(evaluation.classes) if evaluation else 0
    if train is None or validation is None or classes < 2:
        return None
    last = [value for value in history.train_accuracy if value is not None]
    known = max([train.accuracy, *last[-1:]])
    low, high = wilson_interval(*validation.counts)
    chance = _chance(validation.confusion, classes)
    if skill_of(known, _chance(train.confusion, classes)) < LEARNED or skill_of(high, chance) > NOTHING:
        return None
    return Finding(
        "memorised_noise",
        "critical",
        f"The training accuracy reaches {known:.3f}, and validation is at chance: {validation.accuracy:.3f} "
        f"({low:.3f} to {high:.3f}, chance {chance:.3f}). The labels have nothing to do with the pictures; the network "
        "has learned them by heart.",
        {
            "train_accuracy": known,
            "validation_accuracy": validation.accuracy,
            "validation_interval": [low, high],
            "chance": chance,
        },
        (remedies.mend_data("Check how labels were joined to images: they look shuffled."),),
    )


def label_noise(history: History, evaluation: Evaluation | None) -> Finding | None:
    """Training images are answered worse than held-out ones: some of their labels must be wrong.

    Before wrong labels are learned by heart, that is; so every epoch is looked at.
    """
    train = evaluation.get("train") if evaluation else None
    validation = evaluation.get("validation") if evaluation else None
    if evaluation is None or train is None or validation is None:
        return None
    chance = _chance(train.confusion, max(2, len(evaluation.classes)))
    epochs: list[tuple[int | None, float, float]] = [(None, train.accuracy, validation.accuracy)]
    epochs += [one for one in _levels(history) if skill_of(one[1], chance) > BEGUN]
    epoch, trained, heldout = max(epochs, key=lambda one: one[2] - one[1])
    low, high = newcombe_interval(
        (round(heldout * validation.count), validation.count), (round(trained * train.count), train.count), SURE
    )
    if low <= 0:
        return None
    when = "" if epoch is None else f" in epoch {epoch}"
    return Finding(
        "label_noise",
        "warning",
        f"With the same weights, in inference mode, validation is better than training{when}: {heldout:.3f} against "
        f"{trained:.3f} (difference {low:.3f} to {high:.3f}). That happens when training labels are wrong and "
        "validation labels are right, as long as the wrong ones have not been learned by heart.",
        {
            "epoch": epoch,
            "train_accuracy": trained,
            "validation_accuracy": heldout,
            "difference_interval": [low, high],
        },
        (
            remedies.mend_data(
                "Look at the training images that the model answers with confidence and against the label."
            ),
        ),
    )


def _levels(history: History) -> list[tuple[int | None, float, float]]:
    """For each epoch the level of both accuracies in inference mode, less the noise of single epochs."""
    train, heldout = finite(history.train_accuracy), finite(history.validation_accuracy)
    both = zip(smoothed(train), smoothed(heldout), strict=False)
    return [(epoch, one, other) for epoch, (one, other) in enumerate(both, 1)]


def _chance(confusion: tuple[tuple[int, ...], ...], classes: int) -> float:
    """The accuracy of always naming the most frequent class."""
    counts = [sum(row) for row in confusion]
    return max(counts) / sum(counts) if sum(counts) else 1 / classes
