"""The terms of a diagnosed gap, compared with the truth by interventions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import hypot

from benchmarks.zoo.record import ZooRecord
from benchmarks.zoo.truth import Z, codes_of_fault, is_copy, points_of
from heldout.diagnosis import Diagnosis

# Terms that a fault of test or of validation has, by the beginning of its name.
TERM_OF_FAULT: Mapping[str, str] = {
    **{f"{kind}_": "label_order" for kind in ("rotated", "reversed", "alphabetical")},
    **{f"{kind}_": "pixel_values" for kind in ("inverted", "other_channels", "rescaled", "brighter")},
    "blurred_": "split_difference",
    "other_source": "split_difference",
}
OF_MEASURING = (
    "label_order",
    "pixel_values",
    "copies_in_test",
    "copies_in_validation",
    "image_quality",
    "split_difference",
)


@dataclass(frozen=True)
class Compared:
    """A term and the truth; measured and interval are 0 and null where the diagnosis has no such term.

    planted: whether a fault was planted that it measures. true, error: its true accuracy and the standard error of it.
    """

    code: str
    planted: bool
    measured: float
    interval: tuple[float, float] | None
    true: float
    true_error: float

    @property
    def error(self) -> float:
        return abs(self.measured - self.true)

    @property
    def holds(self) -> bool | None:
        """Whether the interval contains the true value; None if there is no interval."""
        return None if self.interval is None else self.interval[0] <= self.true <= self.interval[1]

    @property
    def holds_within_error(self) -> bool | None:
        """The same, with the truth's own error added to the interval's, as that of two independent figures."""
        if self.interval is None:
            return None
        missed = self.true - self.measured
        half = self.interval[1] - self.measured if missed > 0 else self.measured - self.interval[0]
        return abs(missed) <= hypot(max(0.0, half), Z * self.true_error)

    def is_near(self, points: float) -> bool:
        """Whether the error is at most `points`, or the interval contains the true value."""
        return self.error <= points or bool(self.holds_within_error)


def compared_of(record: ZooRecord, diagnosis: Diagnosis) -> Iterator[Compared]:
    """Every term whose truth is known. Without a referee these are the terms of planted faults."""
    truth = record.referee
    if diagnosis.gap is None or "clean" not in truth:
        return
    planted = _planted_terms(record)
    given = {term.code: term for term in diagnosis.gap.terms}
    for code in OF_MEASURING:
        term = given.get(code)  # type: ignore[call-overload]
        if code in planted:
            measured, interval = _told_by_causes(record, diagnosis, code)
            if term is not None:
                measured, interval = term.accuracy, term.accuracy_interval
            yield Compared(code, True, measured, interval, *planted[code])
        elif term is not None and truth["count"]:
            yield Compared(code, False, term.accuracy, term.accuracy_interval, 0.0, 0.0)
    yield from _without_term(record, diagnosis)
    if truth["count"] and not _changes_validation(record):
        late, late_error = truth.get("late", {}).get("accuracy", (0.0, 0.0))
        if term := given.get("late_epochs"):
            yield Compared(term.code, False, term.accuracy, term.accuracy_interval, late, late_error)
        if (term := given.get("generalisation")) and record.kept is not None:
            is_late = "late_epochs" in given and given["late_epochs"].accuracy != 0
            clean, error = truth["clean"]["accuracy"]
            true = record.kept["final"]["train"]["accuracy"] - clean - (late if is_late else 0.0)
            yield Compared(term.code, False, term.accuracy, term.accuracy_interval, true, error)


def _planted_terms(record: ZooRecord) -> dict[str, tuple[float, float]]:
    """What is true of the terms that planted faults have: positive where they widen the gap."""
    found: dict[str, tuple[float, float]] = {}
    for figure in record.referee["figures"]:
        fault, is_test = figure["fault"], figure["split"] == "test"
        if is_copy(fault):
            # Of copies of validation no image was trained on.
            code = None if fault.endswith("validation_test") else f"copies_in_{figure['split']}"
        else:
            code = _term_of(fault) if is_test else None  # in validation only copies have a term of their own
            if fault.startswith("blurred_") and code is not None and (record.gap or {}).get("quality"):
                code = "image_quality"  # records without it were measured before blur had a term
        if code is None:
            continue
        points, error = points_of(record.referee, figure)
        before, before_error = found.get(code, (0.0, 0.0))
        found[code] = before + (-points if is_test else points), hypot(before_error, error)
    return found


def _told_by_causes(record: ZooRecord, diagnosis: Diagnosis, code: str) -> tuple[float, tuple[float, float] | None]:
    """By how much the diagnosis says that test is off where a fault has no term, such as of a usual renaming."""
    faults = [one["fault"] for one in record.referee["figures"] if _term_of(one["fault"]) == code]
    codes = {verdict for fault in faults for verdict in codes_of_fault(fault)}
    found = next((cause for cause in diagnosis.causes if cause.code in codes and cause.points is not None), None)
    return (0.0, None) if found is None or found.points is None else (found.points, found.interval)


def _without_term(record: ZooRecord, diagnosis: Diagnosis) -> Iterator[Compared]:
    """Planted faults of validation that have no term: by what the diagnosis says that the figure is off."""
    for figure in record.referee["figures"]:
        codes = codes_of_fault(figure["fault"])
        if figure["split"] != "validation" or not codes or is_copy(figure["fault"]):
            continue
        found = next((cause for cause in diagnosis.causes if cause.code in codes and cause.points is not None), None)
        points, error = points_of(record.referee, figure)
        measured, interval = (0.0, None) if found is None else (found.points or 0.0, found.interval)
        yield Compared("in validation, no term", True, measured, interval, abs(points), error)


def _term_of(fault: str) -> str | None:
    return next((term for start, term in TERM_OF_FAULT.items() if fault.startswith(start)), None)


def _changes_validation(record: ZooRecord) -> bool:
    return any(figure["split"] == "validation" for figure in record.referee["figures"])
