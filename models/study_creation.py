"""Creates a study: fixes base, arms and splits, examines every arm, and queues the first trainings.

Everything happens in one transaction, which the caller commits. The wake-ups follow the commit.
"""

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

from analysis.studies.next_steps import decide_next_steps
from analysis.studies.planning import count_most_jobs
from analysis.studies.runs import choose_folds, choose_sizes, choose_splits, make_spec, pin_spec
from analysis.studies.stored import StudyPlan
from heldout.access.rights import count_bytes
from heldout.errors import InvalidSpec, SpecUnreadable
from heldout.metrics import METRICS
from heldout.remedies import ResolvedArm
from heldout.spec.job import MAX_NAME_CHARACTERS, TrainOnAllSpec, ValidationSpec
from heldout.spec.part import MAX_SEED
from heldout.studies.spec import BASE_ARM, NamedPatch, StudySpec, find_pointer_to, resolve_margin
from heldout.views.study import StudyEstimateView
from heldout.words.studies import warn_of_seeds
from models.blobs import Blobs
from models.database import Session
from models.ids import make_id
from models.job_creation import ExaminedSpec, find_named_dataset
from models.objectives import require_enough_images
from models.specs import count_splits, read_training_spec
from models.store import calibrations, jobs, quotas, studies
from models.store.study_steps import begin
from models.stored_files import require_folds
from models.study_arms import (
    StudyBase,
    copy_arm_files,
    examine_arm,
    gives_first_answer,
    make_arm_plan,
    resolve_remedies,
)
from models.study_base import (
    locate_refusal,
    note_other_test,
    note_refuted,
    require_fixed,
    resolve_splits,
)
from models.tables import DatasetRow, JobRow, StudyRow

MIN_PRIORITY = -100
# Size as JSON. A combination of a search with a custom patch repeats that patch in each candidate.
MAX_PLAN_BYTES = 128 * 1024
# The time that a training takes in addition to its epochs.
OVERHEAD_S = 0.7


def create_study(
    session: Session,
    blobs: Blobs,
    owner: str,
    asked: StudySpec,
    *,
    max_parameters: int,
    reading: Session | None = None,
    waiting: StudyRow | None = None,
) -> tuple[StudyRow, DatasetRow | None]:
    """Create and start a study. Returns its row and its dataset's.

    Args:
        reading: a session to examine the arms with. This takes a while: on SQLite, `session` would block other writers.
        waiting: the row of a study that waited for its data and starts now, on the dataset that it names.
    Raises:
        QuotaExceeded, OwnerSuspended.
        JobNotFound, DataFirst, FileOfLaterRelease.
        Also everything that `create_job` raises, with `/remedies/<place>` for an arm.
    """
    prepared = _prepare(reading or session, blobs, owner, asked, max_parameters, waiting)
    first = decide_next_steps(prepared.plan, ()).submit
    study_id, base = make_id("std") if waiting is None else waiting.id, prepared.base
    spec = base.spec.model_dump_json()
    spec_bytes = count_bytes(spec, prepared.plan.to_text())
    all_bytes = (spec_bytes or 0) + (count_bytes(spec) or 0) * len(first)
    # Checked before files are copied, because a refusal would leave them behind.
    quotas.require_room(session, owner, *quotas.OF_NEW_JOBS, asked=len(first), spec_bytes=all_bytes)
    with ExitStack() as copies:
        arms = copy_arm_files(blobs, study_id, prepared.plan.arms, prepared.examined, copies)
        plan = replace(prepared.plan, arms=arms)
        values = {
            "spec": base.spec.model_dump(mode="json"),
            "spec_bytes": spec_bytes,
            "remedies": [planned.name for planned in plan.arms[1:]],
            "plan": plan.to_json(),
            "found": {},
            "priority": base.spec.priority,
        }
        if waiting is None:
            studies.add(
                session,
                id=study_id,
                owner=owner,
                name=asked.name or generate_name(base.dataset, base.job, study_id),
                kind=asked.kind,
                dataset_id=base.dataset.id,
                base_job=None if base.job is None else base.job.id,
                user_metadata=dict(asked.metadata),
                **values,
            )
        else:
            studies.end_waiting(session, study_id, **values)
        begin(session, study_id)
    return studies.find(session, owner, study_id)


def estimate(
    session: Session, blobs: Blobs, owner: str, asked: StudySpec, *, max_parameters: int, copies_known: bool = True
) -> StudyEstimateView:
    """Estimate what a study would do, without starting it. Raises the same errors as `create_study`.

    Args:
        copies_known: False during the search for copies, to skip the check of folds.
    """
    prepared = _prepare(session, blobs, owner, asked, max_parameters, copies_known=copies_known)
    plan, base = prepared.plan, prepared.base
    steps = decide_next_steps(plan, ())
    first = steps.submit
    known = calibrations.list_speeds(session)
    seconds: float | None = 0.0
    for key in first:
        arm = plan.arm(key.arm)
        patch = arm.candidates[key.variant] if arm.candidates else arm.patch
        spec = make_spec(base.spec, patch, key, folds=plan.folds, study_name="")
        network = prepared.examined[key.arm].plan
        epoch_s = calibrations.estimate_epoch_s(known, spec, network, base.dataset, alone=False)
        if seconds is not None:
            seconds = None if epoch_s is None else seconds + epoch_s * spec.training.epochs + OVERHEAD_S
    if seconds is not None:
        # Includes the trainings that follow a search, which are not known yet.
        seconds *= steps.planned / max(1, len(first))
    side_by_side = sum(speed.cores for speed in known) or 1
    return StudyEstimateView(
        object="study_estimate",
        spec=base.spec,
        remedies=[planned.name for planned in plan.arms[1:]],
        splits="fixed" if plan.folds is None else "resampled",
        seeds=plan.seeds,
        extent="first" if plan.stages else "full",
        left_out=list(plan.left_out),
        warnings=[*warn_of_seeds(plan.seeds), *plan.notes],
        sizes=list(plan.sizes) or None,
        jobs=steps.planned,
        max_jobs=count_most_jobs(plan),
        seconds=None if seconds is None else round(seconds / min(side_by_side, max(1, len(first))), 1),
    )


# --- what is fixed -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _NewStudy:
    """A study that can start. examined: the network and first weights of each arm."""

    base: StudyBase
    plan: StudyPlan
    examined: Mapping[str, ExaminedSpec]


def _prepare(
    session: Session,
    blobs: Blobs,
    owner: str,
    asked: StudySpec,
    max_parameters: int,
    waiting: StudyRow | None = None,
    *,
    copies_known: bool = True,
) -> _NewStudy:
    base = _find_base(session, blobs, owner, asked, None if waiting is None else waiting.dataset_id, copies_known)
    checked = base if copies_known else replace(base, spec=base.spec.model_copy(update={"validation": None}))
    resolved, left_out = resolve_remedies(session, blobs, owner, base, asked)
    _require_frozen_objective(asked)
    try:
        margin = resolve_margin(asked.question, asked.margin, base.spec.objective)
    except ValueError as error:  # the objective of the base
        raise InvalidSpec.at("/question", f"{error}.") from error
    require_enough_images(session, blobs, base.dataset, base.spec, asked.seeds, base.folds)
    arms = [ResolvedArm(BASE_ARM, {}, ""), *resolved]
    examined = {}
    for arm in arms:
        with locate_refusal(find_pointer_to(asked, arm.name)):
            examined[arm.name] = examine_arm(session, blobs, owner, checked, arm, max_parameters)
    limit = base.spec.training.train_limit
    train_images = base.train_images if limit is None else min(base.train_images, limit)
    test = (base.dataset.splits or {}).get("test", {}).get("count", 0)
    plan = StudyPlan(
        kind=asked.kind,
        arms=tuple(make_arm_plan(base.spec, arm, examined[arm.name]) for arm in arms),
        seeds=asked.seeds,
        folds=base.folds,
        train_images=train_images,
        validation_images=base.validation_images,
        has_test=test > 0,
        sizes=choose_sizes(train_images, len(base.dataset.classes or ())) if asked.kind == "learning_curve" else (),
        max_jobs=asked.budget.jobs,
        max_seconds=asked.budget.seconds,
        objective=base.spec.objective or (None if margin is None else "accuracy"),
        margin=margin,
        costs=base.spec.costs,
        group_column=base.spec.group_column,
        stages=(len(arms),) if margin is None and gives_first_answer(asked, len(resolved)) else (),
        left_out=left_out,
        data=asked.data,
        notes=_list_notes(session, blobs, base, asked),
    )
    _require_possible(plan)
    return _NewStudy(base, plan, examined)


def _require_frozen_objective(asked: StudySpec) -> None:
    """Refuse a patch that would judge its trainings by another objective."""
    for place, remedy in enumerate(asked.remedies):
        changed = isinstance(remedy, NamedPatch) and sorted(
            {"objective", "costs", "group_column"} & remedy.patch.keys()
        )
        if changed:
            detail = (
                f"A study compares all trainings by one objective. Leave `{changed[0]}` out, or name it in the order."
            )
            raise InvalidSpec.at(f"/remedies/{place}/patch/{changed[0]}", detail)


def _list_notes(session: Session, blobs: Blobs, base: StudyBase, asked: StudySpec) -> tuple[str, ...]:
    """Say what a study of remedies cannot do for a job on this dataset."""
    if asked.kind != "remedies" or base.job is None or base.job.dataset_id != base.dataset.id:
        return ()
    return (*note_other_test(session, blobs, base.job), *note_refuted(session, base.job))


def _require_possible(plan: StudyPlan) -> None:
    """Refuse a study that would fail before its first training, or whose plan is too large to store."""
    size = len(plan.to_text())
    if size > MAX_PLAN_BYTES:
        detail = f"The patches of its arms take {size:,} bytes as JSON; expected at most {MAX_PLAN_BYTES:,}."
        raise InvalidSpec.at("/remedies", f"{detail} Use fewer remedies or shorter patches.")
    first = decide_next_steps(plan, ())
    if first.error is None:
        return
    code, detail = first.error
    raise InvalidSpec.at("/budget/jobs" if code == "budget_too_small" else "/kind", detail)


def _find_base(
    session: Session, blobs: Blobs, owner: str, asked: StudySpec, on: str | None, copies_known: bool
) -> StudyBase:
    """Find the base. on: the id of the dataset that a study has waited for, whatever the job or the spec names."""
    job = None
    if asked.job is not None:
        job, dataset = jobs.find_with_dataset(session, owner, asked.job)
        try:
            spec = read_training_spec(job)
        except SpecUnreadable as error:
            raise InvalidSpec.at("/job", error.detail) from error
        if asked.data != "as_they_are" and on is None:
            require_fixed(session, blobs, job, asked)
    else:
        assert asked.spec is not None
        spec = asked.spec
        with locate_refusal("/spec"):
            dataset = find_named_dataset(session, owner, spec.dataset)
    dataset = dataset if on is None else session.get_one(DatasetRow, on)
    if isinstance(spec.validation, TrainOnAllSpec):
        where = "/job" if job is not None else "/spec/validation"
        raise InvalidSpec.at(where, "It also trains on the validation images, so remedies cannot be compared on them.")
    spec = pin_spec(spec.complete(name="", seed=secrets.randbelow(MAX_SEED + 1)))
    costs, objective = asked.costs or spec.costs, asked.objective or spec.objective
    group_column = asked.group_column or spec.group_column
    if objective == "cost" and costs is None:
        raise InvalidSpec.at("/costs", "`objective: cost` needs `costs`, the cost of each answer to each label.")
    if objective == "worst_group" and group_column is None:
        detail = "`objective: worst_group` needs `group_column`, the column whose values are the groups."
        raise InvalidSpec.at("/group_column", detail)
    if asked.kind == "learning_curve" and objective is not None and not METRICS[objective].is_share:
        objective = None  # it would have been refused in the order
    spec = spec.model_copy(update={"objective": objective, "costs": costs, "group_column": group_column})
    priority = asked.priority if asked.priority is not None else max(MIN_PRIORITY, spec.priority - 1)
    spec = spec.model_copy(
        update={
            "name": None,
            "dataset": f"{dataset.name}@{dataset.version}",
            "priority": priority,
            "metadata": dict(asked.metadata),
        }
    )
    return _split(session, blobs, StudyBase(spec, dataset, job, 0, 0, None), resolve_splits(spec, asked), copies_known)


def _split(
    session: Session, blobs: Blobs, base: StudyBase, wanted: Literal["auto", "fixed", "resampled"], copies_known: bool
) -> StudyBase:
    """Count the base's images, and choose folds if each seed gets its own."""
    counts = count_splits(base.dataset, base.spec.model_copy(update={"validation": None})) or {}
    train, validation = counts.get("train", 0), counts.get("validation", 0)
    own = base.spec.folds
    if wanted == "fixed" or (wanted == "auto" and choose_splits(validation, has_folds=own is not None) == "fixed"):
        if own is not None:
            return _set_folds(base, train + validation, own.folds, None)
        return replace(base, train_images=train, validation_images=validation)
    folds = choose_folds(train, validation) if own is None else own.folds
    spec = base.spec.model_copy(update={"validation": ValidationSpec(folds=folds)})
    try:
        if copies_known:
            require_folds(session, blobs, base.dataset, spec)
    except InvalidSpec as error:
        if wanted == "auto" and own is None:
            return _split(session, blobs, base, "fixed", copies_known)  # some class has too few images for folds
        raise InvalidSpec.at("/splits", error.errors[0].detail) from error
    spec = base.spec.model_copy(update={"validation": None})
    return _set_folds(replace(base, spec=spec), train + validation, folds, folds)


def _set_folds(base: StudyBase, images: int, parts: int, folds: int | None) -> StudyBase:
    """Set the numbers of images. parts: the number of folds. folds: the same if each seed gets its own, else None."""
    validation = images // parts
    return replace(base, train_images=images - validation, validation_images=validation, folds=folds)


def generate_name(dataset: DatasetRow, job: JobRow | None, study_id: str) -> str:
    """Name a study after its job, or after its dataset and the end of its id: `Study of mnist5k · 4tz9qk`."""
    of = f"{dataset.name} · {study_id[-6:]}" if job is None else job.name
    return f"Study of {of}"[:MAX_NAME_CHARACTERS]
