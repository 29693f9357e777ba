"""The app of a process for predictions: its routes, what answers its failures, and what ends with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import monotonic

import structlog
from anyio import CapacityLimiter, to_thread
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.departure import STATUS_OF_LEFT, ClientLeft
from api.dispatch import publisher_for
from api.http.body import discard_body
from api.http.problems import problem_response
from api.http.rates import Rates
from api.http.readiness import Readiness
from api.http.request_id import request_id_of, shortened
from heldout.errors import DatabaseUnavailable, HeldoutError, Internal, MethodNotAllowed, RouteNotFound
from heldout.service.settings import Settings
from models.blobs import Blobs
from models.database import Database
from models.store import health
from predict import job_routes, metrics, open_inference
from predict.bodies import HeldBodies
from predict.cache import ModelCache
from predict.callers import Callers
from predict.room import Room
from predict.service import Service
from predict.work import Work
from worker.machine.cores import core_count
from worker.machine.memory import memory_bytes

log = structlog.get_logger("heldout.predict")

WRITE_USES_S = 60.0
MAX_REFUSED_BYTES = 64 * 1024
MAX_REFUSED_S = 1.0
OPEN_INFERENCE = "/v2"
# Ends of the paths of requests that a model answers.
ANSWERING = ("/predict", "/infer")
# Of a process's part of the memory a quarter is for bodies, and not more than this; a third is for answers.
MAX_BODIES_BYTES = 512 * 1024**2


def create_app(settings: Settings) -> ASGIApp:
    """An app on the database and blob store of the settings; both may still be out of reach."""
    publisher = publisher_for(settings)
    database = Database(settings.database, publisher.publish if publisher else None, settings.quotas)
    blobs = Blobs(settings.blobs_url)
    threads = max(1, core_count() // settings.predict_processes)
    memory = memory_bytes() // settings.predict_processes
    work = Work(threads)
    rates = Rates(settings)
    service = Service(
        callers=Callers(database, rates),
        models=ModelCache(database, blobs, settings, work, threads),
        bodies=HeldBodies(settings.max_predict_bytes, min(MAX_BODIES_BYTES, memory // 4)),
        work=work,
        room=Room(memory // 3),
        asked_at=monotonic(),
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        writing = asyncio.create_task(_write_uses(service.callers))
        yield
        writing.cancel()
        with suppress(DatabaseUnavailable):
            await run_in_threadpool(service.callers.write_uses)
        service.work.close()
        await rates.close()
        if publisher is not None:
            publisher.close()
        database.dispose()

    probes = [
        Route("/livez", _live),
        Route("/readyz", partial(_ready, Readiness(partial(_look_at, database)))),
        # One scrape at a time: anyone may ask for it.
        Route("/metrics", partial(_metrics, CapacityLimiter(1))),
    ]
    app = Starlette(
        routes=[*job_routes.routes, *open_inference.routes, *probes],
        lifespan=lifespan,
        exception_handlers={HeldoutError: _expected, HTTPException: _unrouted, ClientLeft: _unheard},
    )
    app.state.service = service
    return _Watched(app, service)


class _Watched:
    """Gives each request an id, answers unexpected errors with 500, counts, and logs what was not answered well.

    A line for each prediction would take as long as the smallest ones; the API logs those that it passes on.
    """

    def __init__(self, app: Starlette, service: Service) -> None:
        self._app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self.service.asked_at = monotonic()
        request_id = request_id_of(Headers(scope=scope))
        status: int | None = None
        is_received = False

        async def watched_receive() -> Message:
            nonlocal is_received
            message = await receive()
            is_received = is_received or not message.get("more_body", False)
            return message

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                # A client that sends before it reads gets its answer where it sends little.
                if not is_received and not await _discarded(scope, watched_receive):
                    headers["Connection"] = "close"
            await send(message)

        path = shortened(scope["path"], 200)
        try:
            await self._app(scope, watched_receive, send_with_id)
        except Exception:
            log.exception("request_failed", path=path, request_id=request_id)
            if status is not None:
                raise  # part of the answer is sent: the server must cut the connection
            await _answer_to(Internal(request_id), scope["path"])(scope, receive, send_with_id)
        finally:
            if scope["method"] == "POST" and scope["path"].endswith(ANSWERING):
                metrics.REQUESTS.labels(f"{(status or 500) // 100}xx").inc()
                metrics.SECONDS.observe(monotonic() - began)
            if status is None or status >= 400:
                log.info("request", path=path, status=status, request_id=request_id)


async def _discarded(scope: Scope, receive: Receive) -> bool:
    """Whether the rest of a body that nobody wants was small."""
    request = Request(scope, receive)
    # A client that asked first (Expect: 100-continue) sends nothing once it has the answer.
    return "expect" not in request.headers and await discard_body(request, MAX_REFUSED_BYTES, MAX_REFUSED_S)


async def _live(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _ready(readiness: Readiness, request: Request) -> Response:
    await readiness.require()
    return JSONResponse({"status": "ok"})


async def _metrics(limiter: CapacityLimiter, request: Request) -> Response:
    service: Service = request.app.state.service
    service.models.measure()
    return Response(await to_thread.run_sync(metrics.scraped, limiter=limiter), media_type=CONTENT_TYPE_LATEST)


def _look_at(database: Database) -> None:
    with database.read() as session:
        health.check(session)


def _answer_to(error: HeldoutError, path: str) -> Response:
    if path == OPEN_INFERENCE or path.startswith(f"{OPEN_INFERENCE}/"):
        return open_inference.error_response(error)
    return problem_response(error, path)


async def _expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, HeldoutError)
    error.headers |= getattr(request.state, "counted", {})
    return _answer_to(error, request.scope["path"])


async def _unheard(request: Request, error: Exception) -> Response:
    return Response(status_code=STATUS_OF_LEFT)


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        received = f"{request.method[:20]} {path[:200]}"
        refusal: HeldoutError = MethodNotAllowed(
            f"Received {received}; send one of {allowed}.", headers={"Allow": allowed}
        )
    else:
        refusal = RouteNotFound(path)
    return _answer_to(refusal, path)


async def _write_uses(callers: Callers) -> None:
    while True:
        await asyncio.sleep(WRITE_USES_S)
        with suppress(DatabaseUnavailable):
            await run_in_threadpool(callers.write_uses)
