"""A study's arms as views. Pure."""

from collections.abc import Mapping

from analysis.studies.figures import build_difference_view, compute_validation_figures, train_figures
from analysis.studies.progress import RaceProgress
from analysis.studies.state import Arm, Purpose, RunKey, StudyRun, StudyState
from heldout.studies.spec import BASE_ARM
from heldout.views.study import ArmStatus, ArmView
from heldout.words.studies import CHOSEN_ON_VALIDATION


def build_arm_views(
    state: StudyState, progress: RaceProgress, by_key: Mapping[RunKey, StudyRun], *, ended: bool
) -> tuple[ArmView, ...]:
    """Return all arms in their current state. `ended`: whether the race is decided."""
    views = []
    for arm in state.arms:
        is_base = arm.name == BASE_ARM
        look = progress.final if is_base else progress.looks.get(arm.name)
        runs = look.scores[arm.name] if look is not None else ()
        goes_on = is_base or arm.name in progress.racing
        status: ArmStatus = "dropped" if not goes_on else "finished" if ended else "racing"
        keys = (key for key in by_key if key.arm == arm.name and key.purpose is Purpose.RACE)
        views.append(
            ArmView(
                name=arm.name,
                patch=dict(get_patch(state, progress, arm.name)),
                status=status,
                jobs=[by_key[key].job for key in sorted(keys, key=lambda key: key.seed)],
                seeds=len(runs),
                train=train_figures(runs) if runs else None,
                validation=compute_validation_figures(runs, state.folds) if runs else None,
                difference=None
                if is_base or look is None
                else build_difference_view(look.comparisons[arm.name], look.error),
                why=_explain_drop(arm, progress),
            )
        )
    return tuple(views)


def _explain_drop(arm: Arm, progress: RaceProgress) -> str | None:
    """Say why an arm was dropped, with notes about its figures."""
    said = [progress.why[arm.name]] if arm.name in progress.why else []
    said += [CHOSEN_ON_VALIDATION] if arm.chooses_alone and arm.name in progress.looks else []
    return " ".join(said) or None


def get_patch(state: StudyState, progress: RaceProgress, name: str) -> Mapping[str, object]:
    """Return an arm's patch; for a search, the chosen one, if any."""
    chosen = progress.patches.get(name)
    return next(arm.patch for arm in state.arms if arm.name == name) if chosen is None else chosen
