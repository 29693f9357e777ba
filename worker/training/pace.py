"""Chooses how much work one graph call does, so that a training responds within about half a second. Pure."""

from dataclasses import dataclass

CALL_S = 0.5
_MAX_GROWTH = 8  # calls vary while caches and threads warm up


@dataclass(frozen=True)
class SteadySteps:
    """Steps of an epoch in calls without tracing, and their seconds."""

    steps: int = 0
    seconds: float = 0.0

    def after(self, pace: "StepPace", steps: int, seconds: float) -> "SteadySteps":
        """Add a call of `steps` under `pace`; the first call is left out, because it traces, too."""
        return SteadySteps(self.steps + steps, self.seconds + seconds) if pace.traced else self

    def epoch_s(self, steps_per_epoch: int, measured_s: float) -> float:
        """Return seconds of such an epoch without tracing; as measured if it had only one call."""
        return self.seconds / self.steps * steps_per_epoch if self.steps else measured_s


@dataclass(frozen=True)
class StepPace:
    """Return the number of steps of the next call; the first has one, because it also traces the graph."""

    steps: int = 1
    traced: bool = False

    def after(self, steps: int, seconds: float) -> "StepPace":
        """Return the pace after a call of `steps` took `seconds`."""
        if not self.traced:
            return StepPace(steps=4, traced=True)
        fitting = CALL_S * steps / max(seconds, 1e-6)
        return StepPace(steps=max(1, int(min(fitting, steps * _MAX_GROWTH))), traced=True)
