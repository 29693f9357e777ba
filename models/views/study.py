"""Builds the view of a study."""

from pydantic import ValidationError

from analysis.studies.recording import match_runs, name_unit
from analysis.studies.stored import ASKED, StudyPlan, describe_wait
from heldout.errors import SpecUnreadable
from heldout.lifecycle.resources import StudyStatus
from heldout.spec.documents import make_pointer
from heldout.studies.spec import BASE_ARM
from heldout.views.base import make_view
from heldout.views.recorded_study import RecordedArmView, RecordedRunView, RecordedView
from heldout.views.study import StudyView
from heldout.words.studies import warn_of_seeds
from heldout.words.study_answers import describe_study, explain_base_ensemble
from models.tables import DatasetRow, StudyRow
from models.views.job import build_dataset_reference

# Parts of `found` named like fields of the view.
_FOUND = ("arms", "conclusion", "ensemble", "sizes", "forecast", "no_forecast", "progress", "ledger", "judge")


def build_study_view(study: StudyRow, dataset: DatasetRow | None) -> StudyView:
    """Build the view of a study. Raises SpecUnreadable."""
    plan, waits_for = study.plan, None
    if study.finished_at is None and dataset is not None:
        waits_for = describe_wait(plan, f"{dataset.name}@{dataset.version}")
    try:
        view = make_view(
            StudyView,
            study,
            **{name: study.found.get(name) for name in _FOUND},
            object="study",
            spec=study.spec or None,
            dataset=None if dataset is None else build_dataset_reference(dataset),
            job=study.base_job,
            metadata=study.user_metadata,
            seeds=plan["seeds"],
            extent="first" if plan.get("stages") else "full",
            left_out=plan.get("left_out", []),
            can_continue=_can_continue(study),
            warnings=[
                *([] if study.kind in ("recorded", "judge") else warn_of_seeds(plan["seeds"])),
                *plan.get("notes", []),
            ],
            splits="fixed" if plan["folds"] is None else "resampled",
            objective=plan.get("objective"),
            costs=plan.get("costs"),
            group_column=plan.get("group_column"),
            margin=plan.get("margin"),
            data=plan.get(ASKED, plan).get("data"),
            waits_for=waits_for,
            budget={"jobs": plan["max_jobs"], "seconds": plan["max_seconds"]},
            recorded=_build_recorded(study),
            headline="",
            summary="",
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SpecUnreadable(study.id, f"{make_pointer(first['loc'])}: {first['msg']}") from error
    headline, summary = describe_study(view)
    words: dict[str, object] = {"headline": headline, "summary": summary}
    if view.conclusion is not None:
        words["conclusion"] = view.conclusion.model_copy(update={"headline": headline})
    if view.ensemble is not None:
        explained = {"explanation": explain_base_ensemble(view)}
        return view.model_copy(update=words | {"ensemble": view.ensemble.model_copy(update=explained)})
    return view.model_copy(update=words)


def _can_continue(study: StudyRow) -> bool:
    """Return whether a first answer without a cure leaves something to try."""
    stages, conclusion = study.plan.get("stages"), study.found.get("conclusion")
    if study.status is not StudyStatus.SUCCEEDED or not stages or conclusion is None or conclusion["kind"] == "cure":
        return False
    return bool(study.plan.get("left_out") or conclusion["undecided"])


def _build_recorded(study: StudyRow) -> RecordedView | None:
    recording = StudyPlan.from_json(study.plan).recording if study.kind == "recorded" else None
    if recording is None:
        return None
    runs = recording.runs
    units = [name_unit(arm, place, run) for arm, of_arm in runs.items() for place, run in enumerate(of_arm)]
    return RecordedView(
        metric=recording.metric,
        better=recording.better,
        images=recording.images,
        arms=[
            RecordedArmView(
                name=arm,
                runs=[RecordedRunView(run=run.name, seed=run.seed, value=run.figure) for run in of_arm],
                paired=None if arm == BASE_ARM else match_runs(runs, arm).is_paired,
            )
            for arm, of_arm in runs.items()
        ],
        chooses=list(recording.chooses),
        confirms=[unit for unit in dict.fromkeys(units) if unit not in recording.chooses],
    )
