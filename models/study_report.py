"""Collects what the report of a study is made of: its view, the curves of its trainings, the gap of its base job."""

from heldout.studies.spec import BASE_ARM
from heldout.views.diagnosis import DiagnosisView
from heldout.views.study import StudyView
from heldout.views.study_report import ReportBudgetView, StudyReportView
from models.blobs import Blobs
from models.database import Session
from models.job_diagnosis import diagnosis_of
from models.reports.build import report_of
from models.store import metrics
from models.tables import JobRow


def study_report(session: Session, blobs: Blobs, owner: str, study: StudyView) -> StudyReportView:
    """The report of an owner's study as it stands.

    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    jobs = [job for arm in study.arms for job in arm.jobs]
    return report_of(study, metrics.curves_of(session, jobs), _gaps_of(session, blobs, owner, study))


def _gaps_of(session: Session, blobs: Blobs, owner: str, study: StudyView) -> list[ReportBudgetView]:
    """Of the job whose spec is the base, if it was tested. A study's own jobs never are, one by one."""
    job = None if study.job is None else session.get(JobRow, study.job)
    if job is None or job.owner != owner:
        return []
    gap = DiagnosisView.of(diagnosis_of(session, blobs, job)).gap
    return [] if gap is None else [ReportBudgetView.of(BASE_ARM, job.id, gap)]
