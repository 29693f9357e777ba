"""The FastAPI app: its routes and middleware, and the background work that starts and stops with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from api import dashboard, manual
from api.factory import close, make_app, make_context
from api.http import openapi
from api.http.app_context import AppContext
from api.metrics_port import metrics_served_apart
from api.predictions import PredictProxy
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
from api.webhooks.sender import Sender
from heldout.service.settings import Settings
from heldout.service.start import settings_or_exit
from models import logs
from models.disk_metrics import DiskMetrics
from models.reconcile import Reconciler


def create_app(settings: Settings) -> FastAPI:
    """An app on the database and blob store of the settings; both may still be out of reach."""
    context = make_context(settings, lambda database, blobs: PredictProxy(settings.predict_url))

    def add_more(app: FastAPI) -> None:
        disks = DiskMetrics(settings.home_path, context.blobs)
        app.state.metrics = health.install_metrics(
            app, context.database, disks, served_here=settings.api_metrics_port is None
        )
        health.install_docs(app)
        dashboard.install(app)
        manual.install(app)

    of_jobs = (submit, job, control, bulk_cancel, results, job_exports, predictions, diagnosis, job_events, queue)
    of_datasets = (dataset, images, ledger, suspects, upload, versions, effect)
    of_studies = (order, study, report, study_exports, study_events)
    of_models = (model_upload, model, evaluations)
    of_owners = (keys, usage, audit_log, webhooks)
    parts = (*of_jobs, *of_datasets, *of_studies, *of_models, events, diagnoses, *of_owners, session, health)
    passed_on = (predictions.models_router, predictions.server_router)
    routers = [*(part.router for part in parts), session.log_in_router, *passed_on]
    app = make_app(context, routers, _lifespan, add_more=add_more)
    openapi.install(app)
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
    await close(app_context)
