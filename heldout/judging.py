"""The one answer of a judge: is a candidate better than a base, as good, or worse? Pure."""

from math import ceil
from typing import get_args

from heldout.metrics import METRICS, USUAL_MARGIN
from heldout.views.study import NeedsView, StudyView
from heldout.views.study_figures import JudgeAnswer

ANSWERS: tuple[JudgeAnswer, ...] = get_args(JudgeAnswer)
# The arm that is compared with the base.
CANDIDATE_ARM = "candidate"
# More seeds than this are impractical.
MOST_SEEDS = 40


def judge_study(study: StudyView, margin: float = USUAL_MARGIN) -> JudgeAnswer:
    """Answer from a study of a base and one candidate that has ended.

    `better` needs the study's own answer, which new seeds have confirmed. Otherwise the interval that decides says it:
    above minus the margin is as good, and below 0 is worse.

    Args:
        study: compares one measure, so that one interval decides.
        margin: by how much a share may be worse and still be as good.
    """
    if study.conclusion is not None and study.conclusion.kind in ("cure", "better"):
        return "better"
    found = _find_benefit(study)
    if found is None:
        return "cannot_tell"
    low, high, is_share = found
    if is_share and low > -margin:
        return "as_good"
    return "worse" if high < 0 else "cannot_tell"


def find_needs(study: StudyView, margin: float = USUAL_MARGIN) -> NeedsView:
    """Return what would tell: what the study says, or the seeds until the interval leaves one side of the margin."""
    if study.conclusion is not None and study.conclusion.needs is not None:
        return study.conclusion.needs
    found = _find_benefit(study)
    if found is None:
        return NeedsView()
    low, high, is_share = found
    distance, seeds = abs((low + high) / 2 + (margin if is_share else 0.0)), study.arms[1].seeds
    more = ceil(seeds * ((high - low) / 2 / distance) ** 2) - seeds if distance else MOST_SEEDS + 1
    return NeedsView(seeds=max(more, 1)) if more <= MOST_SEEDS else NeedsView()


def _find_benefit(study: StudyView) -> tuple[float, float, bool] | None:
    """Find the bounds of the candidate's benefit, and whether it is a share. None if nothing was compared."""
    difference = study.arms[1].difference
    bounds = None if difference is None else difference.adjusted_intervals.get(difference.measures[0])
    if difference is None or bounds is None:
        return None
    is_share = METRICS[difference.measures[0]].is_share
    return (*(bounds if is_share else (-bounds[1], -bounds[0])), is_share)
