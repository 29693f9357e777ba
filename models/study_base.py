"""What a study asks of its base: whether the data are in order, which remedies suit it; and how an order is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from heldout.diagnosis import WITHOUT_TEST
from heldout.diagnosis.data_first import get_fix, select_first_fixes
from heldout.errors import DataFirst, FieldError, InvalidSpec
from heldout.remedies.automatic import choose_remedies
from heldout.remedies.change import RemedyBase
from heldout.spec.job import JobSpec
from heldout.studies.spec import NamedPatch, StudySpec
from models.blobs import Blobs
from models.database import Session
from models.job_diagnosis import diagnose_job_wholly
from models.split_counts import count_splits
from models.tables import DatasetRow, JobRow


def require_fixed(session: Session, blobs: Blobs, job: JobRow, asked: StudySpec | None = None) -> None:
    """Refuse to compare remedies where copies, another order of labels or other pixel values come first.

    This may know what the test split has shown: it chooses no remedy.

    Args:
        asked: the order that is refused, which the choices repeat.
    Raises:
        DataFirst, StorageUnavailable, FileOfLaterRelease.
    """
    found = select_first_fixes(diagnose_job_wholly(session, blobs, job))
    if not found:
        return
    dataset = session.get_one(DatasetRow, job.dataset_id)
    faults = [(finding.code, finding.explanation) for finding in found]
    order = {"job": job.id} if asked is None else asked.model_dump(mode="json", exclude_defaults=True)
    raise DataFirst(job.id, dataset.id, faults, get_fix(found), order)


def resolve_splits(spec: JobSpec, asked: StudySpec) -> Literal["auto", "fixed", "resampled"]:
    """What is asked for; `fixed` where a choice is left and an arm starts from weights of another job or model.

    Those may have been trained on any image, also on those that validate in a fold.
    """
    own = [remedy for remedy in asked.remedies if isinstance(remedy, NamedPatch)]
    has_backbone = spec.network.backbone is not None or any(
        (remedy.patch.get("network") or {}).get("backbone") is not None for remedy in own
    )
    if not has_backbone and spec.initial is None and all(remedy.patch.get("initial") is None for remedy in own):
        return asked.splits
    if asked.splits == "resampled":
        raise make_refusal(
            "/splits",
            "`resampled` cuts train and validation anew, and the weights that `initial` or `network.backbone` names "
            "may have been trained on images that would then validate. Ask for `fixed`.",
        )
    return "fixed"


def pick_remedies(
    session: Session, blobs: Blobs, spec: JobSpec, job: JobRow | None, *, train_images: int
) -> tuple[str, ...]:
    """The names of the remedies that `auto` stands for, from training and validation alone.

    Args:
        job: whose spec it is; None where there is none.
        train_images: on how many the spec trains.
    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    base = RemedyBase(spec.model_dump(mode="json"), train_images)
    if job is None:
        return choose_remedies(base)
    diagnosis = diagnose_job_wholly(session, blobs, job, splits=WITHOUT_TEST)
    return choose_remedies(
        base, diagnosis.verdict, [finding.code for finding in diagnosis.findings if finding.severity != "info"]
    )


def make_base(dataset: DatasetRow, spec: JobSpec) -> RemedyBase:
    """What remedies read of a spec that trains on this dataset."""
    counts = count_splits(dataset, spec)
    return RemedyBase(spec.model_dump(mode="json"), None if counts is None else counts["train"])


@contextmanager
def locate_refusal(pointer: str) -> Iterator[None]:
    """Say of a refused spec where the request has it."""
    try:
        yield
    except InvalidSpec as error:
        within = pointer == "/spec"
        found = [
            FieldError(pointer + field_error.pointer if within else pointer, field_error.detail)
            for field_error in error.errors
        ]
        error.errors = tuple(found)
        error.detail = error.detail if within else f"{pointer}: the spec would not be valid. {error.detail}"
        raise


def make_refusal(pointer: str, detail: str) -> InvalidSpec:
    return InvalidSpec(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])
