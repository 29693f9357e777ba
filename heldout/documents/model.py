"""An uploaded model as blocks: what is in its file, or what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.blocks import Block, Document, Fact, Facts, Heading, Table, keep_known, strip_code
from heldout.documents.notes import build_notes
from heldout.words import format_bytes, pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.views.model import ModelView

FORMATS = {"keras": "Keras", "onnx": "ONNX"}
WEIGHTS = {True: "in the file", False: "none: the file is an architecture, trained from fresh weights", None: ""}


def lay_out_model(model: ModelView) -> Document:
    return Document(strip_code(model.name), build_model(model))


def build_model(model: ModelView) -> list[Block]:
    """Build the facts of a model, and its layers with weights."""
    blocks: list[Block] = [Facts(list_facts(model)), *build_notes(model.notes)]
    if model.layers:
        rows = [
            (strip_code(layer.name), layer.type, ", ".join(format_sizes(shape) for shape in layer.weights))
            for layer in model.layers
        ]
        blocks += [Heading("Layers with weights", is_folded=True), Table("", ("name", "type", "weights"), rows)]
    return blocks


def list_facts(model: ModelView) -> list[Fact]:
    trainable, gives = model.trainable_parameters, model.gives
    outputs = {"answers": pluralize(model.classes or 0, "class"), "feature_map": "features"}.get(gives or "", "")
    return keep_known(
        Fact("Model", strip_code(model.name), f"({model.id})"),
        Fact("Status", model.status.value),
        Fact("Error", "" if model.error is None else strip_code(f"{model.error.code}: {model.error.detail}")),
        Fact("Format", "" if model.format is None else FORMATS.get(model.format.value, model.format.value)),
        Fact("Written by", strip_code(model.made_by or "")),
        Fact("Takes", format_sizes(model.input_shape)),
        Fact("Gives", outputs, f"({format_sizes(model.output_shape)})" if gives == "feature_map" else ""),
        Fact(
            "Parameters",
            "" if model.parameters is None else f"{model.parameters:,}",
            "" if trainable in (None, model.parameters) else f"{trainable:,} trainable",
        ),
        Fact("Weights", WEIGHTS[model.weights]),
        Fact("Shared", "with all owners, by the operator" if model.shared else ""),
        Fact("License", strip_code(model.license or "")),
        Fact("Source", strip_code(model.source or "")),
        Fact("Size", format_bytes(model.size_bytes)),
        Fact.at("Created", model.created_at),
    )


def format_sizes(shape: Sequence[int | None] | None) -> str:
    """Format a shape: `28×28×1`; `any` for a free size."""
    return "" if shape is None else "×".join("any" if size is None else str(size) for size in shape)
