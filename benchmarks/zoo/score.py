"""How often the diagnosis names what to fix first on the zoo, and how right its points are; as Markdown.

Intervals resample whole sets: what holds on one set says little about another.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.diagnosis.confidence import SURE, calibration_error
from benchmarks.diagnosis.measures import RESAMPLES, bounds
from benchmarks.zoo.draw import SEALED_LOT, Sealed, sets_of_lot
from benchmarks.zoo.record import ZooRecord, read_set
from benchmarks.zoo.terms import Compared, compared_of
from benchmarks.zoo.truth import FIGURES, NOTHING, OF_FAULT, Cause, causes_of, first_of, is_known
from heldout.diagnosis import Diagnosis
from heldout.diagnosis.findings import HEALTHY

T = TypeVar("T")

NEAR = 0.03  # points by which a planted fault may be off
BINS = 10
CONFUSIONS = 25
# Verdicts that no intervention tests: none counts the averages of batch normalization again.
UNTESTED = frozenset({"evaluation_lags"})
OF_FIGURES = frozenset(
    {"leakage", "label_conflicts", "label_order_mismatch", "scale_mismatch", "channel_order_mismatch"}
)


@dataclass(frozen=True)
class Judged:
    """One training. accepted: the verdicts that name what is first; None where interventions do not tell."""

    record: ZooRecord
    diagnosis: Diagnosis
    causes: tuple[Cause, ...]
    accepted: frozenset[str] | None
    compared: tuple[Compared, ...]

    @property
    def set_name(self) -> str:
        return self.record.training.dataset

    @property
    def said(self) -> list[str]:
        """The codes of the causes in the diagnosis' order; only the verdict if nothing matters."""
        return [cause.code for cause in self.diagnosis.causes] or [self.diagnosis.verdict]

    @property
    def is_right(self) -> bool | None:
        return None if self.accepted is None else self.diagnosis.verdict in self.accepted

    @property
    def is_among_two(self) -> bool | None:
        if self.accepted is None:
            return None
        return bool({self.diagnosis.verdict, *self.said[:2]} & self.accepted)

    @property
    def is_false_alarm(self) -> bool | None:
        """Whether figures are called untrue by something that is not there; None where it may be there."""
        if any(cause.step == FIGURES and cause.name != "harder_test" for cause in self.causes):
            return None
        if any("conflicting_" in name or name == "rare_classes" for name, _ in self.record.training.faults):
            return None
        return self.diagnosis.verdict in OF_FIGURES


Rows = Sequence[Judged]
Values = dict[str, list[float]]  # of each set


def tables(lot: int, *, unseal: bool = False) -> Iterator[str]:
    """The tables of a lot's sets.

    Raises:
        Sealed: if the sealed sets are to be scored, and it is not said that they judge now.
    """
    if lot == SEALED_LOT and not unseal:
        raise Sealed("the sealed sets judge once, after the rules are committed: `--unseal` is for that")
    judged = [judge(record) for name in sets_of_lot(lot) for record in read_set(name, unseal=unseal)]
    yield from tables_of(judged, with_confusions=lot != SEALED_LOT)


def judge(record: ZooRecord) -> Judged:
    diagnosis, causes = record.diagnosis(), tuple(causes_of(record))
    accepted = first_of(causes) if is_known(record, causes) and diagnosis.verdict not in UNTESTED else None
    return Judged(record, diagnosis, causes, accepted, tuple(compared_of(record, diagnosis)))


def tables_of(judged: Rows, *, with_confusions: bool) -> Iterator[str]:
    if not judged:
        yield "There are no trainings."
        return
    known = [one for one in judged if one.accepted is not None]
    planted = [(one, term) for one in judged for term in one.compared if term.planted]
    yield (
        f"{len(judged)} trainings of {len({one.set_name for one in judged})} sets. Of {len(known)} interventions tell "
        f"what is to be fixed first. Intervals (95%) resample whole sets, {RESAMPLES:,} times."
    )
    yield ""
    yield "| question | answer |"
    yield "|---|---|"
    yield f"| the verdict is right | {_share_of(judged, lambda one: one.is_right)} |"
    yield f"| right among the first two causes | {_share_of(judged, lambda one: one.is_among_two)} |"
    near = _grouped((one.set_name, term.is_near(NEAR)) for one, term in planted)
    yield f"| planted faults within 3 points, or the term's own interval | {share(near)} |"
    intervals = [(one, term) for one in judged for term in one.compared if term.holds is not None]
    held = share(_grouped((one.set_name, term.holds) for one, term in intervals))
    yield f"| intervals of terms that hold the truth | {held} |"
    wide = share(_grouped((one.set_name, term.holds_within_error) for one, term in intervals))
    yield f"| the same, with the truth's own error | {wide} |"
    alarms = _share_of(judged, lambda one: one.is_false_alarm)
    yield f"| figures called untrue although no such fault is planted | {alarms} |"
    yield from _confidence(known)
    yield ""
    yield from _by_set(judged)
    yield ""
    yield from _by_code(known)
    yield ""
    yield from _by_fault(known)
    yield ""
    yield from _terms(intervals, planted)
    if with_confusions:
        yield ""
        yield from _confusions(known)


def _by_set(judged: Rows) -> Iterator[str]:
    yield "| set | trainings | verdict right | among two | planted faults near | intervals hold | false alarms |"
    yield "|---|---|---|---|---|---|---|"
    for name in sorted({one.set_name for one in judged}):
        rows = [one for one in judged if one.set_name == name]
        terms = [term for row in rows for term in row.compared]
        cells = [
            [row.is_right for row in rows],
            [row.is_among_two for row in rows],
            [term.is_near(NEAR) for term in terms if term.planted],
            [term.holds for term in terms],
            [row.is_false_alarm for row in rows],
        ]
        sure_or_not = [[bool(value) for value in cell if value is not None] for cell in cells]
        yield f"| {name} | {len(rows)} | " + " | ".join(f"{sum(cell)} of {len(cell)}" for cell in sure_or_not) + " |"


def _by_code(known: Rows) -> Iterator[str]:
    """true: in how many a cause that this verdict names must be named. first: of these, where only it or another name
    of the same cause is to be fixed first.
    """
    codes = {code for one in known for cause in one.causes if cause.matters for code in cause.codes}
    yield "| verdict | true | first | named first | said | rightly said |"
    yield "|---|---|---|---|---|---|"
    for code in sorted(codes | {HEALTHY} | {one.diagnosis.verdict for one in known}):
        true = [one for one in known if any(cause.matters and code in cause.codes for cause in one.causes)]
        if code in NOTHING:
            true = [one for one in known if code in (one.accepted or ())]
        first = [one for one in true if _is_alone(one, code)]
        said = [one for one in known if one.diagnosis.verdict == code]
        named = sum(bool(one.is_right) for one in first)
        right = sum(bool(one.is_right) for one in said)
        yield f"| `{code}` | {len(true)} | {len(first)} | {named} | {len(said)} | {right} |"


def _by_fault(known: Rows) -> Iterator[str]:
    """How often the verdict is right where a planted fault surely makes a figure untrue, by kind and strength."""
    found: dict[tuple[str, str], dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for one in known:
        sure = {cause.name for cause in one.causes if cause.step == FIGURES and cause.matters}
        for figure in one.record.referee.get("figures", ()):
            if figure["fault"] in sure:
                kind = next(start for start in OF_FAULT if figure["fault"].startswith(start)).strip("_")
                found[kind, figure["split"]][figure["level"]].append(bool(one.is_right))
    yield "| planted in | weak | middle | strong |"
    yield "|---|---|---|---|"
    for (kind, split), levels in sorted(found.items()):
        cells = [f"{sum(levels[level])} of {len(levels[level])}" if levels[level] else "" for level in range(3)]
        yield f"| {kind}, {split} | " + " | ".join(cells) + " |"


def _is_alone(one: Judged, code: str) -> bool:
    """Whether one cause alone is to be fixed first, and the verdict names it."""
    accepted = one.accepted or frozenset()
    return code in accepted and (code in NOTHING or any(cause.codes >= accepted for cause in one.causes))


def _name(accepted: frozenset[str] | None) -> str:
    codes = sorted(accepted or ())
    return "nothing, or what may matter" if {*codes} & NOTHING else ", ".join(f"`{code}`" for code in codes)


def _terms(intervals: Sequence[tuple[Judged, Compared]], planted: Sequence[tuple[Judged, Compared]]) -> Iterator[str]:
    yield "| term | count | mean absolute error | interval holds the truth |"
    yield "|---|---|---|---|"
    every = [*intervals, *(pair for pair in planted if pair[1].holds is None)]
    for code, is_planted in sorted({(term.code, term.planted) for _, term in every}):
        rows = [(one, term) for one, term in every if (term.code, term.planted) == (code, is_planted)]
        error = 100 * float(np.mean([term.error for _, term in rows]))
        held = _grouped((one.set_name, term.holds) for one, term in rows)
        yield f"| `{code}`{' (planted)' if is_planted else ''} | {len(rows)} | {error:.2f} points | {share(held)} |"


def _confidence(known: Rows) -> Iterator[str]:
    confident = [one for one in known if one.diagnosis.confidence is not None]
    if len(confident) < BINS:
        return
    by_set = defaultdict(list)
    for one in confident:
        by_set[one.set_name].append((float(one.diagnosis.confidence or 0), float(bool(one.is_right))))

    def error(pairs: Sequence[tuple[float, float]]) -> float:
        chances, right = np.asarray(pairs).T
        return calibration_error(chances, right)

    low, high = bounds(resampled(by_set, error))
    whole = error([pair for pairs in by_set.values() for pair in pairs])
    yield f"| calibration error of the confidence | {whole:.3f} ({low:.3f}–{high:.3f}), {len(confident)} verdicts |"
    sure = _grouped((one.set_name, one.is_right) for one in confident if (one.diagnosis.confidence or 0) >= SURE)
    yield f"| right where the confidence is {SURE} or more | {share(sure)} |"


def _confusions(known: Rows) -> Iterator[str]:
    wrong = Counter((one.diagnosis.verdict, _name(one.accepted)) for one in known if not one.is_right)
    yield "| said | instead of | trainings |"
    yield "|---|---|---|"
    for (said, wanted), count in wrong.most_common(CONFUSIONS):
        yield f"| `{said}` | {wanted} | {count} |"


def _share_of(judged: Rows, value: Callable[[Judged], bool | None]) -> str:
    return share(_grouped((one.set_name, value(one)) for one in judged))


def _grouped(pairs: Iterable[tuple[str, bool | None]]) -> Values:
    """Values by set; those that are not known are left out."""
    found: Values = defaultdict(list)
    for name, value in pairs:
        if value is not None:
            found[name].append(float(value))
    return found


def share(values: Values) -> str:
    """A share with its interval over resampled sets."""
    every = [value for of_set in values.values() for value in of_set]
    if not every:
        return "none"
    low, high = bounds(resampled(values, lambda drawn: float(np.mean(drawn))))
    return f"{sum(every):.0f} of {len(every)}: {100 * np.mean(every):.1f}% ({100 * low:.1f}–{100 * high:.1f})"


def resampled(values: dict[str, list[T]], figure: Callable[[list[T]], float]) -> NDArray[np.float64]:
    """(RESAMPLES,) a figure of sets that are drawn with replacement, each with all its values."""
    names = sorted(values)
    draws = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    return np.asarray([figure([value for place in draw for value in values[names[place]]]) for draw in draws])
