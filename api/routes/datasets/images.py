"""The images of a dataset, by split and class, and the ledger: how often its held-out labels were used."""

from typing import Annotated

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, ReadSessionDep
from api.http.parameters import AskedPage, OnlyClass, PageLimit, PageStart, make_page_dependency
from api.http.problems import document_errors
from api.http.routing import make_router
from api.routes.datasets.dataset import Reference, find_dataset, note_shown_labels
from heldout.errors import (
    DatasetLost,
    DatasetNotFound,
    DatasetNotReady,
    InvalidCursor,
    InvalidParameter,
    StorageUnavailable,
)
from heldout.stored.evaluation import SplitName
from heldout.views.base import make_view
from heldout.views.dataset import DatasetImagePage, DatasetImageView, LedgerView
from models.blobs import raise_if_missing
from models.store import datasets, label_reads
from models.stored_files import list_split_images
from models.views.dataset import build_ledger_view, get_thumbnail_route

router = make_router("/v1/datasets", "datasets")


@router.get(
    "/{dataset}/images", responses=document_errors(DatasetNotFound, DatasetNotReady, DatasetLost, StorageUnavailable)
)
def list_images(
    dataset: Reference,
    caller: CallerDep,
    session: ReadSessionDep,
    app: AppContextDep,
    split: SplitName = "train",
    class_: OnlyClass = None,
    limit: PageLimit = 20,
    after: PageStart = 0,
) -> DatasetImagePage:
    """List images of a split with their labels. The ledger counts the first look at validation or test labels."""
    row = find_dataset(session, caller.owner, dataset)
    sha256 = datasets.require_content(row, "images")
    classes = row.classes or []
    if class_ is not None and class_ not in classes:
        raise InvalidParameter(f"Dataset {row.name!r} has no class {class_[:64]!r}; `classes` lists them.")
    label = None if class_ is None else classes.index(class_)
    with raise_if_missing(DatasetLost(row.name)):
        shown, count = list_split_images(session, app.blobs, row.id, sha256, split, label, after, limit)
    if split != "train" and shown:
        note_shown_labels(session, app, caller.owner, row)
    has_more = after + len(shown) < count and bool(shown)
    return DatasetImagePage(
        object="list",
        data=[
            make_view(
                DatasetImageView,
                image,
                split=split,
                label=classes[image.label],
                thumbnail=get_thumbnail_route(row.id, image.index),
            )
            for image in shown
        ],
        has_more=has_more,
        next=after + len(shown) if has_more else None,
        count=count,
    )


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
