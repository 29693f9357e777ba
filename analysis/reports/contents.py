"""The contents of a report, block by block: first the answer, then the evidence, then how to repeat the study."""

import re

from analysis.reports.budgets import build_budget_blocks
from analysis.reports.changes import WINNER_FILE, render_script
from analysis.reports.courses import build_course_blocks
from analysis.reports.key_figures import build_figure_tables
from heldout import words
from heldout.documents.arms import build_evidence, build_gaps, format_arm_name, sort_arms
from heldout.documents.blocks import Block, Document, Facts, Heading, Listing, Paragraph, Table
from heldout.documents.study import build_answer, list_facts
from heldout.views.study import StudyView
from heldout.views.study_report import StudyReportView
from heldout.words.labels import SPEC_FIELDS, join_remedies
from heldout.words.study_answers import say_done

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
    ("Base:", "the network that the study's spec describes. Every remedy is compared with it."),
    ("Test images:", "images that are not used to choose anything. They are kept for one final check."),
    ("Remedy:", "a change to the spec that may make the network better on unseen images."),
    ("Accuracy, points:", "the share of right answers. One point is 1% of all images. Figures are rounded."),
)
_JUDGE_WORDS = (
    ("Look:", "a judgement of one candidate. Only the person who opens a judge sets how many there are."),
    ("Sealed:", "labels that only the judge has. No answer shows them, or any figure of them, before the close."),
    ("Surely better:", "in at most 5 of 100 judges, any candidate is ever called better that is not."),
    ("Close:", "ends the judge. It reads the labels of test images once, for the base and the best candidate."),
)


def build_document(report: StudyReportView) -> Document:
    """Build the blocks that every form of a report shows."""
    study = report.study
    blocks: list[Block] = [Facts(list_facts(study)), *_compose_notice(study), *build_answer(study)]
    blocks += [*build_figure_tables(report), *build_evidence(study)]
    if study.judge is not None:
        return Document(report.question, [*blocks, Heading("Words", is_folded=True), Facts.of(_JUDGE_WORDS)])
    if study.kind != "learning_curve":
        blocks += [*build_gaps(study), *build_budget_blocks(report), *build_course_blocks(report)]
        blocks += _change_blocks(report)
    terms = (*_TRAINING_WORDS, *(() if study.kind == "learning_curve" else _REMEDY_WORDS))
    blocks += [
        *_build_cost_blocks(study),
        *_build_again_blocks(report),
        Heading("Words", is_folded=True),
        Facts.of(terms),
    ]
    return Document(report.question, blocks)


def _compose_notice(study: StudyView) -> list[Block]:
    if study.judge is not None:
        return []
    if study.status == "running":
        done = f"This study is still running: {say_done(study)}."
        return [Paragraph(f"{done} The figures below can change, and nothing is decided yet.", "caution")]
    if study.status in ("failed", "cancelled"):
        return [Paragraph("The figures below are what was known when it ended.", "caution")]
    return []


def _change_blocks(report: StudyReportView) -> list[Block]:
    """Say what each arm changes, what the result was, and why it was dropped."""
    reported = {arm.name: arm for arm in report.arms}
    rows = []
    for arm in (report.study.arms[0], *sort_arms(report.study)):
        shown = reported[arm.name]
        result = [shown.explanation, *([] if arm.why is None else [arm.why])]
        changes = "; ".join(name_field_change(change) for change in shown.changes) or "nothing"
        rows.append((format_arm_name(report.study, arm), shown.idea or words.NONE, changes, " ".join(result)))
    dropped = [arm.name for arm in report.study.arms if arm.status == "dropped"]
    text = (
        f"Training stopped early for {join_remedies(dropped)}; the table says why."
        if dropped
        else "The runs were recorded before the study."
        if report.study.recorded is not None
        else "All remedies were trained to the end."
        if report.study.status == "succeeded"
        else f"{say_done(report.study)}."
    )
    return [
        Heading("What did each remedy change, and what was the result?", is_folded=True),
        Paragraph(text),
        Table("Settings that each remedy changes, and the result", ("remedy", "idea", "changes", "result"), rows),
    ]


def _build_cost_blocks(study: StudyView) -> list[Block]:
    return [
        Heading("How was it measured?", is_folded=True),
        Paragraph(_say_how(study)),
        Paragraph(
            "The more often the same images are used to choose, the better the choice fits these images only. That is "
            "why heldout counts how often they are used, and why test images are kept for the end."
        ),
    ]


def _say_how(study: StudyView) -> str:
    """Say how seeds and images were assigned to the trainings."""
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
        f"{folds} The base and every remedy use the same seeds and images, so that only the remedy "
        "differs."
    )


def _build_again_blocks(report: StudyReportView) -> list[Block]:
    blocks: list[Block] = [Heading("How do I repeat it?", is_folded=True)]
    if report.winning_spec is not None:
        blocks.append(Paragraph(f"{WINNER_FILE} is the complete chosen spec, with all its defaults."))
    return blocks + [Listing(command.what, render_script(command), "sh") for command in report.commands]


def name_field_change(change: str) -> str:
    """Write `network.blocks[all].dropout: 0 → 0.25` as forms do: `Dropout of all blocks: 0 → 0.25`."""
    path, _, values = change.partition(": ")
    label = SPEC_FIELDS.get(re.sub(r"\[\w+\]", "", path))
    if label is None and path.partition(".")[0] not in SPEC_FIELDS:  # a parameter of an external training
        return change
    name = re.sub(r" \(.*\)$", "", label) if label else path.rpartition(".")[2].replace("_", " ")
    if place := re.search(r"\[(all|\d+)\]", path):
        name += " of all blocks" if place[1] == "all" else f" of block {int(place[1]) + 1}"
    values = re.sub(r'"(\w+)":', lambda key: key[0].replace("_", " "), values)
    return f"{name}: " + re.sub(r'[{}"]', "", values).replace("null", "none")
