"""Early stopping: when to end, and which epoch's weights to keep. Pure."""

from dataclasses import dataclass, replace

from heldout.spec.job import EarlyStoppingSpec


@dataclass(frozen=True)
class StoppingState:
    """The best monitored figure, its epoch, the epochs since it, and whether the training ends here."""

    best: float | None = None
    best_epoch: int = 0
    wait: int = 0
    stopped: bool = False


def judge_epoch(spec: EarlyStoppingSpec | None, state: StoppingState, epoch: int, value: float) -> StoppingState:
    """The state once `epoch` (from 1) gave `value` for the monitored figure.

    Source: `keras.callbacks.EarlyStopping`.
    """
    if spec is None:
        return state
    if state.best is None or _better(spec, value, state.best):
        return StoppingState(best=value, best_epoch=epoch)
    waited = state.wait + 1
    return replace(state, wait=waited, stopped=waited >= spec.patience)


def kept_epoch(spec: EarlyStoppingSpec | None, state: StoppingState, epoch: int) -> int:
    """The epoch whose weights the job keeps if it ends after `epoch`."""
    return state.best_epoch if spec is not None and spec.restore_best else epoch


def _better(spec: EarlyStoppingSpec, value: float, best: float) -> bool:
    if spec.monitor == "validation_loss":
        return value + spec.min_delta < best
    return value - spec.min_delta > best
