"""What copies of training images do to a held-out figure."""

from collections.abc import Iterator, Mapping

from heldout.diagnosis import thresholds
from heldout.diagnosis.bounds import Bounds
from heldout.diagnosis.facts import Effect, Facts
from heldout.diagnosis.findings import Finding
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


def measure_conflicts(finding: Finding, facts: Facts, gap: Gap | None, *, across_splits: bool = False) -> Effect | None:
    """The accuracy lost to pictures with two labels: a network gets only one of the two right.

    The split with the most of them counts, or all images if the audit did not count them by split. If copies are
    measured to be answered worse than other images, their labels are the reason.

    Args:
        across_splits: count at most the images that have copies in another split. Copies within one split whose labels
            differ are wrong labels, of which they are a sample: no copy makes a figure untrue.
    """
    splits = {"train": facts.train, "validation": facts.validation, "test": facts.test}
    counts = {name: figures.count for name, figures in splits.items() if figures is not None}
    images, of_split = finding.evidence.get("images"), finding.evidence.get("of_split")
    if not isinstance(images, int) or not counts:
        return None
    shares = [images / sum(counts.values())]
    if of_split:
        most_of = _count_shared(facts) if across_splits else of_split
        shares = [min(of_split[name], most_of[name]) / count for name, count in counts.items() if name != "train"]
        shares = shares or [0.0]
    losses = [Effect(max(shares) / 2, None)]
    losses += [] if gap is None else [Effect(-lift, (-high, -low)) for _, (lift, (low, high)) in list_lifts(gap)]
    most = max(losses, key=lambda effect: effect.size)
    return most if most.size >= thresholds.MIN_SURE_EFFECT else None


def _count_shared(facts: Facts) -> Mapping[str, int]:
    """How many images of each held-out split have copies in another split, at most, as the audit counted them."""
    counted = [finding.evidence for finding in facts.audited.get("leakage", ())]

    def count(*pairs: str) -> int:
        return sum(evidence.get(pair, {}).get("images", 0) for evidence in counted for pair in pairs)

    return {
        "validation": count("validation_in_train", "test_in_validation"),
        "test": count("test_in_train", "test_in_validation"),
    }
