"""One recorded training of the collection, on which `diagnose` can be run as the service runs it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from benchmarks.diagnosis.conditions import Condition
from heldout.diagnosis import Diagnosis, History, diagnose
from heldout.diagnosis.evaluation import Evaluation, build_from_final
from heldout.proofs.outcomes import NOTHING_TRIED, Outcomes
from heldout.spec.job import JobSpec
from heldout.stored.audit import AuditFinding
from heldout.stored.gap import StoredGap
from heldout.stored.results import FinalView

FOLDER = Path(__file__).parent / "collection"
HISTORY = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy")
DIGITS = 5  # that are kept of each figure
CLASSES = tuple(str(label) for label in range(10))


@dataclass(frozen=True)
class Record:
    """history: one value an epoch, null where it was not finite. kept: `metrics.final` and confusion matrices of the
    last weights, null if the training failed. audit: findings. untrained_loss: of the training images before the first
    step. referee: what `trained.py` has measured on images that are used nowhere else. gap: what the worker has
    measured for
    the terms of the gap, null in draws 1 to 7, which are older.
    """

    condition: dict[str, Any]
    history: dict[str, list[float | None]]
    kept: dict[str, Any] | None
    audit: list[dict[str, Any]]
    untrained_loss: float
    referee: dict[str, Any]
    gap: dict[str, Any] | None = None

    @property
    def drawn(self) -> Condition:
        return Condition(**self.condition)

    @property
    def spec(self) -> JobSpec:
        return self.drawn.spec

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    @property
    def curves(self) -> History:
        curves: dict[str, Any] = {name: tuple(values) for name, values in self.history.items()}
        return History(**curves)

    @property
    def evaluation(self) -> Evaluation | None:
        if self.kept is None:
            return None
        evaluation = build_from_final(FinalView.model_validate(self.kept["final"]), self.classes)
        confusion = {name: tuple(map(tuple, rows)) for name, rows in self.kept["confusion"].items()}
        splits = {name: replace(split, confusion=confusion.get(name, ())) for name, split in evaluation.splits.items()}
        gap = None if self.gap is None else StoredGap.model_validate(self.gap)
        return replace(evaluation, splits=splits, gap=gap)

    def diagnosis(self, with_audit: bool = True, outcomes: Outcomes = NOTHING_TRIED) -> Diagnosis:
        """What the service would say about this job, with what experiments have shown."""
        audit = [AuditFinding.model_validate(found) for found in self.audit] if with_audit else None
        return diagnose(self.curves, audit, self.evaluation, self.spec.model_dump(mode="json"), outcomes=outcomes)

    def rounded(self) -> Self:
        return type(self)(**_rounded(asdict(self)))


R = TypeVar("R", bound="Record")


def read_all(folder: Path = FOLDER) -> list[Record]:
    """Read every record."""
    return [record for file in sorted(folder.glob("*.jsonl")) for record in read(file, Record)]


def read(file: Path, kind: type[R]) -> Iterator[R]:
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        yield kind(**json.loads(line))


def append(record: Record, folder: Path = FOLDER) -> None:
    append_line(record, folder / f"{record.drawn.dataset}-{record.drawn.draw}.jsonl")


def append_line(record: Record, path: Path) -> None:
    """Write one record at once, so that several processes can train."""
    path.parent.mkdir(exist_ok=True)
    line = json.dumps(asdict(record), separators=(",", ":"), allow_nan=False) + "\n"
    with path.open("ab", buffering=0) as file:
        file.write(line.encode())


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_rounded(one) for one in value]
    return value
