"""A study as blocks: its answer and what to do next, how its arms compare, and what test images say of the winner."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from heldout.documents.arms import build_evidence
from heldout.documents.attempts import list_judge_facts
from heldout.documents.blocks import (
    Action,
    Block,
    Fact,
    Facts,
    Heading,
    Item,
    Items,
    Paragraph,
    keep_known,
    strip_code,
)
from heldout.spec.documents import merge
from heldout.words import (
    format_duration,
    join_with_and,
    pluralize,
)
from heldout.words.as_good import say_margin
from heldout.words.labels import STUDY_KINDS, describe_remedy, name_measure
from heldout.words.study_answers import answer_questions, describe_study, say_model

if TYPE_CHECKING:
    from heldout.views.study import StudyEstimateView, StudyView


def build_study(study: StudyView) -> list[Block]:
    """What a study says: for terminals, notebooks and assistants. Its report has more evidence."""
    notes = [Item(describe_remedy(arm.name), arm.why) for arm in study.arms if arm.why]
    return [
        Facts(list_facts(study)),
        *build_answer(study),
        *build_evidence(study),
        *([Items(notes)] if notes else []),
    ]


def list_facts(study: StudyView) -> list[Fact]:
    dataset, budget = study.dataset, study.budget
    limits = [
        *([] if budget.jobs is None else [pluralize(budget.jobs, "training")]),
        *([] if budget.seconds is None else [f"{format_duration(budget.seconds)} of computing"]),
    ]
    about = [
        Fact("Study", strip_code(study.name), f"({study.id})"),
        Fact("Question", STUDY_KINDS[study.kind]),
        Fact("Status", f"{study.status}, {describe_progress(study)}"),
    ]
    times = [Fact.at("Created", study.created_at), Fact.at("Finished", study.finished_at)]
    if study.judge is not None:
        return keep_known(*about, *list_judge_facts(study.judge), *times)
    return keep_known(
        *about,
        Fact("Remedies", strip_code(", ".join(map(describe_remedy, study.remedies)))),
        Fact("Trainings", "done before" if study.recorded else "run elsewhere")
        if dataset is None
        else Fact("Dataset", f"{strip_code(dataset.name)}@{dataset.version}", page=f"/datasets/{dataset.id}"),
        Fact("Job", study.job or "", page=f"/jobs/{study.job}"),
        Fact("First look", "" if study.recorded else pluralize(study.seeds, "seed")),
        Fact("Validation", "the same images for all" if study.splits == "fixed" else "different images for each seed"),
        Fact(
            "Decides",
            "" if study.objective is None else name_measure(study.objective),
            "" if study.group_column is None else f"({strip_code(study.group_column)})",
        ),
        Fact("As good within", "" if study.margin is None else say_margin(study.margin)),
        Fact("Budget", "" if study.recorded else join_with_and(limits or ["no limit"])),
        *times,
    )


def describe_progress(study: StudyView) -> str:
    """`12 of 24 trainings, at most 2:10 left`."""
    if study.waits_for is not None:
        return f"waits: {study.waits_for}"
    if study.judge is not None:
        return f"{study.judge.spent:,} of {study.judge.looks:,} looks"
    if study.recorded is not None and study.recorded.metric is not None:
        return f"{sum(len(arm.runs) for arm in study.recorded.arms):,} recorded runs"
    left = study.progress.eta_s if study.status == "running" else None
    done = f"{study.progress.done:,} of {study.progress.jobs:,} trainings"
    return done if left is None else f"{done}, at most {format_duration(left)} left"


# --- the answer -------------------------------------------------------------------------------------------


def build_answer(study: StudyView) -> list[Block]:
    """Build the headline, what to do, and the questions that readers ask next."""
    blocks: list[Block] = [Heading(study.headline or describe_study(study)[0])]
    blocks += [Paragraph(study.summary, "sentence")] if study.summary else []
    if study.error is not None:
        blocks.append(Paragraph(f"`{study.error.code}`: {strip_code(study.error.detail)}", "caution"))
    blocks += [Paragraph(warning, "caution") for warning in study.warnings]
    blocks += _list_actions(study)
    questions = [] if study.judge is not None else answer_questions(study)
    return [*blocks, *([Items([Item(*asked) for asked in questions])] if questions else [])]


def _list_actions(study: StudyView) -> list[Block]:
    actions: list[Block] = []
    conclusion, winner = study.conclusion, study.winner
    if study.can_continue:
        more, post = pluralize(len(study.left_out), "more remedy"), f"/v1/studies/{study.id}/continue"
        if study.left_out:
            label = f"Continue with {more.replace('remedys', 'remedies')}"
            command = f"heldout cure {study.id}"
            actions.append(Action(label, command, "", post, {"remedies": "all"}, is_main=True))
        if conclusion is None or conclusion.undecided or not study.left_out:
            command = f"heldout cure {study.id} --remedies same"
            is_main = not study.left_out
            actions.append(
                Action("Continue with more seeds only", command, "", post, {"remedies": "same"}, "", is_main)
            )
    if conclusion is not None and (refit := conclusion.refit) is not None:
        command = f"heldout model {refit} -o FILE"
        actions.append(Action("Get the final model", command, f"/jobs/{refit}", note=say_model(conclusion)))
    if winner is not None and winner.patch and study.job is not None and study.spec is not None:
        command = shlex.join(["heldout", "train", "--from", study.job, "--patch", json.dumps(winner.patch)])
        spec = merge(study.spec.model_dump(mode="json"), winner.patch)
        actions.append(Action("Train with it", command, "/jobs/{id}", "/v1/jobs", spec))
    return actions


def build_estimate(estimate: StudyEstimateView) -> list[Block]:
    """What a study would do."""
    took = "" if estimate.seconds is None else f", about {format_duration(estimate.seconds)}"
    splits = "each seed has its own fold" if estimate.splits == "resampled" else "those of the dataset"
    if estimate.sizes is not None:
        what = Fact("Training images", ", ".join(f"{images:,}" for images in estimate.sizes))
        count = f"{estimate.jobs:,}: {len(estimate.sizes)} sizes, {estimate.seeds} seeds each{took}"
        test = "the test split is not used"
    else:
        most = f"; at most {estimate.max_jobs:,} until the answer" if estimate.max_jobs > estimate.jobs else ""
        what = Fact("Remedies", ", ".join(estimate.remedies))
        count = f"{estimate.jobs:,} for the first look at {estimate.seeds} seeds each{took}{most}"
        test = "the test split is measured once, at the end"
    facts = Facts([what, Fact("Trainings", count), Fact("Train and validation", f"{splits}; {test}")])
    left_out = f"It is a first answer. Continuing it would add {', '.join(estimate.left_out)}."
    said = [*([left_out] if estimate.left_out else []), *(f"Note: {warning}" for warning in estimate.warnings)]
    waits = [] if estimate.waits_for is None else [f"It would wait first: {estimate.waits_for}."]
    return [facts, *map(Paragraph, [*said, *waits])]
