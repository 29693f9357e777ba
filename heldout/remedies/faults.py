"""Remedies for faults inside a network."""

from heldout.remedies.change import Change, NoChange, Outcome, Remedies, RemedyBase
from heldout.remedies.training import LEARNING_RATE_DIVISOR

REMEDIES = Remedies()


@REMEDIES.add("higher_learning_rate", "The training steps were too small: use ten times the learning rate.")
def raise_learning_rate(base: RemedyBase) -> Outcome:
    given = base.training["optimizer"]["learning_rate"]
    rate = min(1.0, float(f"{given * LEARNING_RATE_DIVISOR:.4g}"))
    if rate <= given:
        return NoChange("The learning rate is already 1, the highest.")
    return Change(
        {"training": {"optimizer": {"learning_rate": rate}}}, f"Multiplies the learning rate by ten, to {rate:g}."
    )


@REMEDIES.add("fitting_pixels", "A network learns from pixels that are scaled as it expects them, once.")
def fit_pixels(base: RemedyBase) -> Outcome:
    """Give an uploaded network the pixels that its own layers ask for."""
    given = None if base.own is None else base.own.get("pixels")
    fitting = None if base.facts is None else "bytes" if base.facts.scales_pixels else "unit"
    if given in (None, fitting):
        return NoChange("The pixels already are as the network's layers ask for.")
    did = "Gives the network pixels from 0 to 255 if it scales them itself, and from 0 to 1 otherwise."
    return Change({"network": {"pixels": None}}, did)
