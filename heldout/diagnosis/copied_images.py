"""What copies of training images do to a held-out figure."""

from collections.abc import Iterator

from heldout.diagnosis import thresholds
from heldout.diagnosis.bounds import Bounds
from heldout.diagnosis.facts import Effect
from heldout.diagnosis.gap import Gap
from heldout.stored.gap import HeldOutCopies


def measure_copies(gap: Gap) -> Effect | None:
    """How much copies flatter the split that they flatter most, or None if that does not matter.

    Copies can only help, and by no more than their share of how much better training images are answered than others.
    A few copies say little about what they cost. So from a certain share on, the measured lift is averaged with the
    largest possible one.
    """
    found = []
    for copies, (lift, bounds) in list_lifts(gap):
        most = copies.share * max(0.0, gap.train.accuracy - _compute_clean_accuracy(gap))
        low, lift, high = (min(max(value, 0.0), most) for value in (bounds[0], lift, bounds[1]))
        effect = Effect(lift, (low, high))
        is_much = copies.share >= thresholds.MIN_COPIED_SHARE and lift + most >= 2 * thresholds.MIN_SURE_EFFECT
        if effect.matters or is_much:
            found.append(effect)
    return max(found, key=lambda effect: effect.size, default=None)


def list_lifts(gap: Gap) -> Iterator[tuple[HeldOutCopies, tuple[float, Bounds]]]:
    """The copies of each held-out split, with how much they lift its accuracy."""
    stored = gap.stored
    for copies, term, is_test in (
        (stored.validation_copies, gap.find_term("copies_in_validation"), False),
        (stored.test_copies, gap.find_term("copies_in_test"), True),
    ):
        if copies is not None and term is not None and term.accuracy_interval is not None:
            low, high = term.accuracy_interval
            yield copies, (-term.accuracy, (-high, -low)) if is_test else (term.accuracy, (low, high))


def _compute_clean_accuracy(gap: Gap) -> float:
    """Accuracy on all held-out images without a copy in training."""
    clean = [tally for tally in (gap.clean_validation, gap.clean_test) if tally is not None]
    return sum(tally.correct for tally in clean) / sum(tally.count for tally in clean)
