"""Writes what clients see of a study: its arms, its progress, its events, and its answer.

`models/store/study_steps.py` decides what is written.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import case, select
from sqlalchemy.orm import Session

from analysis.studies.interim_progress import add_provisional_means, estimate_left_s
from analysis.studies.state import Means, NextSteps, Purpose
from analysis.studies.stored import unpack_scores
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.resources import StudyStatus
from heldout.studies.spec import BASE_ARM
from heldout.views.study import ArmView
from heldout.words.labels import describe_remedy
from models.database import db_now
from models.store import events, outbox, studies
from models.tables import JobRow, StudyRow, StudyRunRow


def keep(session: Session, study: StudyRow, steps: NextSteps) -> None:
    """Write the study's state, and end it once nothing but the refit of its winner is running."""
    waiting = [run for run in studies.list_open_jobs(session, study.id) if run.purpose != Purpose.REFIT]
    dropped = {arm.name for arm in steps.arms if arm.status == "dropped"}
    is_over = steps.status != "running"
    found = {
        **study.found,
        "arms": [arm.model_dump(mode="json") for arm in steps.arms],
        "conclusion": None if steps.conclusion is None else steps.conclusion.model_dump(mode="json"),
        "sizes": [size.model_dump(mode="json") for size in steps.sizes] or None,
        "forecast": None if steps.forecast is None else steps.forecast.model_dump(mode="json"),
        "no_forecast": steps.no_forecast,
        "planned": steps.planned,
        "most": steps.most,
        # Jobs that can no longer change the result. The reconciler cancels them.
        "unneeded": [run.job_id for run in waiting if is_over or run.arm in dropped],
    }
    _add_dropped_events(session, study, steps.arms)
    if not is_over or waiting:
        note_progress(session, study, {**found, "conclusion": None})
    elif steps.status == "failed":
        code, detail = steps.error or ("internal", "The reason is unknown.")
        end(session, study, StudyStatus.FAILED, found, detail, {"code": code, "detail": detail})
    else:
        end(session, study, StudyStatus.SUCCEEDED, found, _get_answer(steps))


def _get_answer(steps: NextSteps) -> str:
    if steps.conclusion is not None:
        return steps.conclusion.explanation
    if steps.forecast is not None:
        return steps.forecast.explanation
    return f"There is no forecast. {steps.no_forecast}"


def _add_dropped_events(session: Session, study: StudyRow, arms: Sequence[ArmView]) -> None:
    before = {arm["name"] for arm in study.found.get("arms") or () if arm["status"] == "dropped"}
    for arm in arms:
        if arm.status == "dropped" and arm.name not in before:
            name = describe_remedy(arm.name)
            text = f"{name}: {arm.why}" if arm.why else f"{name} was dropped."
            data = {"arm": arm.name, "why": arm.why}
            level: events.Level = "warning" if arm.name == BASE_ARM else "info"
            events.add(session, study.id, "study.arm_dropped", text, level=level, data=data)


def note_progress(session: Session, study: StudyRow, found: Mapping[str, Any], arm: str | None = None) -> None:
    """Write what has changed since a training ended. arm: as in `_add_progress`."""
    studies.write(session, study.id, found=_add_progress(session, study, found, arm))


def _add_progress(
    session: Session, study: StudyRow, found: Mapping[str, Any], arm: str | None = None
) -> dict[str, Any]:
    """Add the figures that are counted again at the end of each job.

    Args:
        arm: the only one of which trainings have ended since they were counted last; None if it is not known.
    """
    if study.kind == "judge":  # has no trainings, and counts its looks itself
        return dict(found)
    totals, reads = studies.compute_totals(session, study.id), studies.count_reads(session, study)
    planned = max(found.get("planned") or 0, totals["jobs"])
    eta_s = estimate_left_s(
        most=max(found.get("most") or 0, planned),
        done=totals["done"],
        elapsed_s=totals["elapsed_s"],
        before_s=(found.get("progress") or {}).get("eta_s"),
    )
    arms = found.get("arms") or []
    if study.kind != "learning_curve" and totals["done"] and not any(arm["validation"] for arm in arms):
        arms = add_provisional_means(arms, _list_means(session, study.id, arm))
    return {
        **found,
        "arms": arms,
        "progress": {"jobs": planned, "done": totals["done"], "eta_s": eta_s},
        "ledger": {
            "validation_reads": reads.get("validation", 0),
            "test_reads": reads.get("test", 0),
            "jobs": totals["jobs"],
            "seconds": round(totals["seconds"], 3),
        },
    }


def _list_means(session: Session, study_id: str, arm: str | None) -> list[tuple[str, Means]]:
    """List arm and means of the successful trainings that are compared, of a study or of one of its arms."""
    of_arm = () if arm is None else (StudyRunRow.arm == arm,)
    stored = StudyRunRow.result["means"]  # only of trainings that ran elsewhere
    # A column of its own, because the scores for many images take megabytes.
    scores = case((stored.as_string().is_(None), StudyRunRow.scores))
    rows = session.execute(
        select(StudyRunRow.arm, stored, scores)
        .join(JobRow, JobRow.id == StudyRunRow.job_id)
        .where(StudyRunRow.study_id == study_id, StudyRunRow.purpose == Purpose.RACE.value, *of_arm)
        .where(JobRow.status == JobStatus.SUCCEEDED)
        .order_by(StudyRunRow.arm, StudyRunRow.seed, StudyRunRow.variant)
    )
    found = ((name, means, packed) for name, means, packed in rows if means or packed)
    return [(name, Means(*means) if means else unpack_scores(packed).means) for name, means, packed in found]


def end(
    session: Session,
    study: StudyRow,
    status: StudyStatus,
    found: Mapping[str, Any],
    message: str,
    error: dict[str, Any] | None = None,
) -> None:
    """End a study."""
    found = _add_progress(session, study, {**found, "unneeded": []})
    progress = found["progress"]
    if status is not StudyStatus.CANCELLED:  # planned but unneeded trainings do not count
        progress = {**progress, "jobs": progress["done"]}
    found["progress"] = {**progress, "eta_s": None}
    changes: dict[str, Any] = {"status": status, "found": found, "finished_at": db_now(), "cancel_requested": False}
    studies.write(session, study.id, **changes, **({} if error is None else {"error": error}))
    level: events.Level = "error" if status is StudyStatus.FAILED else "info"
    conclusion = found.get("conclusion")
    data = {"conclusion": None if conclusion is None else conclusion["kind"], "error": error}
    events.add(session, study.id, f"study.{status.value}", message, level=level, data=data)
    # Sent for every outcome, so that clients can subscribe to a single event.
    outbox.add(session, study.owner, events.get_object("study.finished"), study.id, "study.finished")
