"""Health checks, Prometheus metrics and the documentation page. None of them needs a key."""

from collections.abc import Awaitable, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from api.http.deps import AppContextDep
from api.http.problems import document_errors
from api.static_files import build_policy
from heldout.errors import DatabaseMismatched, DatabaseUnavailable, HeldoutError, StorageUnavailable
from heldout.views.account import HealthView
from models import migrations
from models.blobs import Blobs
from models.database import Database
from models.disk_metrics import DiskMetrics
from models.store import jobs

router = APIRouter(tags=["service"])


@router.head("/livez", include_in_schema=False)
@router.get("/livez", responses=document_errors(open_to_all=True))
async def livez() -> HealthView:
    """Check that the process answers. Does not check the database or the blob store."""
    return HealthView(status="ok")


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz", responses=document_errors(DatabaseUnavailable, DatabaseMismatched, StorageUnavailable, open_to_all=True)
)
async def readyz(app: AppContextDep) -> HealthView:
    """Check that the database and the blob store answer, and that the tables match this release. Cached for 2 s."""
    await app.readiness.require()
    return HealthView(status="ok")


def check_ready(database: Database, blobs: Blobs) -> None:
    """Raise DatabaseUnavailable, DatabaseMismatched or StorageUnavailable if the service cannot work."""
    with database.read() as session:
        migrations.require_revision(session)
    blobs.check()


class _JobMetrics(Collector):
    """Counts jobs that have not ended at each scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("heldout_database_up", "1 if the database answered this scrape.")
        by_status = GaugeMetricFamily(
            "heldout_jobs", "Jobs that have not ended, by kind and status.", labels=["kind", "status"]
        )
        depth = GaugeMetricFamily("heldout_queue_depth", "Queued jobs by requested device.", labels=["device"])
        wait = GaugeMetricFamily(
            "heldout_queue_oldest_seconds", "How long the oldest queued job has waited, in seconds.", labels=["device"]
        )
        try:
            with self._database.read() as session:
                for kind, status, count in jobs.count_unfinished(session):
                    by_status.add_metric([kind, status], count)
                for device, count, oldest_s in jobs.count_waiting(session):
                    depth.add_metric([device], count)
                    wait.add_metric([device], oldest_s)
            up.add_metric([], 1)
        except HeldoutError:
            up.add_metric([], 0)
        yield up
        yield by_status
        yield depth
        yield wait


def make_registry(database: Database, disks: DiskMetrics) -> CollectorRegistry:
    """Make the registry with metrics of the process, jobs and disks."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_JobMetrics(database))
    registry.register(disks)
    return registry


def make_scraper(render: Callable[[], bytes]) -> Callable[[Request], Awaitable[Response]]:
    """Make the endpoint that answers metrics. Anyone may request them, and each scrape takes work: one at a time."""
    scrapes = CapacityLimiter(1)

    async def scrape(request: Request) -> Response:
        return Response(await to_thread.run_sync(render, limiter=scrapes), media_type=CONTENT_TYPE_LATEST)

    return scrape


def serve_metrics(app: FastAPI, registry: CollectorRegistry) -> None:
    app.get(
        "/metrics",
        name="prometheus_metrics",
        description="Get Prometheus metrics: requests, jobs by status, disks, this process.",
        tags=["service"],
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **document_errors(open_to_all=True),
        },
    )(make_scraper(lambda: generate_latest(registry)))


def install_docs(app: FastAPI) -> None:
    """Serve Swagger UI from local files, so that /docs works offline."""
    package = find_spec("fastapi_offline")
    assert package is not None
    assert package.origin is not None
    app.mount("/docs/static", StaticFiles(directory=Path(package.origin).parent / "static"))

    # Relative addresses work behind a proxy that adds a prefix. Null stops the page from calling an online validator.
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{app.title} API",
        swagger_js_url="docs/static/swagger-ui-bundle.js",
        swagger_css_url="docs/static/swagger-ui.css",
        swagger_favicon_url="docs/static/favicon.png",
        swagger_ui_parameters={"validatorUrl": None},
    )
    page.headers["Content-Security-Policy"] = build_policy(bytes(page.body).decode())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page
