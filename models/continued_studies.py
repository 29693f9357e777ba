"""Continues a study that has given a first answer: with more seeds, and with the remedies that it left out."""

from contextlib import ExitStack
from dataclasses import replace

from analysis.studies.next_steps import decide_next_steps
from analysis.studies.stored import StudyPlan
from heldout.access.rights import count_bytes
from heldout.errors import StudyNotContinuable
from heldout.lifecycle.resources import StudyStatus
from heldout.remedies import resolve
from heldout.spec.job import JobSpec
from heldout.studies.spec import ContinueSpec
from models.blobs import Blobs
from models.database import Session
from models.store import quotas, studies
from models.store.study_steps import resume
from models.study_arms import StudyBase, copy_arm_files, examine_arm, make_arm_plan
from models.study_base import make_base
from models.tables import DatasetRow, JobRow, StudyRow


def continue_study(
    session: Session,
    blobs: Blobs,
    owner: str,
    study_id: str,
    asked: ContinueSpec,
    *,
    max_parameters: int,
    reading: Session,
) -> tuple[StudyRow, DatasetRow | None]:
    """Continue a study. Returns its row and its dataset's.

    Args:
        reading: a session to examine the new arms with, as for `study_creation.create_study`.
    Raises:
        StudyNotFound, StudyNotContinuable, QuotaExceeded, OwnerSuspended.
        Also what examining an arm raises.
    """
    study, dataset = studies.find(reading, owner, study_id)
    plan = _require_continuable(study, dataset)
    assert dataset is not None
    job = None if study.base_job is None else reading.get(JobRow, study.base_job)
    spec = JobSpec.model_validate(study.spec)
    base = StudyBase(spec, dataset, job, plan.train_images, plan.validation_images, plan.folds)
    names = plan.left_out if asked.remedies == "all" else ()
    facts = make_base(reading, owner, spec, plan.train_images).facts
    known = {arm.name for arm in plan.arms}
    arms = [arm for arm in resolve(names, spec, train_images=plan.train_images, facts=facts) if arm.name not in known]
    examined = {arm.name: examine_arm(reading, blobs, owner, base, arm, max_parameters) for arm in arms}
    longer = replace(
        plan,
        arms=(*plan.arms, *(make_arm_plan(spec, arm, examined[arm.name]) for arm in arms)),
        stages=(*plan.stages, len(plan.arms) + len(arms)),
        left_out=tuple(name for name in plan.left_out if name not in names),
        max_jobs=asked.budget.jobs,
        max_seconds=asked.budget.seconds,
    )
    first = decide_next_steps(longer, studies.list_runs(reading, study_id)).submit
    _require_more(study_id, asked, len(first), study.found["ledger"]["jobs"])
    text = longer.to_text()
    spec_bytes = count_bytes(text) or 0
    quotas.require_room(session, owner, *quotas.OF_NEW_JOBS, asked=len(first), spec_bytes=spec_bytes)
    with ExitStack() as copies:
        new = copy_arm_files(blobs, study_id, longer.arms[len(plan.arms) :], examined, copies, first=len(plan.arms))
        longer = replace(longer, arms=(*plan.arms, *new))
        locked = studies.lock(session, study_id)
        if locked is None or locked.version != study.version:
            raise StudyNotContinuable(study_id, "it has changed meanwhile.")
        studies.write(
            session,
            study_id,
            status=StudyStatus.RUNNING,
            finished_at=None,
            plan=longer.to_json(),
            spec_bytes=(study.spec_bytes or 0) + spec_bytes,
            remedies=[arm.name for arm in longer.arms[1:]],
        )
        resume(session, study_id, [arm.name for arm in arms])
    return studies.find(session, owner, study_id)


def _require_continuable(study: StudyRow, dataset: DatasetRow | None) -> StudyPlan:
    """Return the plan of a study that can be continued. Raises StudyNotContinuable."""
    conclusion = study.found.get("conclusion")
    why = None
    if study.status is not StudyStatus.SUCCEEDED:
        why = f"it is {study.status}; only a study with an answer can be continued."
    elif not study.plan.get("stages"):
        why = "it planned all of its looks at once."
    elif conclusion is None or conclusion["kind"] == "cure":
        why = "it has found a cure."
    elif dataset is None or dataset.deleted_at is not None:
        why = "its dataset was deleted."
    if why is not None:
        raise StudyNotContinuable(study.id, why)
    return StudyPlan.from_json(study.plan)


def _require_more(study_id: str, asked: ContinueSpec, new: int, done: int) -> None:
    """Refuse to continue a study that would train nothing, or more than its budget allows."""
    most = asked.budget.jobs
    if most is not None and (not new or done + new > most):
        raise StudyNotContinuable(study_id, f"after {done} trainings, a budget of {most} allows no further look.")
    if not new:
        why = "no remedy is left that may still win."
        if asked.remedies == "same":
            why = "none of its remedies gets more seeds; `remedies: all` adds those that it left out."
        raise StudyNotContinuable(study_id, why)
