"""Heatmaps of a training's images: finds or orders them, and draws them over the images."""

from typing import Literal

from analysis.arrays.heatmaps import draw_heatmaps, read_maps
from heldout import errors
from heldout.lifecycle.job import TERMINAL, FailureCode, JobStatus
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.blob_files import guard_reading
from models.blobs import BlobMissing, Blobs, raise_if_missing
from models.database import Database, Session
from models.predictions import find_answer
from models.store import accounts, artifacts, heatmaps, jobs
from models.store.keys import Caller
from models.stored_files import read_image
from models.tables import DatasetRow, JobRow

ShownMap = Literal["answer", "label", "both"]


def find_or_order(
    database: Database, blobs: Blobs, caller: Caller, job_id: str, index: int, *, again: bool = False
) -> JobRow:
    """Find the job that computes an image's heatmap, or order it if it was never requested, or its file is lost.

    Args:
        again: also order it if the last one has failed.
    Raises:
        JobNotFound, NotReady, NoModel.
        ImageNotFound: if the job has not answered the image, or the dataset was deleted.
        PredictionsLost, ArtifactDamaged, StorageUnavailable.
        QuotaExceeded, OwnerSuspended.
    """
    with database.read() as session:
        training, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
        known = heatmaps.find(session, caller.owner, job_id, index)
        if known is not None and not _is_needed(session, blobs, known, again=again):
            return known
        classes = _find_classes(session, blobs, training, dataset, index)
    with database.write() as session:
        accounts.note_key(session, caller.key_id)
        heatmaps.queue(session, jobs.find(session, caller.owner, job_id), index, classes, instead_of=known)
    with database.read() as session:
        ordered = heatmaps.find(session, caller.owner, job_id, index)
    if ordered is None:
        raise errors.JobNotFound(job_id)  # deleted meanwhile
    return ordered


def _find_classes(session: Session, blobs: Blobs, training: JobRow, dataset: DatasetRow, index: int) -> tuple[int, ...]:
    """Find the answer and the label of an image: one class if they are the same."""
    predictions = artifacts.find(session, training.id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if predictions is None or artifacts.find_model(session, training) is None:
        raise artifacts.make_missing_error(training, "predictions" if predictions is None else "model")
    if dataset.sha256 is None:
        raise errors.ImageNotFound(f"Dataset {dataset.name!r} was deleted with its images, so none can be shown.")
    with raise_if_missing(errors.PredictionsLost(training.id)):
        found = find_answer(blobs, predictions, index)
    if found is None:
        raise errors.ImageNotFound(
            f"Job {training.id} has not answered image {str(index)[:20]}. A job answers the images that it trains on "
            "and is measured on; those of test only if `evaluation.test` is not `never`."
        )
    return tuple(dict.fromkeys(found))


def _is_needed(session: Session, blobs: Blobs, known: JobRow, *, again: bool) -> bool:
    """Whether a heatmap must be computed again: its file is lost or damaged, or it failed and is wanted again."""
    if known.status is not JobStatus.SUCCEEDED:
        return again and known.status in TERMINAL
    stored = artifacts.find(session, known.id, ArtifactName.HEATMAP, ArtifactFormat.NPZ)
    try:
        if stored is not None:
            blobs.require_whole(stored.key, stored.digest)
    except (BlobMissing, errors.ArtifactDamaged):
        return True
    return stored is None


def draw(database: Database, blobs: Blobs, caller: Caller, heatmap: JobRow, of: ShownMap) -> bytes:
    """Draw a heatmap that has ended over its image. Returns a PNG.

    Raises:
        NoMap, HeatmapFailed, ModelLost, DatasetLost, DatasetDamaged, ArtifactDamaged: if it failed.
        ArtifactLost, ImageNotFound, StorageUnavailable, JobNotFound.
    """
    job_id, index = heatmap.spec["job_id"], heatmap.spec["index"]
    with database.read() as session:
        _, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
        if heatmap.status is not JobStatus.SUCCEEDED:
            raise _explain_failure(heatmap, dataset)
        stored = artifacts.find(session, heatmap.id, ArtifactName.HEATMAP, ArtifactFormat.NPZ)
        if stored is None:
            raise errors.JobNotFound(job_id)  # deleted meanwhile
        if dataset.sha256 is None:
            raise errors.ImageNotFound(f"Dataset {dataset.name!r} was deleted with its images, so none can be shown.")
        with raise_if_missing(errors.ArtifactLost("the heatmap", job_id)):
            content = blobs.read(stored.key, stored.digest)
        image = read_image(session, blobs, dataset, index)
    with guard_reading(stored.key):
        maps = read_maps(content)
    low, high = dataset.value_range or (0, 255)
    chosen = {"answer": maps[:1], "label": maps[-1:], "both": maps}[of]
    return draw_heatmaps(image, (low, high), list(chosen))


def _explain_failure(heatmap: JobRow, dataset: DatasetRow) -> errors.HeldoutError:
    """Make the error that explains a heatmap that failed or was cancelled."""
    job_id, index = heatmap.spec["job_id"], heatmap.spec["index"]
    failure = heatmap.error or {}
    code, why = failure.get("code"), str(failure.get("detail", "It was cancelled."))
    if code == FailureCode.NO_MAP:
        return errors.NoMap(job_id, why)
    if code == FailureCode.MODEL_UNAVAILABLE:
        return errors.ModelLost(job_id)
    if code == FailureCode.DATASET_UNAVAILABLE:
        return errors.DatasetLost(dataset.name)
    if code == FailureCode.DATASET_DAMAGED:
        return errors.DatasetDamaged(why)
    if code == FailureCode.ARTIFACT_DAMAGED:
        return errors.ArtifactDamaged(why)
    return errors.HeatmapFailed(job_id, index, why)
