"""Images whose label is probably wrong. The first request starts a search; later requests read its result."""

from typing import Annotated, Any

from fastapi import Query, Response
from starlette.concurrency import run_in_threadpool

from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.deps import AppContextDep
from api.http.parameters import PageLimit, PageStart
from api.http.problems import NO_ROOM, document_errors
from api.http.routing import make_router
from api.routes.datasets.dataset import Reference, find_dataset, note_shown_labels
from api.routes.long_poll import MAX_WAIT_S
from heldout.errors import (
    DatasetDamaged,
    DatasetLost,
    DatasetNotFound,
    DatasetNotReady,
    FileOfLaterRelease,
    StorageUnavailable,
)
from heldout.lifecycle.job import TERMINAL
from heldout.lifecycle.resources import SuspectsStatus
from heldout.stored.audit import StoredSuspects, make_suspects_key
from heldout.views.audit import SuspectsView
from models.blob_files import guard_reading
from models.database import Session
from models.store import accounts, datasets, suspects
from models.store.keys import Caller
from models.stored_files import read_suspects
from models.tables import DatasetRow, JobRow
from models.views.suspects import build_failed_view, build_ready_view, build_waiting_view

RETRY_AFTER_S = 5

router = make_router("/v1/datasets", "datasets")

NOT_YET: dict[int | str, dict[str, Any]] = {
    202: {"model": SuspectsView, "description": "The search is queued or running. Retry after `Retry-After` seconds."}
}


@router.get(
    "/{dataset}/suspects",
    response_model=SuspectsView,
    response_description="The search has ended: `ready`, or `failed`.",
    responses={
        **NOT_YET,
        **document_errors(
            DatasetNotFound, DatasetNotReady, DatasetLost, StorageUnavailable, FileOfLaterRelease, *NO_ROOM
        ),
    },
)
async def get_suspects(
    dataset: Reference,
    caller: CallerDep,
    app: AppContextDep,
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
    row, job = await run_in_threadpool(_get_or_begin_search, app, caller, dataset, again=again)
    if wait and job is not None and job.status not in TERMINAL:
        await app.hub.wait_for_end(job.id, wait)
        row, job = await run_in_threadpool(_get_or_begin_search, app, caller, row.id, again=False)
    if row.suspects_status is SuspectsStatus.FAILED:
        return build_failed_view(row, job)
    if row.suspects_status is not SuspectsStatus.STORED:
        response.status_code = 202
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return build_waiting_view(row, job)
    stored = await run_in_threadpool(_read, app, caller.owner, row)
    with guard_reading(make_suspects_key(row.id)):  # a file from an earlier release may name unknown classes
        return build_ready_view(row, stored, after=after, limit=limit)


def _get_or_begin_search(
    app: AppContext, caller: Caller, reference: str, *, again: bool
) -> tuple[DatasetRow, JobRow | None]:
    """Get the dataset and its last search, starting the first search if there was none."""
    with app.database.read() as session:
        row = find_dataset(session, caller.owner, reference)
        datasets.require_content(row, "suspected labels")
        job = suspects.find_newest_job(session, row.id)
        is_lost = again and row.suspects_status is SuspectsStatus.STORED and not _is_usable(session, app, row)
    if row.suspects_status is None or is_lost or (again and row.suspects_status is SuspectsStatus.FAILED):
        with app.database.write() as session:
            accounts.note_key(session, caller.key_id)
            suspects.queue(session, caller.owner, row.id, again=again, is_lost=is_lost)
        with app.database.read() as session:
            return find_dataset(session, caller.owner, row.id), suspects.find_newest_job(session, row.id)
    return row, job


def _read(app: AppContext, owner: str, row: DatasetRow) -> StoredSuspects:
    with app.database.read() as session:
        stored = _read_stored(session, app, row)
        # The search trained on validation and test labels, too.
        note_shown_labels(session, app, owner, row)
    return stored


def _read_stored(session: Session, app: AppContext, row: DatasetRow) -> StoredSuspects:
    stored = read_suspects(session, app.blobs, row, StoredSuspects)
    if stored is None:  # deleted meanwhile
        raise DatasetLost(row.name)
    return stored


def _is_usable(session: Session, app: AppContext, row: DatasetRow) -> bool:
    """Whether the stored result is intact and from a search that checked itself."""
    try:
        return _read_stored(session, app, row).verdict is not None
    except (DatasetLost, DatasetDamaged):
        return False
