"""Candidates of a judge, and its close."""

from api.http.auth import CallerContext
from api.http.deps import StudyId
from api.http.problems import raises
from api.http.routing import make_router
from heldout import errors
from heldout.studies.judge import CandidateSpec
from heldout.views.judge import CandidateView
from heldout.views.study import StudyView
from models import judges
from models.store import studies
from models.views.study import build_study_view

router = make_router("/v1/studies", "studies")
closing = make_router("/v1/studies", "studies", scope="admin")


@router.post(
    "/{study_id}/arms", status_code=201, response_description="The attempt, with the only answer that there is."
)
@raises(errors.StudyFinished, errors.CandidateRefused, errors.LooksSpent, errors.StorageUnavailable)
def judge_candidate(study_id: StudyId, candidate: CandidateSpec, context: CallerContext) -> CandidateView:
    """Send a judge a candidate: the answers of its networks to the judge's images. The first one is the base.

    The answer is `better` if the candidate is surely better than the best so far, which it then replaces; otherwise
    `cannot_tell`. It says nothing else before the close. Each answer spends a look. What cannot be judged is refused
    without one, and every attempt is noted with the key that sent it.
    """
    attempt = judges.judge_candidate(
        context.app.database, context.blobs, context.owner, study_id, candidate, context.caller.key_id
    )
    with context.write() as session:
        context.note_change(session, None)
    return attempt


@closing.post("/{study_id}/close", response_description="The judge with its conclusion.")
@raises(errors.StudyFinished, errors.CandidateRefused, errors.StorageUnavailable, errors.SpecUnreadable)
def close_judge(study_id: StudyId, context: CallerContext) -> StudyView:
    """Close a judge: the test labels are read, once, for the base and the best. It needs the right `admin`."""
    judges.close_judge(context.app.database, context.blobs, context.owner, study_id)
    with context.write() as session:
        context.note_change(session, None)
        return build_study_view(*studies.find(session, context.owner, study_id))
