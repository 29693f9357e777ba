"""What was seen inside a network, as blocks: both of its modes, and its units, gradients and steps by layer."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING

from heldout.documents.blocks import Block, Figure, Heading, Paragraph, Table
from heldout.documents.strips import Axis, Mark, Strip
from heldout.words import format_loss, percent, pluralize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from heldout.documents.blocks import Cell
    from heldout.stored.inside import EpochInside, InsideLook

# Lengths of gradients and steps are shown on a scale of ten powers of ten.
POWERS, SMALLEST = 10, 1e-8
MAX_EPOCHS = 12
SHARES = Axis("share", [(0.0, "0%"), (50.0, "50%"), (100.0, "100%")])
LENGTHS = Axis("length", [(20.0, "1e-6"), (50.0, "0.001"), (80.0, "1")])


def build_inside(looks: Mapping[int, EpochInside]) -> list[Block]:
    """List the blocks; none without a look.

    Args:
        looks: by epoch, in order.
    """
    if not looks:
        return []
    first, last = looks[min(looks)], looks[max(looks)]
    tables = [_draw_modes(looks)]
    if last.activations:
        rows = [_draw_share(name, share) for name, share in zip(last.activations, last.dead, strict=True)]
        note = "A unit is dead if it gives the same for all images: no gradient reaches what comes before it."
        tables.append(_tabulate("Dead units", "Share of dead units, by layer", "layer", SHARES, rows, note))
    rows = [_draw_length(*layer) for layer in zip(last.layers, last.gradients, strict=True)]
    note = "Of the cross-entropy alone. The first layer is the closest to the images."
    tables.append(_tabulate("Gradients", "Length of the gradient, by layer", "layer", LENGTHS, rows, note))
    if last.steps:
        rows = [_draw_length(*layer) for layer in zip(last.layers, last.steps, strict=True)]
        note = "Most trainings change a thousandth to a hundredth of the weights in a step."
        tables.append(_tabulate("Steps", "Last step as a share of the weights, by layer", "layer", LENGTHS, rows, note))
    start = [] if first.start is None else [_describe_start(first.start)]
    return [Heading("Inside the network", 3), *start, Figure("Inside the network", tables)]


def _describe_start(start: InsideLook) -> Paragraph:
    loss = "not finite" if start.loss is None else format_loss(start.loss)
    penalty = f" Penalties add {format_loss(start.penalty)}." if start.penalty else ""
    images = pluralize(start.images, "training image")
    return Paragraph(f"Before the first step, the loss of {images} was {loss}.{penalty}")


def _draw_modes(looks: Mapping[int, EpochInside]) -> Table:
    rows = [
        _draw_share(f"Epoch {epoch}, {mode} mode", share)
        for epoch in list(looks)[-MAX_EPOCHS:]
        for mode, share in (("training", looks[epoch].accuracy), ("inference", looks[epoch].inference_accuracy))
    ]
    images = pluralize(looks[max(looks)].images, "training image")
    note = f"Accuracy on the same {images} with the same weights, without dropout. Only batch normalization differs."
    return _tabulate("Both modes", "Training mode and inference mode", "epoch", SHARES, rows, note)


def _tabulate(name: str, caption: str, of: str, axis: Axis, rows: Sequence[tuple[Cell, ...]], note: str) -> Table:
    return Table(caption, (of, axis, name.lower()), rows, numbers=(2,), note=note, name=name)


def _draw_share(name: str, share: float) -> tuple[Cell, ...]:
    text = percent(share)
    return name, Strip([Mark("bar", 0.0, 100 * share, "heldout")], f"{name}: {text}"), text


def _draw_length(name: str, length: float | None) -> tuple[Cell, ...]:
    text = "not finite" if length is None else f"{length:.2g}"
    place = 1.0 if length is None else log10(max(length, SMALLEST) / SMALLEST) / POWERS
    return name, Strip([Mark("bar", 0.0, 100 * min(1.0, place), "heldout")], f"{name}: {text}"), text
