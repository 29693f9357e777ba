"""Fits how often a verdict of a measured gap is right, and tells how well that holds for sets that no fit has seen.

The log odds of each code, shrunk towards those of all, and a few figures of the diagnosis: see `FIGURES`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

import heldout.diagnosis
from benchmarks.diagnosis.confidence import calibration_error
from benchmarks.zoo.draw import sets_of_lot
from benchmarks.zoo.record import COLLECTION, UNLEARNED, read_set
from benchmarks.zoo.score import Judged, judge
from heldout.diagnosis.confidence import FIGURES_OF_GAPS
from heldout.diagnosis.confidence_fit import FITS_OF_JOBS
from heldout.diagnosis.logistic import Fit, Weight

FITTED = Path(heldout.diagnosis.__file__).with_name("verdict_fit.py")
LOTS = (1, 2, 3, 4, 5, 6)
PRIOR = 32.0  # verdicts of a code that are added at the rate of all
# Taken off the log odds. Sets that no fit has seen are less like the others than these are like each other, and people
# act on the word "sure".
CAUTION = 0.4
STRENGTH = 0.1  # of the penalty on slopes, as scikit-learn has it, of standardised figures
BOUNDS = (0.02, 0.98)  # quantiles of a figure beyond which it adds no more
SURE = 0.9

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A verdict of which interventions tell whether it is right. figures: in the order of `FIGURES`."""

    set_name: str
    code: str
    figures: tuple[float, ...]
    is_right: bool


def calibrate() -> Iterator[str]:
    """Fit on all lots, write the fit, and tell what fits without each set, and without each lot, say of it."""
    cases = read_cases()
    FITTED.write_text(_code_of(fit(cases)), encoding="utf-8")
    yield f"Fitted on {len(cases)} verdicts of {len({case.set_name for case in cases})} sets; written to {FITTED.name}."
    lots = {name: lot for lot in LOTS for name in sets_of_lot(lot)}
    right = np.asarray([case.is_right for case in cases])
    groups = {"sets": [case.set_name for case in cases], "lots": [lots[case.set_name] for case in cases]}
    for what, group in groups.items():
        said = _say_left_out(cases, group)
        sure = said >= SURE
        yield (
            f"On {what} left out: calibration error {calibration_error(said, right):.3f}; {int(right[sure].sum())} of "
            f"{int(sure.sum())} right at {SURE} or more ({sure.mean():.0%} of the verdicts)."
        )


def _say_left_out(cases: Sequence[Case], group: Sequence[object]) -> Floats:
    """What a fit without the cases of its group says of each case."""
    said = np.empty(len(cases))
    for left_out in set(group):
        fits = fit([case for case, of in zip(cases, group, strict=True) if of != left_out])
        for place, case in enumerate(cases):
            if group[place] == left_out:
                said[place] = _probability(fits, case)
    return said


def read_cases() -> list[Case]:
    """Every kept training whose verdict is known to be right or wrong.

    The sets of the sixth lot are among them, since they have judged. Only sets of a seventh lot can judge this fit.
    """
    records = (
        record
        for lot in LOTS
        for name in sets_of_lot(lot)
        for folder in (COLLECTION, UNLEARNED)
        for record in read_set(name, folder, unseal=True)
    )
    return [case for record in records if (case := _case(judge(record))) is not None]


def _case(judged: Judged) -> Case | None:
    diagnosis = judged.diagnosis
    if judged.is_right is None or diagnosis.gap is None:
        return None
    figures = tuple(figure(diagnosis.causes, diagnosis.gap) for figure in FIGURES_OF_GAPS.values())
    if None in figures:
        return None
    return Case(judged.set_name, diagnosis.verdict, tuple(map(float, figures)), judged.is_right)  # type: ignore[arg-type]


def fit(cases: Sequence[Case]) -> dict[str, Fit]:
    """Fit each verdict; the key "" is for verdicts that never occurred."""
    counts: dict[str, list[bool]] = defaultdict(list)
    for case in cases:
        counts[case.code].append(case.is_right)
    odds = {code: _odds(code, counts) for code in {*counts, *FITS_OF_JOBS, ""}}
    values = np.asarray([case.figures for case in cases])
    low, high = np.quantile(values, BOUNDS, axis=0)
    columns = np.column_stack([[odds[case.code] for case in cases], np.clip(values, low, high) - low])
    spread = np.maximum(columns.std(axis=0), 1e-9)
    model = LogisticRegression(C=STRENGTH).fit(columns / spread, [case.is_right for case in cases])
    of_code, *slopes = model.coef_[0] / spread
    weights = tuple(
        Weight(name, round(float(slope), 3), round(float(least), 3), round(float(most), 3))
        for name, slope, least, most in zip(FIGURES_OF_GAPS, slopes, low, high, strict=True)
    )
    return {
        code: Fit(
            round(float(model.intercept_[0] + of_code * odds[code] - CAUTION), 3),
            weights,
            sum(counts.get(code, ())),
            len(counts.get(code, ())) - sum(counts.get(code, ())),
        )
        for code in sorted(odds)
    }


def _odds(code: str, counts: Mapping[str, Sequence[bool]]) -> float:
    """Log odds of a code, shrunk towards those of all codes, half of which are replaced by the older collections."""
    every = [right for of_code in counts.values() for right in of_code]
    rate = sum(every) / len(every)
    older = FITS_OF_JOBS.get(code)
    if older is not None and older.right + older.wrong:
        rate = (rate + older.right / (older.right + older.wrong)) / 2
    found = counts.get(code, ())
    share = (sum(found) + PRIOR * rate) / (len(found) + PRIOR)
    return log(share / (1 - share))


def _probability(fits: Mapping[str, Fit], case: Case) -> float:
    fit = fits.get(case.code, fits[""])
    odds = fit.intercept + sum(
        weight.slope * (min(max(value, weight.low), weight.high) - weight.low)
        for weight, value in zip(fit.weights, case.figures, strict=True)
    )
    return float(1 / (1 + np.exp(-odds)))


def _code_of(fits: Mapping[str, Fit]) -> str:
    weights = next(iter(fits.values())).weights
    lines = [
        '"""How often the verdict of a measured gap names what to fix first.',
        "",
        "Written by `python -m benchmarks.zoo calibrate`, which fits it on the sets of the zoo. An empty name",
        "stands for verdicts that were never given there.",
        '"""',
        "",
        "from collections.abc import Mapping",
        "",
        "from heldout.diagnosis.logistic import Fit, Weight",
        "",
        "_WEIGHTS = (",
        *(f'    Weight("{weight.figure}", {weight.slope}, {weight.low}, {weight.high}),' for weight in weights),
        ")",
        "FITS_OF_VERDICTS: Mapping[str, Fit] = {",
        *(
            f'    "{code}": Fit({fit.intercept}, _WEIGHTS, right={fit.right}, wrong={fit.wrong}),'
            for code, fit in fits.items()
        ),
        "}",
        "",
    ]
    return "\n".join(lines)
