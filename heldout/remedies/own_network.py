"""Remedies that change an uploaded model which is the whole network. Its layers change when a job builds it."""

from collections.abc import Mapping
from typing import Any

from heldout.remedies.change import Change, NoChange, Outcome, RemedyBase
from heldout.remedies.values import DROPOUT, L2

Own = Mapping[str, Any]

FIXED_BATCH_NORM = "Where an uploaded model normalizes is up to its layers. Upload one with batch normalization."


def shrink(base: RemedyBase, own: Own) -> Outcome:
    """Halve all filters and units except those of the last layer."""
    if own.get("width", 1) != 1:
        return NoChange("The network already has half the width of the uploaded model.")
    if own.get("weights") == "uploaded":
        return NoChange("Layers of another size cannot start from the uploaded weights.")
    if base.facts is not None and base.facts.half is None:
        return NoChange(f"The uploaded model cannot be halved. {base.facts.half_refusal}")
    return Change(
        {"network": {"width": 0.5}}, "Halves the network: all filters and units except those of the last layer."
    )


def enlarge(own: Own) -> Outcome:
    """Use the whole width of the model again, if the spec halves it."""
    if own.get("width", 1) == 1:
        return NoChange("An uploaded model cannot be made larger. Upload one with more filters or units.")
    return Change({"network": {"width": 1}}, "Uses the whole width of the uploaded model instead of half.")


def add_dropout(base: RemedyBase, own: Own) -> Outcome:
    """Add dropout after pooling layers and before the output."""
    if own.get("dropout"):
        return NoChange("The network already has dropout.")
    if base.facts is not None and base.facts.drops_out:
        return NoChange("The uploaded model has dropout layers of its own.")
    did = f"Adds dropout of {DROPOUT} after pooling layers and before the output."
    return Change({"network": {"dropout": DROPOUT}}, did)


def add_l2(base: RemedyBase, own: Own) -> Outcome:
    """Add a penalty on the kernels of convolutions and dense layers."""
    if own.get("l2"):
        return NoChange("The network already has an L2 penalty.")
    if base.facts is not None and base.facts.penalizes:
        return NoChange("Layers of the uploaded model have penalties of their own.")
    did = f"Adds an L2 penalty of {L2} on the kernels of convolutions and dense layers."
    return Change({"network": {"l2": L2}}, did)


def freeze(base: RemedyBase, own: Own) -> Outcome:
    """Leave layers as uploaded: all before a new output, or else the first half."""
    if own.get("weights") != "uploaded":
        return NoChange("Fresh weights have learned nothing yet. With `weights` `uploaded`, layers can be frozen.")
    if not own.get("trainable", True) or own.get("freeze") is not None:
        return NoChange("The spec already freezes layers of the uploaded model.")
    if own.get("head") == "replace":
        return Change({"network": {"trainable": False}}, "Leaves all layers as uploaded, and trains the new output.")
    layers = 0 if base.facts is None else len(base.facts.layers)
    if layers < 2:
        return NoChange("The uploaded model has no second layer that would still be trained.")
    return Change(
        {"network": {"freeze": layers // 2}},
        f"Leaves the first {layers // 2:,} of {layers:,} layers as uploaded, and trains the rest.",
    )
