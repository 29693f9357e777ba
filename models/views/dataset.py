"""Builds the views of datasets and of their ledgers."""

from collections.abc import Mapping, Sequence

from analysis.jobs.ledger import HELD_OUT, NO_EPOCH, SplitReads, explain_fold_reads, explain_reads
from heldout.lifecycle.resources import DatasetStatus
from heldout.views.base import make_view
from heldout.views.dataset import (
    DatasetView,
    LabelReadPage,
    LabelReadView,
    LedgerSplitsView,
    LedgerView,
    SplitReadsView,
)
from models.tables import DatasetRow, LabelReadRow
from models.views.job import build_dataset_reference


def build_dataset_view(row: DatasetRow, *, with_changes: bool = True, queue_position: int | None = None) -> DatasetView:
    """Build the view of a dataset. Only a ready dataset has a digest, because it is that of the checked content.

    with_changes: whether to include a derived version's changes, which may name thousands of images.
    """
    derived_from = row.derived_from
    if derived_from is not None:
        derived_from = {**derived_from, "changes": row.changes if with_changes else None}
    return make_view(
        DatasetView,
        row,
        object="dataset",
        range=row.value_range,
        sha256=row.sha256 if row.status == DatasetStatus.READY else None,
        bundled=row.owner is None,
        derived_from=derived_from,
        queue_position=queue_position,
    )


def get_thumbnail_route(dataset_id: str, index: int) -> str:
    """Get the route of an image's picture."""
    return f"/v1/datasets/{dataset_id}/preview/{index}"


def build_ledger_view(
    dataset: DatasetRow,
    totals: Mapping[str, SplitReads],
    page: Sequence[LabelReadRow],
    *,
    earlier: Mapping[str, int],
    fold_reads: int,
    has_more: bool,
) -> LedgerView:
    """Build the caller's ledger of a ready dataset."""
    splits = dataset.splits or {}
    sentences = [
        explain_reads(name, splits[name]["count"], totals[name], earlier[name])
        for name in HELD_OUT
        if splits[name]["count"]
    ]
    if fold_reads:
        sentences.append(explain_fold_reads(fold_reads))
    return LedgerView(
        object="ledger",
        dataset=build_dataset_reference(dataset),
        explanation=" ".join(sentences),
        fold_reads=fold_reads,
        splits=LedgerSplitsView(
            **{
                name: make_view(
                    SplitReadsView,
                    totals[name],
                    sha256=splits[name].get("sha256"),
                    images=splits[name]["count"],
                    earlier_reads=earlier[name],
                )
                for name in HELD_OUT
            }
        ),
        entries=LabelReadPage(
            object="list",
            data=[_build_read_view(row) for row in page],
            has_more=has_more,
            next=page[-1].id if has_more else None,
        ),
    )


def _build_read_view(row: LabelReadRow) -> LabelReadView:
    return make_view(
        LabelReadView,
        row,
        object="label_read",
        subject={"object": row.subject_object, "id": row.subject_id},
        epoch=None if row.epoch == NO_EPOCH else row.epoch,
        what=row.what.value,
    )
