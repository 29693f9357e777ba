"""Makes the app of every process that serves HTTP, with keys, rate limits, problems and request ids."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool

from api.dispatch import Publisher
from api.http import problems
from api.http.app_context import AppContext, PredictionServer, Readiness
from api.http.rates import Rates
from api.http.request_id import Note, RequestIdMiddleware, log_request
from api.http.upload_body import Uploads
from api.live.hub import Hub
from api.live.source import DatabaseSource
from api.routes import health
from api.turns import SharedPlaces
from heldout import __version__
from heldout.errors import DatabaseUnavailable
from heldout.service.settings import Settings
from models.blobs import Blobs
from models.database import Database
from models.secret_box import SecretBox
from models.store.keys import KeyUses

# Waiting clients learn of a change within this time, however long workers wait between polls.
MAX_POLL_S = 0.2


def make_context(settings: Settings, make_predictor: Callable[[Database, Blobs], PredictionServer]) -> AppContext:
    """Make what routes share. The database and blob store may still be unreachable."""
    # Without a broker, the embedded worker polls the database.
    publisher = None if settings.redis_url is None else Publisher(settings.redis_url.get_secret_value())
    database = Database(settings.database, publisher.publish if publisher else None, settings.quotas)
    blobs = Blobs(settings.blobs_url)
    places = SharedPlaces(database)
    return AppContext(
        settings=settings,
        database=database,
        blobs=blobs,
        hub=Hub(DatabaseSource(database), min(settings.poll_s, MAX_POLL_S)),
        publisher=publisher,
        places=places,
        uploads=Uploads(blobs, settings, places),
        readiness=Readiness(partial(health.check_ready, database, blobs)),
        rates=Rates(settings),
        key_uses=KeyUses(),
        secret_box=SecretBox.of(settings),
        predictions=make_predictor(database, blobs),
    )


def make_app(
    context: AppContext,
    routers: Sequence[APIRouter],
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    *,
    add_more: Callable[[FastAPI], None] = lambda app: None,
    note: Note = log_request,
) -> FastAPI:
    """Make an app that answers the routers' requests, and every failure with a problem.

    Args:
        add_more: adds routes that have no router.
        note: called at the end of each request.
    """
    app = FastAPI(
        title="Heldout",
        version=__version__,
        description="Trains image classifiers, and says why training results are good and test results poor.",
        lifespan=lifespan,
        openapi_url=None,  # `openapi.install` serves it
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # generated clients name the operation after its function
    )
    app.state.context = context
    for router in routers:
        app.include_router(router)
    add_more(app)
    problems.install(app, routers)
    app.add_middleware(RequestIdMiddleware, note=note)  # the last one added is the outermost
    return app


async def close(context: AppContext) -> None:
    """Write what is still buffered, and release what the context holds."""
    await context.rates.close()
    await context.predictions.close()
    with suppress(DatabaseUnavailable):
        await run_in_threadpool(context.key_uses.write, context.database)
    if context.publisher is not None:
        context.publisher.close()
    context.database.dispose()
