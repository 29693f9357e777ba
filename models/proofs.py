"""Proves a job's verdict: orders experiments, and continues after each with what it has shown. The caller commits.

`heldout/proofs/planning.py` decides. A proof may be continued at any time without repeating a training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import insert, select, update

from heldout.errors import (
    HeldoutError,
    InvalidSpec,
    OwnerSuspended,
    ProofNotRunning,
    QuotaExceeded,
    StateGone,
    StorageUnavailable,
)
from heldout.lifecycle.job import JobEvent, JobStatus, StopReason
from heldout.lifecycle.resources import ProofStatus
from heldout.proofs.experiment import Subject, Variant
from heldout.proofs.figures import Figures
from heldout.proofs.outcomes import to_json
from heldout.proofs.planning import Budget, Done, Plan, Step, plan
from heldout.proofs.spec import ProofBudget
from heldout.spec.documents import merge
from heldout.spec.job import JobSpec
from heldout.spec.part import MAX_SEED
from heldout.words.labels import get_verdict_name
from heldout.words.proofs import describe_state
from heldout.work.kinds import ExperimentSpec, IdleExperimentSpec, JobKind
from models.blobs import Blobs
from models.database import Session, db_now
from models.ids import make_id
from models.initial_weights import Continuation
from models.job_creation import examine_spec, queue_examined
from models.job_diagnosis import may_call_proven
from models.job_summary import summarize_job
from models.proof_subject import make_subject
from models.store import claims, datasets, jobs, label_reads, proofs, quotas
from models.store.claims import HeldAttempt
from models.store.listing import get_summary_columns
from models.store.transitions import move
from models.tables import JobRow, ProofRow

log = structlog.get_logger()

# Seconds that the job's own training is taken to last at least, so that a budget of seconds buys a bounded work.
MIN_BASE_S = 1.0
# How many experiments of one job run without being asked for.
MAX_IDLE_TRAININGS = 6


@dataclass(frozen=True)
class Progress:
    """A proof's row, if there is one, and what follows from it now."""

    job: JobRow
    row: ProofRow | None
    subject: Subject
    plan: Plan
    further: Sequence[Step] = ()  # what another budget would try, once the proof has ended

    @property
    def base_s(self) -> float:
        """Seconds of one unit of work."""
        return get_base_s(self.job)


def look(session: Session, blobs: Blobs, owner: str, job_id: str, budget: ProofBudget | None = None) -> Progress:
    """Say how a proof stands, or what it would begin with. Writes nothing.

    Raises:
        JobNotFound, JobNotFinished, NothingToProve.
        Also everything that `diagnose_job` raises.
    """
    job = jobs.find(session, owner, job_id)
    proof = proofs.find(session, job_id)
    done: Done = {}
    if proof is None:
        subject = make_subject(session, blobs, job)
        left = make_budget(budget or ProofBudget(), job)
    else:
        subject, done, left = Subject.from_json(proof.subject), read_done(proof), compute_left(proof)
    further = plan(subject, done, make_budget(budget or ProofBudget(), job)).steps
    return Progress(job, proof, subject, plan(subject, done, left), further)


def create_proof(
    session: Session,
    blobs: Blobs,
    owner: str,
    job_id: str,
    budget: ProofBudget,
    *,
    max_parameters: int,
    is_automatic: bool = False,
) -> JobRow:
    """Begin the proof of an ended job's verdict, or continue one that has ended, with a budget.

    Raises:
        JobNotFound, JobNotFinished, NothingToProve, DatasetUnavailable, QuotaExceeded, OwnerSuspended.
        Also everything that `diagnose_job` raises.
    """
    quotas.require_room(session, owner, *quotas.OF_NEW_JOBS)
    job, dataset = jobs.find_with_dataset(session, owner, job_id)
    datasets.require_ready(dataset)
    session.execute(select(JobRow.id).where(JobRow.id == job_id).with_for_update())
    row = proofs.lock(session, job_id)
    given = make_budget(budget, job)
    if row is None:
        subject = make_subject(session, blobs, job)
        values: dict[str, Any] = {
            "job_id": job.id,
            "owner": owner,
            "status": ProofStatus.RUNNING,
            "reason": None,
            "is_automatic": is_automatic,
            "version": 1,
            "subject": subject.to_json(),
            "trials": {},
            "tried": [],
            "budget": {"trainings": given.trainings, "work": given.work},
            "created_at": db_now(),
        }
        session.execute(insert(ProofRow).values(**values))
    else:
        spent = compute_spent(row)
        is_renewed = row.status is not ProofStatus.RUNNING or row.is_automatic
        if is_renewed:
            # What was cancelled is tried again.
            kept = {key: trial for key, trial in row.trials.items() if trial.get("error") != "cancelled"}
            proofs.write(
                session,
                job_id,
                status=ProofStatus.RUNNING,
                reason=None,
                finished_at=None,
                is_automatic=is_automatic,
                trials=kept,
                budget={"trainings": given.trainings + spent.trainings, "work": given.work + spent.work},
            )
            _hurry(session, row)
    advance(session, blobs, job_id, max_parameters=max_parameters)
    return job


def create_idle_proof(session: Session, blobs: Blobs, job: JobRow, most_s: float, *, max_parameters: int) -> None:
    """Begin the proof of a job that no one has asked for, for less than the job took. Raises like `create_proof`."""
    budget = ProofBudget(trainings=MAX_IDLE_TRAININGS, seconds=max(MIN_BASE_S, min(most_s, job.runtime_s)))
    create_proof(session, blobs, job.owner, job.id, budget, max_parameters=max_parameters, is_automatic=True)


def _hurry(session: Session, proof: ProofRow) -> None:
    """Queue experiments that wait for an idle worker like those that someone has asked for."""
    waiting = (JobRow.id.in_(proofs.list_jobs(proof.trials)), JobRow.status == JobStatus.QUEUED)
    session.execute(update(JobRow).where(*waiting).values(kind=JobKind.EXPERIMENT, priority=0))


def advance(session: Session, blobs: Blobs, job_id: str, *, max_parameters: int) -> None:
    """Take a proof's next step if none of its experiments is waiting or running. A repeated call changes nothing.

    Full quotas leave it waiting: it is continued later.
    """
    job = session.scalars(select(JobRow).where(JobRow.id == job_id).with_for_update(of=JobRow)).one_or_none()
    proof = proofs.lock(session, job_id)
    if job is None or proof is None or proof.status is not ProofStatus.RUNNING:
        return
    subject = Subject.from_json(proof.subject)
    while True:
        if not all(trial["has_ended"] for trial in proof.trials.values()):
            return
        found = plan(subject, read_done(proof), compute_left(proof))
        tried = [to_json(item) for item in found.outcomes.tried]
        news = [item["sentence"] for item in tried if item not in proof.tried]
        is_cancelled = any(trial.get("error") == "cancelled" for trial in proof.trials.values())
        if is_cancelled or not found.steps:
            status = ProofStatus.CANCELLED if is_cancelled else ProofStatus.ENDED
            reason = "cancelled" if is_cancelled else found.reason
            proofs.end(session, job_id, status, reason, tried=tried)
            note_summary(session, blobs, job)
            if reason == "proven" and not may_call_proven(session, blobs, job):
                reason = "nothing_left"
                proofs.write(session, job_id, reason=reason)
            end = describe_state(status, reason, get_verdict_name(found.verdict), "")
            proofs.note_news(session, job_id, [*news, end], status)
            return
        try:
            quotas.require_room(session, proof.owner, *quotas.OF_NEW_JOBS, asked=len(found.steps[0].variants))
        except (QuotaExceeded, OwnerSuspended) as refusal:
            log.info("proof_waits", job_id=job_id, code=refusal.code)
            return
        trials = dict(proof.trials)
        for variant in found.steps[0].variants:
            trials[variant.key] = _queue(session, blobs, job, subject, variant, proof, max_parameters)
        proofs.write(session, job_id, trials=trials, tried=tried)
        proofs.note_news(session, job_id, news or ["Making sure of the verdict."], ProofStatus.RUNNING)
        proof = proofs.lock(session, job_id)
        assert proof is not None


def _queue(
    session: Session,
    blobs: Blobs,
    job: JobRow,
    subject: Subject,
    variant: Variant,
    proof: ProofRow,
    max_parameters: int,
) -> dict[str, Any]:
    """Queue a variant. Returns what the proof keeps about it: its job, or why there is none."""
    trial: dict[str, Any] = {"job": None, "work": variant.work, "figures": None, "error": None, "has_ended": False}
    try:
        spec = make_spec(subject, variant, job, is_automatic=proof.is_automatic)
        dataset = jobs.get_dataset(session, job)
        examined = examine_spec(session, blobs, proof.owner, _drop_own(spec), dataset, max_parameters, job)
        continued = _find_state(session, job) if variant.continues else None
        job_id = make_id("exp")
        if variant.reads_test:
            label_reads.add_for_experiment(session, proof.owner, job.id, dataset)
        queue_examined(session, blobs, proof.owner, job_id, spec, examined, continued=continued)
    except StorageUnavailable:
        raise
    except HeldoutError as refusal:
        return {**trial, "error": refusal.code, "has_ended": True}
    return {**trial, "job": job_id}


def _drop_own(spec: ExperimentSpec) -> JobSpec:
    return JobSpec.model_validate(
        spec.model_dump(mode="json", exclude={"proves", "variant", "splits_again", "leave_out"})
    )


def make_spec(subject: Subject, variant: Variant, job: JobRow, *, is_automatic: bool) -> ExperimentSpec:
    """Make the spec of a variant: the job's own with its patch and seed. Test is measured only if it is split again.

    Raises:
        InvalidSpec.
    """
    fixed = {
        "evaluation": {"test": "final" if variant.reads_test else "never", "train": "final"},
        "training": {"seed": (subject.training["seed"] + variant.seed) % (MAX_SEED + 1)},
        "limits": {"max_pending_s": None, "keep_s": None},
        "metadata": dict.fromkeys(subject.spec.get("metadata") or {}),
        "name": f"{variant.key} · {job.id[-6:]}",
        "priority": 0,
    }
    content = {
        **merge(merge(dict(subject.spec), dict(variant.patch)), fixed),
        "proves": job.id,
        "variant": variant.key,
        "splits_again": variant.splits_again,
        "leave_out": list(variant.leave_out),
    }
    try:
        return (IdleExperimentSpec if is_automatic else ExperimentSpec).model_validate(content)
    except ValidationError as error:
        raise InvalidSpec(str(error.errors(include_url=False)[0]["msg"])) from error


def _find_state(session: Session, job: JobRow) -> Continuation:
    state = next(iter(claims.get_checkpoints(session, job.id)), None)
    if state is None:
        raise StateGone(job.id)
    return Continuation(job, state)


def cancel(session: Session, owner: str, job_id: str) -> JobRow:
    """Cancel a proof and its experiments. What they have shown so far is kept.

    Raises:
        JobNotFound, ProofNotRunning.
    """
    job = jobs.find(session, owner, job_id)
    proof = proofs.find(session, job_id)
    if proof is None or proof.status is not ProofStatus.RUNNING:
        raise ProofNotRunning(job_id)
    for experiment in proofs.lock_open_jobs(session, proof):
        jobs.cancel_locked(session, experiment)
    proofs.end(session, job_id, ProofStatus.CANCELLED, "cancelled")
    proofs.note_news(session, job_id, ["The proof was cancelled."], ProofStatus.CANCELLED)
    return job


def note_summary(session: Session, blobs: Blobs, job: JobRow) -> None:
    """Write the job's verdict again, for lists. If its files are lost, the earlier one stays."""
    summary = summarize_job(session, blobs, job.id)
    if summary is not None and summary.verdict is not None:
        session.execute(update(JobRow).where(JobRow.id == job.id).values(**get_summary_columns(summary)))


def get_base_s(job: JobRow) -> float:
    return max(MIN_BASE_S, job.runtime_s)


def make_budget(asked: ProofBudget, job: JobRow) -> Budget:
    return Budget(asked.trainings, asked.seconds / get_base_s(job))


def compute_spent(proof: ProofRow) -> Budget:
    counted = [trial for trial in proof.trials.values() if trial["job"] is not None]
    return Budget(len(counted), sum(trial["work"] for trial in counted))


def compute_left(proof: ProofRow) -> Budget:
    spent = compute_spent(proof)
    return Budget(proof.budget["trainings"] - spent.trainings, proof.budget["work"] - spent.work)


def read_done(proof: ProofRow) -> Done:
    return {
        key: None if trial["figures"] is None else Figures.from_json(trial["figures"])
        for key, trial in proof.trials.items()
        if trial["has_ended"]
    }


def keep_figures(session: Session, held: HeldAttempt, figures: Figures, *, stop_reason: StopReason) -> JobStatus:
    """End an experiment as succeeded with its figures, unless it was cancelled. May be called twice.

    Raises:
        LeaseLost: if this attempt no longer holds the job.
    """
    if claims.has_succeeded(session, held):
        return JobStatus.SUCCEEDED
    row = claims.require_held(session, held)
    status = move(session, row, JobEvent.SUCCEED, stop_reason=stop_reason)
    if status is JobStatus.SUCCEEDED:
        proofs.note_figures(session, row, figures)
    return status
