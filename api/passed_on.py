"""Takes requests for predictions before the app's routes do: a process of `predict/` answers them.

What FastAPI, its dependencies and the middleware of metrics do for a request takes twice as long as a small answer.
"""

from collections.abc import Callable
from time import perf_counter

from prometheus_fastapi_instrumentator.metrics import Info
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import get_contextvars

from api.departure import STATUS_OF_LEFT, ClientLeft
from api.http.app_context import AppContext
from api.http.auth import key_of, require_valid_key
from api.http.body import MAX_DISCARD_S, MAX_DISCARDED_BYTES, discard_body
from api.http.context import RequestContext
from api.http.known import KNOWN
from api.http.problems import problem_response
from api.predictions import Body
from api.remembered import Remembered
from heldout.errors import HeldoutError

PREDICT = "/v1/jobs/{job_id}/predict"
# Probes ask for these without a key.
SERVER, HEALTH = "/v2", "/v2/health/{what}"
MODEL = "/v2/models/{path:path}"


class PassedOn:
    """A middleware. Only where no process is named do these requests go on to the app's own routes, which say so."""

    def __init__(self, app: ASGIApp, context: AppContext, count: Callable[[Info], None]) -> None:
        """count: counts a request in the app's metrics."""
        self._app = app
        self._context = context
        self._count = count
        self._owners: Remembered[str, str] = Remembered()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = _route_of(scope) if scope["type"] == "http" else None
        if route is None or not self._context.predictions.has_processes:
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        request = Request(scope, receive)
        answer = Response(status_code=500)
        try:
            try:
                answer = await self._answer(request, needs_key=route in (PREDICT, MODEL))
            except HeldoutError as error:
                answer = error_response(error, scope["path"])
            except ClientLeft:
                answer = Response(status_code=STATUS_OF_LEFT)
            await answer(scope, receive, send)
        finally:
            seconds = perf_counter() - began
            status = f"{answer.status_code // 100}xx"
            self._count(Info(request, answer, scope["method"], route, status, seconds, seconds))

    async def _answer(self, request: Request, *, needs_key: bool) -> Response:
        key, owner = "", ""
        if needs_key:
            key = await key_of(request)
            owner = self._owners.get(key) or self._owners.keep(key, await self._owner_of(request, key))
            request.scope["state"][KNOWN] = True
        body = await Body.of(request)
        request_id = str(get_contextvars().get("request_id", ""))
        answer = await self._context.predictions.answer(
            request, body, credential=key, owner=owner, request_id=request_id
        )
        # A client that sends before it reads gets its answer; one that asked first sends nothing more.
        if not body.has_ended and "expect" not in request.headers:
            await discard_body(request, MAX_DISCARDED_BYTES, MAX_DISCARD_S)
        return answer

    async def _owner_of(self, request: Request, key: str) -> str:
        """Raises Unauthenticated, InsufficientScope, DatabaseUnavailable."""
        context = RequestContext(self._context, key, request.scope["state"])
        await require_valid_key(request, context)
        return context.caller.owner


def error_response(error: HeldoutError, path: str) -> Response:
    """In the form of the protocol whose path it is."""
    if path == SERVER or path.startswith(f"{SERVER}/"):
        return JSONResponse({"error": error.detail}, error.status, error.headers)
    return problem_response(error, path)


def _route_of(scope: Scope) -> str | None:
    """Which of the routes above a request asks for."""
    path, method = scope["path"], scope["method"]
    if method == "POST" and path.startswith("/v1/jobs/") and path.endswith("/predict") and path.count("/") == 4:
        return PREDICT
    if not path.startswith(SERVER) or method not in ("GET", "POST"):
        return None
    if path.startswith("/v2/models/"):
        return MODEL
    if method == "GET" and (path == SERVER or (path.startswith("/v2/health/") and path.count("/") == 3)):
        return SERVER if path == SERVER else HEALTH
    return None
