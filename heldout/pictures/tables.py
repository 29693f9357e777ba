"""Small tables of jobs and studies for notebooks, in which text never becomes markup."""

from heldout.markup import make_table
from heldout.views.job import JobView
from heldout.views.study import StudyView
from heldout.words import percent


def build_job_table(job: JobView) -> str:
    rows = [
        ("status", job.status),
        ("epochs", f"{job.progress.epoch} of {job.progress.epochs}"),
        ("dataset", f"{job.dataset.name}@{job.dataset.version}"),
    ]
    best, gap = job.summary.best, job.summary.gap
    if best is not None and best.validation_accuracy is not None:
        rows.append(("best epoch", f"{best.epoch}: {percent(best.validation_accuracy)} of validation images right"))
    if gap is not None and gap.test is not None and gap.test.accuracy is not None:
        rows.append(("gap to test", f"{100 * gap.test.accuracy:+.1f} points"))
    if job.summary.verdict is not None:
        rows.append(("verdict", job.summary.verdict.replace("_", " ")))
    if job.error is not None:
        rows.append(("error", f"{job.error.code}: {job.error.detail}"))
    return make_table(f"{job.name} ({job.id})", rows)


def build_study_table(study: StudyView) -> str:
    rows = [
        ("status", study.status),
        ("trainings", f"{study.progress.done} of {study.progress.jobs}"),
        ("remedies", ", ".join(study.remedies)),
    ]
    if study.conclusion is not None:
        rows.append(("answer", study.conclusion.explanation))
    return make_table(f"{study.name} ({study.id})", rows)
