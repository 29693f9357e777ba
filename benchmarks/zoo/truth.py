"""What is true of a training of the zoo, by interventions alone, and which verdicts name what to fix first.

`causes_of` turns points that interventions brought into causes, and `first_of` applies the order of
docs/explanation/diagnosis.md to these true points. Neither knows what a diagnosis says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.zoo.faults import FAULTS
from benchmarks.zoo.record import ZooRecord
from benchmarks.zoo.trainings import HIGH_RATE
from heldout.diagnosis.findings import HEALTHY
from heldout.statistics import compute_wilson_interval

Z, Z_80 = 1.96, 1.2816
# Points below which a cause is of no account, and from which on it must be named, if it probably is there at all.
# Between them no 600 test images tell which it is: both are accepted.
LITTLE, MUCH = 0.01, 0.03
# A network trained again answers otherwise by chance: standard error of the difference of two trainings, beyond that
# of the images. Fifteen clean trainings of open sets with three seeds each: 0.024, without the least steady one 0.016.
SEED_ERROR = 0.02
RAN_AWAY = 1.1  # the last training loss, in units of the untrained network's
POOR = 0.75  # training accuracy below which training itself is the fault
LEARNED_NOTHING = 0.05  # training accuracy above that of guessing, below which nothing was learned
LEARNED = 0.98  # training accuracy above which a training has converged for all that it shows
LOSS_GAIN = 0.10  # share of the loss that longer training takes away for it to be worth while
LOST, KNOWN = 0.25, 0.6  # recall of a class, and of the median one
# Share of the loss that one temperature takes away, and nats, from which on the loss suffers: likely, and surely.
TEMPERED, SURELY_TEMPERED, NATS = 0.03, 0.08, 0.02

WHOLE = 2  # level of a fault that changes a whole split
FIGURES, TRAINING, GAP, LOSS = 1, 2, 3, 4  # steps of the order

SHIFT = frozenset({"split_shift"})
# Verdicts that name a fault of measuring, by the beginning of its name.
OF_FAULT: Mapping[str, frozenset[str]] = {
    "conflicting_": frozenset({"leakage", "label_conflicts"}),
    **{f"{kind}_": frozenset({"leakage"}) for kind in ("exact", "recompressed", "scaled", "cropped", "recut")},
    **{f"{kind}_": frozenset({"label_order_mismatch"}) for kind in ("rotated", "reversed", "alphabetical")},
    "inverted_": frozenset({"scale_mismatch"}),
    "rescaled_": frozenset({"scale_mismatch"}),
    "other_channels_": frozenset({"split_shift", "scale_mismatch", "channel_order_mismatch"}),
    "brighter_": frozenset({"split_shift", "scale_mismatch"}),
    "blurred_": SHIFT,
    "other_source": SHIFT,
}
MEMORIZED = frozenset({"too_little_data", "overfitting"})
NOTHING = frozenset({HEALTHY, "cannot_tell", "test_too_small", "metric_artefact", "unexplained"})


@dataclass(frozen=True)
class Cause:
    """Something that is true of a training.

    codes: the verdicts that name it. accuracy: what it does to a figure, or what is gained without it, and between
    which bounds (95%) that lies. matters: None where it seems to, and the bounds leave that open.
    """

    name: str
    step: int
    codes: frozenset[str]
    accuracy: float
    low: float
    high: float
    matters: bool | None


def first_of(causes: Sequence[Cause]) -> frozenset[str]:
    """The verdicts that name what to fix first: those of the first step in which a cause surely matters.

    Where the intervals leave open which cause is larger, all of them are accepted. So are causes of earlier steps that
    may or may not matter.
    """
    accepted: set[str] = set()
    for step in (FIGURES, TRAINING, GAP, LOSS):
        here = [cause for cause in causes if cause.step == step and cause.matters is not False]
        most = max((cause.low for cause in here if cause.matters), default=0.0)
        for cause in here:
            # Broken training has an order of its own, which no points tell.
            if step == TRAINING or cause.high >= most:
                accepted |= cause.codes
        if any(cause.matters for cause in here):
            return frozenset(accepted)
    if any(cause.name == "poor_training" for cause in causes):
        return frozenset(accepted | NOTHING - {HEALTHY})
    # A planted fault without an effect is there all the same.
    return frozenset(accepted | NOTHING).union(*(cause.codes for cause in causes))


def is_known(record: ZooRecord, causes: Sequence[Cause]) -> bool:
    """Whether interventions tell what is first: without a referee only where figures surely are not true."""
    return record.referee["count"] > 0 or any(cause.step == FIGURES and cause.matters for cause in causes)


def causes_of(record: ZooRecord) -> list[Cause]:
    """All that is true of a training, whether it matters or not."""
    if record.kept is None or _ran_away(record):
        return [Cause("diverged", TRAINING, frozenset({"diverged"}), 1.0, 1.0, 1.0, matters=True)]
    truth = record.referee
    if "clean" not in truth:
        return []
    return [*_of_figures(truth), *_of_training(record), *_of_gap(record), *_of_loss(truth)]


def codes_of_fault(name: str) -> frozenset[str]:
    """The verdicts that name a fault of measuring; none for other faults."""
    return next((codes for start, codes in OF_FAULT.items() if name.startswith(start)), frozenset())


def _ran_away(record: ZooRecord) -> bool:
    losses = record.history["train_loss"]
    last = losses[-1] if losses else None
    return last is None or last > RAN_AWAY * record.untrained_loss


def _of_figures(truth: Mapping[str, Any]) -> Iterator[Cause]:
    for figure in truth["figures"]:
        codes = codes_of_fault(figure["fault"])
        if "label_order_mismatch" in codes and figure["level"] < WHOLE:
            codes |= {"label_noise"}  # of a part of the labels, which no renaming of classes undoes
        if "scale_mismatch" in codes and figure["level"] < WHOLE:
            codes |= {"split_shift"}  # of a part of the images, which no change of a whole split undoes
        if codes:
            points, error = points_of(truth, figure)
            cause = _cause(figure["fault"], FIGURES, codes, abs(points), error)
            # No network trained on validation, so that its copies in test move the figure by chance alone.
            by_chance = figure["fault"].endswith("validation_test") and not figure["fault"].startswith("conflicting_")
            yield _with(cause, None if by_chance and cause.matters else cause.matters)


def points_of(truth: Mapping[str, Any], figure: Mapping[str, Any]) -> tuple[float, float]:
    """What a fault does to its split's accuracy, with its standard error.

    It is measured on the split's own images. Copies replace images at random. So with a referee they count by their
    share, times how much better all images that can be copied are answered than the split's own.
    """
    if figure["true"] is None or not (is_copy(figure["fault"]) or figure["served"] is None):
        points, error = figure["served"]["accuracy"]
        return points, error
    points, error = figure["true"]["accuracy"]
    if is_copy(figure["fault"]):
        share = FAULTS[figure["fault"]].strengths[figure["level"]]
        (referee, referee_error), (own, own_error) = (
            of["accuracy"] for of in (truth["clean"], truth["splits"][figure["split"]])
        )
        copied_variance = max(0.0, (error / share) ** 2 - referee_error**2)
        points, error = points + share * (referee - own), share * (copied_variance + own_error**2) ** 0.5
    return points, error


def is_copy(fault: str) -> bool:
    """Whether it replaces images by copies of others."""
    return fault.startswith(("exact_", "recompressed_", "scaled_", "cropped_", "recut_", "conflicting_"))


def _of_training(record: ZooRecord) -> Iterator[Cause]:
    truth = record.referee
    assert record.kept is not None
    trained = record.kept["final"]["train"]["accuracy"]
    slower = truth.get("slower")
    if slower is not None:
        destroyed = _cause("slower", TRAINING, frozenset({"diverged"}), *slower["accuracy"], seeds=1)
        yield destroyed
        if destroyed.matters:
            return  # neither more epochs nor a larger network help at such a rate
    if longer := truth.get("longer"):
        gain = _cause("longer", TRAINING, frozenset({"not_converged"}), *longer["accuracy"])
        loss, loss_error = longer["loss"]
        learns = -loss + Z * loss_error > LOSS_GAIN * truth["clean"]["loss"][0]
        # No curve shows it that has ended at a rate of zero, or with hardly a training image left to learn.
        open_ = gain.matters and (record.training.schedule == "cosine" or trained > LEARNED)
        yield _with(gain, None if open_ or (learns and gain.matters is False) else gain.matters)
    if larger := truth.get("larger"):
        gain = _cause("larger", TRAINING, frozenset({"underfitting"}), *larger["accuracy"], seeds=1)
        gap = trained - truth["clean"]["accuracy"][0]
        is_poor = trained < POOR and gain.accuracy >= gap / 2
        yield _with(gain, None if gain.matters and not is_poor else gain.matters)
    # Training itself is the fault, though neither a longer one nor a larger network may fix it.
    if trained < POOR:
        learned_nothing = trained - _guess(truth) < LEARNED_NOTHING
        lacking = POOR - trained
        codes = frozenset({"not_converged", "underfitting"})
        if record.training.rate >= HIGH_RATE and slower is None:
            codes |= {"diverged"}  # older records do not tell whether a lower rate would have learned
        yield Cause("poor_training", TRAINING, codes, lacking, lacking, lacking, learned_nothing or None)
    bounds = [compute_wilson_interval(right, count) for right, count in truth["recalls"] if count]
    usual = median(right / count for right, count in truth["recalls"] if count)
    if usual > KNOWN and min(high for _, high in bounds) < LOST:
        yield Cause("collapsed", TRAINING, frozenset({"collapsed_class", "class_imbalance"}), 0.0, 0.0, 1.0, None)


def _guess(truth: Mapping[str, Any]) -> float:
    """Accuracy of always naming the most frequent class of the clean images."""
    counts = [count for _, count in truth["recalls"]]
    guess: float = max(counts) / sum(counts)
    return guess


def _of_gap(record: ZooRecord) -> Iterator[Cause]:
    truth = record.referee
    assert record.kept is not None
    noise = 0.0
    for name, without in truth["without"].items():
        points, error = without["accuracy"]
        if name.startswith(("wrong_", "conflicting_")):
            # Wrong labels in test cost what they cost there, too.
            in_test = [
                points_of(truth, one) for one in truth["figures"] if (one["fault"], one["split"]) == (name, "test")
            ]
            noise += points
            points -= sum(one for one, _ in in_test)
            yield _cause(name, GAP, _codes_of_labels(name), points, error, seeds=1)
        elif name == "rare_classes":
            yield _cause(name, GAP, frozenset({"class_imbalance", "collapsed_class"}), points, error, seeds=1)
        else:
            yield _cause(name, GAP, MEMORIZED, points, error, seeds=1)
    if not truth["count"]:
        return
    yield _cause("best_epoch", GAP, frozenset({"overfitting"}), *truth["best_epoch"]["accuracy"])
    clean, error = truth["clean"]["accuracy"]
    train = record.kept["final"]["train"]
    own = (train["accuracy"] * (1 - train["accuracy"]) / train["count"]) ** 0.5
    gap = _cause("generalisation", GAP, MEMORIZED, train["accuracy"] - clean - noise, (error**2 + own**2) ** 0.5)
    more = truth.get("doubled", {}).get("accuracy", (gap.accuracy, 0.0))
    # Twice the images close a part of it, and enough of them all of it.
    yield Cause(gap.name, GAP, MEMORIZED, gap.accuracy, min(gap.low, max(0.0, more[0])), gap.high, _is_gap(gap))
    test, test_error = truth["splits"]["test"]["accuracy"]
    if not any(one["fault"] == "other_source" for one in truth["figures"]):
        harder = _cause("harder_test", GAP, SHIFT, clean - test, (error**2 + test_error**2) ** 0.5)
        yield harder
        # Whether such a test is a harder one or one of another kind is a matter of words.
        if harder.matters:
            yield Cause(harder.name, FIGURES, SHIFT, harder.accuracy, harder.low, harder.high, None)


def _is_gap(gap: Cause) -> bool | None:
    """Every gap of which 3 points are sure belongs to a cause."""
    return True if gap.low >= MUCH else False if gap.high < MUCH else None


def _codes_of_labels(name: str) -> frozenset[str]:
    noise = frozenset({"label_noise", "memorised_noise"})
    return noise | {"label_conflicts"} if name.startswith("conflicting_") else noise


def _of_loss(truth: Mapping[str, Any]) -> Iterator[Cause]:
    if tempered := truth.get("temperature"):
        gained = tempered["before"] - tempered["after"]
        share = gained / tempered["before"] if gained > NATS else 0.0
        matters = True if share > SURELY_TEMPERED else None if share > TEMPERED else False
        yield Cause("temperature", LOSS, frozenset({"overconfidence"}), 0.0, 0.0, 0.0, matters)


def _cause(name: str, step: int, codes: frozenset[str], points: float, error: float, seeds: int = 0) -> Cause:
    """seeds: whether the points are those of another training."""
    error = (error**2 + seeds * SEED_ERROR**2) ** 0.5
    low, high = points - Z * error, points + Z * error
    is_much = points >= MUCH and points - Z_80 * error > 0
    return Cause(name, step, codes, points, low, high, True if is_much else None if points >= LITTLE else False)


def _with(cause: Cause, matters: bool | None) -> Cause:
    return Cause(cause.name, cause.step, cause.codes, cause.accuracy, cause.low, cause.high, matters)
