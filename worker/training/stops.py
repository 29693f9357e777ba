"""Why a training stops before its last epoch."""

from worker.messages import StopCause


class StopRequested(Exception):
    """The supervisor requests a stop; raised between two graph calls, when the state is complete."""

    def __init__(self, why: StopCause) -> None:
        super().__init__(why)
        self.why = why


class Diverged(Exception):
    """An epoch had a figure that is not finite."""

    def __init__(self, epoch: int, figures: list[str]) -> None:
        super().__init__(
            f"Epoch {epoch}: {', '.join(figures)} {'is' if len(figures) == 1 else 'are'} not finite. "
            "Try a lower learning rate."
        )
