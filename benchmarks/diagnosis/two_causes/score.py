"""How often the first two causes name the larger of two planted ones, and how right terms of the gap are."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import hypot
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from benchmarks.diagnosis.measures import bounds, draws_of
from benchmarks.diagnosis.rivals import RIVALS
from benchmarks.diagnosis.two_causes.record import TwoCausesRecord
from benchmarks.diagnosis.two_causes.truth import (
    TERM_OF_CAUSE,
    TrueTerm,
    Z,
    bases_of,
    sizes_of,
    top_cause,
    true_terms,
    verdicts_of,
)
from heldout.diagnosis import Diagnosis
from heldout.statistics.intervals import wilson_interval

MEASURED_TERMS = tuple(TERM_OF_CAUSE.values())


@dataclass(frozen=True)
class Judged:
    """A training whose larger cause is surely at least twice any other; accepted: the verdicts that name it."""

    record: TwoCausesRecord
    diagnosis: Diagnosis
    cause: str
    accepted: frozenset[str]

    @property
    def is_right(self) -> bool:
        """Whether one of the first two causes names it: false figures come before larger causes."""
        return bool(self.accepted & {self.diagnosis.verdict, *(one.code for one in self.diagnosis.causes[:2])})


@dataclass(frozen=True)
class Compared:
    """A term of a training beside what is true; planted: whether the training has the fault that it measures.

    measured, interval: 0 and null where the diagnosis has no such term.
    """

    code: str
    planted: bool
    measured: float
    interval: tuple[float, float] | None
    true: TrueTerm

    @property
    def holds(self) -> bool | None:
        """Whether the interval holds the truth; None where there is no interval."""
        return None if self.interval is None else self.interval[0] <= self.true.accuracy <= self.interval[1]

    @property
    def holds_within_error(self) -> bool | None:
        """The same, with the truth's own error added to the interval's, as that of two independent figures."""
        if self.interval is None:
            return None
        missed = self.true.accuracy - self.measured
        half = self.interval[1] - self.measured if missed > 0 else self.measured - self.interval[0]
        return abs(missed) <= hypot(max(0.0, half), Z * self.true.accuracy_error)

    @property
    def error(self) -> float:
        return abs(self.measured - self.true.accuracy)


def tables(records: Sequence[TwoCausesRecord], draw: int) -> Iterator[str]:
    chosen = [record for record in records if record.planted.draw == draw]
    diagnoses = [record.diagnosis() for record in chosen]
    judged = judged_of(records, chosen, diagnoses)
    yield f"{len(chosen)} trainings with two causes; in {len(judged)} one is surely at least twice any other."
    yield ""
    yield from _top_causes(judged)
    yield ""
    yield from _by_cause(judged)
    yield ""
    yield from _terms([one for pair in zip(chosen, diagnoses, strict=True) for one in compared_of(*pair)])
    yield ""
    yield _caveats(chosen, diagnoses)


def judged_of(
    records: Sequence[TwoCausesRecord], chosen: Sequence[TwoCausesRecord], diagnoses: Sequence[Diagnosis]
) -> list[Judged]:
    bases = bases_of(records)
    found = []
    for record, diagnosis in zip(chosen, diagnoses, strict=True):
        cause = top_cause(sizes_of(record, bases))
        if cause is not None:
            found.append(Judged(record, diagnosis, cause, verdicts_of(cause, record.planted.causes)))
    return found


def _top_causes(judged: Sequence[Judged]) -> Iterator[str]:
    """Programs that read curves alone count as right where any of their findings names the cause."""
    ours = np.asarray([one.is_right for one in judged])
    yield "| names the larger cause | right | share (95% interval) | the diagnosis leads by |"
    yield "|---|---|---|---|"
    yield f"| **the diagnosis** | {_share(ours)} | |"
    for rival in RIVALS:
        right = np.asarray([bool(rival.codes(one.record) & one.accepted) for one in judged])
        yield f"| {rival.name} | {_share(right)} | {_lead(ours, right)} |"


def _share(right: NDArray[np.bool_]) -> str:
    low, high = wilson_interval(int(right.sum()), len(right))
    return f"{right.sum()} of {len(right)} | {100 * right.mean():.1f}% ({100 * low:.1f}–{100 * high:.1f})"


def _lead(ours: NDArray[np.bool_], others: NDArray[np.bool_]) -> str:
    difference = ours.astype(float) - others
    low, high = bounds(difference[draws_of(len(difference))].mean(axis=1))
    return f"{100 * difference.mean():+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def _by_cause(judged: Sequence[Judged]) -> Iterator[str]:
    yield "| larger cause | trainings | named | other verdicts |"
    yield "|---|---|---|---|"
    for cause in sorted({one.cause for one in judged}):
        of_cause = [one for one in judged if one.cause == cause]
        wrong = Counter(one.diagnosis.verdict for one in of_cause if not one.is_right)
        told = ", ".join(f"`{verdict}` {times}" for verdict, times in wrong.most_common())
        yield f"| {cause} | {len(of_cause)} | {sum(one.is_right for one in of_cause)} | {told} |"


def compared_of(record: TwoCausesRecord, diagnosis: Diagnosis) -> list[Compared]:
    """Every term that the diagnosis has, and those of planted faults that it lacks."""
    assert diagnosis.gap is not None, "each training was measured"
    given = {term.code: term for term in diagnosis.gap.terms}
    true = true_terms(record)
    planted = {TERM_OF_CAUSE[cause] for cause in record.planted.measuring_causes}
    found = []
    for code in true:
        term = given.get(code)
        if term is None and code not in planted:
            continue
        measured, interval = (0.0, None) if term is None else (term.accuracy, term.accuracy_interval)
        found.append(Compared(code, code in planted, measured, interval, true[code]))
    return found


def _terms(compared: Sequence[Compared]) -> Iterator[str]:
    """How far the terms are from the truth, and how often their intervals hold it."""
    yield "| term | count | mean absolute error | interval holds the truth | with the truth's own error |"
    yield "|---|---|---|---|---|"
    for code in dict.fromkeys(one.code for one in compared):
        yield _row(f"`{code}`", [one for one in compared if one.code == code])
        if code in MEASURED_TERMS:
            yield _row(f"`{code}` where planted", [one for one in compared if one.code == code and one.planted])
    planted = [one for one in compared if one.planted]
    yield _row("**planted faults of measuring**", planted)
    yield _row("**all terms**", compared)
    low, high = bounds(_means_of([one.error for one in compared]))
    truth_error = fmean(one.true.accuracy_error for one in compared)
    worst = np.quantile([one.error for one in compared], 0.95)
    yield ""
    yield (
        f"The mean absolute error of all terms is {100 * fmean(one.error for one in compared):.2f} points "
        f"({100 * low:.2f}–{100 * high:.2f}); one in twenty is off by more than {100 * worst:.1f}. The truth itself is "
        f"known with a standard error of {100 * truth_error:.2f} points on average."
    )


def _row(name: str, compared: Sequence[Compared]) -> str:
    error = f"{100 * fmean(one.error for one in compared):.2f} points" if compared else ""
    return f"| {name} | {len(compared)} | {error} | {_held(compared)} |"


def _held(compared: Sequence[Compared]) -> str:
    """How often the intervals hold the truth, and how often with the truth's own error."""
    held = [one.holds for one in compared if one.holds is not None]
    if not held:
        return " | "
    low, high = wilson_interval(sum(held), len(held))
    within = [one.holds_within_error for one in compared if one.holds_within_error is not None]
    strictly = f"{sum(held)} of {len(held)}: {100 * fmean(held):.1f}% ({100 * low:.1f}–{100 * high:.1f})"
    return f"{strictly} | {sum(within)} of {len(within)}: {100 * fmean(within):.1f}%"


def _means_of(values: Sequence[float]) -> NDArray[np.float64]:
    every = np.asarray(values)
    means: NDArray[np.float64] = every[draws_of(len(every))].mean(axis=1)
    return means


def _caveats(records: Sequence[TwoCausesRecord], diagnoses: Sequence[Diagnosis]) -> str:
    """Copies make figures untrue, whatever the verdict is."""
    copied = [
        diagnosis
        for record, diagnosis in zip(records, diagnoses, strict=True)
        if any(cause.endswith("_copies") for cause in record.planted.causes)
    ]
    named = sum("leakage" in {diagnosis.verdict, *diagnosis.caveats} for diagnosis in copied)
    return f"Copies were planted in {len(copied)} trainings; verdict or caveats name them in {named}."
