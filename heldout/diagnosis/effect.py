"""The size of an effect on accuracy, and when it is worth acting on."""

from dataclasses import dataclass
from statistics import NormalDist

from heldout.diagnosis.gap.budget import Bounds
from heldout.diagnosis.thresholds import LIKELY_CONFIDENCE, MIN_LIKELY_EFFECT, MIN_SURE_EFFECT, TERM_CONFIDENCE


@dataclass(frozen=True)
class Effect:
    """Absolute change in accuracy (a fraction). interval: of 95%; None if unknown."""

    size: float
    interval: Bounds | None

    @classmethod
    def of(cls, change: float, interval: Bounds | None) -> "Effect":
        """The effect of a change in either direction."""
        if change >= 0 or interval is None:
            return cls(abs(change), interval)
        return cls(-change, (-interval[1], -interval[0]))

    @property
    def is_sure(self) -> bool:
        """Whether it is clearly at least one point."""
        return self.interval is not None and self.interval[0] >= MIN_SURE_EFFECT

    @property
    def is_likely(self) -> bool:
        """Whether it is three points or more, and probably above zero."""
        return self.interval is not None and self.size >= MIN_LIKELY_EFFECT and self._compute_likely_bound() > 0

    @property
    def matters(self) -> bool:
        return self.is_sure or self.is_likely

    @property
    def is_negligible(self) -> bool:
        """Whether it is clearly below one point."""
        return self.interval is not None and self.interval[1] < MIN_SURE_EFFECT

    def _compute_likely_bound(self) -> float:
        """The lower bound at the lower confidence, assuming a normal distribution."""
        assert self.interval is not None
        below = (self.size - self.interval[0]) / _compute_deviations(TERM_CONFIDENCE)
        return self.size - below * _compute_deviations(LIKELY_CONFIDENCE)


def _compute_deviations(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
