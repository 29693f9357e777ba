"""Which arms go on to the next look, and which one has won. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from analysis.studies.comparing import Comparison, GainUnit, compare, compute_gain_unit
from analysis.studies.needs import would_tell
from analysis.studies.standing import (
    MEASURES,
    Judgement,
    RemedyStanding,
    compute_mean_benefit,
    estimate,
    judge,
    list_worse_measures,
)
from analysis.studies.state import Arm, Scores
from heldout.studies.spec import BASE_ARM

# How often the interval may miss by which one arm is dropped for another one.
BEATEN_ERROR = 0.05
# An arm goes on while the interval of the last look may be so much narrower than few seeds let expect.
HOPE = 0.85

ArmScores = Mapping[str, Sequence[Scores]]


@dataclass(frozen=True)
class Look:
    """All arms at one look: those that race with all its seeds, dropped ones with those that they had.

    scores: of the base and the arms that race, by seed. dropped: of other arms, with as many seeds as they have.
    seeds_before: of the look before; those that follow are fresh. 0 at the first look.
    error: how often each of the intervals that decide may miss.
    last_seeds: of the last look that there can be.
    comparisons: with the base, of each arm that races. judgements: what follows from them.
    """

    seeds: int
    seeds_before: int
    error: float
    last_seeds: int
    last_error: float
    folds: int | None
    scores: ArmScores
    dropped: ArmScores
    unit: GainUnit
    comparisons: Mapping[str, Comparison]
    judgements: Mapping[str, Judgement]

    @property
    def ranked(self) -> list[str]:
        """The arms that race without the base, the greatest gain first."""
        return sorted(self.comparisons, key=lambda name: (-self.comparisons[name].gain.mean, name))


def look_at(
    scores: ArmScores,
    dropped: ArmScores,
    folds: int | None,
    *,
    seeds: int,
    seeds_before: int,
    errors: tuple[float, float],
    last_seeds: int,
) -> Look:
    """Compare all arms.

    Args:
        scores: of the base and of the arms that race, for each of the look's seeds.
        dropped: of the arms that were dropped, as far as they have them: they still say how noisy trainings are.
        errors: how often each of the intervals may miss that decide at this look, and at the last one.
    """
    base = scores[BASE_ARM]
    unit = compute_gain_unit(base)
    others = {name: runs for name, runs in scores.items() if name != BASE_ARM}
    compared = compare(others | {name: runs for name, runs in dropped.items() if len(runs) > 1}, base, unit, folds)
    comparisons = {name: compared[name] for name in others}
    judgements = {name: judge(comparison, unit, errors[0]) for name, comparison in comparisons.items()}
    return Look(
        seeds=seeds,
        seeds_before=seeds_before,
        error=errors[0],
        last_seeds=last_seeds,
        last_error=errors[1],
        folds=folds,
        scores=scores,
        dropped=dropped,
        unit=unit,
        comparisons=comparisons,
        judgements=judgements,
    )


def list_surely_better(look: Look, name: str, others: Sequence[str]) -> list[str]:
    """Those of some arms that one arm surely beats: by its gain, paired with each of them on the seeds of both."""
    scores = {**look.dropped, **look.scores}
    against = {other: scores[other] for other in others if other != name and other in scores}
    if not against:
        return []
    compared = compare(against, look.scores[name], look.unit, look.folds)
    return [other for other, comparison in compared.items() if comparison.gain.interval(BEATEN_ERROR)[1] < 0]


def can_become_a_cure(look: Look, name: str) -> bool:
    """Whether the last look could still find that an arm cures, in the better of the cases that seeds leave open."""
    for measure in MEASURES:
        difference = estimate(look.comparisons[name], measure)
        best = compute_mean_benefit(look.comparisons[name], measure) + difference.compute_expected_change(
            look.last_seeds
        )
        if best > HOPE * difference.compute_expected_half_width(look.last_error, look.last_seeds):
            return True
    return False


def can_be_settled(look: Look, name: str) -> bool:
    """Whether the last look would tell that an arm helps, or that it does not, if it stays as it is."""
    if look.seeds == look.last_seeds:
        return False
    return would_tell(look.comparisons[name], look.unit, look.last_error, look.last_seeds)


def is_confirmed(look: Look, name: str) -> bool:
    """Whether the seeds that are new at this look alone point to the same cure. At the first look all are old."""
    if not look.seeds_before:
        return False
    fresh = {name: look.scores[name][look.seeds_before :]}
    base = look.scores[BASE_ARM][look.seeds_before :]
    comparison = compare(fresh, base, look.unit, look.folds)[name]
    return all(compute_mean_benefit(comparison, measure) > 0 for measure in look.judgements[name].better)


def list_cures(look: Look, *, unconfirmed: bool) -> list[str]:
    """The arms that are cures, the greatest gain first. `unconfirmed`: also those that no fresh seed has confirmed."""
    return [
        name
        for name in look.ranked
        if look.judgements[name].standing is RemedyStanding.CURE and (unconfirmed or is_confirmed(look, name))
    ]


def find_winner(look: Look, arms: Sequence[Arm], racing: Sequence[str], *, unconfirmed: bool) -> str | None:
    """The cure of the greatest gain among the arms that race to the end.

    A combination that does not surely beat a part that is a cure by itself gives way to it.
    """
    found = [name for name in list_cures(look, unconfirmed=unconfirmed) if name in racing]
    parts = {arm.name: arm.parts for arm in arms}
    for name in found:
        rivals = [part for part in parts[name] if part in found]
        if len(list_surely_better(look, name, rivals)) == len(rivals):
            return name
    return None


class DropReason(StrEnum):
    """Why an arm does not go on."""

    WORSE = "worse"  # than the base
    NO_HELP = "no_help"  # any benefit is too small to matter
    BEATEN = "beaten"  # by another arm
    HOPELESS = "hopeless"  # more seeds would not make it a cure


def find_drops(look: Look) -> dict[str, tuple[DropReason, str | None]]:
    """The arms that will not win, each with why, and the arm that beats it where one does."""
    found: dict[str, tuple[DropReason, str | None]] = {}
    for name in look.ranked:
        standing = look.judgements[name].standing
        if standing is RemedyStanding.NO_HELP:
            found[name] = DropReason.NO_HELP, None
        elif list_worse_measures(look.comparisons[name], look.error):
            found[name] = DropReason.WORSE, None
        elif standing is not RemedyStanding.CURE and not can_become_a_cure(look, name):
            found[name] = DropReason.WORSE if standing is RemedyStanding.WORSE else DropReason.HOPELESS, None
    racing = [name for name in look.ranked if name not in found]
    first = find_leader(look, racing)
    if first is not None and look.comparisons[first].gain.mean > 0:
        found |= dict.fromkeys(list_surely_better(look, first, racing), (DropReason.BEATEN, first))
    return found


def find_leader(look: Look, racing: Sequence[str]) -> str | None:
    """The arm of the greatest gain among those that race and make nothing worse."""
    names = (name for name in look.ranked if name in racing)
    return next((name for name in names if look.judgements[name].standing is not RemedyStanding.WORSE), None)
