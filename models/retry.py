"""Runs a job that has ended again: unchanged, for more epochs, or with changes. The caller commits."""

from typing import Any

from pydantic import ValidationError

from analysis.jobs.examination import RetrySpec, add_remedy_to_name, extend_spec
from heldout.errors import InvalidSpec, SpecUnreadable, StateGone
from heldout.remedies.arms import resolve_remedy
from heldout.remedies.catalogue import REMEDIES
from heldout.remedies.change import NoChange
from heldout.spec.documents import merge
from heldout.spec.field_errors import make_patch_refusal
from heldout.spec.job import JobSpec
from models.blobs import Blobs
from models.database import Session
from models.job_diagnosis import diagnose_job
from models.specs import count_splits, read_training_spec
from models.starts import Continuation
from models.store import claims, jobs
from models.study_base import make_base
from models.submit import Submitted, submit
from models.tables import DatasetRow, JobRow


def retry(
    session: Session,
    blobs: Blobs,
    owner: str,
    job_id: str,
    asked: RetrySpec,
    *,
    max_parameters: int,
) -> Submitted:
    """Queue a copy of a job that has ended, on the same version of its dataset unless a patch names another version.

    Raises:
        JobNotFound, JobNotFinished, StateGone, InvalidSpec, FileOfLaterRelease. Also everything that `submit` raises.
    """
    ended, dataset = jobs.find_with_dataset(session, owner, job_id)
    jobs.require_finished(ended)
    try:
        spec = read_training_spec(ended)
    except SpecUnreadable as error:
        raise InvalidSpec(error.detail) from error
    continued = None
    same_dataset = True
    if asked.epochs is not None:
        continued = Continuation(ended, _get_last_state(session, ended))
        spec = extend_spec(spec, ended.stop_reason, continued.state.epoch, asked.epochs)
    elif asked.remedy is not None:
        spec = _apply_patch(spec, _find_patch(session, blobs, ended, dataset, spec, asked.remedy), "/remedy")
        spec = spec.model_copy(update={"name": add_remedy_to_name(ended.name, asked.remedy)})
    elif asked.patch is not None:
        before = spec.dataset
        spec = _apply_patch(spec, asked.patch, "/patch")
        same_dataset = spec.dataset == before
    return submit(
        session,
        blobs,
        owner,
        spec,
        max_parameters=max_parameters,
        dataset=dataset if same_dataset else None,
        retry_of=ended,
        continued=continued,
    )


def _get_last_state(session: Session, ended: JobRow) -> claims.Checkpoint:
    state = next(iter(claims.get_checkpoints(session, ended.id)), None)
    if state is None:
        raise StateGone(ended.id)
    return state


def _find_patch(
    session: Session, blobs: Blobs, ended: JobRow, dataset: DatasetRow, spec: JobSpec, name: str
) -> dict[str, Any]:
    """Find a remedy's patch: preferably from the job's diagnosis, which knows its epochs, otherwise by its name."""
    found = [remedy for finding in diagnose_job(session, blobs, ended).findings for remedy in finding.remedies]
    patches = {remedy.name: remedy.patch for remedy in reversed(found) if remedy.patch is not None}
    if name in patches:
        return patches[name]
    if name not in REMEDIES and name in {remedy.name for remedy in found}:
        raise InvalidSpec.at("/remedy", f"{name!r} is advice. No change of a spec can follow it.")
    counts = count_splits(dataset, spec)
    base = make_base(session, ended.owner, spec, None if counts is None else counts["train"])
    outcome = resolve_remedy(name, base)
    if isinstance(outcome, NoChange):
        raise InvalidSpec.at("/remedy", f"{name!r} would change nothing. {outcome.why}")
    if outcome.candidates:
        raise InvalidSpec.at("/remedy", f"{name!r} searches among several trainings, so it needs a study.")
    return outcome.patch


def _apply_patch(spec: JobSpec, patch: dict[str, Any], pointer: str) -> JobSpec:
    content = merge(spec.model_dump(mode="json"), patch)
    try:
        return JobSpec.model_validate(content)
    except ValidationError as error:
        raise make_patch_refusal(pointer, error.errors(include_url=False), content, JobSpec) from error
