"""Builds the map of a dataset's images, on which the mistakes of a job can be marked."""

from typing import Any

from heldout.errors import DatasetLost, InvalidParameter, PredictionsLost
from heldout.lifecycle.resources import SearchStatus
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.views.looks import MapView
from heldout.views.study import StudyView
from heldout.words.labels import describe_remedy
from models.blobs import Blobs, raise_if_missing
from models.database import Session
from models.predictions import read_answers
from models.store import artifacts, jobs
from models.stored_files import read_labels, read_looks, read_picture, read_splits, read_unless_lost
from models.tables import DatasetRow, JobRow
from models.views.looks import Answers, build_map_view, describe_state


def read_map(
    session: Session, blobs: Blobs, owner: str, dataset: DatasetRow, state: dict[str, Any], job_id: str | None = None
) -> MapView:
    """Read the map of a dataset whose features are stored.

    Args:
        state: fields of `LooksView`.
        job_id: the owner's job whose answers the points get.
    Raises:
        BlobMissing, DatasetDamaged, StorageUnavailable, FileOfLaterRelease, and whatever `_read_answers` raises.
    """
    picture, looks = read_picture(session, blobs, dataset), read_looks(session, blobs, dataset)
    labels = read_labels(session, blobs, dataset.sha256 or "")
    splits = read_splits(session, blobs, dataset.sha256 or "")
    answers = None if job_id is None else _read_answers(session, blobs, owner, dataset, job_id)
    return build_map_view(state, dataset, looks, picture, labels.tolist(), splits, answers)


def find_map(session: Session, blobs: Blobs, owner: str, job: JobRow) -> MapView | None:
    """Read the map with a job's answers; None if there are no features or answers, or if they are lost."""
    dataset = jobs.get_dataset(session, job)
    predictions = artifacts.find(session, job.id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if dataset.features_status is not SearchStatus.STORED or predictions is None:
        return None
    state = describe_state(dataset, None, is_available=True)

    def read() -> MapView:
        with raise_if_missing(DatasetLost(dataset.name)):
            return read_map(session, blobs, owner, dataset, state, job.id)

    return read_unless_lost([], read)


def find_maps(session: Session, blobs: Blobs, owner: str, study: StudyView) -> dict[str, MapView]:
    """Read the maps of a study's base and winner, each with the answers of its first training.

    Empty if the study has no dataset, as one of trainings that run elsewhere.
    """
    if study.dataset is None:
        return {}
    arms = {describe_remedy(arm.name): arm for arm in (study.arms[0], study.winner) if arm is not None and arm.jobs}
    found = {name: session.get(JobRow, arm.jobs[0]) for name, arm in arms.items()}
    maps = {name: find_map(session, blobs, owner, job) for name, job in found.items() if job is not None}
    return {name: shown for name, shown in maps.items() if shown is not None}


def _read_answers(session: Session, blobs: Blobs, owner: str, dataset: DatasetRow, job_id: str) -> Answers:
    """Read a job's answers to images of a dataset.

    Raises:
        JobNotFound, NotReady, NoModel, PredictionsLost, ArtifactDamaged, StorageUnavailable.
        InvalidParameter: the job used other images.
    """
    job = jobs.find(session, owner, job_id)
    if job.dataset_id != dataset.id and jobs.get_dataset(session, job).sha256 != dataset.sha256:
        raise InvalidParameter(
            f"Job {job_id} used images of another dataset or version, {job.dataset_id}. Ask for the map of that one."
        )
    predictions = artifacts.find(session, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if predictions is None:
        raise artifacts.make_missing_error(job, "predictions")
    with raise_if_missing(PredictionsLost(job_id)):
        return read_answers(blobs, predictions)
