"""Checks the data and chooses the remedies for a study's base, and makes refusals of studies."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from heldout.diagnosis import WITHOUT_TEST
from heldout.diagnosis.causes import get_fix, is_test_of_another_kind, select_first_fixes
from heldout.errors import DataFirst, FieldError, InvalidSpec
from heldout.remedies.arms import choose_remedies
from heldout.remedies.change import RemedyBase
from heldout.spec.job import JobSpec
from heldout.spec.network import OwnNetworkSpec
from heldout.studies.spec import NamedPatch, StudySpec
from heldout.verdicts import FINDING_KINDS
from heldout.words.labels import get_verdict_name
from heldout.words.proofs import describe_left_out
from heldout.words.studies import warn_of_other_test
from models.blobs import Blobs
from models.database import Session
from models.initial_weights import find_network_facts
from models.job_diagnosis import diagnose_job
from models.pretrained import has_photographs
from models.store import proofs
from models.stored_files import read_audit
from models.tables import DatasetRow, JobRow


def require_fixed(session: Session, blobs: Blobs, job: JobRow, asked: StudySpec | None = None) -> None:
    """Refuse to compare remedies while copies, swapped labels or wrong pixel values should be fixed first.

    This may use results on the test split, because it does not choose remedies.

    Args:
        asked: the refused order, which the offered choices repeat.
    Raises:
        DataFirst, StorageUnavailable, FileOfLaterRelease.
    """
    found = select_first_fixes(diagnose_job(session, blobs, job, is_strict=True))
    if not found:
        return
    dataset = session.get_one(DatasetRow, job.dataset_id)
    faults = [(finding.code, finding.explanation) for finding in found]
    order = {"job": job.id} if asked is None else asked.model_dump(mode="json", exclude_defaults=True)
    raise DataFirst(job.id, dataset.id, faults, get_fix(found), order)


def note_other_test(session: Session, blobs: Blobs, job: JobRow) -> tuple[str, ...]:
    """Say which part of a job's gap no remedy can close, if its test images are of another kind.

    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    diagnosis = diagnose_job(session, blobs, job, is_strict=True)
    if not is_test_of_another_kind(diagnosis):
        return ()
    term = None if diagnosis.gap is None else diagnosis.gap.find_term("split_difference")
    is_measured = term is not None and term.accuracy > 0 and not term.may_be_chance
    return (warn_of_other_test(term.accuracy if term is not None and is_measured else None),)


def note_refuted(session: Session, job: JobRow) -> tuple[str, ...]:
    """Say which causes remedies are not tried for, because experiments have refuted them without test labels."""
    outcomes = proofs.read_outcomes(session, job.id).without_test()
    refuted = [code for code in FINDING_KINDS if outcomes.get_answer(code) == "refuted"]
    return (describe_left_out([get_verdict_name(code) for code in refuted]),) if refuted else ()


def resolve_splits(spec: JobSpec, asked: StudySpec) -> Literal["auto", "fixed", "resampled"]:
    """Return the requested splits, or `fixed` for `auto` if an arm starts from weights of another job or model.

    Those weights may have been trained on images that would be validation images in a fold.
    """
    own = [remedy for remedy in asked.remedies if isinstance(remedy, NamedPatch)]
    has_backbone = spec.network.starts_from_upload or any(
        (remedy.patch.get("network") or {}).get("backbone") is not None
        or (remedy.patch.get("network") or {}).get("weights") == "uploaded"
        for remedy in own
    )
    if not has_backbone and spec.initial is None and all(remedy.patch.get("initial") is None for remedy in own):
        return asked.splits
    if asked.splits == "resampled":
        raise InvalidSpec.at(
            "/splits",
            "`resampled` re-splits train and validation, but the weights of an uploaded model or of another job may "
            "have been trained on images that would become validation images. Use `fixed`.",
        )
    return "fixed"


def pick_remedies(session: Session, blobs: Blobs, base: RemedyBase, job: JobRow | None) -> tuple[str, ...]:
    """Choose the remedies that `auto` stands for, from training and validation results only.

    Args:
        job: the job that the base's spec belongs to, if any.
    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    if job is None:
        return choose_remedies(base)
    diagnosis = diagnose_job(session, blobs, job, splits=WITHOUT_TEST, is_strict=True)
    dataset = session.get_one(DatasetRow, job.dataset_id)
    base = replace(base, has_photographs=has_photographs(session, dataset, read_audit(session, blobs, dataset)))
    return choose_remedies(
        base, diagnosis.verdict, [finding.code for finding in diagnosis.findings if finding.severity != "info"]
    )


def make_base(session: Session, owner: str, spec: JobSpec, train_images: int | None) -> RemedyBase:
    """Make the base that remedies are applied to, from a spec that trains on this many images."""
    model = spec.network.model if isinstance(spec.network, OwnNetworkSpec) else None
    facts = find_network_facts(session, owner, model)
    return RemedyBase(spec.model_dump(mode="json"), train_images, facts)


@contextmanager
def locate_refusal(pointer: str) -> Iterator[None]:
    """Point the errors of a refused spec to its place in the request."""
    try:
        yield
    except InvalidSpec as error:
        within = pointer == "/spec"
        found = [
            FieldError(pointer + field_error.pointer if within else pointer, field_error.detail)
            for field_error in error.errors
        ]
        error.errors = tuple(found)
        error.detail = error.detail if within else f"{pointer}: The spec would not be valid. {error.detail}"
        raise
