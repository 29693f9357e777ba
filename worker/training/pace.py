"""How much work one graph call takes on, so that a training answers within about half a second. Pure."""

from dataclasses import dataclass

CALL_S = 0.5
_MAX_GROWTH = 8  # one call tells little about the next while caches and threads warm up


@dataclass(frozen=True)
class Pace:
    """The number of steps for the next call; the first takes one, since it also traces the graph."""

    steps: int = 1
    traced: bool = False

    def after(self, steps: int, seconds: float) -> "Pace":
        """The pace once a call of `steps` took `seconds`."""
        if not self.traced:
            return Pace(steps=4, traced=True)
        fitting = CALL_S * steps / max(seconds, 1e-6)
        return Pace(steps=max(1, int(min(fitting, steps * _MAX_GROWTH))), traced=True)
