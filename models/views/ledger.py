"""Builds the view of the ledger."""

from collections.abc import Mapping, Sequence

from analysis.jobs.ledger import HELD_OUT, NO_EPOCH, SplitReads, explain_fold_reads, explain_reads
from heldout.views.base import make_view
from heldout.views.dataset import LabelReadPage, LabelReadView, LedgerSplitsView, LedgerView, SplitReadsView
from models.tables import DatasetRow, LabelReadRow
from models.views.job import build_dataset_reference


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
