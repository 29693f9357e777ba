"""Formats differences of accuracy, moments, and the figures of an epoch for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.words import NONE, POINTS, format_loss, format_signed, percent

if TYPE_CHECKING:
    from datetime import datetime

    from heldout.views.results import EpochView


def format_points(value: float | None) -> str:
    """Format a difference of accuracies in percentage points, with its sign: 0.0383 is +3.8."""
    return format_signed(POINTS, value)


def format_epoch_figures(epoch: EpochView, *, short: bool = False) -> str:
    """Format the measured figures of an epoch, for training and validation; `short` has only accuracies."""
    if short:
        train = f"train {percent(epoch.train_accuracy)}  " if epoch.measures_training else ""
        return f"{train}validation {percent(epoch.validation_accuracy)}"
    if not epoch.measures_training:
        held_out = f"validation {percent(epoch.validation_accuracy)}  loss {format_loss(epoch.validation_loss)}"
        return f"{held_out}  (training is measured at the end)"
    return (
        f"train {percent(epoch.train_accuracy)}  validation {percent(epoch.validation_accuracy)}  "
        f"loss {format_loss(epoch.train_loss)}/{format_loss(epoch.validation_loss)}"
    )


def format_moment(time: datetime | None) -> str:
    """Format a time in UTC to the second: `2025-11-24 15:41:02Z`."""
    return NONE if time is None else f"{time:%Y-%m-%d %H:%M:%S}Z"
