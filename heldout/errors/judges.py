"""Candidates that a judge does not judge: 409."""

from heldout.errors.base import HeldoutError


class CandidateRefused(HeldoutError, code="candidate_refused", status=409, title="The judge did not judge it"):
    """A judge was sent what it cannot judge, such as answers to other images or a near copy. No look was spent."""


class LooksSpent(HeldoutError, code="looks_spent", status=409, title="All looks of the judge are spent"):
    """A judge has judged as many candidates as its order allows."""

    def __init__(self, looks: int, study_id: str) -> None:
        super().__init__(
            f"All {looks:,} looks of this judge are spent. Close it with POST /v1/studies/{study_id}/close, and open a "
            "new one on images that no candidate was judged on."
        )
