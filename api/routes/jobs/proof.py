"""The proof of a job's verdict: short trainings that decide between causes."""

from fastapi import Response

from api.http.deps import JobId, ReadContext, WriteContext
from api.http.problems import NO_ROOM, raises
from api.http.routing import make_router
from heldout import errors
from heldout.proofs.spec import ProofSpec
from heldout.views.proof import ProofView
from models import proofs
from models.proof_view import build_proof_view

router = make_router("/v1/jobs/{job_id}/proof", "jobs")

_NO_VERDICT = (
    errors.JobNotFinished,
    errors.NothingToProve,
    errors.StorageUnavailable,
    errors.FileOfLaterRelease,
    errors.SpecUnreadable,
)


@router.get("")
@raises(*_NO_VERDICT)
def get_proof(job_id: JobId, context: ReadContext) -> ProofView:
    """Say how the proof of a job's verdict stands, or what it would try and cost. Nothing is queued."""
    return build_proof_view(
        context.session, context.blobs, proofs.look(context.session, context.blobs, context.owner, job_id)
    )


@router.post("", status_code=202, response_description="The proof, with its first experiments queued.")
@raises(*_NO_VERDICT, errors.DatasetUnavailable, *NO_ROOM)
def start_proof(
    job_id: JobId,
    context: WriteContext,
    asked: ProofSpec = ProofSpec(),  # noqa: B008 - frozen
) -> ProofView:
    """Make sure of a job's verdict by short trainings, the cheapest that are expected to decide it first.

    The plan is revised after each result, and ends when the first cause is proven or the budget is spent. Experiments
    count as your trainings in quotas and usage, are listed here, and are deleted with the job. A proof that has ended
    continues with the new budget. Test labels are not read unless an experiment's `reads_test` says so.
    """
    session = context.session
    proofs.create_proof(
        session, context.blobs, context.owner, job_id, asked.budget, max_parameters=context.app.settings.max_parameters
    )
    return build_proof_view(session, context.blobs, proofs.look(session, context.blobs, context.owner, job_id))


@router.delete("", status_code=204)
@raises(errors.ProofNotRunning)
def cancel_proof(job_id: JobId, context: WriteContext) -> Response:
    """Cancel a proof and its experiments. What they have shown so far is kept."""
    proofs.cancel(context.session, context.owner, job_id)
    return Response(status_code=204)
