"""Decides which arms continue to the next look, and which one has won. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from analysis.studies.assessment import Judgement, RemedyAssessment, judge, list_worse_measures, would_tell
from analysis.studies.comparing import Comparison, GainUnit, compare, compute_gain_unit
from analysis.studies.state import Arm, Scores
from heldout.metrics import MEASURES, Measure
from heldout.studies.spec import BASE_ARM

# How often the interval may miss by which one arm is dropped for another.
BEATEN_ERROR = 0.05
# An arm stays while the interval of the last look may be this much narrower than a few seeds suggest.
OPTIMISTIC_WIDTH_FACTOR = 0.85

ArmScores = Mapping[str, Sequence[Scores]]


@dataclass(frozen=True)
class Look:
    """All arms at one look: racing ones with all its seeds, dropped ones with those that they had.

    scores: of the base and the racing arms, by seed.
    dropped: of other arms, with as many seeds as they have; they still show how noisy trainings are.
    seeds_before: of the previous look; later seeds are fresh. 0 at the first look.
    error, last_error: how often each of the intervals that decide may miss, at this look and at the last one.
    last_seeds: of the last look that there can be.
    measures: those that decide.
    """

    scores: ArmScores
    dropped: ArmScores
    folds: int | None
    seeds: int
    seeds_before: int
    error: float
    last_error: float
    last_seeds: int
    measures: tuple[Measure, ...] = MEASURES

    @cached_property
    def unit(self) -> GainUnit:
        """The unit of gains."""
        return compute_gain_unit(self.scores[BASE_ARM], self.measures)

    @cached_property
    def comparisons(self) -> Mapping[str, Comparison]:
        """Each racing arm compared with the base."""
        others = {name: runs for name, runs in self.scores.items() if name != BASE_ARM}
        dropped = {name: runs for name, runs in self.dropped.items() if len(runs) > 1}
        compared = compare(others | dropped, self.scores[BASE_ARM], self.unit, self.folds)
        return {name: compared[name] for name in others}

    @cached_property
    def judgements(self) -> Mapping[str, Judgement]:
        """The conclusion about each racing arm."""
        return {name: judge(comparison, self.unit, self.error) for name, comparison in self.comparisons.items()}

    @property
    def ranked(self) -> list[str]:
        """Return the racing arms without the base, the greatest gain first."""
        return sorted(self.comparisons, key=lambda name: (-self.comparisons[name].gain.mean, name))


def list_clearly_beaten(look: Look, name: str, others: Sequence[str]) -> list[str]:
    """Return those of some arms that one arm certainly beats: by its gain, paired with each on the seeds of both."""
    scores = {**look.dropped, **look.scores}
    against = {other: scores[other] for other in others if other != name and other in scores}
    if not against:
        return []
    compared = compare(against, look.scores[name], look.unit, look.folds)
    return [other for other, comparison in compared.items() if comparison.gain.interval(BEATEN_ERROR)[1] < 0]


def can_become_a_cure(look: Look, name: str) -> bool:
    """Return whether the last look could still find that an arm is a cure, in the best case that seeds allow."""
    for measure in look.unit.measures:
        benefit = look.comparisons[name].get_benefit(measure)
        best = benefit.mean + benefit.compute_expected_change(look.last_seeds)
        if best > OPTIMISTIC_WIDTH_FACTOR * benefit.compute_expected_half_width(look.last_error, look.last_seeds):
            return True
    return False


def can_be_settled(look: Look, name: str) -> bool:
    """Return whether the last look would show that an arm helps, or does not, if its results stay the same."""
    if look.seeds == look.last_seeds:
        return False
    return would_tell(look.comparisons[name], look.unit, look.last_error, look.last_seeds)


def is_confirmed(look: Look, name: str) -> bool:
    """Return whether the new seeds of this look alone indicate the same cure. At the first look all are old."""
    if not look.seeds_before:
        return False
    fresh = {name: look.scores[name][look.seeds_before :]}
    base = look.scores[BASE_ARM][look.seeds_before :]
    comparison = compare(fresh, base, look.unit, look.folds)[name]
    return all(comparison.get_benefit(measure).mean > 0 for measure in look.judgements[name].better)


def list_cures(look: Look, *, unconfirmed: bool) -> list[str]:
    """Return the arms that are cures, the greatest gain first.

    `unconfirmed`: also those that no fresh seed has confirmed.
    """
    return [
        name
        for name in look.ranked
        if look.judgements[name].assessment is RemedyAssessment.CURE and (unconfirmed or is_confirmed(look, name))
    ]


def find_winner(look: Look, arms: Sequence[Arm], racing: Sequence[str], *, unconfirmed: bool) -> str | None:
    """Return the cure with the greatest gain among the arms that race to the end.

    A combination that does not certainly beat a part that is a cure by itself is replaced by that part.
    """
    found = [name for name in list_cures(look, unconfirmed=unconfirmed) if name in racing]
    parts = {arm.name: arm.parts for arm in arms}
    for name in found:
        rivals = [part for part in parts[name] if part in found]
        if len(list_clearly_beaten(look, name, rivals)) == len(rivals):
            return name
    return None


class DropReason(StrEnum):
    """Say why an arm leaves the race."""

    WORSE = "worse"  # than the base
    NO_HELP = "no_help"  # any benefit is too small to matter
    BEATEN = "beaten"  # by another arm
    HOPELESS = "hopeless"  # even more seeds would not make it a cure


def find_drops(look: Look) -> dict[str, tuple[DropReason, str | None]]:
    """Return the arms that will not win, each with the reason, and the arm that beats it, if any."""
    found: dict[str, tuple[DropReason, str | None]] = {}
    for name in look.ranked:
        assessment = look.judgements[name].assessment
        if assessment is RemedyAssessment.NO_HELP:
            found[name] = DropReason.NO_HELP, None
        elif list_worse_measures(look.comparisons[name], look.unit, look.error):
            found[name] = DropReason.WORSE, None
        elif assessment is not RemedyAssessment.CURE and not can_become_a_cure(look, name):
            found[name] = DropReason.WORSE if assessment is RemedyAssessment.WORSE else DropReason.HOPELESS, None
    racing = [name for name in look.ranked if name not in found]
    first = find_leader(look, racing)
    if first is not None and look.comparisons[first].gain.mean > 0:
        found |= dict.fromkeys(list_clearly_beaten(look, first, racing), (DropReason.BEATEN, first))
    return found


def find_leader(look: Look, racing: Sequence[str]) -> str | None:
    """Return the arm with the greatest gain among racing arms that make nothing worse."""
    names = (name for name in look.ranked if name in racing)
    return next((name for name in names if look.judgements[name].assessment is not RemedyAssessment.WORSE), None)
