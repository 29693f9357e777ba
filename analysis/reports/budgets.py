"""The part of a report that says what the gap from training to test is made of, before and after the remedy."""

from collections.abc import Callable, Sequence

from analysis.reports.document import Block, Heading, Paragraph, Table
from heldout.studies.spec import BASE_ARM
from heldout.views.diagnosis import TermView
from heldout.views.study_report import ReportBudgetView, StudyReportView
from heldout.words import LOSS, POINTS, Unit, counted, loss_text, percent, signed, signed_range
from heldout.words.labels import TERMS, words_of

_TITLE = "What is the gap from training to test made of?"
_HOW_TO_READ = (
    "Each row is one part of the gap from training to test, and the parts add up to all of it. A part with plus widens "
    "the gap; one with minus narrows it; one whose range holds 0 may be chance. What counts is the last row."
)
Bounds = tuple[float, float] | None


def budget_blocks(report: StudyReportView) -> list[Block]:
    """Where the points between training and test go: of base and winner, else of the base's own job."""
    if report.gaps_missing is not None:
        detail = f"This part is missing, because what was measured cannot be read now. {report.gaps_missing}"
        return [Heading(_TITLE), Paragraph(detail)]
    if not report.gaps:
        return []
    of = " and ".join(_measured(one) for one in report.gaps)
    blocks: list[Block] = [Heading(_TITLE), Paragraph(f"Measured of {of}. {_HOW_TO_READ}", is_hint=True)]
    return [*blocks, *gap_tables(report.gaps)]


def gap_tables(gaps: Sequence[ReportBudgetView]) -> list[Block]:
    """From training to test, part by part: in accuracy, and in loss where it is known."""
    tables: list[Block] = [_table("In points of accuracy", gaps, POINTS, _accuracy, with_meaning=True)]
    if any(gap.whole.loss is not None for gap in gaps):
        tables.append(_table("In loss", gaps, LOSS, _loss, with_meaning=False))
    return tables


def _measured(one: ReportBudgetView) -> str:
    if one.job is not None:
        return f"the unchanged network (`{one.job}`)"
    return f"{_name(one)} (mean of {counted(one.trainings, 'training')})"


def _name(one: ReportBudgetView) -> str:
    return "the unchanged network" if one.arm == BASE_ARM else f'the one with "{words_of(one.arm)}"'


def _accuracy(term: TermView) -> tuple[float | None, Bounds]:
    return term.accuracy, term.accuracy_interval


def _loss(term: TermView) -> tuple[float | None, Bounds]:
    return term.loss, term.loss_interval


def _table(
    caption: str,
    budgets: Sequence[ReportBudgetView],
    unit: Unit,
    figure: Callable[[TermView], tuple[float | None, Bounds]],
    *,
    with_meaning: bool,
) -> Table:
    """Training, then each part in the order from training to test, then test; a column pair for each network."""
    codes = [code for code in TERMS if any(_says_something(_term(one, code)) for one in budgets)]
    is_loss = unit is LOSS
    rows: list[tuple[str, ...]] = [_level_row("training images", budgets, "train", is_loss=is_loss, pad=with_meaning)]
    for code in codes:
        row = [TERMS[code].name]
        for one in budgets:
            term = _term(one, code)
            value, bounds = (None, None) if term is None else figure(term)
            row += [signed(unit, value, bounds), signed_range(unit, value, bounds)]
        rows.append((*row, *([_meaning(code, budgets)] if with_meaning else [])))
    whole = ["the whole gap"]
    for one in budgets:
        whole += [signed(unit, one.whole.loss if is_loss else one.whole.accuracy), ""]
    rows.append((*whole, *([""] if with_meaning else [])))
    rows.append(_level_row("test images", budgets, "test", is_loss=is_loss, pad=with_meaning))
    names = ["unchanged" if one.arm == BASE_ARM else words_of(one.arm) for one in budgets]
    headings = ("part", *(heading for name in names for heading in (name, "very likely between")))
    headings += ("what it is",) if with_meaning else ()
    return Table(caption, headings, rows, (len(rows) - 2,), range(1, 1 + 2 * len(budgets)))


def _meaning(code: str, budgets: Sequence[ReportBudgetView]) -> str:
    """What the term means; of a single training, with its figures."""
    [first, *others] = budgets
    term = _term(first, code)
    if not others and first.job is not None and term is not None:
        return term.explanation
    return TERMS[code].meaning


def _says_something(term: TermView | None) -> bool:
    return term is not None and not term.is_nothing


def _term(one: ReportBudgetView, code: str) -> TermView | None:
    return next((term for term in one.gap.terms if term.code == code), None)


def _level_row(
    name: str, budgets: Sequence[ReportBudgetView], split: str, *, is_loss: bool, pad: bool
) -> tuple[str, ...]:
    """What the gap begins and ends with."""
    row = [name]
    for one in budgets:
        level = one.gap.train if split == "train" else one.gap.test
        row += [loss_text(level.loss) if is_loss else percent(level.accuracy), ""]
    return (*row, *([""] if pad else []))
