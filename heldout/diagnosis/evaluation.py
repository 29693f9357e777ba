"""The results of the kept weights on each split, as counts from which intervals and comparisons are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from heldout.stored.evaluation import (
    SPLIT_NAMES,
    LastEpochScores,
    Matrix,
    SplitName,
    StoredColumn,
    StoredEvaluation,
    StoredIntervention,
    StoredSplitScores,
)
from heldout.stored.gap import Calibration, StoredGap
from heldout.stored.results import FinalView, Preprocessing, SplitResult


@dataclass(frozen=True)
class SplitFigures:
    """Results on one split.

    confusion[i][j] counts images of class i that were taken for j; empty if unknown. columns: results for the values of
    each column of the dataset. interventions: what exchanges of properties do.
    """

    accuracy: float
    count: int
    loss: float | None = None
    confusion: Matrix = ()
    columns: tuple[StoredColumn, ...] = ()
    interventions: tuple[StoredIntervention, ...] = ()

    @property
    def correct(self) -> int:
        return round(self.accuracy * self.count)

    @property
    def counts(self) -> tuple[int, int]:
        """The number of right answers and the number of images."""
        return self.correct, self.count

    def get_recall(self, label: int) -> float | None:
        """The share of a class's images answered correctly; None without such images, or if unknown."""
        row = self.confusion[label] if label < len(self.confusion) else ()
        return row[label] / sum(row) if sum(row) else None


@dataclass(frozen=True)
class Evaluation:
    """Results on `train`, `validation`, and `test` if it was measured.

    last: a comparison with the last weights, if earlier ones were kept. gap: figures for the gap's terms, if measured.
    calibration: how well probabilities match reality, if measured.
    preprocessing: the pixel change without which an uploaded model does not work. as_given: the results without it.
    """

    splits: Mapping[str, SplitFigures]
    classes: tuple[str, ...] = ()
    last: LastEpochScores | None = None
    gap: StoredGap | None = None
    calibration: Calibration | None = None
    preprocessing: Preprocessing | None = None
    as_given: Mapping[str, SplitFigures] = field(default_factory=dict)

    def get(self, split: str) -> SplitFigures | None:
        found = self.splits.get(split)
        return found if found is not None and found.count else None


def build_from_final(
    final: FinalView,
    classes: Sequence[str],
    stored: StoredEvaluation | None = None,
    gap: StoredGap | None = None,
) -> Evaluation:
    """Build from the API's `metrics.final` and the worker's stored files, which old results do not have."""
    scores = {} if stored is None else stored.splits
    results: dict[SplitName, SplitResult | None] = {name: getattr(final, name) for name in SPLIT_NAMES}
    splits: dict[str, SplitFigures] = {
        name: make_split_figures(result, scores.get(name)) for name, result in results.items() if result is not None
    }
    return Evaluation(splits, tuple(classes), None if stored is None else stored.last_epoch, gap)


def make_split_figures(result: SplitResult, scores: StoredSplitScores | None) -> SplitFigures:
    """Join the figures of a split with what its file has class by class and group by group, if there is one."""
    if scores is None:
        return SplitFigures(result.accuracy, result.count, result.loss)
    return SplitFigures(
        result.accuracy, result.count, result.loss, scores.confusion, scores.columns, scores.interventions
    )


def compute_skill(accuracy: float, chance: float) -> float:
    """Accuracy above chance, as a share of the possible range above chance: 0 is guessing, 1 is perfect."""
    return (accuracy - chance) / (1 - chance) if chance < 1 else 0.0


def compute_chance(figures: SplitFigures, classes: int) -> float:
    """The accuracy of always naming the most frequent class, or of any class if the counts are unknown."""
    counts = [sum(row) for row in figures.confusion]
    return max(counts) / sum(counts) if sum(counts) else 1 / classes


def compute_own_chance(figures: SplitFigures, classes: int, meant: Sequence[int] | None = None) -> float:
    """The accuracy that these answers would have by chance, given how often each class is answered.

    Args:
        meant: for each label, the class that it means; None if labels mean themselves.
    Source: Cohen 1960, Educational and Psychological Measurement 20(1) (expected agreement).
    """
    confusion, count = figures.confusion, sum(map(sum, figures.confusion))
    if not count:
        return 1 / classes
    answers = [sum(row[answer] for row in confusion) for answer in range(len(confusion))]
    means = range(len(confusion)) if meant is None else meant
    return sum(sum(row) * answers[answer] for row, answer in zip(confusion, means, strict=True)) / (count * count)
