"""What a pretrained network makes of a dataset's images: those that look alike, and a map of all."""

from typing import Annotated, Any

from fastapi import Path, Query, Response
from starlette.concurrency import run_in_threadpool

from api.http.auth import CallerContext
from api.http.context import RequestContext
from api.http.problems import NO_ROOM, raises
from api.http.routing import make_router
from api.routes.datasets.dataset import Reference, note_shown_labels
from api.routes.long_poll import MAX_WAIT_S
from heldout import errors
from heldout.lifecycle.job import TERMINAL
from heldout.lifecycle.resources import SearchStatus
from heldout.views.looks import MapView, SimilarView
from models import pretrained
from models.blobs import raise_if_missing
from models.dataset_map import read_map
from models.store import datasets, searches
from models.stored_files import read_looks, read_names_at, read_picture, read_splits
from models.tables import DatasetRow, JobRow
from models.views.looks import build_map_view, build_similar_view, describe_state

router = make_router("/v1/datasets", "datasets")

RETRY_AFTER_S = 5
Waiting = Annotated[
    float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for the features to be computed.")
]
Again = Annotated[bool, Query(description="Compute the features again if that failed, or if they are lost or damaged.")]


def _make_not_yet(view: type[SimilarView | MapView]) -> dict[int | str, dict[str, Any]]:
    return {202: {"model": view, "description": "The features are being computed. Retry after `Retry-After` seconds."}}


@router.get(
    "/{dataset}/images/{index}/similar",
    response_description="The features are `ready`, or there are none.",
    responses=_make_not_yet(SimilarView),
)
@raises(
    errors.DatasetNotReady,
    errors.ImageNotFound,
    errors.DatasetLost,
    errors.StorageUnavailable,
    errors.FileOfLaterRelease,
    *NO_ROOM,
)
async def get_similar(
    dataset: Reference,
    index: Annotated[int, Path(description="The image's position in the dataset, as in `splits` and `index`.")],
    context: CallerContext,
    response: Response,
    wait: Waiting = 0,
    again: Again = False,
) -> SimilarView:
    """List the images that look most like this one to a pretrained network, in all splits. It shows no labels.

    Features are computed once for a dataset, in the background; the first request starts that if nothing else has.
    """
    row, state = await _get_state(context, dataset, response, wait, again=again)
    count = sum(about["count"] for about in (row.splits or {}).values())
    if not 0 <= index < count:
        raise errors.ImageNotFound(
            f"Dataset {row.name!r} has no image {str(index)[:20]}. Positions are 0 to {count - 1:,}."
        )
    if state["status"] != "ready":
        return build_similar_view(state, row, index)

    def read() -> SimilarView:
        with context.read() as session, raise_if_missing(errors.DatasetLost(row.name)):
            picture = read_picture(session, context.blobs, row)
            looks = read_looks(session, context.blobs, row)
            splits = read_splits(session, context.blobs, row.sha256 or "")
            shown = picture.neighbors[picture.ids == index].ravel().tolist()
            names = read_names_at(session, context.blobs, row.id, shown)
            model = None if looks is None else looks.model
            return build_similar_view(state, row, index, picture, names, splits, model)

    return await run_in_threadpool(read)


@router.get(
    "/{dataset}/map",
    response_description="The features are `ready`, or there are none.",
    responses=_make_not_yet(MapView),
)
@raises(
    errors.DatasetNotReady,
    errors.DatasetLost,
    errors.JobNotFound,
    errors.NotReady,
    errors.NoModel,
    errors.PredictionsLost,
    errors.StorageUnavailable,
    errors.FileOfLaterRelease,
    *NO_ROOM,
)
async def get_map(
    dataset: Reference,
    context: CallerContext,
    response: Response,
    wait: Waiting = 0,
    again: Again = False,
    job: Annotated[
        str | None, Query(max_length=64, description="Id of a job on this dataset: each point gets its answer.")
    ] = None,
) -> MapView:
    """Get a map of the images: those that look alike are near each other.

    It shows labels, which the ledger counts once. Features are computed once for a dataset, in the
    background; the first request starts that if nothing else has.
    """
    row, state = await _get_state(context, dataset, response, wait, again=again)
    if state["status"] != "ready":
        return build_map_view(state, row)

    def read() -> MapView:
        with context.read() as session, raise_if_missing(errors.DatasetLost(row.name)):
            found = read_map(session, context.blobs, context.owner, row, state, job)
            note_shown_labels(session, context.app, context.owner, row)
            return found

    return await run_in_threadpool(read)


async def _get_state(
    context: RequestContext, reference: str, response: Response, wait: float, *, again: bool
) -> tuple[DatasetRow, dict[str, Any]]:
    """Get the dataset and the state of its features, of which the computation is started if there was none."""
    row, job, is_available = await run_in_threadpool(_get_or_begin, context, reference, again=again)
    if wait and job is not None and job.status not in TERMINAL:
        await context.app.hub.wait_for_end(job.id, wait)
        row, job, is_available = await run_in_threadpool(_get_or_begin, context, row.id, again=False)
    state = describe_state(row, job, is_available=is_available)
    if state["status"] in {"queued", "running"}:
        response.status_code = 202
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return row, state


def _get_or_begin(context: RequestContext, reference: str, *, again: bool) -> tuple[DatasetRow, JobRow | None, bool]:
    with context.read() as session:
        row = datasets.require(session, context.owner, reference)
        datasets.require_content(row, "features")
        job = searches.find_newest_job(session, searches.FEATURES, row.id)
        settings = context.app.settings
        is_available = settings.features and pretrained.is_coming(session, settings.pretrained)
        is_lost = again and row.features_status is SearchStatus.STORED and not _are_usable(context, row)
    may_begin = row.features_status is None or is_lost or (again and row.features_status is SearchStatus.FAILED)
    if not (may_begin and is_available):
        return row, job, is_available
    with context.write() as session:
        searches.queue(session, searches.FEATURES, context.owner, row.id, again=again, is_lost=is_lost)
    with context.read() as session:
        row = datasets.require(session, context.owner, row.id)
        return row, searches.find_newest_job(session, searches.FEATURES, row.id), True


def _are_usable(context: RequestContext, row: DatasetRow) -> bool:
    try:
        with context.read() as session, raise_if_missing(errors.DatasetLost(row.name)):
            read_picture(session, context.blobs, row)
            return read_looks(session, context.blobs, row) is not None
    except (errors.DatasetLost, errors.DatasetDamaged):
        return False
