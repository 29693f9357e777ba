"""The contents of a report, block by block: first the answer, then the evidence, then how to repeat the study."""

from analysis.reports.budgets import build_budget_blocks
from analysis.reports.changes import WINNER_FILE, render_script
from analysis.reports.comparisons import build_comparison_blocks, build_gap_blocks, format_arm_name, sort_arms
from analysis.reports.courses import build_course_blocks, build_size_blocks
from analysis.reports.key_figures import build_figure_tables
from heldout import words
from heldout.documents.blocks import Block, Facts, Heading, Listing, Paragraph, Report, Table, strip_code
from heldout.views.study import StudyView, TestFiguresView
from heldout.views.study_report import StudyReportView
from heldout.words.labels import describe_remedy, join_remedies
from heldout.words.study_answers import say_cost, say_done

_TRAINING_WORDS = (
    ("Training images:", "the images that a network learns from."),
    ("Validation images:", "images that the network does not learn from. They are used to choose a remedy."),
    (
        "Seed:",
        "a number that sets everything random in a training, such as the first weights and the order of the images. "
        "Training with several seeds shows whether an effect is more than luck.",
    ),
    ("Very likely:", "in 95 of 100 cases. For a forecast: in 90 of 100 cases."),
    ("Loss:", "how far the answers are from being right and certain. Lower is better."),
)
_REMEDY_WORDS = (
    ("Unchanged network, base:", "the network that the study's spec describes. Every remedy is compared with it."),
    ("Test images:", "images that are not used to choose anything. They are kept for one final check."),
    ("Remedy:", "a change to the spec that may make the network better on unseen images."),
    ("Accuracy, points:", "the share of right answers. One point is 1% of all images. Figures are rounded."),
)


def build_document(report: StudyReportView) -> Report:
    """The same blocks for Markdown and for HTML."""
    study = report.study
    blocks: list[Block] = [Paragraph(study.summary)] if study.summary else []
    blocks += build_figure_tables(report)
    blocks.append(Facts.of([(asked.question, asked.answer) for asked in report.in_short]))
    if study.kind == "learning_curve":
        blocks += build_size_blocks(study)
    else:
        blocks += build_comparison_blocks(report)
        blocks += _test_blocks(study)
        blocks += build_gap_blocks(report)
        blocks += build_budget_blocks(report)
        blocks += build_course_blocks(report)
        blocks += _change_blocks(report)
    terms = (*_TRAINING_WORDS, *(() if study.kind == "learning_curve" else _REMEDY_WORDS))
    blocks += [*_build_cost_blocks(study), *_build_again_blocks(report), Heading("Words"), Facts.of(terms)]
    return Report(
        title=f"Study {study.name}",
        question=report.question,
        notice=_compose_notice(study),
        lead=study.headline or report.answer,
        has_cure=study.winner is not None,
        about=_describe_study(study),
        blocks=blocks,
    )


def _compose_notice(study: StudyView) -> str | None:
    if study.status == "running":
        return (
            f"This study is still running: {say_done(study)}. The figures below can change, and nothing is decided yet."
        )
    if study.status in ("failed", "cancelled"):
        why = "" if study.error is None else f"{strip_code(study.error.detail)} "
        return f"{why}The figures below are what was known when it ended."
    return None


def _describe_study(study: StudyView) -> str:
    base = "" if study.job is None else f", started from `{study.job}`"
    when = study.finished_at or study.created_at
    did = "finished" if study.finished_at else "ordered"
    on = " of trainings that run elsewhere" if study.recorded is None else " of trainings that were done before"
    if study.dataset is not None:
        on = f" on {strip_code(study.dataset.name)}, version {study.dataset.version}"
    return f'Study "{strip_code(study.name)}" (`{study.id}`){on}{base}; {did} on {when:%Y-%m-%d %H:%M} UTC.'


def _test_blocks(study: StudyView) -> list[Block]:
    """The base and the winner on test images, alone and as ensembles."""
    conclusion, winner = study.conclusion, study.winner
    if conclusion is None or winner is None:
        return []
    name, rows = describe_remedy(winner.name), []
    if conclusion.test is not None:
        test = conclusion.test
        measured, bounds = test.difference, test.difference.intervals
        rows += [
            _test_row("unchanged network", test.base),
            _test_row(name, test.winner),
            (
                f"difference: {name} minus unchanged",
                "",
                words.format_signed(words.POINTS, measured.accuracy, bounds.accuracy),
                words.format_signed_range(words.POINTS, measured.accuracy, bounds.accuracy),
                words.format_signed(words.LOSS, measured.loss, bounds.loss),
                words.format_signed_range(words.LOSS, measured.loss, bounds.loss),
            ),
        ]
    if study.ensemble is not None:
        rows += [
            _test_row(f"{of}, {figures.members} together, {split}", shown)
            for of, figures in (("unchanged network", study.ensemble.base), (name, study.ensemble.winner))
            for split, shown in (("validation", figures.validation), ("test", figures.test))
            if shown is not None
        ]
    if not rows:
        return []
    how = "These images were not used to choose anything. They were used only after the choice."
    if study.ensemble is not None:
        how += (
            ' "Together" means that the probabilities of all networks of one remedy are averaged (an ensemble). This '
            "is often better than a single network, but every answer needs the computing of all of them."
        )
    return [
        Heading("Does it hold on test images?"),
        Paragraph(how, tone="hint"),
        Table("On test images: means over the trainings", _RESULT_HEADINGS, rows, (1,), range(1, 6)),
    ]


_RESULT_HEADINGS = ("network", "images", "right", "very likely between", "loss", "very likely between")


def _test_row(name: str, figures: TestFiguresView) -> tuple[str, ...]:
    bounds, losses = figures.intervals.accuracy, figures.intervals.loss
    return (
        name,
        f"{figures.count:,}",
        words.percent(figures.accuracy),
        words.format_range(bounds),
        words.format_loss(figures.loss),
        words.NONE if losses is None else f"{words.format_loss(losses[0])} to {words.format_loss(losses[1])}",
    )


def _change_blocks(report: StudyReportView) -> list[Block]:
    """What each arm changes, what the result was, and why it was dropped."""
    reported = {arm.name: arm for arm in report.arms}
    rows = []
    for arm in (report.study.arms[0], *sort_arms(report)):
        shown = reported[arm.name]
        result = [shown.explanation, *([] if arm.why is None else [arm.why])]
        changes = "; ".join(shown.changes) or "nothing"
        rows.append((format_arm_name(report, arm), shown.idea or words.NONE, changes, " ".join(result)))
    dropped = [arm.name for arm in report.study.arms if arm.status == "dropped"]
    said = (
        f"Training stopped early for {join_remedies(dropped)}; the table says why."
        if dropped
        else "The runs were recorded before the study."
        if report.study.recorded is not None
        else "All remedies were trained to the end."
        if report.study.status == "succeeded"
        else f"{say_done(report.study)}."
    )
    return [
        Heading("What did each remedy change, and what was the result?"),
        Paragraph(said),
        Table(
            "Fields of the spec that each remedy changes, and the result", ("remedy", "idea", "changes", "result"), rows
        ),
    ]


def _build_cost_blocks(study: StudyView) -> list[Block]:
    budget = study.budget
    limits = [
        *([] if budget.jobs is None else [words.pluralize(budget.jobs, "training")]),
        *([] if budget.seconds is None else [f"{words.format_duration(budget.seconds)} of computing"]),
    ]
    return [
        Heading("What did it cost, and how was it measured?"),
        Paragraph(
            f"{say_cost(study)} The study had {f'a limit of {words.join_with_and(limits)}' if limits else 'no limit'}."
            if study.recorded is None
            else say_cost(study)
        ),
        Paragraph(_say_how(study)),
        Paragraph(
            "The more often the same images are used to choose, the better the choice fits these images only. That is "
            "why heldout counts how often they are used, and why test images are kept for the end."
        ),
    ]


def _say_how(study: StudyView) -> str:
    """How seeds and images were assigned to the trainings."""
    folds = (
        "Each seed trains on a different part of the images and is validated on the rest."
        if study.splits == "resampled"
        else "All of them are validated on the same images."
    )
    if study.kind == "learning_curve":
        return (
            f"Each number of images was trained {study.seeds} times, each time with a different seed. A larger set "
            f"contains all images of the smaller ones, and each class keeps its share. {folds}"
        )
    if study.recorded is not None:
        confirms = len(study.recorded.confirms)
        return (
            f"Before any figure was read, a lot drew {len(study.recorded.chooses)} of the seeds to choose an arm, and "
            f"{confirms} to confirm it. A cure has to be proven by all runs together, and by the {confirms} alone."
        )
    return (
        f"It started with {words.pluralize(study.seeds, 'training')} of each network, each with a different seed. "
        f"{folds} The unchanged network and every remedy use the same seeds and images, so that only the remedy "
        "differs."
    )


def _build_again_blocks(report: StudyReportView) -> list[Block]:
    blocks: list[Block] = [Heading("How do I repeat it?")]
    if report.winning_spec is not None:
        blocks.append(Paragraph(f"{WINNER_FILE} is the complete chosen spec, with all its defaults."))
    return blocks + [Listing(command.what, render_script(command), "sh") for command in report.commands]
