"""The images of a dataset by split and class, those with suspected labels, and the ledger of looks at labels."""

from typing import Annotated, Any

from fastapi import Query, Response
from starlette.concurrency import run_in_threadpool

from api.http.auth import CallerContext
from api.http.context import RequestContext
from api.http.deps import ReadContext
from api.http.parameters import AskedPage, OnlyClass, PageLimit, PageStart, make_page_dependency
from api.http.problems import NO_ROOM, raises
from api.http.routing import make_router
from api.routes.datasets.dataset import Reference, note_shown_labels
from api.routes.long_poll import MAX_WAIT_S
from heldout import errors
from heldout.lifecycle.job import TERMINAL
from heldout.lifecycle.resources import SearchStatus
from heldout.stored.audit import StoredSuspects, make_suspects_key
from heldout.stored.evaluation import SplitName
from heldout.views.audit import SuspectsView
from heldout.views.base import make_view
from heldout.views.dataset import DatasetImagePage, DatasetImageView, LedgerView
from models.blob_files import guard_reading
from models.blobs import raise_if_missing
from models.database import Session
from models.store import datasets, label_reads, searches
from models.stored_files import list_split_images, read_suspects
from models.tables import DatasetRow, JobRow
from models.views.dataset import build_ledger_view, get_thumbnail_route
from models.views.suspects import build_failed_view, build_ready_view, build_waiting_view

router = make_router("/v1/datasets", "datasets")


@router.get("/{dataset}/images")
@raises(errors.DatasetNotReady, errors.DatasetLost, errors.StorageUnavailable)
def list_images(
    dataset: Reference,
    context: ReadContext,
    split: SplitName = "train",
    class_: OnlyClass = None,
    limit: PageLimit = 20,
    after: PageStart = 0,
) -> DatasetImagePage:
    """List images of a split with their labels. The ledger counts the first look at validation or test labels."""
    row = datasets.require(context.session, context.owner, dataset)
    sha256 = datasets.require_content(row, "images")
    classes = row.classes or []
    if class_ is not None and class_ not in classes:
        raise errors.InvalidParameter(f"Dataset {row.name!r} has no class {class_[:64]!r}; `classes` lists them.")
    label = None if class_ is None else classes.index(class_)
    with raise_if_missing(errors.DatasetLost(row.name)):
        shown, count = list_split_images(context.session, context.blobs, row.id, sha256, split, label, after, limit)
    if split != "train" and shown:
        note_shown_labels(context.session, context.app, context.owner, row)
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


@router.get("/{dataset}/ledger")
@raises(errors.DatasetNotReady)
def get_ledger(
    dataset: Reference,
    context: ReadContext,
    asked: Annotated[AskedPage, make_page_dependency("read")],
) -> LedgerView:
    """List each time you looked at a dataset's validation or test labels, newest first, with totals."""
    row = datasets.require(context.session, context.owner, dataset)
    datasets.require_content(row, "a ledger")
    totals = label_reads.count_totals(context.session, context.owner, row)
    entries, more = label_reads.list_page(context.session, context.owner, row, after=asked.after, limit=asked.limit)
    folds = label_reads.count_fold_reads(context.session, context.owner, row)
    earlier = label_reads.count_earlier_reads(context.session, context.owner, row)
    return build_ledger_view(row, totals, entries, earlier=earlier, fold_reads=folds, has_more=more)


RETRY_AFTER_S = 5

NOT_YET: dict[int | str, dict[str, Any]] = {
    202: {"model": SuspectsView, "description": "The search is queued or running. Retry after `Retry-After` seconds."}
}


@router.get(
    "/{dataset}/suspects", response_description="The search has ended: `ready`, or `failed`.", responses=NOT_YET
)
@raises(errors.DatasetNotReady, errors.DatasetLost, errors.StorageUnavailable, errors.FileOfLaterRelease, *NO_ROOM)
async def get_suspects(
    dataset: Reference,
    context: CallerContext,
    response: Response,
    limit: PageLimit = 20,
    after: PageStart = 0,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for the search to end.")
    ] = 0,
    again: Annotated[
        bool,
        Query(
            description="Search again if the last search failed, or if its result is lost, damaged, or from an earlier "
            "release that did not check itself."
        ),
    ] = False,
) -> SuspectsView:
    """List images whose label is probably wrong, most certain first. It shows labels, which the ledger counts once.

    The first request for a dataset starts the search, in the background.
    """
    row, job = await run_in_threadpool(_get_or_begin_search, context, dataset, again=again)
    if wait and job is not None and job.status not in TERMINAL:
        await context.app.hub.wait_for_end(job.id, wait)
        row, job = await run_in_threadpool(_get_or_begin_search, context, row.id, again=False)
    if row.suspects_status is SearchStatus.FAILED:
        return build_failed_view(row, job)
    if row.suspects_status is not SearchStatus.STORED:
        response.status_code = 202
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return build_waiting_view(row, job)
    stored = await run_in_threadpool(_read, context, row)
    with guard_reading(make_suspects_key(row.id)):  # a file from an earlier release may name unknown classes
        return build_ready_view(row, stored, after=after, limit=limit)


def _get_or_begin_search(context: RequestContext, reference: str, *, again: bool) -> tuple[DatasetRow, JobRow | None]:
    """Get the dataset and its last search, starting the first search if there was none."""
    with context.read() as session:
        row = datasets.require(session, context.owner, reference)
        datasets.require_content(row, "suspected labels")
        job = searches.find_newest_job(session, searches.SUSPECTS, row.id)
        is_lost = again and row.suspects_status is SearchStatus.STORED and not _is_usable(session, context, row)
    if row.suspects_status is None or is_lost or (again and row.suspects_status is SearchStatus.FAILED):
        with context.write() as session:
            searches.queue(session, searches.SUSPECTS, context.owner, row.id, again=again, is_lost=is_lost)
        with context.read() as session:
            return datasets.require(session, context.owner, row.id), searches.find_newest_job(
                session, searches.SUSPECTS, row.id
            )
    return row, job


def _read(context: RequestContext, row: DatasetRow) -> StoredSuspects:
    with context.read() as session:
        stored = _read_stored(session, context, row)
        # The search trained on validation and test labels, too.
        note_shown_labels(session, context.app, context.owner, row)
    return stored


def _read_stored(session: Session, context: RequestContext, row: DatasetRow) -> StoredSuspects:
    stored = read_suspects(session, context.blobs, row, StoredSuspects)
    if stored is None:  # deleted meanwhile
        raise errors.DatasetLost(row.name)
    return stored


def _is_usable(session: Session, context: RequestContext, row: DatasetRow) -> bool:
    """Return whether the stored result is intact and from a search that checked itself."""
    try:
        return _read_stored(session, context, row).verdict is not None
    except (errors.DatasetLost, errors.DatasetDamaged):
        return False
