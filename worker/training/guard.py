"""The live guard: the diagnosis' own judgement after each epoch, and what follows from it. Pure."""

from dataclasses import dataclass, replace
from typing import Literal

from heldout.diagnosis.curves import curves_of
from heldout.diagnosis.early_stop import reason_to_stop
from heldout.diagnosis.history import History
from heldout.diagnosis.rules.overfitting import explain as explain_overfitting

Mode = Literal["none", "warn", "stop", "stop_and_restore"]


@dataclass(frozen=True)
class GuardState:
    """The losses of each epoch so far, the epoch after which overfitting was first seen (0: not yet), and the end."""

    train_loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    seen: int = 0
    stopped: bool = False

    @property
    def best_epoch(self) -> int:
        """Of the lowest validation loss, from 1; 0 before the first."""
        if not self.validation_loss:
            return 0
        return min(range(len(self.validation_loss)), key=self.validation_loss.__getitem__) + 1


def watch_epoch(mode: Mode, state: GuardState, train_loss: float, validation_loss: float) -> GuardState:
    """The state once one more epoch has been measured; it is told of overfitting once."""
    if mode == "none":
        return state
    state = replace(
        state,
        train_loss=(*state.train_loss, train_loss),
        validation_loss=(*state.validation_loss, validation_loss),
    )
    if state.seen or explanation_of(mode, state) is None:
        return state
    return replace(state, seen=len(state.validation_loss), stopped=mode != "warn")


def explanation_of(mode: Mode, state: GuardState) -> str | None:
    """Why to warn of these losses, or to stop; None if there is no reason. Each asks its own question."""
    curves = curves_of(History(train_loss=state.train_loss, validation_loss=state.validation_loss))
    return explain_overfitting(curves) if mode == "warn" else reason_to_stop(curves)
