"""Builds the views of a study's external trainings."""

from heldout.studies.spec import BASE_ARM
from heldout.views.study import StudyView
from heldout.views.study_run import AskView, AssignedRunView, ReportedSplitView, RunView
from models.tables import JobRow, StudyRow, StudyRunRow


def build_ask_view(
    study: StudyRow,
    leased: tuple[JobRow, StudyRunRow, str] | None,
    view: StudyView | None,
    *,
    lease_s: float,
    wait_s: float | None,
) -> AskView:
    """Build the answer to a runner.

    Args:
        view: the study's view, if it has ended.
    """
    run = None
    if leased is not None:
        job, row, token = leased
        run = AssignedRunView(
            run=job.id,
            token=token,
            arm=row.arm,
            parameters=job.spec["parameters"],
            seed=row.seed,
            fold=_get_fold(row),
            folds=study.plan["folds"],
            lease_s=lease_s,
        )
    return AskView(
        object="ask",
        study_id=study.id,
        status=study.status.value,
        run=run,
        wait_s=wait_s,
        headline="" if view is None else view.headline,
        conclusion=None if view is None else view.conclusion,
    )


def build_run_view(study: StudyRow, job: JobRow, run: StudyRunRow, *, accepted: bool | None = None) -> RunView:
    """Build the view of a training. Its test figures stay hidden until they are compared."""
    result = run.result or {"splits": {}, "seconds": None}
    is_open = has_opened_test(study, run)
    return RunView(
        id=job.id,
        object="run",
        study_id=study.id,
        arm=run.arm,
        seed=run.seed,
        fold=_get_fold(run),
        status=job.status.value,
        runner=job.worker,
        attempts=job.attempt,
        splits={
            name: ReportedSplitView(count=facts["count"], accuracy=facts["accuracy"])
            for name, facts in result["splits"].items()
            if is_open or name != "test"
        },
        seconds=result["seconds"],
        error=job.error,
        accepted=accepted,
        lease_expires_at=job.lease_expires_at,
        finished_at=job.finished_at,
    )


def has_opened_test(study: StudyRow, run: StudyRunRow) -> bool:
    """Return whether its answers to test images were opened: at the end, those of the base and the winner are."""
    conclusion = study.found.get("conclusion") or {}
    return bool(conclusion.get("test")) and run.arm in (BASE_ARM, conclusion["remedy"])


def _get_fold(run: StudyRunRow) -> int | None:
    return None if run.fold < 0 else run.fold
