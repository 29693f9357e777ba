"""The truth about each training of the collection: from its condition and the referee, never from `diagnose`.

Every code is true, false, or None if the referee's interval leaves it open or it does not matter. The definitions were
fixed on the first draw; at very high learning rates, only this collection's silence about them is newer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, log, sqrt
from statistics import fmean, median

from benchmarks.diagnosis.conditions import Condition
from benchmarks.diagnosis.record import Record
from heldout.statistics import compute_newcombe_interval, compute_wilson_interval

Z = 1.96
# The share by which the referee's loss ends above its lowest. Below the first it does not rise, from the second on it
# does, and cases between them are counted separately.
TRIFLE, RISE = 0.02, 0.04
# Points of accuracy that the referee's answers lose from the lowest loss to the end: by the first it has held, from the
# second on it has fallen.
HELD, FELL = 0.005, 0.01
# Points by which training images are answered better than the referee's: from the first on there are too few of them,
# if the interval is above the second.
FAR, NEAR = 0.10, 0.05
# The same, as a bound of the interval, where the gap was measured: then all that is sure has a cause.
SURE_GAP = 0.03
# Half as many epochs again are worth while if they lower the referee's loss by this share of it, or of its fall so far.
MORE, LITTLE = 0.10, 0.05
NOTHING = 0.01  # a way that is less than this share of the loss is none
# Points of accuracy on images never seen by which another network, on no better data, beats this one on its own.
BEATEN, EQUAL = 0.10, 0.03
SETTLING = 10  # epochs before which no network is called unable
RAN_AWAY, STAYED = 1.10, 1.02  # the training loss, in units of the untrained network's
DESTROYED = 10.0  # the same of an epoch that has destroyed the network
UNLEARNED = 0.96  # the training loss of a network that only guesses, in units of guessing
HIGH_RATE = 0.01  # from which on it may be the reason for both
SHOWN = 0.02  # points by which `fit` shows training accuracy below that of unseen images
LOST, KNOWN = 0.25, 0.6  # recall of a class; median recall of all
WIDE, NARROW = 0.045, 0.035  # half of the interval of the test accuracy
NOISY = 0.15
LEARNED = 0.5  # accuracy on the referee's images below which nothing can be seen of wrong labels

# What the referee's curves show. `loss_rises` is not a code: it is overfitting or overconfidence.
OF_CURVES = ("loss_rises", "overfitting", "overconfidence", "not_converged")

Truth = Mapping[str, bool | None]


@dataclass(frozen=True)
class Best:
    """How well any network of the collection does on unseen images after training on some data."""

    dataset: str
    images: int
    wrong: float
    accuracy: float


def truths(records: Iterable[Record]) -> dict[str, Truth]:
    """Return the truth about each record by key. Underfitting is found by comparison with the others."""
    records = list(records)
    known = [
        Best(record.drawn.dataset, record.drawn.images, record.drawn.wrong, max(record.referee["accuracy"]))
        for record in records
        if record.referee["accuracy"] and not record.drawn.wrong_everywhere and not record.drawn.rare
    ]
    return {record.drawn.key: truth_of(record, known) for record in records}


def truth_of(record: Record, known: Iterable[Best]) -> Truth:
    condition = record.drawn
    found: dict[str, bool | None] = {"diverged": _diverged(record), **_planted(condition)}
    if record.kept is None:
        others = ("underfitting", "metric_artefact", "collapsed_class", "memorised_noise", "label_noise")
        return found | dict.fromkeys((*OF_CURVES, *others, "test_too_small", "too_little_data", "healthy"))
    found["loss_rises"] = _loss_rises(record)
    found |= _by_accuracy(record, found["loss_rises"])
    found["not_converged"] = _not_converged(record)
    found["underfitting"] = _underfitting(record, found, known)
    found["label_noise"] = _label_noise(record)
    found["memorised_noise"] = _memorised(record)
    found["metric_artefact"] = _artefact(record)
    found["collapsed_class"] = None if found["not_converged"] in {True, None} else _collapsed(record)
    found["test_too_small"] = _too_small(record)
    found["too_little_data"] = _too_little(record, found)
    if condition.wrong == 1:
        # Memorized noise has its own verdict; other verdicts about it do not count.
        found |= dict.fromkeys((*OF_CURVES, "underfitting", "collapsed_class", "label_noise", "too_little_data"))
    if found["diverged"] is not False:
        found |= dict.fromkeys((*OF_CURVES, "underfitting", "collapsed_class", "metric_artefact", "too_little_data"))
    faults = [value for code, value in found.items()]
    found["healthy"] = False if any(faults) else None if None in faults else True
    return found


def _planted(condition: Condition) -> dict[str, bool | None]:
    test = condition.test
    return {
        "leakage": test == "leaked",
        "scale_mismatch": test in {"inverted", "rescaled"},
        "label_order_mismatch": test == "renamed",
        # Another scale, other names, or other shares of classes make another kind of test, too.
        "split_shift": True
        if test == "blurred"
        else None
        if test in {"inverted", "rescaled", "renamed"} or condition.rare
        else False,
        "class_imbalance": condition.rare,
        "label_conflicts": condition.conflicts > 0,
    }


def _diverged(record: Record) -> bool | None:
    losses = record.history["train_loss"]
    if None in losses or None in record.history["fit_loss"] or None in record.history["validation_loss"]:
        return True
    ends = [(loss or 0.0) / record.untrained_loss for loss in losses[-3:]]
    guesses = min(loss or 0.0 for loss in losses[-3:]) > UNLEARNED * log(len(record.classes))
    if record.drawn.rate >= HIGH_RATE and (guesses or _peak(record) > DESTROYED):
        return True if min(ends) > RAN_AWAY else None  # no training at a lower rate tells whether that was the reason
    return True if min(ends) > RAN_AWAY else False if max(ends) <= STAYED else None


def _peak(record: Record) -> float:
    """The highest mean loss of an epoch while training, in units of the untrained network's."""
    return max(loss or 0.0 for loss in record.history["fit_loss"]) / record.untrained_loss


def _loss_rises(record: Record) -> bool | None:
    """Whether the referee's loss ends above its lowest, in the last epoch and in the last three, while training's
    fell.
    """
    losses, error = _within(record)
    best = losses.index(min(losses))
    training = [value for value in record.history["train_loss"] if value is not None]
    lowest = losses[best]
    excess, excess_error = losses[-1] - lowest, error[-1]
    level, level_error = record.referee["level_excess"]
    is_above = excess - Z * excess_error > 0 and level - Z * level_error > 0
    if is_above and min(excess, level) > RISE * lowest:
        return training[-1] < training[best]
    if level + Z * level_error < TRIFLE * lowest and excess - Z * excess_error < TRIFLE * lowest:
        return False
    return None


def _by_accuracy(record: Record, loss_rises: bool | None) -> dict[str, bool | None]:
    """Overfitting if the referee's accuracy fell since the lowest loss, overconfidence if it held or rose."""
    if not loss_rises:
        return dict.fromkeys(("overfitting", "overconfidence"), loss_rises)
    losses, accuracy = record.referee["loss"], record.referee["accuracy"][: len(record.history["train_loss"])]
    best = losses.index(min(losses[: len(accuracy)]))
    begin = max(0, min(best - 1, len(accuracy) - 3))
    change = fmean(accuracy[-3:]) - fmean(accuracy[begin : begin + 3])
    fell = True if change <= -FELL else False if change >= -HELD else None
    return {"overfitting": fell, "overconfidence": None if fell is None else not fell}


def _not_converged(record: Record) -> bool | None:
    """Whether half as many epochs again make the referee's loss clearly smaller."""
    if _loss_rises(record):
        return False
    low, high = _gain(record)
    if low > MORE:
        # After a schedule that has ended at a rate of zero, no curve shows that a longer one would have done better.
        return None if record.drawn.schedule == "cosine" else True
    return False if high < LITTLE else None


def _gain(record: Record) -> tuple[float, float]:
    """What half as many epochs again bring: the smaller of the shares of the referee's loss and of its fall so far."""
    if "gained" not in record.referee:
        return -inf, inf
    gain, error = record.referee["gained"]
    end = _within(record)[0][-1]
    unit = min(end, max(record.untrained_loss - end, NOTHING * end))
    return (gain - Z * error) / unit, (gain + Z * error) / unit


def _underfitting(record: Record, found: Truth, known: Iterable[Best]) -> bool | None:
    """Whether it has settled, and does worse on its own training images than another network on unseen ones."""
    condition = record.drawn
    if found["loss_rises"] or found["not_converged"]:
        return False
    same = [
        one.accuracy
        for one in known
        if one.dataset == condition.dataset and one.images <= condition.images and one.wrong >= condition.wrong
    ]
    if not same or record.kept is None or condition.wrong_everywhere:
        return None
    train = record.kept["final"]["train"]
    low, high = compute_wilson_interval(round(train["accuracy"] * train["count"]), train["count"])
    # With wrong labels, no network should be right more often than chance.
    reachable = max(same) * (1 - condition.wrong)
    if low > reachable - EQUAL:
        return False
    is_settled = condition.epochs >= SETTLING and _gain(record)[1] < MORE
    return True if high < reachable - BEATEN and is_settled else None


def _label_noise(record: Record) -> bool | None:
    condition = record.drawn
    if condition.wrong == 0 and not condition.conflicts:
        return False
    learned = max(record.referee["accuracy"][: condition.epochs]) >= LEARNED
    return True if condition.wrong >= NOISY and learned else None


def _memorised(record: Record) -> bool | None:
    """Whether all training labels are noise, and the network knows them."""
    if record.drawn.wrong < 1:
        return False
    train = record.kept["final"]["train"] if record.kept else None
    if train is None:
        return None
    low, high = compute_wilson_interval(round(train["accuracy"] * train["count"]), train["count"])
    return True if low > 2 * LOST else False if high < LOST else None


def _artefact(record: Record) -> bool | None:
    """Whether `fit` shows training accuracy below that of unseen images, and the same weights do not."""
    assert record.kept is not None
    train = record.kept["final"]["train"]
    count, referee = train["count"], record.referee["count"]
    fit = record.history["fit_accuracy"][-1] or 0.0
    unseen = (round(record.referee["accuracy"][len(record.history["fit_loss"]) - 1] * referee), referee)
    shown = compute_newcombe_interval(unseen, (round(fit * count), count))
    real = compute_newcombe_interval((round(train["accuracy"] * count), count), (round(fit * count), count))
    if shown[0] > SHOWN and real[0] > SHOWN:
        return True
    return False if shown[1] < 2 * SHOWN or real[1] < 2 * SHOWN else None


def _collapsed(record: Record) -> bool | None:
    """Whether the referee's images of some class are hardly ever right, while those of most classes mostly are."""
    recalls = record.referee["recalls"]
    each = record.referee["count"] // len(recalls)
    bounds = [compute_wilson_interval(round(recall * each), each) for recall in recalls]
    usual = median(recalls)
    if min(high for _, high in bounds) < LOST and usual > KNOWN:
        return True
    return False if min(low for low, _ in bounds) > LOST else None


def _too_small(record: Record) -> bool | None:
    """Whether the test is too small for the accuracy that the referee measured; None for a test of another kind."""
    assert record.kept is not None
    if record.drawn.test not in {"plain", "few", "leaked"}:
        return None
    accuracy = record.referee["accuracy"][len(record.history["fit_loss"]) - 1]
    half = Z * sqrt(accuracy * (1 - accuracy) / record.kept["final"]["test"]["count"])
    return True if half > WIDE else False if half < NARROW else None


def _too_little(record: Record, found: Truth) -> bool | None:
    """Whether training images do better than the referee's, and no planted or true fault explains it.

    Where the gap was measured, three sure points are enough, and it may be one cause among others; otherwise it takes
    ten.
    """
    assert record.kept is not None
    train, count = record.kept["final"]["train"], record.referee["count"]
    accuracy = record.referee["accuracy"][len(record.history["fit_loss"]) - 1]
    unseen = round(accuracy * count), count
    low, high = compute_newcombe_interval((round(train["accuracy"] * train["count"]), train["count"]), unseen)
    is_measured = record.gap is not None
    if high < (SURE_GAP if is_measured else FAR):
        return False
    is_clean = record.drawn.wrong == 0 and not record.drawn.rare and not record.drawn.conflicts
    if is_measured:
        others = ("overfitting", "underfitting", "collapsed_class")
        return True if low >= SURE_GAP and is_clean and not any(found[code] for code in others) else None
    if any(found[code] for code in ("overfitting", "not_converged", "underfitting", "collapsed_class")):
        return False
    is_far = low > NEAR and train["accuracy"] - accuracy >= FAR
    return True if is_far and is_clean and found["overfitting"] is False else None


def _within(record: Record) -> tuple[list[float], list[float]]:
    """The referee's losses of the history's epochs, and the standard error of each one above the lowest."""
    epochs = len(record.history["train_loss"])
    return record.referee["loss"][:epochs], record.referee["error"][:epochs]
