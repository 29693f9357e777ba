"""Decides whether a candidate is surely better than the best so far, with errors controlled over all looks. Pure.

A judge's only answers are yes, with a gain rounded down to a few steps, and "not surely". An agent that adapts its
candidates to these answers follows one of few paths. At each point of a path the candidate is fixed before its labels
are looked at, so its test holds there. Each look spends an equal part of the error, divided by the number of paths that
can lead to it. The sum over all paths stays within the error, however a path is chosen.

The argument needs answers that depend on the labels only through what the judge said. It is exact for one network each
(the sign test) and approximate for several seeds (an interval over images and trainings as well).

Source: Blum and Hardt 2015, The Ladder (arXiv 1502.04585), for answers only when surely better, rounded; Dwork et al.
2015, Generalization in adaptive data analysis and holdout reuse (arXiv 1506.02629), for the union over descriptions.
"""

from dataclasses import dataclass
from math import ceil, comb, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.studies.intervals import MeanEstimate, Spread, compute_crossed_spread, estimate_own_noise

# The gains that a judge names, as shares: what it knows surely, rounded down to one of these, or to nothing.
STEPS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.13, 0.2)
# How often a judge may ever call a candidate better that is not, over all of its looks.
ERROR = 0.05

Answers = NDArray[np.int16]
Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Budget:
    """How many candidates a judge may judge, has judged, and has called better."""

    looks: int
    spent: int = 0
    betters: int = 0

    @property
    def level(self) -> float:
        """How often the next look may err."""
        paths = comb(self.spent, self.betters) * (len(STEPS) + 1) ** self.betters
        return float(ERROR / self.looks / 2 ** (self.betters + 1) / paths)

    @property
    def least_differing(self) -> int:
        """The fewest differing images that could prove anything, if the candidate were right on all of them."""
        return ceil(-log(self.level) / log(2))


@dataclass(frozen=True)
class Finding:
    """What a look shows. differing: images with other answers than the best's. gain: at least this share, if better.

    `too_similar` is known without labels, so it spends no look.
    """

    answer: Literal["better", "cannot_tell", "too_similar"]
    differing: int
    gain: float | None = None


def judge(candidate: Answers, best: Answers, labels: NDArray[np.int_], budget: Budget) -> Finding:
    """Compare a candidate with the best so far.

    Args:
        candidate, best: (seeds, images), paired by seed.
        labels: (images,), which no candidate has seen.
    """
    differing = int((candidate != best).any(axis=0).sum())
    if differing < budget.least_differing:
        return Finding("too_similar", differing)
    gain = find_gain(candidate == labels, best == labels, budget.level)
    return Finding("cannot_tell" if gain is None else "better", differing, gain)


def find_gain(candidate: Right, best: Right, level: float) -> float | None:
    """Return the sure gain, rounded down to a step or 0; None if the candidate is not surely better.

    Single networks are compared by the exact sign test of the images on which one is right and the other wrong. The
    interval, which several seeds need, must agree.

    Args:
        candidate, best: (seeds, images) whether each answer is right.
        level: how often this may find a gain where there is none.
    """
    from scipy.special import bdtrc  # loads slowly, and few processes need it

    difference = candidate.astype(np.float64) - best
    by_image = difference.mean(axis=0)
    wins, losses = int((by_image > 0).sum()), int((by_image < 0).sum())
    if wins <= losses or float(bdtrc(wins - 1, wins + losses, 0.5)) > level:
        return None
    low, _ = _estimate(difference).interval(2 * level)
    return None if low <= 0 else max((step for step in STEPS if step <= low), default=0.0)


def compare_at_close(candidate: Right, base: Right, error: float = 0.05) -> tuple[float, tuple[float, float]]:
    """Return by how much the candidate's accuracy differs from the base's, and the interval of that."""
    estimate = _estimate(candidate.astype(np.float64) - base)
    return estimate.mean, estimate.interval(error)


def estimate_detectable_gain(differing: int, images: int, budget: Budget) -> float:
    """Return from about which gain an answer would be sure. It needs no labels, so it reveals nothing about them."""
    spread = Spread(0.0, 1, images, 0.0, differing / images**2, 0.0)
    return MeanEstimate(spread, estimate_own_noise(spread)).compute_half_width(2 * budget.level)


def _estimate(difference: NDArray[np.float64]) -> MeanEstimate:
    spread = compute_crossed_spread(difference, binary=True)
    return MeanEstimate(spread, estimate_own_noise(spread))
