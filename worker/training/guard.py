"""The live guard: applies the diagnosis after each epoch, and warns or stops. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from heldout.diagnosis.curves import choose_curves
from heldout.diagnosis.history import History
from heldout.diagnosis.rules.rising import find_reason_to_stop, find_reason_to_warn

Mode = Literal["none", "warn", "stop", "stop_and_restore"]

# The figures of an epoch that the guard uses, and the same if the training split is only measured at the end.
CURVES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
CURVES_WITH_FIT = ("fit_loss", "fit_accuracy", "validation_loss", "validation_accuracy")
ALL_CURVES = tuple(dict.fromkeys((*CURVES, *CURVES_WITH_FIT)))


@dataclass(frozen=True)
class GuardState:
    """The figures of each epoch so far, the epoch after which a rise was first seen (0: not yet), and the end."""

    train_loss: tuple[float, ...] = ()
    train_accuracy: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    validation_accuracy: tuple[float, ...] = ()
    fit_loss: tuple[float, ...] = ()
    fit_accuracy: tuple[float, ...] = ()
    seen: int = 0
    stopped: bool = False

    @property
    def best_epoch(self) -> int:
        """The epoch of the lowest validation loss, from 1; 0 before the first."""
        if not self.validation_loss:
            return 0
        return min(range(len(self.validation_loss)), key=self.validation_loss.__getitem__) + 1


def watch_epoch(mode: Mode, state: GuardState, values: Mapping[str, float]) -> GuardState:
    """Return the state after one more measured epoch; a rising loss is noted once.

    Args:
        values: the epoch's figures by name, as in `CURVES` or `CURVES_WITH_FIT`; `fit_loss` may be absent.
    """
    if mode == "none":
        return state
    names = CURVES if "train_loss" in values else CURVES_WITH_FIT
    grown: dict[str, tuple[float, ...]] = {
        name: (*getattr(state, name), values[name]) for name in names if name in values
    }
    state = GuardState(**grown, seen=state.seen, stopped=state.stopped)
    if state.seen or find_explanation(mode, state) is None:
        return state
    return replace(state, seen=len(state.validation_loss), stopped=mode != "warn")


def find_explanation(mode: Mode, state: GuardState) -> str | None:
    """Return the reason to warn or stop because of these figures, or None. Each mode has its own rule."""
    curves = choose_curves(History(**{name: getattr(state, name) for name in ALL_CURVES}))
    return find_reason_to_warn(curves) if mode == "warn" else find_reason_to_stop(curves)
