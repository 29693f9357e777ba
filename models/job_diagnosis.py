"""Diagnoses a job: collects its stored data and passes it to `heldout.diagnosis`."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from heldout.diagnosis import ALL_SPLITS, Diagnosis, Evaluation, diagnose
from heldout.diagnosis.evaluation import build_from_final
from heldout.diagnosis.findings import NOT_STARTED
from heldout.diagnosis.history import History, measures_training_at_end, read_history
from heldout.errors import FileOfLaterRelease, HeldoutError, StorageUnavailable
from heldout.lifecycle.job import JobStatus
from heldout.proofs.outcomes import NOTHING_TRIED
from heldout.spec.job import trains_on_all
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.gap import StoredGap
from models.blobs import Blobs
from models.database import Session
from models.initial_weights import find_network_facts
from models.pretrained import has_photographs
from models.store import artifacts, metrics, proofs
from models.store.claims import Result
from models.stored_files import (
    read_artifact,
    read_audit,
    read_looks,
    read_unless_lost,
    read_wrong_labels,
)
from models.tables import DatasetRow, EpochRow, JobRow

CURVES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy")


def diagnose_job(
    session: Session,
    blobs: Blobs,
    job: JobRow,
    *,
    splits: AbstractSet[str] = ALL_SPLITS,
    result: Result | None = None,
    is_strict: bool = False,
    with_proof: bool = True,
) -> Diagnosis:
    """Diagnose a job from its epochs so far, its dataset's audit, and the predictions of its kept weights.

    A queued job without epochs is not diagnosed. Lost or damaged files are left out and listed in `left_out`.

    Args:
        splits: the splits that may be used. Automatic choices pass `heldout.diagnosis.WITHOUT_TEST`.
        result: the result of a training that is about to succeed, which is not stored yet.
        is_strict: for an automatic choice: leave nothing out, and judge a job without epochs by the audit alone.

        with_proof: whether the experiments that have been tried for it count.
    Raises:
        StorageUnavailable, FileOfLaterRelease.
        DatasetLost, DatasetDamaged, ArtifactLost, ArtifactDamaged: if it is strict.
    """
    epochs = metrics.list_epochs(session, job.id)
    if job.status == JobStatus.QUEUED and not (epochs or is_strict):
        return NOT_STARTED
    left_out: list[HeldoutError] = []
    dataset = session.get_one(DatasetRow, job.dataset_id)
    # First, because reading it takes the most memory.
    evaluation = _build_evaluation(session, blobs, job, dataset, result, left_out)
    audit = read_unless_lost(left_out, lambda: read_audit(session, blobs, dataset))
    looks = read_unless_lost(left_out, lambda: read_looks(session, blobs, dataset))
    history = _build_history(epochs, job.spec)
    found = diagnose(
        history,
        None if audit is None else audit.findings,
        evaluation,
        job.spec,
        splits=splits,
        labels=read_unless_lost(left_out, lambda: read_wrong_labels(session, blobs, dataset)),
        group_rule=None if looks is None else looks.group_rule,
        outcomes=proofs.read_outcomes(session, job.id) if with_proof else NOTHING_TRIED,
        network=find_network_facts(session, job.owner, (job.spec.get("network") or {}).get("model")),
        has_photographs=has_photographs(session, dataset, audit),
    )
    if is_strict and left_out:
        raise left_out[0]
    return replace(found, left_out=tuple(left_out))


def may_call_proven(session: Session, blobs: Blobs, job: JobRow) -> bool:
    """Whether nothing contradicts that experiments prove the job's verdict: the diagnosis may know why no one can tell.

    True if its files cannot be read now.
    """
    try:
        return diagnose_job(session, blobs, job).is_proven
    except (StorageUnavailable, FileOfLaterRelease):
        return True


def _build_history(epochs: Sequence[EpochRow], spec: Mapping[str, Any]) -> History:
    """Build the curves of the job's epochs. `fit`'s curves replace those of training if it is measured at the end."""
    # Null means not finite, so figures that were never measured must be left out.
    unmeasured = [("train_", measures_training_at_end(spec)), ("validation_", trains_on_all(spec))]
    # A focal loss is far below the cross-entropy that is measured on validation images.
    unmeasured.append(("fit_loss", spec["training"].get("loss", {}).get("name") == "focal"))
    left_out = tuple(prefix for prefix, is_left_out in unmeasured if is_left_out)
    names = [name for name in CURVES if not name.startswith(left_out)]
    history = read_history([{name: getattr(row, name) for name in names} for row in epochs])
    return replace(history, looks=metrics.read_looks(epochs))


def _build_evaluation(
    session: Session,
    blobs: Blobs,
    job: JobRow,
    dataset: DatasetRow,
    result: Result | None,
    left_out: list[HeldoutError],
) -> Evaluation | None:
    if result is not None:
        final = result.final
        files = {artifact.name: artifact for artifact in result.artifacts}
        scores, gap = files.get(ArtifactName.EVALUATION), files.get(ArtifactName.GAP)
    elif (stored := metrics.get_final(session, job.id)) is not None:
        final = stored
        scores, gap = (
            artifacts.find(session, job.id, name, ArtifactFormat.JSON)
            for name in (ArtifactName.EVALUATION, ArtifactName.GAP)
        )
    else:
        return None
    return build_from_final(
        final,
        dataset.classes or (),
        read_unless_lost(left_out, lambda: read_artifact(blobs, scores, StoredEvaluation)),
        read_unless_lost(left_out, lambda: read_artifact(blobs, gap, StoredGap)),
    )
