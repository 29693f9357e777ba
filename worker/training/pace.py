"""How much work one graph call takes on, so that a training answers within about half a second. Pure."""

from dataclasses import dataclass

CALL_S = 0.5
_MAX_GROWTH = 8  # one call tells little about the next while caches and threads warm up


@dataclass(frozen=True)
class SteadySteps:
    """Steps of an epoch whose calls traced nothing, and the seconds that they took."""

    steps: int = 0
    seconds: float = 0.0

    def after(self, pace: "StepPace", steps: int, seconds: float) -> "SteadySteps":
        """With a call of `steps` under `pace`; a first call is left out, since it traces, too."""
        return SteadySteps(self.steps + steps, self.seconds + seconds) if pace.traced else self

    def epoch_s(self, steps_per_epoch: int, measured_s: float) -> float:
        """Seconds of an epoch like this one that traces nothing; as measured where it had one call only."""
        return self.seconds / self.steps * steps_per_epoch if self.steps else measured_s


@dataclass(frozen=True)
class StepPace:
    """The number of steps for the next call; the first takes one, since it also traces the graph."""

    steps: int = 1
    traced: bool = False

    def after(self, steps: int, seconds: float) -> "StepPace":
        """The pace once a call of `steps` took `seconds`."""
        if not self.traced:
            return StepPace(steps=4, traced=True)
        fitting = CALL_S * steps / max(seconds, 1e-6)
        return StepPace(steps=max(1, int(min(fitting, steps * _MAX_GROWTH))), traced=True)
