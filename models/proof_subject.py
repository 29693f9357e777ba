"""Collects what a proof knows about its job: figures, causes with their probabilities, and what can be continued."""

from collections.abc import Mapping
from typing import Any

from heldout.diagnosis import Diagnosis
from heldout.errors import ArtifactLost, JobNotFinished, NothingToProve
from heldout.lifecycle.job import TERMINAL, StopReason
from heldout.proofs.experiment import Subject
from heldout.proofs.figures import Figures, Split, pack_right
from heldout.proofs.planning import spread_probabilities
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.results import SplitResult
from models.blobs import Blobs, raise_if_missing
from models.database import Session
from models.digests import describe
from models.job_diagnosis import diagnose_job
from models.predictions import read_right
from models.specs import count_splits, read_training_spec
from models.store import artifacts, claims, metrics
from models.stored_files import read_unless_lost
from models.tables import DatasetRow, JobRow

# How many remedies of the first cause a flip test tries.
MAX_PATCHES = 2


def make_subject(session: Session, blobs: Blobs, job: JobRow) -> Subject:
    """Collect what a proof needs to know about an ended job. Raises JobNotFinished, NothingToProve."""
    if job.status not in TERMINAL:
        raise JobNotFinished(job.id, job.status)
    dataset = session.get_one(DatasetRow, job.dataset_id)
    spec = read_training_spec(job)
    counts = count_splits(dataset, spec)
    figures = _collect_figures(session, blobs, job, counts or {})
    if figures is None or counts is None:
        raise NothingToProve(job.id)
    found = diagnose_job(session, blobs, job, with_proof=False)
    can_continue = (
        job.stop_reason == StopReason.COMPLETED
        and not spec.training.schedule.depends_on_epochs
        and bool(claims.get_checkpoints(session, job.id))
    )
    codes = [cause.code for cause in found.causes]
    return Subject(
        spec=spec.model_dump(mode="json"),
        counts=counts,
        figures=figures,
        verdict=found.verdict,
        probabilities=spread_probabilities(found.verdict, found.confidence, codes),
        patches=_list_patches(found),
        can_continue=can_continue,
        stopped_early=job.stop_reason in {StopReason.EARLY_STOPPED, StopReason.OVERFIT_GUARD},
    )


def _list_patches(found: Diagnosis) -> dict[str, Mapping[str, Any]]:
    remedies = [remedy for finding in found.findings if finding.code == found.verdict for remedy in finding.remedies]
    patches = {remedy.name: remedy.patch for remedy in remedies if remedy.patch}
    return dict(list(patches.items())[:MAX_PATCHES])


def _collect_figures(session: Session, blobs: Blobs, job: JobRow, counts: Mapping[str, int]) -> Figures | None:
    """The figures of the kept weights; of a job without a model, those of its last epoch; None if there are none."""
    final = metrics.get_final(session, job.id)
    if final is not None:
        validation = None if final.validation is None else make_split(final.validation)
        return Figures(make_split(final.train), validation, _read_right(session, blobs, job), job.epoch)
    epochs = metrics.list_epochs(session, job.id)
    if not epochs:
        return None
    last, known = epochs[-1], None
    accuracy = last.train_accuracy if last.train_accuracy is not None else last.fit_accuracy
    if last.validation_accuracy is not None:
        known = Split(last.validation_accuracy, last.validation_loss, counts.get("validation", 0))
    return Figures(Split(accuracy or 0.0, last.train_loss, counts.get("train", 0)), known, "", last.epoch)


def _read_right(session: Session, blobs: Blobs, job: JobRow) -> str:
    """Read which validation images the kept weights get right. Without the file, images count as not paired."""
    predictions = artifacts.find(session, job.id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if predictions is None:
        return ""
    lost = ArtifactLost(describe(predictions.key), job.id)

    def read() -> list[bool]:
        with raise_if_missing(lost):
            return read_right(blobs, predictions, "validation") or []

    return pack_right(read_unless_lost([], read) or [])


def make_split(result: SplitResult) -> Split:
    return Split(result.accuracy, result.loss, result.count)
