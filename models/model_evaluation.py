"""Creates evaluations of uploaded models, and diagnoses them without training curves."""

from dataclasses import replace

from heldout.diagnosis import Diagnosis, Evaluation, diagnose
from heldout.diagnosis.evaluation import SplitFigures, make_split_figures
from heldout.diagnosis.history import History
from heldout.errors import HeldoutError, ModelDoesNotFit
from heldout.stored.evaluation import SPLIT_NAMES, StoredEvaluation
from heldout.stored.gap import StoredGap
from heldout.stored.results import Measurement, SplitsResult
from models.blobs import Blobs
from models.database import Session
from models.initial_weights import get_usable_model
from models.job_creation import find_named_dataset
from models.store import datasets, model_evaluations, quotas
from models.stored_files import find_and_read, read_audit, read_looks, read_unless_lost
from models.tables import DatasetRow, JobRow


def create_evaluation(session: Session, owner: str, model_id: str, dataset: str) -> tuple[JobRow, DatasetRow]:
    """Queue an evaluation.

    Raises:
        QuotaExceeded, OwnerSuspended.
        SpecModelNotFound, ModelUnavailable, ModelDoesNotFit, SpecDatasetNotFound, DatasetUnavailable.
    """
    quotas.require_room(session, owner, *quotas.OF_NEW_JOBS)
    model, facts = get_usable_model(session, owner, model_id)
    ready = datasets.require_ready(find_named_dataset(session, owner, dataset))
    if (misfit := facts.explain_misfit(ready.image, len(ready.classes))) is not None:
        raise ModelDoesNotFit(misfit)
    return model_evaluations.queue(session, owner, model, facts, ready.row), ready.row


def diagnose_evaluation(
    session: Session, blobs: Blobs, evaluation: JobRow, dataset: DatasetRow, measured: Measurement
) -> Diagnosis:
    """Diagnose an evaluation from its figures and its dataset's audit. Lost or damaged files are left out.

    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    left_out: list[HeldoutError] = []
    audit = read_unless_lost(left_out, lambda: read_audit(session, blobs, dataset))
    scores = read_unless_lost(left_out, lambda: find_and_read(session, blobs, evaluation.id, StoredEvaluation))
    gap = read_unless_lost(left_out, lambda: find_and_read(session, blobs, evaluation.id, StoredGap))
    known = Evaluation(
        _collect_figures(measured.metrics, scores),
        tuple(dataset.classes or ()),
        gap=gap,
        calibration=None if gap is None else gap.calibration,
        preprocessing=measured.preprocessing,
        as_given={} if measured.as_given is None else _collect_figures(measured.as_given, None),
    )
    looks = read_unless_lost(left_out, lambda: read_looks(session, blobs, dataset))
    findings, rule = None if audit is None else audit.findings, None if looks is None else looks.group_rule
    found = diagnose(History(), findings, known, group_rule=rule)
    return replace(found, left_out=tuple(left_out))


def _collect_figures(measured: SplitsResult, scores: StoredEvaluation | None) -> dict[str, SplitFigures]:
    found: dict[str, SplitFigures] = {}
    for name in SPLIT_NAMES:
        figures = getattr(measured, name)
        if figures is not None:
            found[name] = make_split_figures(figures, None if scores is None else scores.splits.get(name))
    return found
