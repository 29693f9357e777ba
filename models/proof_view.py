"""Builds the view of a proof."""

from heldout.errors import JobNotFinished, NothingToProve
from heldout.lifecycle.resources import ProofStatus
from heldout.proofs.catalogue import EXPERIMENTS
from heldout.proofs.figures import Figures
from heldout.proofs.planning import Step, list_impossible
from heldout.views.diagnosis import build_tried
from heldout.views.proof import CostView, NotTriedView, PlannedView, ProofView, TrialView
from heldout.words.labels import get_verdict_name
from heldout.words.proofs import describe_cost, describe_state
from models.blobs import Blobs
from models.database import Session
from models.job_diagnosis import diagnose_job
from models.proofs import Progress, compute_spent, look
from models.store import proofs
from models.tables import JobRow, ProofRow

# Seconds in which a training begins and ends, apart from its epochs.
START_S = 1.0


def find_proof(session: Session, blobs: Blobs, job: JobRow) -> ProofView | None:
    """Build the view of a job's proof, or of what it would begin with. None if the job has no verdict to prove yet."""
    try:
        return build_proof_view(session, blobs, look(session, blobs, job.owner, job.id))
    except (JobNotFinished, NothingToProve):
        return None


def build_proof_view(session: Session, blobs: Blobs, progress: Progress) -> ProofView:
    """Build the view of a job's proof, or of what it would begin with.

    What was tried is judged by the diagnosis, which knows more than the plan: also why it cannot tell.
    """
    row, plan = progress.row, progress.plan
    found = None if row is None else diagnose_job(session, blobs, progress.job)
    verdict = progress.subject.verdict if found is None else found.verdict
    has_ended = row is not None and row.status is not ProofStatus.RUNNING
    steps = progress.further if has_ended else plan.steps
    planned = [_build_planned(step, progress.base_s) for step in steps]
    cost = CostView(trainings=sum(step.trainings for step in planned), seconds=sum(step.seconds for step in planned))
    spent = None if row is None else compute_spent(row)
    status = "planned" if row is None else row.status
    reason = None if row is None else row.reason
    trials = [] if row is None else _build_trials(session, row)
    return ProofView(
        object="proof",
        job=progress.job.id,
        status=status,
        reason=reason,
        is_automatic=row is not None and row.is_automatic,
        verdict=verdict,
        certainty="proven" if found is not None and found.is_proven else None,
        summary=describe_state(
            status,
            reason,
            get_verdict_name(verdict),
            describe_cost(cost.trainings, cost.seconds) if planned else "",
            is_waiting=bool(trials) and not any(trial.status in ("running", "succeeded") for trial in trials),
        ),
        cost=cost,
        spent=CostView(
            trainings=0 if spent is None else spent.trainings,
            seconds=0.0 if spent is None else round(spent.work * progress.base_s, 1),
        ),
        plan=planned,
        trials=trials,
        tried=[build_tried(tried) for tried in plan.outcomes.tried],
        not_tried=[
            NotTriedView(experiment=name, question=EXPERIMENTS[name].question, why=why)
            for name, why in list_impossible(progress.subject)
        ],
        created_at=None if row is None else row.created_at,
        finished_at=None if row is None else row.finished_at,
    )


def _build_planned(step: Step, base_s: float) -> PlannedView:
    return PlannedView(
        experiment=step.experiment,
        question=EXPERIMENTS[step.experiment].question,
        trainings=len(step.variants),
        work=round(step.work, 3),
        seconds=round(step.work * base_s + START_S * len(step.variants), 1),
    )


def _build_trials(session: Session, row: ProofRow) -> list[TrialView]:
    statuses = proofs.get_statuses(session, row)
    trials = []
    for variant, trial in row.trials.items():
        figures = None if trial["figures"] is None else Figures.from_json(trial["figures"])
        status = statuses.get(trial["job"])
        validation = None if figures is None else figures.validation
        trials.append(
            TrialView(
                variant=variant,
                job=trial["job"],
                status="refused" if status is None else status.value,
                error=trial["error"],
                train_accuracy=None if figures is None else figures.train.accuracy,
                validation_accuracy=None if validation is None else validation.accuracy,
            )
        )
    return trials
