"""Builds the report of a study, and the model card of a job, from what is stored."""

from collections.abc import Mapping
from typing import Any

from analysis.reports.budgets import compute_mean_budget
from analysis.reports.card import CardFacts, SharedModelFacts, build_card
from analysis.reports.changes import build_report
from analysis.reports.contents import build_document
from analysis.reports.key_figures import list_study_figures, sum_confusions
from heldout import errors
from heldout.diagnosis.gap import compute_gap
from heldout.documents.blocks import Document
from heldout.documents.markdown import render_markdown
from heldout.errors.missing import UNUSABLE
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.gap import GapOnTest, StoredGap
from heldout.studies.spec import BASE_ARM
from heldout.views.diagnosis import DiagnosisView
from heldout.views.study import StudyView
from heldout.views.study_report import ReportBudgetView, ReportFiguresView, StudyReportView
from heldout.work.kinds import JobKind
from models.blobs import Blobs
from models.database import Session
from models.job_diagnosis import diagnose_job
from models.specs import read_training_spec
from models.store import artifacts, metrics, models
from models.stored_files import find_and_read, read_audit, read_unless_lost
from models.tables import DatasetRow, JobRow, StudyRow
from models.views.job import build_job_view
from models.views.study import build_study_view

# Why a report has no gaps.
_NO_GAPS: tuple[type[errors.HeldoutError], ...] = (*UNUSABLE, errors.StorageUnavailable, errors.FileOfLaterRelease)


def build_study_report(session: Session, blobs: Blobs, row: StudyRow, study: StudyView) -> StudyReportView:
    """Build the report of a study in any status. If files of gaps cannot be read, the report says why.

    Args:
        row, study: the study's row and its view.
    """
    if row.base_job is not None and session.get(JobRow, row.base_job) is None:
        study = study.model_copy(update={"job": None})  # commands that name a deleted job would be refused
    curves = metrics.get_curves(session, [job for arm in study.arms for job in arm.jobs])
    figures = _list_key_figures(session, blobs, row, study)
    try:
        gaps = _list_gaps(session, blobs, row, study)
        base = None if gaps and figures else _diagnose_base_job(session, blobs, row)
    except _NO_GAPS as error:
        return build_report(study, curves, gaps_missing=error.detail, figures=figures)
    if base is not None and base.figures and not figures:
        figures = [ReportFiguresView(arm=BASE_ARM, trainings=1, figures=base.figures)]
    if base is not None and base.gap is not None and not gaps:
        gaps = [ReportBudgetView.of(BASE_ARM, row.base_job, base.gap)]
    return build_report(study, curves, gaps, figures=figures)


def _list_key_figures(session: Session, blobs: Blobs, row: StudyRow, study: StudyView) -> list[ReportFiguresView]:
    """List the key figures of base and winner. Answers that cannot be read are left out."""
    dataset = None if row.dataset_id is None else session.get(DatasetRow, row.dataset_id)
    confusions = {}
    for arm in (study.arms[0], study.winner):
        if dataset is None or arm is None:
            continue
        try:
            stored = [find_and_read(session, blobs, job, StoredEvaluation) for job in arm.jobs]
        except _NO_GAPS:
            continue
        matrices = [
            file.splits["validation"].confusion for file in stored if file is not None and "validation" in file.splits
        ]
        confusions[arm.name] = sum_confusions(matrices)
    return list_study_figures(study, () if dataset is None else dataset.classes or (), confusions)


def _list_gaps(session: Session, blobs: Blobs, row: StudyRow, study: StudyView) -> list[ReportBudgetView]:
    """List the gaps of base and winner once they were tested."""
    on_test: Mapping[str, Any] = row.found.get("gaps_on_test") or {}
    winner = None if study.conclusion is None else study.conclusion.remedy
    budgets = []
    for arm in study.arms:
        if arm.name in (BASE_ARM, winner):
            measured = {job: GapOnTest.model_validate(on_test[job]) for job in arm.jobs if job in on_test}
            # Combine the gap measured at the end of each training with the later measurement on test.
            stored = {job: find_and_read(session, blobs, job, StoredGap) for job in measured}
            gaps = [compute_gap(file.add_test(measured[job])) for job, file in stored.items() if file is not None]
            known = [gap for gap in gaps if gap is not None]
            if known:
                budgets.append(compute_mean_budget(arm.name, known))
    return budgets


def _diagnose_base_job(session: Session, blobs: Blobs, row: StudyRow) -> DiagnosisView | None:
    job = None if row.base_job is None else session.get(JobRow, row.base_job)
    # With `data: fix`, the study runs on a later version of the dataset than the job did.
    if job is None or job.owner != row.owner or job.dataset_id != row.dataset_id:
        return None
    return DiagnosisView.of(diagnose_job(session, blobs, job, is_strict=True))


def collect_model_card(session: Session, blobs: Blobs, job_id: str) -> str:
    """Build the card of any owner's job. For the evaluation of a study's ensemble, build the study's report.

    Raises:
        JobNotFound. Also everything that `build_model_card` raises.
    """
    job = session.get(JobRow, job_id)
    if job is None:
        raise errors.JobNotFound(job_id)
    dataset = session.get_one(DatasetRow, job.dataset_id)
    if job.kind is not JobKind.EVALUATE:
        return render_markdown(build_model_card(session, blobs, job, dataset))
    study = session.get_one(StudyRow, job.study_id)
    return render_markdown(build_document(build_study_report(session, blobs, study, build_study_view(study, dataset))))


def build_model_card(session: Session, blobs: Blobs, job: JobRow, dataset: DatasetRow) -> Document:
    """Build the card of a job with a model.

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
    return build_card(facts)


def _list_shared_models(session: Session, job: JobRow) -> list[SharedModelFacts]:
    """List the shared models that the spec names, also those that have been withdrawn."""
    spec = read_training_spec(job)
    named = [name for name in (spec.network.uploaded_model, spec.initial and spec.initial.model) if name]
    file = artifacts.find(session, job.id, ArtifactName.BACKBONE, ArtifactFormat.KERAS)
    rows = models.list_used_shared(session, named, None if file is None else file.sha256)
    return [SharedModelFacts(row.id, row.name, row.license or "", row.source or "") for row in rows]
