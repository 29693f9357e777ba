"""What a study asks of the job whose spec is its base: whether its data are in order, and which remedies suit it."""

from heldout.diagnosis import WITHOUT_TEST
from heldout.diagnosis.data_first import mend_of, mended_first
from heldout.errors import DataFirst
from heldout.remedies.automatic import automatic
from heldout.remedies.change import Base
from heldout.spec import JobSpec
from models.blobs import Blobs
from models.database import Session
from models.job_diagnosis import whole_diagnosis_of
from models.split_counts import counts_of
from models.tables import DatasetRow, JobRow


def require_mended(session: Session, blobs: Blobs, job: JobRow) -> None:
    """Refuse to compare remedies where copies, another order of labels or other pixel values come first.

    This may know what the test split has shown: it chooses no remedy.

    Raises:
        DataFirst, StorageUnavailable, FileOfLaterRelease.
    """
    found = mended_first(whole_diagnosis_of(session, blobs, job))
    if not found:
        return
    dataset = session.get_one(DatasetRow, job.dataset_id)
    raise DataFirst(job.id, dataset.id, [(one.code, one.explanation) for one in found], mend_of(found))


def automatic_remedies(
    session: Session, blobs: Blobs, spec: JobSpec, job: JobRow | None, *, train_images: int
) -> tuple[str, ...]:
    """The names of the remedies that `auto` stands for, from training and validation alone.

    Args:
        job: whose spec it is; None where there is none.
        train_images: on how many the spec trains.
    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    base = Base(spec.model_dump(mode="json"), train_images)
    if job is None:
        return automatic(base)
    diagnosis = whole_diagnosis_of(session, blobs, job, splits=WITHOUT_TEST)
    return automatic(base, diagnosis.verdict, [one.code for one in diagnosis.findings if one.severity != "info"])


def base_of(dataset: DatasetRow, spec: JobSpec) -> Base:
    """What remedies read of a spec that trains on this dataset."""
    counts = counts_of(dataset, spec)
    return Base(spec.model_dump(mode="json"), None if counts is None else counts["train"])
