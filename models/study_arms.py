"""The arms of a study: which remedies it compares, whether they can be trained, and their first weights."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

from pydantic import ValidationError

from analysis.studies.runs import apply_patch
from analysis.studies.stored import STORED_EVENT, ArmPlan
from heldout.errors import InvalidSpec
from heldout.remedies import ResolvedArm, resolve
from heldout.remedies.arms import choose_first
from heldout.spec.documents import make_pointer
from heldout.spec.job import JobSpec
from heldout.studies.refit import chooses_alone
from heldout.studies.spec import FIRST_REMEDIES, NamedPatch, StudySpec
from models.blobs import Blobs
from models.database import Session
from models.initial_weights import copy_files
from models.job_creation import ExaminedSpec, examine_spec
from models.study_base import make_base, pick_remedies
from models.tables import DatasetRow, JobRow


@dataclass(frozen=True)
class StudyBase:
    """The unchanged spec, where it comes from, and the images that it trains on."""

    spec: JobSpec
    dataset: DatasetRow
    job: JobRow | None
    train_images: int
    validation_images: int
    folds: int | None


def gives_first_answer(asked: StudySpec, remedies: int) -> bool:
    """Return whether a study begins with a first answer. Raises InvalidSpec if it would need too many arms."""
    if asked.kind != "remedies" or asked.extent == "full":
        return False
    if asked.extent == "first" and remedies > FIRST_REMEDIES:
        detail = f"A first answer compares at most {FIRST_REMEDIES} remedies, with the parts of combinations; received "
        raise InvalidSpec.at("/remedies", f"{detail}{remedies}. Leave some out, or send `extent: full`.")
    return remedies <= FIRST_REMEDIES


def resolve_remedies(
    session: Session, blobs: Blobs, owner: str, base: StudyBase, asked: StudySpec
) -> tuple[Sequence[ResolvedArm], tuple[str, ...]]:
    """Return the remedies to compare, and the names of those that a first answer leaves out."""
    if asked.kind == "learning_curve":
        if asked.remedies != "auto":
            raise InvalidSpec.at(
                "/remedies", "A learning curve compares numbers of images, not remedies. Omit `remedies`."
            )
        return (), ()
    # The diagnosis of a job on other data does not apply.
    diagnosed = base.job if base.job is not None and base.job.dataset_id == base.dataset.id else None
    changed = make_base(session, owner, base.spec, base.train_images)
    wanted: Sequence[str | NamedPatch] = asked.remedies if asked.remedies != "auto" else ()
    left_out: tuple[str, ...] = ()
    if asked.remedies == "auto":
        found = pick_remedies(session, blobs, changed, diagnosed)
        wanted = found if asked.extent == "full" else choose_first(found)
        left_out = tuple(name for name in found if name not in wanted)
    return resolve(wanted, base.spec, train_images=base.train_images, facts=changed.facts), left_out


def examine_arm(
    session: Session, blobs: Blobs, owner: str, base: StudyBase, arm: ResolvedArm, max_parameters: int
) -> ExaminedSpec:
    """Validate all specs of an arm, and examine its network."""
    found = None
    for patch in arm.candidates or (arm.patch,):
        try:
            spec = apply_patch(base.spec, patch)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = make_pointer(first["loc"])
            raise InvalidSpec.at(where, first["msg"]) from error
        found = found or examine_spec(session, blobs, owner, spec, base.dataset, max_parameters, base.job)
    assert found is not None
    return found


def make_arm_plan(base: JobSpec, arm: ResolvedArm, examined: ExaminedSpec) -> ArmPlan:
    initial, provenance = None, examined.initial_state.provenance
    if provenance.initial is not None:
        initial = {**provenance.initial, "message": provenance.message, STORED_EVENT: provenance.event_data["initial"]}
    alone = any(chooses_alone(base, apply_patch(base, patch)) for patch in arm.candidates or (arm.patch,))
    return ArmPlan(
        arm.name,
        arm.patch,
        tuple(arm.parts),
        tuple(arm.candidates),
        alone,
        parameters=examined.plan.parameters,
        initial=initial,
        backbone=provenance.backbone,
    )


def copy_arm_files(
    blobs: Blobs,
    study_id: str,
    arms: Sequence[ArmPlan],
    examined: Mapping[str, ExaminedSpec],
    copies: ExitStack,
    *,
    first: int = 0,
) -> tuple[ArmPlan, ...]:
    """Copy the weights that arms start from, so that the study keeps them. Returns the arms with the copies.

    Args:
        first: the place of the first of these arms in the study.
    """
    copied = []
    for place, arm in enumerate(arms, start=first):
        initial_state = examined[arm.name].initial_state
        initial_state = copies.enter_context(copy_files(blobs, f"studies/{study_id}/{place}", initial_state))
        source = initial_state.source or initial_state.backbone  # a spec has at most one of them
        copied.append(replace(arm, file=None if source is None else asdict(source.file)))
    return tuple(copied)
