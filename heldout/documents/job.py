"""A job as blocks: its facts, the figures of its kept weights, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.blocks import Block, Document, Fact, Facts, Paragraph, keep_known, strip_code
from heldout.documents.diagnosis import build_diagnosis, build_gap
from heldout.documents.evaluation import build_splits
from heldout.words import format_duration, percent
from heldout.words.labels import STOP_REASONS, get_verdict_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.stored.results import FinalView, GapView
    from heldout.views.diagnosis import DiagnosisView
    from heldout.views.job import JobView
    from heldout.views.proof import ProofView


def lay_out_job(
    job: JobView, diagnosis: DiagnosisView, proof: ProofView | None = None, inside: Sequence[Block] = ()
) -> Document:
    blocks = [Facts(list_facts(job)), *build_diagnosis(diagnosis, job, proof=proof, inside=inside)]
    return Document(f"Diagnosis of {strip_code(job.name)}", blocks)


def build_job(job: JobView, final: FinalView | None, diagnosis: DiagnosisView | None) -> list[Block]:
    """Build the facts of a job, then its final figures, what is wrong, and what to do about it, if available."""
    blocks: list[Block] = [Facts(list_facts(job)), *build_final(final)]
    if diagnosis is not None:
        blocks += [] if diagnosis.gap is None else [build_gap(diagnosis.gap)]
        blocks += build_diagnosis(diagnosis, job, with_facts=False, with_details=False)
    return blocks


def list_facts(job: JobView) -> list[Fact]:
    done, engine, dataset, ran = job.progress, job.engine, job.dataset, _count_seconds(job)
    made_with = {} if engine is None else engine.model_dump(exclude={"device", "host"}, exclude_none=True)
    where = [] if engine is None else [part for part in (engine.device, engine.host) if part]
    attempt = f"{job.attempt}" if job.attempt > 1 or job.failures else ""
    return keep_known(
        Fact("Job", strip_code(job.name), f"({job.id})"),
        Fact("Status", job.status, f"({STOP_REASONS[job.stop_reason]})" if job.stop_reason else ""),
        Fact("Error", "" if job.error is None else strip_code(f"{job.error.code}: {job.error.detail}")),
        Fact("Dataset", strip_code(f"{dataset.name}@{dataset.version}"), page=f"/datasets/{dataset.id}?job={job.id}"),
        Fact("Parameters", f"{job.parameters:,}"),
        Fact(
            "Epochs",
            f"{done.epoch} of {done.epochs}",
            "" if done.eta_s is None else f"{format_duration(done.eta_s)} left",
        ),
        Fact("Attempt", attempt, f"{job.failures} failed" if job.failures else ""),
        Fact("Ran on", ", ".join(where), f"({', '.join(f'{name} {value}' for name, value in made_with.items())})"),
        Fact("Rerun of", job.retry_of or "", page=f"/jobs/{job.retry_of}"),
        Fact("Study", job.study_id or "", page=f"/studies/{job.study_id}"),
        Fact.at("Created", job.created_at),
        Fact("Took", "" if ran is None else format_duration(ran)),
    )


def list_results(job: JobView) -> list[Fact]:
    """List the best epoch, the gap and the verdict, as lists know them."""
    best, gap, verdict = job.summary.best, job.summary.gap, job.summary.verdict
    reached = None if best is None else best.validation_accuracy
    to_test = None if gap is None or gap.test is None else gap.test.accuracy
    return keep_known(
        Fact("Best epoch", "" if best is None else f"{best.epoch}", f"{percent(reached)} of validation images right"),
        Fact("Gap to test", "" if to_test is None else f"{100 * to_test:+.1f} points"),
        Fact("Verdict", "" if verdict is None else get_verdict_name(verdict)),
    )


def build_outcome(job: JobView, final: FinalView | None) -> list[Block]:
    """How a watched job ended."""
    ran = _count_seconds(job)
    after = "" if ran is None else f" after {format_duration(ran)}"
    reason = f", {job.stop_reason.replace('_', ' ')}" if job.stop_reason else ""
    epochs = f"{job.progress.epoch} of {job.progress.epochs} epochs"
    blocks: list[Block] = [Paragraph(f"{strip_code(job.name)} {job.status}{after}: {epochs}{reason} ({job.id})")]
    blocks += [] if job.error is None else [Paragraph(strip_code(f"{job.error.code}: {job.error.detail}"), "caution")]
    return [*blocks, *build_final(final)]


def build_final(final: FinalView | None) -> list[Block]:
    """Build the results of the kept weights on each split, and the gaps."""
    if final is None:
        return []
    gaps = (("Gap to validation", final.gap.validation), ("Gap to test", final.gap.test))
    facts = [fact for name, gap in gaps if gap is not None for fact in keep_known(Fact(name, _describe_gap(gap)))]
    return [build_splits(final), *([Facts(facts)] if facts else [])]


def _describe_gap(gap: GapView) -> str:
    """`accuracy 4.0 points worse, loss 0.120 worse than on training images`."""
    if gap.accuracy is None or gap.loss is None:
        return ""
    accuracy, loss = (f"{'worse' if value >= 0 else 'better'}" for value in (gap.accuracy, gap.loss))
    figures = f"accuracy {abs(100 * gap.accuracy):.1f} points {accuracy}, loss {abs(gap.loss):.3f} {loss}"
    return f"{figures} than on training images"


def _count_seconds(job: JobView) -> float | None:
    if job.started_at is None or job.finished_at is None:
        return None
    return (job.finished_at - job.started_at).total_seconds()
