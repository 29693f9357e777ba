"""Runs the processes for predictions: the API's app, with only the routes for predictions.

All of them serve it on one shared socket, and end when idle.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager, suppress
from tempfile import TemporaryDirectory
from time import monotonic

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import mark_process_dead
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Scope

from analysis.arrays.onnx_tensors import import_onnxruntime
from api.connections.protocol import TURNS_AT_ONCE
from api.connections.server import Server
from api.factory import close, make_app, make_context
from api.http.app_context import AppContext
from api.http.deps import AppContextDep
from api.http.request_id import Outcome, log_request
from api.routes import health, predictions
from api.turns import Turns
from heldout.errors import DatabaseUnavailable
from heldout.parent_process import build_launch_command
from heldout.service.collection import freeze_what_stays
from heldout.service.settings import Settings
from predict import metrics, open_inference
from predict.metrics import SHARED_FOLDER
from predict.service import PredictionService, get_service
from worker.machine.parent import call_when_input_ends

log = structlog.get_logger("heldout.predict")

BACKLOG = 1024
RESTART_PAUSE_S = 1.0
STOP_TIMEOUT_S = 10


# Requests of one owner that the thread that reads and writes works on at once. A turn ends with the answer, or after
# the time in which a refusal is found: waiting for other threads is not this thread's work.
TURNS_OF_OWNER, TURN_S = 2, 0.02


def find_owner(context: AppContext, scope: Scope) -> Hashable:
    """Find the owner of a request by its key, or else the key itself, which is looked up during its first turn."""
    sent = dict(scope["headers"])
    # The API sends a key as `Bearer …`, and the session of a browser as the only cookie.
    credential = sent.get(b"authorization", b"").rpartition(b" ")[2] or sent.get(b"cookie", b"").rpartition(b"=")[2]
    caller = context.callers.get(credential.decode("latin-1"))
    return credential if caller is None else caller.owner


class PredictServer(Server):
    """The server of one process. With `idle_s`, it ends after this many seconds without a request."""

    def __init__(self, settings: Settings, idle_s: float | None) -> None:
        # Most connections come from the API, and so from one address.
        of_the_api = settings.model_copy(update={"max_connections_per_address": settings.max_connections})
        app = create_app(settings)
        context: AppContext = app.state.context
        # asyncio accepts `backlog` connections before it does anything else. With 1, all processes that share the
        # socket get some connections. Otherwise, the first one to wake would take all.
        super().__init__(
            app,
            of_the_api,
            turns=Turns(TURNS_AT_ONCE, TURN_S, per_group=TURNS_OF_OWNER),
            group_of=lambda scope: find_owner(context, scope),
            timeout_graceful_shutdown=5,
            backlog=1,
        )
        self._idle_s = idle_s
        self._seen_requests, self._asked_at = 0, monotonic()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # asyncio has set it to 1, as given above

    async def on_tick(self, counter: int) -> bool:
        requests = self.server_state.total_requests
        if self.server_state.tasks or requests > self._seen_requests:
            self._seen_requests, self._asked_at = requests, monotonic()
        elif self._idle_s is not None and monotonic() - self._asked_at > self._idle_s:
            log.info("idle", seconds=self._idle_s)
            self.should_exit = True
        return await super().on_tick(counter)


def serve(settings: Settings, listener: socket.socket, *, idle_s: float | None) -> None:
    """Answer requests on the socket until SIGTERM, or until `idle_s` seconds pass without a request."""
    import_onnxruntime()
    server = PredictServer(settings, idle_s)
    freeze_what_stays()
    if settings.stop_with_stdin:
        call_when_input_ends(server.ask_to_exit)
    server.run(sockets=[listener])


def serve_by_processes(listener: socket.socket, count: int) -> None:
    """Run `count` processes on the socket until SIGTERM or SIGINT. Those that die are restarted."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with TemporaryDirectory(prefix="heldout-predict-metrics-") as folder:
        arguments = listener, stopping, folder
        keepers = [threading.Thread(target=_keep, args=arguments, daemon=True) for _ in range(count)]
        for keeper in keepers:
            keeper.start()
        # Checks regularly, because a signal may reach another thread, such as after SIGCONT, and not wake this one.
        while not stopping.wait(1):
            pass
        for keeper in keepers:
            keeper.join()


def _keep(listener: socket.socket, stopping: threading.Event, metrics_folder: str) -> None:
    while not stopping.is_set():
        try:
            process = _start_process(listener, metrics_folder)
        except OSError as error:  # files or memory ran out
            log.error("process_not_started", error=str(error))
            stopping.wait(RESTART_PAUSE_S)
            continue
        while process.poll() is None and not stopping.wait(0.5):
            pass
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        elif not stopping.is_set():
            log.error("process_died", exit_code=process.returncode)
            stopping.wait(RESTART_PAUSE_S)
        assert process.stdin is not None
        process.stdin.close()
        mark_process_dead(process.pid, metrics_folder)  # type: ignore[no-untyped-call]


def _start_process(listener: socket.socket, metrics_folder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        build_launch_command([sys.executable, "-m", "predict", "--fd", str(listener.fileno())]),
        pass_fds=[listener.fileno()],
        # The child's standard input closes when this process ends. Except on Linux, this stops the child.
        stdin=subprocess.PIPE,
        env=os.environ | {"HELDOUT_STOP_WITH_STDIN": "true", SHARED_FOLDER: metrics_folder},
    )


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
