"""Fits the confidence of the diagnosis on trainings whose truth is known, and writes it as a table in code."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

import heldout.diagnosis
from benchmarks.diagnosis.conditions import DRAWS, Condition
from benchmarks.diagnosis.record import Record
from benchmarks.diagnosis.score import codes_of, make_external_history
from benchmarks.diagnosis.truth import Truth, truths
from heldout.diagnosis import Diagnosis, diagnose
from heldout.diagnosis.confidence import FIGURES
from heldout.diagnosis.facts import Facts, collect_facts
from heldout.diagnosis.logistic import Fit, Weight
from heldout.stored.audit import AuditFinding

FITTED = Path(heldout.diagnosis.__file__).with_name("confidence_fit.py")
FEWEST = 20  # verdicts of a code; with fewer there is no probability
FEWEST_WRONG = 4  # for figures to be chosen; with fewer, all have one probability
MOST_FIGURES = 2
FOLDS = 4
STRENGTH = 1.0  # of the penalty on slopes, as scikit-learn has it, of standardised figures
SHOWN_BY_CURVES = ("diverged", "memorised_noise", "loss_rises", "not_converged", "underfitting", "too_little_data")
# Not a verdict, but implied if neither overfitting nor overconfidence is found.
NO_RISE = "loss_does_not_rise"
# `overfitting` says that a loss rises, and not that accuracy surely fell; `overconfidence` does say that accuracy held.
CLAIM_OF = {"overfitting": "loss_rises"}
BOUNDS = (0.02, 0.98)  # quantiles of a figure beyond which it adds no more
PRIOR = 0.5  # right and wrong verdicts that are added to those that were counted (Jeffreys)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """A finding, or `healthy`, of a training whose truth about it is known. group: trainings of one condition."""

    code: str
    figures: Mapping[str, float | None]
    is_right: bool
    group: int


def calibrate(records: Sequence[Record], file: Path = FITTED) -> Iterator[str]:
    """Fit on all draws but the last, which is sealed. Write the fit, and return it as a table."""
    design = [record for record in records if record.drawn.draw < max(DRAWS)]
    known = truths(records)
    shown = {key: of_history(truth) for key, truth in known.items()}
    with threadpool_limits(1):  # many tiny fits
        of_jobs = fits_of(samples_of(design, known, as_job))
        of_histories = fits_of(samples_of(design, shown, as_history))
    file.write_text(code_of(of_jobs, of_histories, max(DRAWS) - 1), encoding="utf-8")
    yield f"Fitted on {len(design)} trainings of draws 1 to {max(DRAWS) - 1}; written to {file.name}."
    for title, fits in (("Jobs", of_jobs), ("Histories of other programs", of_histories)):
        yield from ("", f"{title}:", "", "| verdict | right · wrong | log odds | slopes |", "|---|---|---|---|")
        for code, fit in fits.items():
            slopes = ", ".join(
                f"{weight.slope:+.2f} × `{weight.figure}` ({weight.low:.2f} to {weight.high:.2f})"
                for weight in fit.weights
            )
            yield f"| `{code}` | {fit.right} · {fit.wrong} | {fit.intercept:.2f} | {slopes} |"


Seen = tuple[Diagnosis, Facts]


def as_job(record: Record) -> Seen:
    """Return a training as a job of the service, with counts and audit."""
    audit = [AuditFinding.model_validate(one) for one in record.audit]
    return record.diagnosis(), collect_facts(record.curves, audit, record.evaluation, None)


def as_history(record: Record) -> Seen:
    """Return the same training as another program would have recorded it."""
    history = make_external_history(record)
    return diagnose(history), collect_facts(history, None, None, None)


def of_history(truth: Truth) -> Truth:
    """Return the truth about a history: it is healthy without a fault of training, whatever the data are."""
    faults = [truth[code] for code in SHOWN_BY_CURVES]
    return {**truth, "healthy": False if any(faults) else None if None in faults else True}


def samples_of(records: Sequence[Record], known: Mapping[str, Truth], seen: Callable[[Record], Seen]) -> list[Sample]:
    """Return every finding above info, `healthy` without findings, and `NO_RISE`."""
    groups: dict[Condition, int] = {}
    found = []
    for record in records:
        truth = known[record.drawn.key]
        group = groups.setdefault(record.drawn.trained, len(groups))
        diagnosis, facts = seen(record)
        figures = {name: figure(facts) for name, figure in FIGURES.items()}
        for code in sorted(said_codes(diagnosis)):
            right = truth.get(CLAIM_OF.get(code, code))
            if right is not None:
                found.append(Sample(code, figures, right, group))
        if "loss_rises" not in codes_of(diagnosis) and truth["loss_rises"] is not None:
            found.append(Sample(NO_RISE, figures, not truth["loss_rises"], group))
    return found


def said_codes(diagnosis: Diagnosis) -> set[str]:
    return {finding.code for finding in diagnosis.findings if finding.severity != "info"} or {diagnosis.verdict}


def fits_of(samples: Sequence[Sample]) -> dict[str, Fit]:
    """Return the fits by code. Codes with too few samples have none."""
    by_code = defaultdict(list)
    for sample in samples:
        by_code[sample.code].append(sample)
    return {code: _fit(of_code) for code, of_code in sorted(by_code.items()) if len(of_code) >= FEWEST}


def _fit(samples: Sequence[Sample]) -> Fit:
    right = np.asarray([sample.is_right for sample in samples])
    wrong = int((~right).sum())
    constant = float(np.log((right.sum() + PRIOR) / (wrong + PRIOR)))
    if wrong < FEWEST_WRONG or right.sum() < FEWEST_WRONG:
        return Fit(round(constant, 3), (), int(right.sum()), wrong)
    names = _chosen_figures(samples, right)
    if not names:
        return Fit(round(constant, 3), (), int(right.sum()), wrong)
    values = _values(samples, names)
    low, high = np.quantile(values, BOUNDS, axis=0)
    intercept, slopes = _logistic(np.clip(values, low, high) - low, right)
    weights = [
        Weight(name, round(float(slope), 3), round(float(least), 3), round(float(most), 3))
        for name, slope, least, most in zip(names, slopes, low, high, strict=True)
    ]
    return Fit(round(intercept, 3), tuple(weights), int(right.sum()), wrong)


def _chosen_figures(samples: Sequence[Sample], right: Bools) -> tuple[str, ...]:
    """Choose the few figures that best tell right verdicts from wrong ones in cross-validation; none if no figure
    does.
    """
    groups = [sample.group for sample in samples]
    known = [name for name in FIGURES if all(sample.figures[name] is not None for sample in samples)]
    folds = [*StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(groups, right, groups)]
    losses = {(): _loss(np.full(len(right), (right.sum() + PRIOR) / (len(right) + 2 * PRIOR)), right)}
    for count in range(1, MOST_FIGURES + 1):
        for names in combinations(known, count):
            values = _values(samples, names)
            chances = np.empty(len(right))
            for learned, tried in folds:
                low, high = np.quantile(values[learned], BOUNDS, axis=0)
                intercept, slopes = _logistic(np.clip(values[learned], low, high), right[learned])
                odds = intercept + np.clip(values[tried], low, high) @ slopes
                chances[tried] = 1 / (1 + np.exp(-odds))
            losses[names] = _loss(chances, right)
    return min(losses, key=lambda names: losses[names])


def _values(samples: Sequence[Sample], names: Sequence[str]) -> Floats:
    return np.asarray([[sample.figures[name] for name in names] for sample in samples], float)


def _logistic(values: Floats, right: Bools) -> tuple[float, Floats]:
    """Fit intercept and slopes; the penalty counts each figure in its standard deviations."""
    if right.all() or not right.any():
        return float(np.log((right.sum() + PRIOR) / ((~right).sum() + PRIOR))), np.zeros(values.shape[1])
    spread = np.maximum(values.std(axis=0), 1e-9)
    model = LogisticRegression(C=STRENGTH).fit(values / spread, right)
    return float(model.intercept_[0]), model.coef_[0] / spread


def _loss(chances: Floats, right: Bools) -> float:
    """Mean cross-entropy in nats."""
    bounded = np.clip(chances, 1e-3, 1 - 1e-3)
    return float(-np.log(np.where(right, bounded, 1 - bounded)).mean())


def code_of(of_jobs: Mapping[str, Fit], of_histories: Mapping[str, Fit], last_draw: int) -> str:
    """Return the fits as the code of a module."""
    lines = [
        '"""How often each verdict was right. Written by `python -m benchmarks.diagnosis calibrate`.',
        "",
        f"Logistic regressions on draws 1 to {last_draw} of the labeled collection. A verdict that was wrong",
        f"{FEWEST_WRONG} times or more has at most {MOST_FIGURES} figures: those that predicted best in",
        "cross-validation which verdicts are right. Others have one probability, and those with fewer than",
        f"{FEWEST} known cases none.",
        "docs/measurements/diagnosis.md says how well that holds for trainings that were made later.",
        '"""',
        "",
        "from collections.abc import Mapping",
        "",
        "from heldout.diagnosis.logistic import Fit, Weight",
    ]
    for name, meaning, fits in (
        ("FITS_OF_JOBS", "With training measured as validation is.", of_jobs),
        ("FITS_OF_HISTORIES", "With training as `fit` reports it, and curves alone.", of_histories),
    ):
        lines += ["", f"# {meaning}", f"{name}: Mapping[str, Fit] = {{"]
        for code, fit in fits.items():
            weights = ", ".join(
                f'Weight("{weight.figure}", {weight.slope}, {weight.low}, {weight.high})' for weight in fit.weights
            )
            weights += "," if len(fit.weights) == 1 else ""
            lines.append(f'    "{code}": Fit({fit.intercept}, ({weights}), right={fit.right}, wrong={fit.wrong}),')
        lines.append("}")
    return "\n".join([*lines, ""])
