"""The FastAPI app: its routes and middleware, and the background work that starts and stops with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from api import dashboard, manual
from api.dispatch import publisher_for
from api.http import openapi, problems
from api.http.app_context import AppContext
from api.http.rates import Rates
from api.http.readiness import Readiness
from api.http.request_id import RequestIdMiddleware
from api.http.upload_body import Uploads
from api.live.hub import Hub
from api.live.source import DatabaseSource
from api.metrics_port import metrics_served_apart
from api.passed_on import PassedOn
from api.predictions import Predictions
from api.routes import audit_log, diagnoses, events, health, keys, predictions, session, usage, webhooks
from api.routes.datasets import dataset, effect, images, ledger, suspects, upload, versions
from api.routes.jobs import bulk_cancel, control, diagnosis, job, queue, results, submit
from api.routes.jobs import events as job_events
from api.routes.jobs import exports as job_exports
from api.routes.models import evaluations, model
from api.routes.models import upload as model_upload
from api.routes.studies import events as study_events
from api.routes.studies import exports as study_exports
from api.routes.studies import order, report, study
from api.shared_places import SharedPlaces
from api.webhooks.sender import Sender
from heldout import __version__
from heldout.errors import DatabaseUnavailable
from heldout.service.settings import Settings
from heldout.service.start import settings_or_exit
from models import logs
from models.blobs import Blobs
from models.database import Database
from models.disk_metrics import DiskMetrics
from models.key_uses import KeyUses
from models.reconcile import Reconciler
from models.secret_box import SecretBox

# Clients that wait for a change hear of it within this time, however long workers wait between polls.
MAX_POLL_S = 0.2


def create_app(settings: Settings) -> FastAPI:
    """An app on the database and blob store of the settings; both may still be out of reach."""
    publisher = publisher_for(settings)
    database = Database(settings.database, publisher.publish if publisher else None, settings.quotas)
    blobs = Blobs(settings.blobs_url)
    places = SharedPlaces(database)
    app_context = AppContext(
        settings=settings,
        database=database,
        blobs=blobs,
        hub=Hub(DatabaseSource(database), min(settings.poll_s, MAX_POLL_S)),
        publisher=publisher,
        places=places,
        uploads=Uploads(blobs, settings, places),
        readiness=Readiness(partial(health.look_at, database, blobs)),
        rates=Rates(settings),
        key_uses=KeyUses(),
        secret_box=SecretBox.of(settings),
        predictions=Predictions(settings.predict_url),
    )
    app = FastAPI(
        title="Heldout",
        version=__version__,
        description="Trains image classifiers, and says why training results are good and test results poor.",
        lifespan=_lifespan,
        openapi_url=None,  # `openapi.install` serves it
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.context = app_context
    of_jobs = (submit, job, control, bulk_cancel, results, job_exports, predictions, diagnosis, job_events, queue)
    of_datasets = (dataset, images, ledger, suspects, upload, versions, effect)
    of_studies = (order, study, report, study_exports, study_events)
    of_models = (model_upload, model, evaluations)
    of_owners = (keys, usage, audit_log, webhooks)
    parts = (*of_jobs, *of_datasets, *of_studies, *of_models, events, diagnoses, *of_owners, session, health)
    routers = [*(part.router for part in parts), session.log_in_router, predictions.open_inference_router]
    for router in routers:
        app.include_router(router)
    disks = DiskMetrics(settings.home_path, blobs)
    app.state.metrics, count = health.install_metrics(
        app, database, disks, served_here=settings.api_metrics_port is None
    )
    health.install_docs(app)
    dashboard.install(app)
    manual.install(app)
    problems.install(app, routers)
    openapi.install(app)
    app.add_middleware(PassedOn, context=app_context, count=count)
    app.add_middleware(RequestIdMiddleware)  # the last one added is the outermost
    return app


def from_environment() -> FastAPI:
    """For `uvicorn --factory api.app:from_environment`."""
    settings = settings_or_exit()
    logs.configure(settings.log_level)
    logs.warn_of_unknown_settings()
    return create_app(settings)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app_context: AppContext = app.state.context
    publisher = app_context.publisher
    reconciler = Reconciler(
        app_context.database,
        app_context.settings,
        publisher.publish_again if publisher else None,
        key_uses=app_context.key_uses,
    )
    reconciler.start()
    sender = Sender(app_context.database, app_context.settings)
    sender.start()
    loops = asyncio.gather(app_context.hub.run(), app_context.places.run())
    with metrics_served_apart(app.state.metrics, app_context.settings):
        yield
    app_context.hub.stop()
    loops.cancel()
    with suppress(asyncio.CancelledError):
        await loops
    sender.stop()
    reconciler.stop()
    await app_context.rates.close()
    await app_context.predictions.close()
    with suppress(DatabaseUnavailable):
        await run_in_threadpool(app_context.key_uses.write, app_context.database)
    if publisher is not None:
        publisher.close()
    app_context.database.dispose()
