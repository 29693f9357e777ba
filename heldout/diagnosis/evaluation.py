"""The kept weights on each split, as counts: what intervals and comparisons are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SplitFigures:
    """One split. confusion[i][j] counts images of class i that were taken for j; empty where it is not known."""

    accuracy: float
    count: int
    loss: float | None = None
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def correct(self) -> int:
        return round(self.accuracy * self.count)

    @property
    def counts(self) -> tuple[int, int]:
        """Right ones, and all."""
        return self.correct, self.count


@dataclass(frozen=True)
class Evaluation:
    """`train`, `validation`, and `test` where it was measured."""

    splits: Mapping[str, SplitFigures]
    classes: tuple[str, ...] = ()

    def get(self, split: str) -> SplitFigures | None:
        found = self.splits.get(split)
        return found if found is not None and found.count else None


def from_final(
    final: Mapping[str, Any],
    classes: Sequence[str],
    confusion: Mapping[str, Sequence[Sequence[int]]] | None = None,
) -> Evaluation:
    """Of the API's `metrics.final`, with confusion matrices by split where they are known."""
    splits = {}
    for name in ("train", "validation", "test"):
        figures = final.get(name)
        if figures is not None and figures["accuracy"] is not None:
            rows = (confusion or {}).get(name, ())
            splits[name] = SplitFigures(
                accuracy=figures["accuracy"],
                count=figures["count"],
                loss=figures["loss"],
                confusion=tuple(tuple(row) for row in rows),
            )
    return Evaluation(splits, tuple(classes))
