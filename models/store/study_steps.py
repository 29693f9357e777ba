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

from analysis.studies.next_steps import decide_next_steps
from analysis.studies.runs import make_spec, name_run
from analysis.studies.state import ELSEWHERE, Arm, NextSteps, Purpose, RunKey, StudyRun, StudyState, complete_state
from analysis.studies.stored import STORED_EVENT, ArmPlan, StudyPlan, unpack_tested
from heldout.errors import HeldoutError
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.resources import StudyStatus
from heldout.spec.job import JobSpec
from heldout.studies.refit import make_refit_spec
from heldout.views.study import ArmView
from heldout.words.labels import join_remedies
from heldout.work.kinds import EvaluateSpec, ExternalRunSpec
from models.database import Database
from models.memory import add_uploaded_weights, compute_reserved_bytes
from models.specs import make_plan
from models.store import artifacts, events, new_jobs, studies, study_found, workers
from models.store.artifacts import Artifact
from models.store.new_jobs import NewJob, Provenance
from models.store.studies import RunOfJob
from models.tables import DatasetRow, JobRow, StudyRow

log = structlog.get_logger()

# The number of rounds in which new trainings can lead to new steps, such as a search followed by a comparison.
MAX_ROUNDS = 3
# How often a decision is repeated because the study has changed meanwhile, before it is made in a transaction.
MAX_DECISIONS = 4
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
    if study.cancel_requested:
        if not studies.has_open_jobs(session, study_id):
            study_found.end(session, study, StudyStatus.CANCELLED, study.found, "Cancelled.")
        return
    if studies.is_waiting(study) or study.kind == "judge":  # a judge only acts when it is asked
        return
    run = None if ended is None else studies.find_run(session, ended.id)
    # The next steps of trainings that ran elsewhere follow in `advance_after_told`.
    is_for_later = study.kind in ELSEWHERE and status in (JobStatus.SUCCEEDED, JobStatus.FAILED)
    if is_for_later or (run and status is JobStatus.SUCCEEDED and _has_others_like(session, study, run)):
        study_found.note_progress(session, study, study.found, None if run is None else run.arm)
        return
    try:
        with session.begin_nested():
            _take_steps(session, study)
    except (SQLAlchemyError, HeldoutError):
        raise
    except Exception:
        # The jobs that this transaction ends must end regardless.
        log.exception("study_failed", study_id=study_id)
        study_found.keep(session, study, _give_up(study))


def advance_after_told(database: Database, study_id: str, *, has_failed: bool) -> None:
    """Take the next steps of a study after the result of a training that ran elsewhere was stored.

    Looks at many arms take seconds, in which a transaction would keep other runners from writing. So this decides
    without one, and begins again if the study has changed meanwhile.

    Args:
        has_failed: whether the result was a failure, which changes the next steps even while other trainings run.
    """
    for _ in range(MAX_DECISIONS):
        with database.read() as session:
            if not has_failed and studies.has_open_jobs(session, study_id):
                return
            study = session.get(StudyRow, study_id)
            if study is None or study.status is not StudyStatus.RUNNING or study.cancel_requested:
                return
            plan = StudyPlan.from_json(study.plan)
            version = study.version
            try:
                runs, steps = _decide(session, study, plan)
            except (SQLAlchemyError, HeldoutError):
                raise
            except Exception:
                log.exception("study_failed", study_id=study_id)
                runs, steps = [], _give_up(study)
        with database.write() as session:
            study = studies.lock(session, study_id)
            if study is None or study.version != version:
                continue
            goes_on = _apply(session, study, plan, runs, steps)
            study_found.keep(session, study, steps)
        if not goes_on:
            return
    with database.write() as session:
        advance(session, study_id)


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


def resume(session: Session, study_id: str, added: Sequence[str]) -> None:
    """Submit the next trainings of a study that this transaction continues. added: its new remedies."""
    study = studies.lock(session, study_id)
    assert study is not None
    new = f" and {join_remedies(added)}" if added else ""
    message = f"Continues with more seeds{new}."
    events.add(session, study_id, "study.continued", message, data={"remedies": list(added)})
    _take_steps(session, study)


def fail(session: Session, study_id: str, code: str, detail: str) -> None:
    """Fail a study that waits for data that will not arrive. Does nothing if it no longer waits."""
    study = studies.lock(session, study_id)
    if study is not None and studies.is_waiting(study):
        study_found.end(session, study, StudyStatus.FAILED, study.found, detail, {"code": code, "detail": detail})


def _has_others_like(session: Session, study: StudyRow, ended: RunOfJob) -> bool:
    """Return whether trainings for the same purpose are still running, so that this success decides nothing yet.

    Each size of a learning curve is shown once all its trainings have ended.
    """
    waiting = studies.list_open_jobs(session, study.id)
    if study.kind == "learning_curve":
        return any(other.variant == ended.variant for other in waiting)
    return any(
        other.purpose == ended.purpose and (other.arm == ended.arm or ended.purpose != Purpose.TUNE)
        for other in waiting
    )


def _take_steps(session: Session, study: StudyRow) -> None:
    plan = StudyPlan.from_json(study.plan)
    runs, steps = _decide(session, study, plan)
    for _ in range(MAX_ROUNDS):
        if not _apply(session, study, plan, runs, steps):
            break
        runs, steps = _decide(session, study, plan)
    study_found.keep(session, study, steps)


def _apply(session: Session, study: StudyRow, plan: StudyPlan, runs: Sequence[StudyRun], steps: NextSteps) -> bool:
    """Queue missing trainings, or have base and winner measured on test images. Returns whether to decide again."""
    base = None if plan.kind in ELSEWHERE else JobSpec.model_validate(study.spec)
    if _submit(session, study, plan, base, steps, runs):
        return True
    if steps.evaluate is None:
        return False
    if base is None:
        studies.open_sealed(session, study, [*steps.evaluate[0], *steps.evaluate[1]])
        return True
    if study.evaluation is None:
        _queue_evaluation(session, study, *steps.evaluate)
    return False


def _decide(session: Session, study: StudyRow, plan: StudyPlan) -> tuple[Sequence[StudyRun], NextSteps]:
    runs = studies.list_runs(session, study.id)
    tested = None if study.tested is None else unpack_tested(study.tested)
    state: StudyState = replace(plan, tested=tested, test_failed=study.test_failed)
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
        key_id = studies.get_ordering_key(session, study.id)
        for key in new:
            _add_external_run(session, study, plan.arm(key.arm), key, key_id)
        return bool(new)
    for key in new:
        patch = _get_patch(plan, steps, key)
        _add_job(session, study, plan, key, make_spec(base, patch, key, folds=plan.folds, study_name=study.name))
    if steps.refit is not None and not studies.has_open_jobs(session, study.id):
        key = RunKey(steps.refit.arm, Purpose.REFIT, REFIT_SEED)
        spec = make_refit_spec(base, steps.refit.patch, steps.refit.epochs)
        _add_job(session, study, plan, key, spec.model_copy(update={"name": name_run(study.name, key)}))
        return True
    return bool(new)


def _get_patch(plan: StudyPlan, steps: NextSteps, key: RunKey) -> Mapping[str, Any]:
    arm = plan.arm(key.arm)
    if key.purpose is Purpose.TUNE:
        return arm.candidates[key.variant]
    return (steps.patches or {}).get(key.arm, arm.patch)


def _add_job(session: Session, study: StudyRow, plan: StudyPlan, key: RunKey, spec: JobSpec) -> None:
    arm = plan.arm(key.arm)
    event_data = {"study": study.id, "arm": key.arm, "seed": key.seed}
    provenance = Provenance(event_data=event_data, backbone=arm.backbone)
    if arm.initial is not None:
        kept = {name: part for name, part in arm.initial.items() if name not in {"message", STORED_EVENT}}
        with_initial = {**event_data, "initial": dict(arm.initial[STORED_EVENT])}
        provenance = replace(provenance, initial=kept, message=arm.initial["message"], event_data=with_initial)
    new_job = NewJob(
        spec=spec,
        owner=study.owner,
        name=spec.name or "",
        dataset_id=study.dataset_id,
        memory_bytes=_estimate_memory_bytes(session, study, arm, spec),
        parameters=arm.parameters,
        study_id=study.id,
        key_id=studies.get_ordering_key(session, study.id),
        provenance=provenance,
    )
    job_id = new_jobs.add(session, new_job).id
    studies.add_run(session, study.id, job_id, key)
    if arm.file is not None:
        artifacts.add(session, job_id, 0, [Artifact(**arm.file)])


def _add_external_run(session: Session, study: StudyRow, arm: Arm, key: RunKey, key_id: str | None) -> None:
    new_job = NewJob(
        spec=ExternalRunSpec(arm=key.arm, parameters=dict(arm.patch), seed=key.seed, fold=key.fold),
        owner=study.owner,
        name=name_run(study.name, key),
        dataset_id=None,
        study_id=study.id,
        key_id=key_id,
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
