"""The ledger: how often a dataset's validation and test labels were used."""

from typing import Annotated

from api.http.auth import CallerDep
from api.http.deps import ReadSessionDep
from api.http.parameters import AskedPage, make_page_dependency
from api.http.problems import document_errors
from api.http.routing import make_router
from api.routes.datasets.dataset import Reference, find_dataset
from heldout.errors import DatasetNotFound, DatasetNotReady, InvalidCursor
from heldout.views.dataset import LedgerView
from models.store import datasets, label_reads
from models.views.dataset import build_ledger_view

router = make_router("/v1/datasets", "datasets")


@router.get("/{dataset}/ledger", responses=document_errors(InvalidCursor, DatasetNotFound, DatasetNotReady))
def get_ledger(
    dataset: Reference,
    caller: CallerDep,
    session: ReadSessionDep,
    asked: Annotated[AskedPage, make_page_dependency("read")],
) -> LedgerView:
    """List each time you looked at a dataset's validation or test labels, newest first, with totals."""
    row = find_dataset(session, caller.owner, dataset)
    datasets.require_content(row, "a ledger")
    totals = label_reads.count_totals(session, caller.owner, row)
    entries, more = label_reads.list_page(session, caller.owner, row, after=asked.after, limit=asked.limit)
    folds = label_reads.count_fold_reads(session, caller.owner, row)
    earlier = label_reads.count_earlier_reads(session, caller.owner, row)
    return build_ledger_view(row, totals, entries, earlier=earlier, fold_reads=folds, has_more=more)
