"""The FastAPI app: its routes and middleware, the work that starts and stops with it, and its HTTP server."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Scope

from api import agent_skills, client_wheel, dashboard, manual
from api.connections.protocol import LONGEST_TURN_S, TURNS_AT_ONCE
from api.connections.server import Server
from api.factory import close, make_app, make_context
from api.http import openapi
from api.http.app_context import AppContext
from api.http.request_id import Outcome, RequestMetrics, log_request
from api.predictions import PredictProxy
from api.routes import diagnoses, events, health, keys, predictions, session, usage, webhooks
from api.routes.datasets import dataset, images, looks, upload, versions
from api.routes.jobs import exports as job_exports
from api.routes.jobs import heatmaps as job_heatmaps
from api.routes.jobs import job, proof, results, submit
from api.routes.models import evaluations
from api.routes.models import upload as model_upload
from api.routes.studies import create, judge, runs, study
from api.routes.studies import results as study_results
from api.turns import Turns
from api.webhooks.sender import Sender
from heldout.service.settings import Settings
from heldout.service.start import read_settings_or_exit
from models import logs
from models.disk_metrics import DiskMetrics
from models.reconcile import Reconciler


def create_app(settings: Settings) -> FastAPI:
    """Create the app on the database and blob store of the settings. Both may still be unreachable."""
    context = make_context(settings, lambda database, blobs: PredictProxy(settings.predict_url))
    registry = health.make_registry(context.database, DiskMetrics(settings.home_path, context.blobs))
    requests = RequestMetrics(registry)

    def note(scope: Scope, outcome: Outcome) -> None:
        log_request(scope, outcome)
        requests.count(scope, outcome)

    def add_more(app: FastAPI) -> None:
        app.state.metrics = registry
        if settings.api_metrics_port is None:
            health.serve_metrics(app, registry)
        health.install_docs(app)
        dashboard.install(app)
        manual.install(app)
        client_wheel.install(app)
        agent_skills.install(app)

    # The busiest routes come first, because a request is compared with the routes in this order.
    of_jobs = (predictions, submit, job, results, proof, job_exports, job_heatmaps)
    of_datasets = (dataset, images, looks, upload, versions)
    of_studies = (create, study, runs, judge, study_results)
    others = (model_upload, evaluations, events, diagnoses, keys, usage, webhooks, session, health)
    of_modules = [module.router for module in (*of_jobs, *of_datasets, *of_studies, *others)]
    with_other_scopes = (
        versions.effect_router,
        diagnoses.kept_router,
        usage.activity_router,
        session.log_in_router,
        judge.closing,
    )
    passed_on = (predictions.models_router, predictions.server_router)
    routers = [*of_modules, *with_other_scopes, *passed_on]
    app = make_app(context, routers, _lifespan, add_more=add_more, note=note)
    openapi.install(app)
    return app


def from_environment() -> FastAPI:
    """Create the app for `uvicorn --factory api.app:from_environment`."""
    settings = read_settings_or_exit()
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
    with serve_metrics_apart(app.state.metrics, app_context.settings):
        yield
    app_context.hub.stop()
    loops.cancel()
    with suppress(asyncio.CancelledError):
        await loops
    sender.stop()
    reconciler.stop()
    await close(app_context)


MAX_CONNECTIONS = 100


@contextmanager
def serve_metrics_apart(registry: CollectorRegistry, settings: Settings) -> Iterator[None]:
    """Serve the metrics while the block runs, if they have a port of their own. Raises OSError."""
    if settings.api_metrics_port is None:
        yield
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.api_metrics_port), family=family)
    limits = settings.model_copy(
        update={"max_connections": MAX_CONNECTIONS, "max_connections_per_address": MAX_CONNECTIONS}
    )
    app = Starlette(routes=[Route("/metrics", health.make_scraper(lambda: generate_latest(registry)))])
    server = Server(app, limits, lifespan="off", timeout_graceful_shutdown=1)
    thread = threading.Thread(target=server.run, args=([listener],), name="metrics")
    thread.start()
    try:
        yield
    finally:
        server.ask_to_exit()
        thread.join()


class ApiServer(Server):
    """The server of an app made by `create_app`."""

    def __init__(self, app: FastAPI, **config: Any) -> None:
        context = app.state.context
        super().__init__(app, context.settings, context.hub.stop, Turns(TURNS_AT_ONCE, LONGEST_TURN_S), **config)


class EmbeddedServer(ApiServer):
    """The server inside `heldout up`. It ignores signals, and calls `on_listening` once it accepts connections."""

    def __init__(self, settings: Settings, on_listening: Callable[[], None]) -> None:
        super().__init__(create_app(settings), timeout_graceful_shutdown=3, timeout_keep_alive=30)
        self._on_listening = on_listening

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator there
        """Leave signals to `heldout up`, which also handles them before and after serving."""
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if not self.should_exit:
            self._on_listening()
