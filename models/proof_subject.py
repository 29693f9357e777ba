"""Collects what a proof knows about its job: figures, causes with their probabilities, and what can be continued."""

from collections.abc import Mapping, Sequence
from typing import Any

from heldout.diagnosis import Diagnosis
from heldout.diagnosis.proven import list_faults, list_tiers
from heldout.diagnosis.rules.learning import has_high_rate
from heldout.errors import ArtifactLost, JobNotFinished, NothingToProve
from heldout.lifecycle.job import TERMINAL, StopReason
from heldout.proofs.experiment import Subject
from heldout.proofs.figures import Figures, Split, pack_right
from heldout.proofs.planning import spread_probabilities
from heldout.proofs.thresholds import MAX_LEFT_OUT
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.audit import StoredSuspects
from heldout.stored.results import FinalView, SplitResult
from models.blobs import Blobs, raise_if_missing
from models.database import Session
from models.digests import describe
from models.job_diagnosis import diagnose_job
from models.predictions import read_right
from models.specs import count_splits, read_training_spec
from models.store import artifacts, claims, metrics
from models.stored_files import list_copied_images, read_suspects, read_unless_lost
from models.tables import DatasetRow, JobRow

Recalls = tuple[tuple[int, int], ...]

# How many remedies of the first cause a flip test tries.
MAX_PATCHES = 2
# A pretrained network helps whatever the cause was, so nothing follows from it.
_ALWAYS_HELP = frozenset({"pretrained", "fine_tuning"})


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
    tiers, faults = list_tiers(found.causes), list_faults(found)
    codes = [*tiers, *faults]
    return Subject(
        spec=spec.model_dump(mode="json"),
        counts=counts,
        figures=figures,
        verdict=found.verdict,
        probabilities=spread_probabilities(found.verdict, found.confidence, codes),
        patches=list_patches(found),
        measured=list_measured(found),
        leave_out=_list_harmful(session, blobs, dataset, spec, codes),
        can_continue=can_continue,
        stopped_early=job.stop_reason in {StopReason.EARLY_STOPPED, StopReason.OVERFIT_GUARD},
        tiers=tiers,
        suspected_split=find_suspected_split(found),
        has_high_rate=has_high_rate(job.spec),
        faults=faults,
    )


def find_suspected_split(found: Diagnosis) -> str | None:
    """Find the held-out split of which a finding says that its images are of another kind."""
    splits = (finding.evidence.get("split") for finding in found.findings if finding.code == "split_shift")
    return next((split for split in splits if split in ("validation", "test")), None)


def list_measured(found: Diagnosis) -> dict[str, tuple[float, float, float]]:
    """List what the job has measured of causes: how much they change a figure, with intervals."""
    return {
        cause.code: (cause.points, *cause.interval)
        for cause in found.causes
        if cause.tier == "figures_not_true" and cause.points is not None and cause.interval is not None
    }


def _list_harmful(
    session: Session, blobs: Blobs, dataset: DatasetRow, spec: JobSpec, codes: Sequence[str]
) -> dict[str, list[int]]:
    """List the training images with copies in other splits, and those whose label is suspected, if these are causes."""
    found = dict[str, list[int]]()
    if "leakage" in codes:
        found["copies"] = read_unless_lost([], lambda: list_copied_images(session, blobs, dataset, spec)) or []
    if "label_noise" in codes:
        suspects = read_unless_lost([], lambda: read_suspects(session, blobs, dataset, StoredSuspects))
        if suspects is not None and suspects.can_tell:
            found["suspects"] = sorted(
                image.index
                for image in suspects.suspects
                if image.split == "train" and (image.probability or 0) > 1 / 2
            )
    return {why: positions for why, positions in found.items() if 0 < len(positions) <= MAX_LEFT_OUT}


def list_patches(found: Diagnosis) -> dict[str, Mapping[str, Any]]:
    """List the changes of the spec that undo the first cause."""
    remedies = [remedy for finding in found.findings if finding.code == found.verdict for remedy in finding.remedies]
    patches = {remedy.name: remedy.patch for remedy in remedies if remedy.patch and remedy.name not in _ALWAYS_HELP}
    return dict(list(patches.items())[:MAX_PATCHES])


def _collect_figures(session: Session, blobs: Blobs, job: JobRow, counts: Mapping[str, int]) -> Figures | None:
    """The figures of the kept weights; of a job without a model, those of its last epoch; None if there are none."""
    final = metrics.get_final(session, job.id)
    if final is not None:
        right, recalls = _read_answers(session, blobs, job)
        return collect_figures(final, right, job.epoch, recalls)
    epochs = metrics.list_epochs(session, job.id)
    if not epochs:
        return None
    last, known = epochs[-1], None
    accuracy = last.train_accuracy if last.train_accuracy is not None else last.fit_accuracy
    if last.validation_accuracy is not None:
        known = Split(last.validation_accuracy, last.validation_loss, counts.get("validation", 0))
    return Figures(Split(accuracy or 0.0, last.train_loss, counts.get("train", 0)), known, "", last.epoch)


def _read_answers(session: Session, blobs: Blobs, job: JobRow) -> tuple[str, Recalls]:
    """Read which validation images the kept weights get right. Without the file, images count as not paired."""
    predictions = artifacts.find(session, job.id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if predictions is None:
        return "", ()
    lost = ArtifactLost(describe(predictions.key), job.id)

    def read() -> tuple[list[bool], Recalls]:
        with raise_if_missing(lost):
            return read_right(blobs, predictions, "validation")

    right, recalls = read_unless_lost([], read) or ([], ())
    return pack_right(right), recalls


def collect_figures(final: FinalView, right: str, epochs: int, recalls: Recalls) -> Figures:
    """The figures of a training's kept weights, from what was measured at its end."""
    validation, test = (None if split is None else _make_split(split) for split in (final.validation, final.test))
    return Figures(_make_split(final.train), validation, right, epochs, test, recalls)


def _make_split(result: SplitResult) -> Split:
    return Split(result.accuracy, result.loss, result.count)
