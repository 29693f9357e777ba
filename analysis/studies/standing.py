"""Judges a remedy against the base: a cure, not a cure, or undecided. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from analysis.studies.comparing import Comparison, GainUnit
from heldout.studies.spec import Measure

# The smallest benefits that a study looks for: a remedy that certainly gives less does not help.
RELEVANT_ACCURACY = 0.01
RELEVANT_SHARE_OF_LOSS = 0.05
# How often the interval may miss that shows that a measure became worse, or that no benefit is left. A cure must be
# proven with correction for many comparisons; doubting one takes less.
DOUBT_ERROR = 0.05


class RemedyStanding(StrEnum):
    """The possible judgements of a remedy against the base."""

    CURE = "cure"  # certainly better in a measure that decides, and credibly worse in none
    WORSE = "worse"  # credibly worse in one of them
    NO_HELP = "no_help"  # any benefit is too small to matter
    OPEN = "open"


@dataclass(frozen=True)
class Judgement:
    """A remedy against the base, and the deciding measures."""

    standing: RemedyStanding
    better: tuple[Measure, ...]
    worse: tuple[Measure, ...]


def judge(comparison: Comparison, unit: GainUnit, error: float) -> Judgement:
    """Judge a remedy.

    Args:
        comparison: with the base.
        error: how often a deciding interval may miss: its share of the study's error.
    """
    better = tuple(m for m in unit.measures if comparison.get_benefit(m).interval(error)[0] > 0)
    worse = tuple(m for m in unit.measures if comparison.get_benefit(m).interval(DOUBT_ERROR)[1] < 0)
    if worse:
        return Judgement(RemedyStanding.WORSE, better, worse)
    if better:
        return Judgement(RemedyStanding.CURE, better, worse)
    most = {m: comparison.get_benefit(m).interval(DOUBT_ERROR)[1] for m in unit.measures}
    helpless = all(most[m] < get_relevant_benefit(m, unit) for m in unit.measures)
    return Judgement(RemedyStanding.NO_HELP if helpless else RemedyStanding.OPEN, better, worse)


def list_worse_measures(comparison: Comparison, unit: GainUnit, error: float) -> tuple[Measure, ...]:
    """Return the measures that an arm is proven to make worse, as strictly as a cure is proven."""
    return tuple(measure for measure in unit.measures if comparison.get_benefit(measure).interval(error)[1] < 0)


def get_relevant_benefit(measure: Measure, unit: GainUnit) -> float:
    """Return the smallest benefit that matters."""
    return RELEVANT_SHARE_OF_LOSS * unit.loss if measure == "loss" else RELEVANT_ACCURACY
