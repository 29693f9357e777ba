"""Takes a study's next steps when one of its jobs ends: new trainings, dropped arms, the answer.

This runs in the transaction that ends the job, or in the reconciler if that failed. `analysis/studies/next_steps.py`
decides, and may be called again without repeating a step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from analysis.studies.meanwhile import add_provisional_means, estimate_left_s
from analysis.studies.next_steps import decide_next_steps
from analysis.studies.runs import make_spec, name_run
from analysis.studies.state import ELSEWHERE, Arm, NextSteps, Purpose, RunKey, StudyRun, complete_state
from analysis.studies.stored import ArmPlan, StudyPlan
from heldout.errors import HeldoutError
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.study import StudyStatus
from heldout.spec.job import JobSpec
from heldout.studies.refit import make_refit_spec
from heldout.studies.spec import BASE_ARM
from heldout.views.study import ArmView
from heldout.words.labels import describe_remedy, join_remedies
from heldout.work.kinds import EvaluateSpec, ExternalRunSpec
from models.database import db_now
from models.memory import add_uploaded_weights, compute_reserved_bytes
from models.specs import make_plan
from models.store import artifacts, events, new_jobs, outbox, studies, workers
from models.store.artifacts import Artifact
from models.store.new_jobs import NewJob, Origin
from models.store.studies import RunOfJob
from models.tables import DatasetRow, JobRow, StudyRow

log = structlog.get_logger()

# The number of rounds in which new trainings can lead to new steps, such as a search followed by a comparison.
MAX_ROUNDS = 3
# The seed that identifies the refit among its arm's trainings.
REFIT_SEED = 0


def advance(session: Session, study_id: str, ended: JobRow | None = None, status: JobStatus | None = None) -> None:
    """Take a study's next steps. Notes the wake-ups of new jobs on the session, for after the commit.

    Args:
        ended, status: the job that this transaction has ended, and its status. None if it is not known what changed.
    """
    study = studies.lock(session, study_id)
    if study is None or study.status is not StudyStatus.RUNNING:
        return
    waiting = studies.list_open_jobs(session, study_id)
    if study.cancel_requested:
        if waiting:
            _note_progress(session, study, study.found)
        else:
            _end_study(session, study, StudyStatus.CANCELLED, study.found, "Cancelled.")
        return
    if studies.is_waiting(study):
        return
    if ended is not None and status is JobStatus.SUCCEEDED and _has_others_like(session, study, ended.id, waiting):
        _note_progress(session, study, study.found)
        return
    try:
        with session.begin_nested():
            _take_steps(session, study)
    except (SQLAlchemyError, HeldoutError):
        raise
    except Exception:
        # The jobs that this transaction ends must end regardless.
        log.exception("study_failed", study_id=study_id)
        _keep(session, study, _give_up(study))


def _give_up(study: StudyRow) -> NextSteps:
    """Decide to fail a study that this release cannot continue, perhaps because another release started it."""
    arms = [ArmView.model_validate(arm) for arm in study.found.get("arms") or ()]
    detail = "The service could not decide on the next step; its log has the reason. Start a new study."
    return NextSteps("failed", arms=tuple(arms), error=("internal", detail))


def begin(session: Session, study_id: str) -> None:
    """Submit the first trainings of a study whose row this transaction has written."""
    study = studies.lock(session, study_id)
    assert study is not None
    names = join_remedies(study.remedies)
    message = f"Compares {names} with the base." if names else "Its first trainings are queued."
    events.add(session, study_id, "study.started", message, data={"remedies": study.remedies})
    _take_steps(session, study)


def fail(session: Session, study_id: str, code: str, detail: str) -> None:
    """Fail a study that waits for data that will not arrive. Does nothing if it no longer waits."""
    study = studies.lock(session, study_id)
    if study is not None and studies.is_waiting(study):
        _end_study(session, study, StudyStatus.FAILED, study.found, detail, {"code": code, "detail": detail})


def _has_others_like(session: Session, study: StudyRow, job_id: str, waiting: Sequence[RunOfJob]) -> bool:
    """Whether trainings for the same purpose are still running, so that this success decides nothing yet.

    Each size of a learning curve is shown once all its trainings have ended.
    """
    ended = studies.find_run(session, job_id)
    if ended is None:
        return False
    if study.kind == "learning_curve":
        return any(other.variant == ended.variant for other in waiting)
    return any(
        other.purpose == ended.purpose and (other.arm == ended.arm or ended.purpose != Purpose.TUNE)
        for other in waiting
    )


def _take_steps(session: Session, study: StudyRow) -> None:
    plan = StudyPlan.from_json(study.plan)
    base = None if plan.kind in ELSEWHERE else JobSpec.model_validate(study.spec)
    runs, steps = _decide(session, study, plan)
    for _ in range(MAX_ROUNDS):
        if not _submit(session, study, plan, base, steps, runs):
            break
        runs, steps = _decide(session, study, plan)
    if steps.evaluate is not None and plan.kind in ELSEWHERE:
        studies.open_sealed(session, study, [*steps.evaluate[0], *steps.evaluate[1]])
        runs, steps = _decide(session, study, plan)
    elif steps.evaluate is not None and study.evaluation is None:
        _queue_evaluation(session, study, *steps.evaluate)
    _keep(session, study, steps)


def _decide(session: Session, study: StudyRow, plan: StudyPlan) -> tuple[Sequence[StudyRun], NextSteps]:
    runs = studies.list_runs(session, study.id)
    state = plan.state(study.tested, study.test_failed)
    if plan.kind in ELSEWHERE:
        state = complete_state(state, runs, has_test=studies.has_sealed(session, study.id))
    return runs, decide_next_steps(state, runs)


def _submit(
    session: Session, study: StudyRow, plan: StudyPlan, base: JobSpec | None, steps: NextSteps, runs: Sequence[StudyRun]
) -> bool:
    """Queue missing trainings. Returns whether there were any.

    Args:
        base: None if the trainings run elsewhere.
    """
    there = {run.key for run in runs}
    new = [key for key in steps.submit if key not in there]
    if base is None:
        for key in new:
            _add_external_run(session, study, plan.arm(key.arm).arm, key)
        return bool(new)
    for key in new:
        patch = _get_patch(plan, steps, key)
        _add_job(session, study, plan, key, make_spec(base, patch, key, folds=plan.folds, study_name=study.name))
    if steps.refit is not None and not studies.list_open_jobs(session, study.id):
        key = RunKey(steps.refit.arm, Purpose.REFIT, REFIT_SEED)
        spec = make_refit_spec(base, steps.refit.patch, steps.refit.epochs)
        _add_job(session, study, plan, key, spec.model_copy(update={"name": name_run(study.name, key)}))
        return True
    return bool(new)


def _get_patch(plan: StudyPlan, steps: NextSteps, key: RunKey) -> Mapping[str, Any]:
    arm = plan.arm(key.arm).arm
    if key.purpose is Purpose.TUNE:
        return arm.candidates[key.variant]
    return (steps.patches or {}).get(key.arm, arm.patch)


def _add_job(session: Session, study: StudyRow, plan: StudyPlan, key: RunKey, spec: JobSpec) -> None:
    arm = plan.arm(key.arm)
    event_data = {"study": study.id, "arm": key.arm, "seed": key.seed}
    origin = Origin(event_data=event_data, backbone=arm.backbone)
    if arm.initial is not None:
        kept = {name: part for name, part in arm.initial.items() if name not in {"message", "told"}}
        with_initial = {**event_data, "initial": dict(arm.initial["told"])}
        origin = replace(origin, initial=kept, message=arm.initial["message"], event_data=with_initial)
    new_job = NewJob(
        spec=spec,
        owner=study.owner,
        name=spec.name or "",
        dataset_id=study.dataset_id,
        memory_bytes=_estimate_memory_bytes(session, study, arm, spec),
        parameters=arm.parameters,
        study_id=study.id,
        key_id=studies.get_ordering_key(session, study.id),
        origin=origin,
    )
    job_id = new_jobs.add(session, new_job).id
    studies.add_run(session, study.id, job_id, key)
    if arm.file is not None:
        artifacts.add(session, job_id, 0, [Artifact(**arm.file)])


def _add_external_run(session: Session, study: StudyRow, arm: Arm, key: RunKey) -> None:
    new_job = NewJob(
        spec=ExternalRunSpec(arm=key.arm, parameters=dict(arm.patch), seed=key.seed, fold=key.fold),
        owner=study.owner,
        name=name_run(study.name, key),
        dataset_id=None,
        study_id=study.id,
        key_id=studies.get_ordering_key(session, study.id),
    )
    studies.add_run(session, study.id, new_jobs.add(session, new_job).id, key)


def _estimate_memory_bytes(session: Session, study: StudyRow, arm: ArmPlan, spec: JobSpec) -> int | None:
    largest, dataset = workers.find_largest(session), session.get_one(DatasetRow, study.dataset_id)
    reserved = compute_reserved_bytes(dataset, spec, largest, make_plan(dataset, spec, arm.backbone))
    has_upload = arm.backbone is not None or "model" in (arm.initial or {})
    if arm.file is None or not has_upload:
        return reserved
    return add_uploaded_weights(reserved, arm.file["size_bytes"], largest)


def _queue_evaluation(session: Session, study: StudyRow, base: Sequence[str], winner: Sequence[str]) -> None:
    new_job = NewJob(
        spec=EvaluateSpec(base=tuple(base), winner=tuple(winner)),
        owner=study.owner,
        name=study.name,
        dataset_id=study.dataset_id,
        priority=study.priority,
        study_id=study.id,
        key_id=studies.get_ordering_key(session, study.id),
    )
    studies.write(session, study.id, evaluation=new_jobs.add_evaluation(session, new_job).id)


# --- what clients see ------------------------------------------------------------------------------------


def _keep(session: Session, study: StudyRow, steps: NextSteps) -> None:
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
        "reads": studies.count_reads(session, study),
        # Jobs that can no longer change the result. The reconciler cancels them.
        "unneeded": [run.job_id for run in waiting if is_over or run.arm in dropped],
    }
    _add_dropped_events(session, study, steps.arms)
    if not is_over or waiting:
        _note_progress(session, study, {**found, "conclusion": None})
    elif steps.status == "failed":
        code, detail = steps.error or ("internal", "The reason is unknown.")
        _end_study(session, study, StudyStatus.FAILED, found, detail, {"code": code, "detail": detail})
    else:
        _end_study(session, study, StudyStatus.SUCCEEDED, found, _get_answer(steps))


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


def _note_progress(session: Session, study: StudyRow, found: Mapping[str, Any]) -> None:
    studies.write(session, study.id, found=_add_progress(session, study, found))


def _add_progress(session: Session, study: StudyRow, found: Mapping[str, Any]) -> dict[str, Any]:
    """Add the figures that are counted again at the end of each job."""
    totals, reads = studies.compute_totals(session, study.id), found.get("reads") or {}
    planned = max(found.get("planned") or 0, totals["jobs"])
    eta_s = estimate_left_s(
        most=max(found.get("most") or 0, planned),
        done=totals["done"],
        elapsed_s=totals["elapsed_s"],
        before_s=(found.get("progress") or {}).get("eta_s"),
    )
    arms = found.get("arms") or []
    if study.kind != "learning_curve" and totals["done"] and not any(arm["validation"] for arm in arms):
        arms = add_provisional_means(arms, studies.list_runs(session, study.id))
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


def _end_study(
    session: Session,
    study: StudyRow,
    status: StudyStatus,
    found: Mapping[str, Any],
    message: str,
    error: dict[str, Any] | None = None,
) -> None:
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
