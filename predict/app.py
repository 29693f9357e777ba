"""The app of a process for predictions: the API's app, with only the routes for predictions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Scope

from api.factory import close, make_app, make_context
from api.http.app_context import AppContext
from api.http.deps import AppContextDep
from api.http.request_id import Outcome, log_request
from api.routes import health, predictions
from heldout.errors import DatabaseUnavailable
from heldout.service.settings import Settings
from predict import metrics, open_inference
from predict.service import PredictionService, get_service

WRITE_USES_S = 60.0
# The paths of requests that a model answers end with these.
ANSWERING = ("/predict", "/infer")

metrics_router = APIRouter()
# One scrape at a time, because anyone may request one.
_scrapes = CapacityLimiter(1)


def create_app(settings: Settings) -> FastAPI:
    """Make an app with the settings' database and blob store. Both may still be unreachable."""
    context = make_context(settings, lambda database, blobs: PredictionService(settings, database, blobs))
    # The most used come first, because each request is compared with one route after the other.
    routers = [predictions.router, open_inference.models_router, open_inference.server_router]
    return make_app(context, [*routers, health.router, metrics_router], _lifespan, note=note_request)


def note_request(scope: Scope, outcome: Outcome) -> None:
    """Count a request for predictions. Only failures are logged: a log line takes as long as a small request."""
    if scope["method"] == "POST" and scope["path"].endswith(ANSWERING):
        metrics.REQUESTS.labels(f"{(outcome.status or 500) // 100}xx").inc()
        metrics.SECONDS.observe(outcome.seconds)
    if outcome.status is None or outcome.status >= 400:
        log_request(scope, outcome)


@metrics_router.get("/metrics")
async def scrape(context: AppContextDep) -> Response:
    """Return the Prometheus metrics of all processes that share the socket."""
    get_service(context).models.measure()
    return Response(await to_thread.run_sync(metrics.render_metrics, limiter=_scrapes), media_type=CONTENT_TYPE_LATEST)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: AppContext = app.state.context
    writing = asyncio.create_task(_write_uses(context))
    yield
    writing.cancel()
    await close(context)


async def _write_uses(context: AppContext) -> None:
    while True:
        await asyncio.sleep(WRITE_USES_S)
        with suppress(DatabaseUnavailable):
            await run_in_threadpool(context.key_uses.write, context.database)
