"""The gap of an arm, term by term, as the mean over its trainings. Pure."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import get_args

from heldout.diagnosis.gap import Bounds, Gap, Term, TermCode
from heldout.statistics.intervals import compute_wilson_interval
from heldout.statistics.student_t import compute_t_quantile
from heldout.stored.gap import Tally
from heldout.stored.results import SplitResult
from heldout.views.diagnosis import GapBudgetView, TermView
from heldout.views.study import Measure
from heldout.views.study_report import ReportBudgetView
from heldout.words.labels import TERMS

# If a training does not have a term, the term is exactly 0 there.
_ABSENT: tuple[float, Bounds | None] = (0.0, (0.0, 0.0))


def compute_mean_budget(arm: str, gaps: Sequence[Gap]) -> ReportBudgetView:
    """The means of the terms over an arm's trainings. They add up to the mean gap.

    Args:
        gaps: of each training, at least one, measured on the same test images.
    """
    validations = [gap.validation for gap in gaps if gap.validation is not None]
    view = GapBudgetView(
        train=_compute_level([gap.train for gap in gaps]),
        validation=_compute_level(validations) if len(validations) == len(gaps) else None,
        test=_compute_level([gap.test for gap in gaps]),
        terms=[
            _compute_mean_term(code, gaps) for code in get_args(TermCode) if any(gap.find_term(code) for gap in gaps)
        ],
    )
    return ReportBudgetView.of(arm, None, view, trainings=len(gaps))


def _compute_mean_term(code: TermCode, gaps: Sequence[Gap]) -> TermView:
    terms = [gap.find_term(code) for gap in gaps]
    accuracy, accuracy_interval = _compute_mean(_collect_figures(terms, "accuracy"))
    loss, loss_interval = _compute_mean(_collect_figures(terms, "loss"))
    return TermView(
        code=code,
        accuracy=accuracy,
        accuracy_interval=accuracy_interval,
        loss=loss,
        loss_interval=loss_interval,
        how="measured",
        finding=None,
        explanation=TERMS[code].meaning,
    )


def _collect_figures(terms: Sequence[Term | None], measure: Measure) -> list[tuple[float, Bounds | None]]:
    return [
        _ABSENT if term is None else (getattr(term, measure), getattr(term, f"{measure}_interval")) for term in terms
    ]


def _compute_mean(parts: Sequence[tuple[float, Bounds | None]]) -> tuple[float, Bounds | None]:
    """The mean of one term's figures, and a 95% interval that is too wide rather than too narrow.

    All trainings are measured on the same test images, and more trainings do not add images. So the width of the
    interval does not fall with their number, and the variation between trainings is added in squares.
    """
    values = [value for value, _ in parts]
    mean, known = fmean(values), [bounds for _, bounds in parts if bounds is not None]
    if len(known) < len(parts):
        return mean, None
    between = 0.0
    if len(values) > 1:
        between = compute_t_quantile(0.975, len(values) - 1) * stdev(values) / sqrt(len(values))
    low, high = (fmean(bounds[side] for bounds in known) for side in (0, 1))
    return mean, (mean - sqrt((mean - low) ** 2 + between**2), mean + sqrt((high - mean) ** 2 + between**2))


def _compute_level(tallies: Sequence[Tally]) -> SplitResult:
    """Return means; the interval only covers images."""
    bounds = [compute_wilson_interval(tally.correct, tally.count) for tally in tallies]
    return SplitResult(
        loss=fmean(tally.loss for tally in tallies),
        accuracy=fmean(tally.accuracy for tally in tallies),
        count=round(fmean(tally.count for tally in tallies)),
        interval=(fmean(low for low, _ in bounds), fmean(high for _, high in bounds)),
    )
