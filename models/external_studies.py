"""Starts studies of trainings that run elsewhere."""

from math import ceil

from analysis.studies.next_steps import decide_next_steps
from analysis.studies.planning import LOOK_GROWTH
from analysis.studies.state import Arm
from analysis.studies.stored import ArmPlan, StudyPlan
from heldout.access.quotas import count_bytes
from heldout.studies.external import ExternalStudySpec
from models.database import Session
from models.ids import make_id
from models.store import quotas, studies
from models.store.study_steps import begin
from models.study_base import make_refusal
from models.tables import DatasetRow, StudyRow


def order(session: Session, owner: str, asked: ExternalStudySpec) -> tuple[StudyRow, DatasetRow | None]:
    """Start a study whose trainings run elsewhere. Returns its row, and no dataset.

    Raises:
        QuotaExceeded, OwnerSuspended, InvalidSpec.
    """
    plan = StudyPlan(
        kind="external",
        arms=tuple(ArmPlan(Arm(arm.name, dict(arm.parameters)), parameters=0) for arm in asked.arms),
        seeds=asked.seeds,
        # Each seed has a fold of its own.
        folds=ceil(LOOK_GROWTH[-1] * asked.seeds) if asked.splits == "resampled" else None,
        train_images=0,
        validation_images=0,
        has_test=False,
        max_jobs=asked.budget.jobs,
        max_seconds=asked.budget.seconds,
    )
    first = decide_next_steps(plan.state(), ())
    if first.error is not None:
        raise make_refusal("/budget/jobs", first.error[1])
    size = count_bytes(plan.to_text())
    quotas.require_room(session, owner, *quotas.OF_NEW_STUDIES, asked=len(first.submit), spec_bytes=size or 0)
    study_id = make_id("std")
    studies.add(
        session,
        id=study_id,
        owner=owner,
        name=asked.name or f"Study of your own trainings · {study_id[-6:]}",
        kind="external",
        dataset_id=None,
        base_job=None,
        user_metadata=dict(asked.metadata),
        spec={},
        spec_bytes=size,
        remedies=[arm.name for arm in asked.arms[1:]],
        plan=plan.to_json(),
        found={},
        priority=0,
    )
    begin(session, study_id)
    return studies.find(session, owner, study_id)
