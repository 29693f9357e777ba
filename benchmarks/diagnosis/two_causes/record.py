"""A training with two causes as it is kept: what the diagnosis is asked with, and what is true of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.diagnosis.record import FOLDER, Record, append_line, read
from benchmarks.diagnosis.two_causes.conditions import TwoCauses
from heldout.spec.job import JobSpec

TWO_CAUSES_FOLDER = FOLDER / "two_causes"


@dataclass(frozen=True)
class TwoCausesRecord(Record):
    """referee: what `trained.py` measured: `clean`, `shifted`, `renamed`, `test`, `seen`, `best`."""

    @property
    def planted(self) -> TwoCauses:
        return TwoCauses(**self.condition)

    @property
    def spec(self) -> JobSpec:
        return self.planted.spec


def read_two_causes(folder: Path = TWO_CAUSES_FOLDER) -> list[TwoCausesRecord]:
    """Every record that is kept; draw 0 holds what the others are compared with."""
    return [record for file in sorted(folder.glob("*.jsonl")) for record in _read(file)]


def _read(file: Path) -> Iterator[TwoCausesRecord]:
    yield from read(file, TwoCausesRecord)


def append_two_causes(record: TwoCausesRecord, folder: Path = TWO_CAUSES_FOLDER) -> None:
    append_line(record, folder / f"draw-{record.planted.draw}.jsonl")
