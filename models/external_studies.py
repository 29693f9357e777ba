"""Creates studies of external trainings and of recorded ones, and continues them with their results."""

from functools import partial
from math import ceil

from analysis.studies.next_steps import decide_next_steps
from analysis.studies.planning import LOOK_GROWTH
from analysis.studies.recording import draw_choosing_units
from analysis.studies.state import RecordedRun, Recording
from analysis.studies.stored import ArmPlan, StudyPlan
from heldout.access.rights import Quota, count_bytes
from heldout.errors import InvalidSpec, TunerTrials
from heldout.studies.external import ExternalStudySpec
from heldout.studies.recorded import FEWEST_RUNS, MAX_COMPARED_ARMS, MAX_RUNS, RecordedStudySpec, describe_run
from heldout.studies.spec import resolve_margin
from models.database import Database, Session
from models.ids import make_id
from models.store import quotas, studies, study_jobs
from models.store.study_steps import advance_after_told, begin
from models.tables import DatasetRow, StudyRow


def create_external_study(
    session: Session, owner: str, asked: ExternalStudySpec | RecordedStudySpec
) -> tuple[StudyRow, DatasetRow | None]:
    """Start a study of external or recorded trainings. Returns its row, and no dataset.

    Raises:
        QuotaExceeded, OwnerSuspended, InvalidSpec.
        TunerTrials: most recorded settings were tried only once.
    """
    plan = _plan_external(asked) if isinstance(asked, ExternalStudySpec) else _plan_recorded(asked)
    what = "your own trainings" if plan.kind == "external" else "recorded runs"
    first = decide_next_steps(plan, ())
    if first.error is not None:
        raise InvalidSpec.at("/budget/jobs", first.error[1])
    size = count_bytes(plan.to_text())
    quotas.require_room(session, owner, Quota.STUDIES, spec_bytes=size or 0)
    quotas.require_room(session, owner, *quotas.OF_NEW_JOBS, asked=len(first.submit))
    study_id = make_id("std")
    studies.add(
        session,
        id=study_id,
        owner=owner,
        name=asked.name or f"Study of {what} · {study_id[-6:]}",
        kind=plan.kind,
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


def _plan_external(asked: ExternalStudySpec) -> StudyPlan:
    margin = resolve_margin(asked.question, asked.margin, asked.objective)
    return StudyPlan(
        kind="external",
        arms=tuple(ArmPlan(arm.name, dict(arm.parameters)) for arm in asked.arms),
        seeds=asked.seeds,
        # Each seed has a fold of its own.
        folds=ceil(LOOK_GROWTH[-1] * asked.seeds) if asked.splits == "resampled" else None,
        train_images=0,
        validation_images=0,
        has_test=False,
        max_jobs=asked.budget.jobs,
        max_seconds=asked.budget.seconds,
        objective=asked.objective or (None if margin is None else "accuracy"),
        costs=asked.costs,
        group_column=asked.group_column,
        margin=margin,
    )


def _plan_recorded(asked: RecordedStudySpec) -> StudyPlan:
    counts = [len(arm.runs) for arm in asked.arms]
    single = [place for place, count in enumerate(counts) if count < FEWEST_RUNS]
    if len(asked.arms) > 2 and 2 * len(single) > len(asked.arms):
        raise TunerTrials(len(single), len(asked.arms))
    if single:
        name = asked.arms[single[0]].name
        detail = f"`{name}` has one run; expected at least {FEWEST_RUNS} of each arm, because one shows no spread."
        raise InvalidSpec.at(f"/arms/{single[0]}/runs", detail)
    if len(asked.arms) > MAX_COMPARED_ARMS:
        raise InvalidSpec.at("/arms", f"Received {len(asked.arms)} arms; expected at most {MAX_COMPARED_ARMS}.")
    if sum(counts) > MAX_RUNS:
        raise InvalidSpec.at("/arms", f"Received {sum(counts):,} runs; expected at most {MAX_RUNS:,}.")
    runs = {
        arm.name: tuple(
            RecordedRun(describe_run(run, place), run.seed, run.value) for place, run in enumerate(arm.runs)
        )
        for arm in asked.arms
    }
    return StudyPlan(
        kind="recorded",
        arms=tuple(ArmPlan(arm.name, {}) for arm in asked.arms),
        seeds=min(counts),
        folds=None,
        train_images=0,
        validation_images=0,
        has_test=False,
        recording=Recording(runs, draw_choosing_units(runs), asked.metric, asked.better, asked.images),
        objective=asked.objective,
        costs=asked.costs,
        group_column=asked.group_column,
    )


def continue_study(database: Database, study_id: str, *, has_failed: bool) -> None:
    """Take a study's next steps after a result was stored.

    Args:
        has_failed: whether the result is a failure.
    """
    advance_after_told(database, study_id, has_failed=has_failed)
    if has_failed:  # its arm is dropped, so the arm's other trainings are no longer needed
        database.write_in_pieces(partial(study_jobs.cancel_some, study_id))
