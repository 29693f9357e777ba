"""The rows of proofs: what was tried for a job, and what came of it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.lifecycle.resources import ProofStatus
from heldout.proofs.figures import Figures
from heldout.proofs.outcomes import NOTHING_TRIED, Outcomes, from_json
from heldout.work.kinds import JobKind
from models.database import db_now
from models.store import events
from models.tables import JobRow, ProofRow

# How long after its end a job may get a proof that no one has asked for.
RECENT_S = 3600.0


def find(session: Session, job_id: str) -> ProofRow | None:
    return session.get(ProofRow, job_id)


def find_unproven(session: Session, but: Collection[str]) -> JobRow | None:
    """Find the newest training without a proof that ended a short time ago. but: ids of jobs to leave out."""
    has_proof = select(ProofRow.job_id).where(ProofRow.job_id == JobRow.id).exists()
    return session.scalars(
        select(JobRow)
        .where(JobRow.study_id.is_(None), JobRow.finished_at.is_not(None), JobRow.finished_at > db_now(-RECENT_S))
        .where(JobRow.kind == JobKind.TRAIN, JobRow.status == JobStatus.SUCCEEDED, ~has_proof, JobRow.id.not_in(but))
        .order_by(JobRow.finished_at.desc())
        .limit(1)
    ).one_or_none()


def lock(session: Session, job_id: str) -> ProofRow | None:
    """Lock a job's proof. Jobs are locked before it, in the same order as by attempts that end."""
    query = select(ProofRow).where(ProofRow.job_id == job_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def read_outcomes(session: Session, job_id: str) -> Outcomes:
    """Read what the experiments of a job have shown so far."""
    tried = session.scalar(select(ProofRow.tried).where(ProofRow.job_id == job_id))
    return NOTHING_TRIED if not tried else Outcomes(tuple(map(from_json, tried)))


def write(session: Session, job_id: str, **values: Any) -> None:
    session.execute(update(ProofRow).where(ProofRow.job_id == job_id).values(version=ProofRow.version + 1, **values))


def write_trial(session: Session, job_id: str, variant: str, **values: Any) -> None:
    """Change what is known of one training of a proof."""
    proof = lock(session, job_id)
    if proof is not None and variant in proof.trials:
        write(session, job_id, trials={**proof.trials, variant: {**proof.trials[variant], **values}})


def note_figures(session: Session, job: JobRow, figures: Figures) -> None:
    write_trial(session, job.spec["proves"], job.spec["variant"], figures=figures.to_json(), has_ended=True)


def note_without_figures(session: Session, job: JobRow, code: str) -> None:
    write_trial(session, job.spec["proves"], job.spec["variant"], error=code, has_ended=True)


def list_running(session: Session) -> Sequence[str]:
    """List the jobs whose proof has not ended."""
    return session.scalars(select(ProofRow.job_id).where(text("proofs.status = 'running'"))).all()


def list_jobs(trials: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """List the ids of the jobs of a proof, in a fixed order."""
    return sorted(trial["job"] for trial in trials.values() if trial["job"] is not None)


def lock_open_jobs(session: Session, proof: ProofRow) -> Sequence[JobRow]:
    """Lock the experiments of a proof that have not ended."""
    ids = list_jobs(proof.trials)
    query = select(JobRow).where(JobRow.id.in_(ids), JobRow.status.not_in(TERMINAL)).order_by(JobRow.id)
    return session.scalars(query.with_for_update(of=JobRow)).all()


def get_statuses(session: Session, proof: ProofRow) -> dict[str, JobStatus]:
    """Get the status of each experiment of a proof that still exists, by its job's id."""
    rows = session.execute(select(JobRow.id, JobRow.status).where(JobRow.id.in_(list_jobs(proof.trials))))
    return {id_: status for id_, status in rows}  # noqa: C416  (typed so)


def list_experiments(session: Session, job_ids: Collection[str]) -> list[str]:
    """List the ids of the experiments of some jobs."""
    trials = session.scalars(select(ProofRow.trials).where(ProofRow.job_id.in_(job_ids)))
    return [job_id for of_proof in trials for job_id in list_jobs(of_proof)]


def note_news(session: Session, job_id: str, news: Sequence[str], status: ProofStatus) -> None:
    """Add an event to the job whose verdict is proven."""
    events.add(session, job_id, "job.proof", " ".join(news), data={"status": status.value})


def end(session: Session, job_id: str, status: ProofStatus, reason: str | None, **values: Any) -> None:
    write(session, job_id, status=status, reason=reason, finished_at=db_now(), **values)
