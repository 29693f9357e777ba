"""Simple rules for overfitting, each with a threshold that is fitted to earlier draws."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from scipy.stats import spearmanr

from benchmarks.diagnosis.measures import f1
from benchmarks.diagnosis.record import Record

Judged = Sequence[tuple[Record, bool]]


@dataclass(frozen=True)
class Baseline:
    """A rule that reports overfitting above a threshold. fixed: the threshold that the rule itself names."""

    name: str
    score: Callable[[Record], float]
    fixed: float | None = None

    def fitted(self, design: Judged) -> float:
        """Return the threshold with the highest F1."""
        if self.fixed is not None:
            return self.fixed
        scored = [(self.score(record), is_overfit) for record, is_overfit in design]
        values = sorted({score for score, _ in scored})
        middles = [(first + second) / 2 for first, second in pairwise(values)]
        return max([-inf, *middles], key=lambda threshold: f1([(score > threshold, truth) for score, truth in scored]))


def _rise(record: Record) -> float:
    losses = record.history["validation_loss"]
    return losses[-1] / min(losses) - 1  # type: ignore[operator,type-var]


def _gap(record: Record) -> float:
    return record.history["train_accuracy"][-1] - record.history["validation_accuracy"][-1]  # type: ignore[operator]


def _loss_gap(record: Record) -> float:
    return record.history["validation_loss"][-1] - record.history["train_loss"][-1]  # type: ignore[operator]


def _ratio(patience: int) -> Callable[[Record], float]:
    """The highest ratio of gap to training loss that several epochs in a row exceed."""

    def score(record: Record) -> float:
        pairs = zip(record.history["train_loss"], record.history["validation_loss"], strict=True)
        ratios = [(heldout - training) / max(training, 1e-12) for training, heldout in pairs]  # type: ignore[operator,type-var]
        runs = [min(ratios[begin : begin + patience]) for begin in range(len(ratios) - patience + 1)]
        return max(runs, default=-inf)

    return score


def _correlation(record: Record) -> float:
    """Minus the rank correlation of both losses: above -1 if one falls while the other rises."""
    found = spearmanr(record.history["train_loss"], record.history["validation_loss"]).statistic
    return -found if found == found else -1.0


LAST_OVER_MINIMUM = Baseline("last validation loss over its minimum", _rise)
BASELINES = (
    LAST_OVER_MINIMUM,
    Baseline("gap of the accuracies at the end", _gap),
    Baseline("gap of the losses at the end", _loss_gap),
    Baseline("loss ratio above 0.1, 1 epoch", _ratio(1), 0.1),
    Baseline("loss ratio above 0.1, 5 epochs", _ratio(5), 0.1),
    Baseline("loss ratio, 1 epoch", _ratio(1)),
    Baseline("loss ratio, 5 epochs", _ratio(5)),
    Baseline("Spearman correlation of the losses", _correlation),
)
