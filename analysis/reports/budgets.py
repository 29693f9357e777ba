"""The part of a report that splits the gap from training to test into parts, as means over an arm's trainings. Pure."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import get_args

from heldout.diagnosis.bounds import Bounds, mirror
from heldout.diagnosis.gap import Gap, Term, TermCode
from heldout.documents.blocks import Block, Heading, Paragraph, Table
from heldout.metrics import Measure
from heldout.statistics import compute_t_quantile
from heldout.stored.gap import Tally
from heldout.stored.results import SplitResult
from heldout.studies.spec import BASE_ARM
from heldout.views.base import make_view
from heldout.views.diagnosis import GapBudgetView, TermView
from heldout.views.study_report import ReportBudgetView, StudyReportView
from heldout.words import LOSS, POINTS, format_loss, format_signed, format_signed_range, percent, pluralize
from heldout.words.labels import TERMS, describe_remedy

_TITLE = "What is the gap from training to test made of?"
_HOW_TO_READ = (
    "Each row is one step from training to test, and together the steps add up to the whole gap. A step that lowers "
    "accuracy or raises loss widens the gap. If a step's range includes 0, it may be chance. The last row matters most."
)


def build_budget_blocks(report: StudyReportView) -> list[Block]:
    """Build the gap budgets of the base and the winner. Without a winner, build that of the base's own job."""
    if report.gaps_missing is not None:
        detail = f"This part is missing, because the measurements cannot be read now. {report.gaps_missing}"
        return [Heading(_TITLE, is_folded=True), Paragraph(detail)]
    if not report.gaps:
        return []
    of = " and ".join(_describe_measured(budget) for budget in report.gaps)
    blocks: list[Block] = [Heading(_TITLE, is_folded=True), Paragraph(f"Measured for {of}. {_HOW_TO_READ}", "hint")]
    blocks.append(_build_table("In points of accuracy", report.gaps, "accuracy"))
    if any(gap.whole.loss is not None for gap in report.gaps):
        blocks.append(_build_table("In loss", report.gaps, "loss"))
    return blocks


def _describe_measured(budget: ReportBudgetView) -> str:
    if budget.job is not None:
        return f"the base (`{budget.job}`)"
    name = "the base" if budget.arm == BASE_ARM else f'the network with "{describe_remedy(budget.arm)}"'
    return f"{name} (mean of {pluralize(budget.trainings, 'training')})"


def _build_table(caption: str, budgets: Sequence[ReportBudgetView], measure: Measure) -> Table:
    """Build rows for training, each part in order, and test. Each network has two columns.

    The table of accuracy also explains each part.
    """
    unit, is_loss = (LOSS, True) if measure == "loss" else (POINTS, False)
    # As in a diagnosis: terms that widen the gap are positive, and they lower accuracy.
    sign = 1 if is_loss else -1
    rows = [_build_level_row("training images", [budget.gap.train for budget in budgets], is_loss=is_loss)]
    shown = {term.code for budget in budgets for term in budget.gap.terms if not term.is_nothing}
    for code in (code for code in TERMS if code in shown):
        row = [TERMS[code].name]
        for budget in budgets:
            term = _find_term(budget, code)
            value, bounds = (
                (None, None) if term is None else (getattr(term, measure), getattr(term, f"{measure}_interval"))
            )
            value = None if value is None else sign * value
            bounds = mirror(bounds) if bounds is not None and not is_loss else bounds
            row += [format_signed(unit, value, bounds), format_signed_range(unit, value, bounds)]
        rows.append([*row, _explain_meaning(code, budgets)])
    wholes = [
        format_signed(unit, None if (whole := getattr(budget.whole, measure)) is None else sign * whole)
        for budget in budgets
    ]
    rows.append(["the whole gap", *(cell for whole in wholes for cell in (whole, "")), ""])
    rows.append(_build_level_row("test images", [budget.gap.test for budget in budgets], is_loss=is_loss))
    names = ["base" if budget.arm == BASE_ARM else describe_remedy(budget.arm) for budget in budgets]
    headings = ["step", *(heading for name in names for heading in (name, "very likely between")), "what it is"]
    last = -1 if is_loss else len(headings)
    return Table(
        caption, headings[:last], [row[:last] for row in rows], (len(rows) - 2,), tuple(range(1, 1 + 2 * len(budgets)))
    )


def _explain_meaning(code: str, budgets: Sequence[ReportBudgetView]) -> str:
    """Say what the term means. For a single training, the text includes its figures."""
    [first, *others] = budgets
    term = _find_term(first, code)
    if not others and first.job is not None and term is not None:
        return term.explanation
    return TERMS[code].meaning


def _find_term(budget: ReportBudgetView, code: str) -> TermView | None:
    return next((term for term in budget.gap.terms if term.code == code), None)


def _build_level_row(name: str, levels: Sequence[SplitResult], *, is_loss: bool) -> list[str]:
    """Build a first or last row: the level that the gap starts from or ends at."""
    shown = [format_loss(level.loss) if is_loss else percent(level.accuracy) for level in levels]
    return [name, *(cell for level in shown for cell in (level, "")), ""]


# If a training does not have a term, the term is exactly 0 there.
_ABSENT: tuple[float, Bounds | None] = (0.0, (0.0, 0.0))


def compute_mean_budget(arm: str, gaps: Sequence[Gap]) -> ReportBudgetView:
    """Return the means of the terms over an arm's trainings. They add up to the mean gap.

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
    accuracy = [_ABSENT if term is None else (term.accuracy, term.accuracy_interval) for term in terms]
    loss = [_ABSENT if term is None else (term.loss, term.loss_interval) for term in terms]
    mean = Term(code, *_compute_mean(accuracy), *_compute_mean(loss), explanation=TERMS[code].meaning)
    return make_view(TermView, mean)


def _compute_mean(parts: Sequence[tuple[float, Bounds | None]]) -> tuple[float, Bounds | None]:
    """Return the mean of one term's figures, and a 95% interval that is too wide rather than too narrow.

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
    bounds = [tally.interval for tally in tallies]
    return SplitResult(
        loss=fmean(tally.loss for tally in tallies),
        accuracy=fmean(tally.accuracy for tally in tallies),
        count=round(fmean(tally.count for tally in tallies)),
        interval=(fmean(low for low, _ in bounds), fmean(high for _, high in bounds)),
    )
