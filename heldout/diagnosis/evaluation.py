"""The kept weights on each split, as counts: what intervals and comparisons are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from heldout.stored.evaluation import SPLIT_NAMES, LastEpochScores, Matrix, StoredEvaluation
from heldout.stored.final import FinalView, SplitResult
from heldout.stored.gap import Calibration, StoredGap
from heldout.stored.measurement import Preprocessing


@dataclass(frozen=True)
class SplitFigures:
    """One split. confusion[i][j] counts images of class i that were taken for j; empty where it is not known."""

    accuracy: float
    count: int
    loss: float | None = None
    confusion: Matrix = ()

    @property
    def correct(self) -> int:
        return round(self.accuracy * self.count)

    @property
    def counts(self) -> tuple[int, int]:
        """Right ones, and all."""
        return self.correct, self.count


@dataclass(frozen=True)
class LastEpoch:
    """What the last epoch's weights cost beside the kept ones, on the same `count` images of `split`.

    accuracy: by how much less of them is answered rightly; loss: by how much it is higher, in nats; both with the 95%
    interval of a paired bootstrap. p: of McNemar's exact test.
    """

    epoch: int
    kept_epoch: int
    split: str
    count: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    p: float
    loss: float
    loss_interval: tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """`train`, `validation`, and `test` where it was measured.

    last: where other weights than the last were kept. gap: what its terms are made of, where that was measured.
    calibration: how true the probabilities are, where that was measured.
    preprocessing: what had to be done to the pixels before an uploaded model understood them; as_given: its figures
        without that.
    """

    splits: Mapping[str, SplitFigures]
    classes: tuple[str, ...] = ()
    last: LastEpoch | None = None
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
    """Of the API's `metrics.final`, with what the worker has stored beside it; old results have no files."""
    confusion = {} if stored is None else {name: split.confusion for name, split in stored.splits.items()}
    last = None if stored is None else stored.last_epoch
    splits: dict[str, SplitFigures] = {}
    for name in SPLIT_NAMES:
        figures: SplitResult | None = getattr(final, name)
        if figures is not None:
            splits[name] = SplitFigures(
                accuracy=figures.accuracy,
                count=figures.count,
                loss=figures.loss,
                confusion=confusion.get(name, ()),
            )
    return Evaluation(splits, tuple(classes), None if last is None else _build_last_epoch(last), gap)


def _build_last_epoch(stored: LastEpochScores) -> LastEpoch:
    return LastEpoch(
        epoch=stored.epoch,
        kept_epoch=stored.kept_epoch,
        split=stored.split,
        count=stored.count,
        accuracy=stored.accuracy.difference,
        accuracy_interval=stored.accuracy.interval,
        p=stored.accuracy.p,
        loss=stored.loss.difference,
        loss_interval=stored.loss.interval,
    )


def compute_skill(accuracy: float, chance: float) -> float:
    """Accuracy above chance as a share of what there is above chance: 0 guesses, 1 knows."""
    return (accuracy - chance) / (1 - chance) if chance < 1 else 0.0


def compute_chance(figures: SplitFigures, classes: int) -> float:
    """The accuracy of always naming the most frequent class; of any class where their counts are not known."""
    counts = [sum(row) for row in figures.confusion]
    return max(counts) / sum(counts) if sum(counts) else 1 / classes


def compute_own_chance(figures: SplitFigures, classes: int, meant: Sequence[int] | None = None) -> float:
    """The accuracy that these answers would have by chance, given how often each class is answered.

    Args:
        meant: for each label the class that it means; None where labels are as they are.
    Source: Cohen 1960, Educational and Psychological Measurement 20(1) (expected agreement).
    """
    confusion, count = figures.confusion, sum(map(sum, figures.confusion))
    if not count:
        return 1 / classes
    answers = [sum(row[answer] for row in confusion) for answer in range(len(confusion))]
    means = range(len(confusion)) if meant is None else meant
    return sum(sum(row) * answers[answer] for row, answer in zip(confusion, means, strict=True)) / (count * count)
