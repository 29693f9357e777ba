"""Joins validation and test if nothing shows that they differ."""

from dataclasses import dataclass

from heldout.diagnosis.thresholds import EXPECTED_FAMILY, MAX_DIFFERENCE_OF_ALIKE, WEIGHT_OF_EXPECTED_FAMILY
from heldout.stored.gap import StoredGap, Tally


@dataclass(frozen=True)
class HeldOut:
    """Validation and test together. family: how many of their images say as much as one independent image."""

    tally: Tally
    family: float


def join_alike(stored: StoredGap, validation: Tally | None, test: Tally) -> HeldOut | None:
    """Join validation and test. None if copies, image quality or accuracy show that they differ.

    The difference between their accuracies shows how much their images depend on each other. It is a single draw, so it
    is averaged with the expected dependence.
    """
    copies = stored.validation_copies
    if validation is None or stored.quality is not None or (copies is not None and copies.copied is not None):
        return None
    joined = _join(validation, test)
    variance = joined.accuracy * (1 - joined.accuracy) * (1 / validation.count + 1 / test.count)
    apart = (validation.accuracy - test.accuracy) ** 2 / variance if variance else 0.0
    if apart > MAX_DIFFERENCE_OF_ALIKE**2:
        return None
    weight = WEIGHT_OF_EXPECTED_FAMILY
    return HeldOut(joined, max(1.0, stored.family, (weight * EXPECTED_FAMILY + apart) / (weight + 1)))


def _join(first: Tally, second: Tally) -> Tally:
    """Pool the answers to the images of two splits."""
    count = first.count + second.count
    loss = (first.count * first.loss + second.count * second.loss) / count
    squares = sum(
        tally.loss_variance * (tally.count - 1) + tally.count * (tally.loss - loss) ** 2 for tally in (first, second)
    )
    return Tally(
        count=count, correct=first.correct + second.correct, loss=loss, loss_variance=squares / max(1, count - 1)
    )
