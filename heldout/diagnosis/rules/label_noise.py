"""Label noise: some training labels are wrong."""

from heldout.diagnosis import remedies
from heldout.diagnosis.course import smoothed
from heldout.diagnosis.evaluation import chance_of, skill_of
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.history import History, finite
from heldout.diagnosis.thresholds import COMPARISON_CONFIDENCE, MIN_COMPARED_SKILL
from heldout.diagnosis.words import percent
from heldout.intervals import newcombe_interval


def find(facts: Facts) -> list[Finding]:
    """Training images are answered worse than validation's, by the same weights, in the end or in some epoch before.

    Every epoch is looked at, since wrong labels are learned by heart after a while.
    """
    train, validation = facts.train, facts.validation
    if train is None or validation is None:
        return []
    chance = chance_of(train, max(2, len(facts.classes)))
    epochs: list[tuple[int | None, float, float]] = [(None, train.accuracy, validation.accuracy)]
    epochs += [one for one in _levels(facts.curves.history) if skill_of(one[1], chance) > MIN_COMPARED_SKILL]
    epoch, trained, heldout = max(epochs, key=lambda one: one[2] - one[1])
    low, high = newcombe_interval(
        (round(heldout * validation.count), validation.count),
        (round(trained * train.count), train.count),
        COMPARISON_CONFIDENCE,
    )
    if low <= 0:
        return []
    when = "" if epoch is None else f" around epoch {epoch}"
    return [
        Finding(
            "label_noise",
            "warning",
            f"The same weights answer {percent(heldout)} of the validation images correctly{when}, but only "
            f"{percent(trained)} of the training images. Normally it is the other way round. That happens when some "
            "training labels are wrong: the network learns what most labels say, and disagrees with the wrong ones.",
            {
                "epoch": epoch,
                "train_accuracy": trained,
                "validation_accuracy": heldout,
                "difference_interval": [low, high],
            },
            (
                remedies.mend_data(
                    "Look at the training images where the model is confident of another class than the label."
                ),
            ),
        )
    ]


def _levels(history: History) -> list[tuple[int | None, float, float]]:
    """For each epoch the level of both accuracies in inference mode, less the noise of single epochs."""
    train, heldout = finite(history.train_accuracy), finite(history.validation_accuracy)
    both = zip(smoothed(train), smoothed(heldout), strict=False)
    return [(epoch, one, other) for epoch, (one, other) in enumerate(both, 1)]
