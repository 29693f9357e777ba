"""Where a job's network looks at an image. The first request for an image orders its heatmap."""

from typing import Annotated, Any

from fastapi import Path, Query, Response
from starlette.concurrency import run_in_threadpool

from api.http.auth import CallerContext
from api.http.deps import JobId
from api.http.problems import NO_ROOM, raises
from api.http.routing import make_router
from api.routes.datasets.dataset import PNG, make_png_response
from api.routes.long_poll import MAX_WAIT_S
from heldout import errors
from heldout.lifecycle.job import TERMINAL
from heldout.views.results import HeatmapView
from models import heatmaps
from models.heatmaps import ShownMap
from models.tables import JobRow

router = make_router("/v1/jobs/{job_id}", "jobs")

RETRY_AFTER_S = 2
_ANSWERS: dict[int | str, dict[str, Any]] = {
    **PNG,
    202: {"model": HeatmapView, "description": "It is queued or running. Retry after `Retry-After` seconds."},
}


@router.get("/images/{index}/heatmap", response_class=Response, responses=_ANSWERS)
@raises(
    errors.NotReady,
    errors.NoModel,
    errors.NoMap,
    errors.HeatmapFailed,
    errors.ImageNotFound,
    errors.ModelLost,
    errors.PredictionsLost,
    errors.DatasetLost,
    errors.StorageUnavailable,
    *NO_ROOM,
)
async def get_heatmap(
    job_id: JobId,
    index: Annotated[int, Path(description="The image's position in the dataset, as in `splits` and `index`.")],
    context: CallerContext,
    of: Annotated[
        ShownMap,
        Query(description="What speaks for the `answer`, for the `label`, or `both` side by side, the answer first."),
    ] = "both",
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for it.")] = 0,
    again: Annotated[bool, Query(description="Compute it again if that failed.")] = False,
) -> Response:
    """Get a PNG of an image with the places that speak for the network's answer, and for the label, in red and yellow.

    The first request for an image has a worker compute its heatmap (LayerCAM). The image must be one that the job has
    answered. Each picture is scaled to its own strongest place, and a right answer has only one.
    """
    given = context.app.database, context.blobs, context.caller
    found: JobRow = await run_in_threadpool(heatmaps.find_or_order, *given, job_id, index, again=again)
    if wait and found.status not in TERMINAL:
        await context.app.hub.wait_for_end(found.id, wait)
        found = await run_in_threadpool(heatmaps.find_or_order, *given, job_id, index)
    if found.status not in TERMINAL:
        view = HeatmapView(object="heatmap", job_id=job_id, index=index, status=found.status.value)
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return Response(view.model_dump_json(), 202, headers=headers, media_type="application/json")
    return make_png_response(await run_in_threadpool(heatmaps.draw, *given, found, of))
