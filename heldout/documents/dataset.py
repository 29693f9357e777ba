"""A dataset as blocks: what it contains, where it is from, or why it was rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.blocks import Document, Fact, Facts, keep_known, strip_code
from heldout.words import format_bytes

if TYPE_CHECKING:
    from heldout.views.dataset import DatasetView

MAX_NAMES = 500  # characters


def lay_out_dataset(dataset: DatasetView) -> Document:
    return Document(strip_code(f"{dataset.name}@{dataset.version}"), [Facts(list_facts(dataset))])


def list_facts(dataset: DatasetView) -> list[Fact]:
    error, origin, shape, pixels = dataset.error, dataset.derived_from, dataset.shape, dataset.range
    counts = [] if dataset.splits is None else [f"{split.count:,} {name}" for name, split in dataset.splits]
    classes = dataset.classes or []
    member = f"in {error.member}" if error is not None and error.member else ""
    made_from = None if origin is None else origin.dataset
    return keep_known(
        Fact("Dataset", strip_code(f"{dataset.name}@{dataset.version}"), f"({dataset.id})"),
        Fact("Description", strip_code(dataset.description)),
        Fact("Status", dataset.status.value),
        Fact("Error", "" if error is None else strip_code(f"{error.code}: {error.detail}"), strip_code(member)),
        Fact("Image", "" if shape is None else "×".join(map(str, shape))),
        Fact("Pixel values", "" if pixels is None else f"{dataset.dtype}, {pixels[0]:g} to {pixels[1]:g}"),
        Fact("Images", " / ".join(counts)),
        Fact("Classes", f"{len(classes):,}" if classes else "", f"({strip_code(', '.join(classes))[:MAX_NAMES]})"),
        Fact("Size", "" if dataset.size_bytes is None else format_bytes(dataset.size_bytes)),
        Fact("SHA-256", dataset.sha256 or ""),
        Fact("Made from", "")
        if made_from is None
        else Fact("Made from", strip_code(f"{made_from.name}@{made_from.version}"), page=f"/datasets/{made_from.id}"),
        Fact.at("Created", dataset.created_at),
    )
