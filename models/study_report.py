"""Builds the report of a study from its view, the curves of its trainings, and its gaps."""

from collections.abc import Mapping
from typing import Any

from analysis.reports.build import build_report
from analysis.reports.mean_budgets import compute_mean_budget
from heldout.diagnosis.gap import Gap, compute_gap
from heldout.errors import (
    ArtifactDamaged,
    ArtifactLost,
    DatasetDamaged,
    DatasetLost,
    FileOfLaterRelease,
    StorageUnavailable,
)
from heldout.stored.artifacts import ArtifactName
from heldout.stored.gap import GapOnTest
from heldout.studies.spec import BASE_ARM
from heldout.views.diagnosis import DiagnosisView
from heldout.views.study import StudyView
from heldout.views.study_report import ReportBudgetView, StudyReportView
from models.blobs import Blobs
from models.database import Session
from models.job_diagnosis import diagnose_job_strictly
from models.store import metrics
from models.stored_files import find_json_artifact, read_gap
from models.tables import JobRow, StudyRow


def build_study_report(session: Session, blobs: Blobs, row: StudyRow, study: StudyView) -> StudyReportView:
    """Build the report of a study in any status. If files of gaps cannot be read, the report says why.

    Args:
        row, study: the study's row and its view.
    """
    curves = metrics.get_curves(session, [job for arm in study.arms for job in arm.jobs])
    try:
        gaps = _list_gaps(session, blobs, row, study)
    except (
        StorageUnavailable,
        FileOfLaterRelease,
        DatasetLost,
        ArtifactLost,
        DatasetDamaged,
        ArtifactDamaged,
    ) as error:
        return build_report(study, curves, gaps_missing=error.detail)
    return build_report(study, curves, gaps)


def _list_gaps(session: Session, blobs: Blobs, row: StudyRow, study: StudyView) -> list[ReportBudgetView]:
    """List the gaps of base and winner once they were tested; before that, the gap of the base's job, if tested."""
    on_test: Mapping[str, Any] = row.found.get("gaps_on_test") or {}
    winner = None if study.conclusion is None else study.conclusion.remedy
    budgets = []
    for arm in study.arms:
        if arm.name in (BASE_ARM, winner):
            measured = {job: GapOnTest.model_validate(on_test[job]) for job in arm.jobs if job in on_test}
            gaps = [_read_job_gap(session, blobs, job, gap) for job, gap in measured.items()]
            known = [gap for gap in gaps if gap is not None]
            if known:
                budgets.append(compute_mean_budget(arm.name, known))
    return budgets or _list_base_job_gap(session, blobs, row)


def _read_job_gap(session: Session, blobs: Blobs, job: str, on_test: GapOnTest) -> Gap | None:
    """Combine the gap measured at the end of a study's training with the later measurement on test."""
    stored = read_gap(blobs, find_json_artifact(session, job, ArtifactName.GAP))
    return None if stored is None else compute_gap(stored.add_test(on_test))


def _list_base_job_gap(session: Session, blobs: Blobs, row: StudyRow) -> list[ReportBudgetView]:
    job = None if row.base_job is None else session.get(JobRow, row.base_job)
    if job is None or job.owner != row.owner:
        return []
    gap = DiagnosisView.of(diagnose_job_strictly(session, blobs, job)).gap
    return [] if gap is None else [ReportBudgetView.of(BASE_ARM, job.id, gap)]
