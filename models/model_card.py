"""Builds the model card of a job from its stored data."""

from analysis.reports.card import CardFacts, SharedModelFacts, build_card
from analysis.reports.contents import build_document
from analysis.reports.markdown import render_markdown
from heldout.errors import JobNotFound
from heldout.views.diagnosis import DiagnosisView
from heldout.work.kinds import JobKind
from models.blobs import Blobs
from models.database import Session
from models.job_diagnosis import diagnose_job
from models.specs import read_training_spec
from models.store import metrics
from models.stored_files import read_audit, read_unless_lost
from models.study_report import build_study_report
from models.tables import DatasetRow, JobRow, StudyRow
from models.tables_models import ModelRow
from models.views.job import build_job_view
from models.views.study import build_study_view


def collect_model_card(session: Session, blobs: Blobs, job_id: str) -> str:
    """Build the card of any owner's job. For the evaluation of a study's ensemble, build the study's report.

    Raises:
        JobNotFound. Also everything that `build_model_card` raises.
    """
    job = session.get(JobRow, job_id)
    if job is None:
        raise JobNotFound(job_id)
    dataset = session.get_one(DatasetRow, job.dataset_id)
    if job.kind is not JobKind.EVALUATE:
        return build_model_card(session, blobs, job, dataset)
    study = session.get_one(StudyRow, job.study_id)
    return render_markdown(build_document(build_study_report(session, blobs, study, build_study_view(study, dataset))))


def build_model_card(session: Session, blobs: Blobs, job: JobRow, dataset: DatasetRow) -> str:
    """Build the Markdown card of a job with a model.

    Raises:
        SpecUnreadable, StorageUnavailable, FileOfLaterRelease.
    """
    facts = CardFacts(
        job=build_job_view(job, dataset),
        final=metrics.get_final(session, job.id),
        diagnosis=DiagnosisView.of(diagnose_job(session, blobs, job), dataset_id=dataset.id),
        audit=read_unless_lost([], lambda: read_audit(session, blobs, dataset)),  # the diagnosis reports a lost audit
        classes=dataset.classes or (),
        shape=dataset.shape or (0, 0, 0),
        value_range=dataset.value_range or (0, 0),
        splits=dataset.splits or {},
        dataset_sha256=dataset.sha256,
        is_bundled=dataset.owner is None,
        shared_models=_list_shared_models(session, job),
    )
    return render_markdown(build_card(facts))


def _list_shared_models(session: Session, job: JobRow) -> list[SharedModelFacts]:
    """List the shared models that the spec names, also those that have been withdrawn."""
    spec = read_training_spec(job)
    named = {spec.network.uploaded_model, None if spec.initial is None else spec.initial.model} - {None}
    rows = [session.get(ModelRow, model_id) for model_id in sorted(filter(None, named))]
    return [
        SharedModelFacts(row.id, row.name, row.license or "", row.source or "")
        for row in rows
        if row is not None and row.owner is None
    ]
