"""A request's work with the database: in one go in one worker thread, the key first, the commit before the answer.

The framework would solve each dependency that waits for something in a thread of its own choice: a hop there and back
for the key, for the session, for the endpoint and for the commit. Here they share one.
"""

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, get_args

import structlog
from fastapi import Request
from fastapi.security.utils import get_authorization_scheme_param
from starlette.concurrency import run_in_threadpool

from api.http.services import Services
from heldout.errors import Unauthenticated
from models.database import Session
from models.store import keys
from models.store.keys import Caller

log = structlog.get_logger("heldout.api")

Endpoint = Callable[..., Any]


class Visit:
    """Of one request. What it has is made when it is first asked for, in the thread that asks."""

    def __init__(self, request: Request) -> None:
        self.services: Services = request.app.state.services
        scheme, key = get_authorization_scheme_param(request.headers.get("Authorization"))
        self.key = key if scheme.lower() == "bearer" else ""
        # What is to happen once all is committed.
        self.effects: list[Callable[[], None]] = []
        self._sessions = ExitStack()

    @cached_property
    def caller(self) -> Caller:
        """The owner of the key, looked up for each request, so that revoking acts at once. Raises Unauthenticated.

        A transaction of its own: a stranger must not wait for SQLite's write lock.
        """
        with self.services.database.read() as session:
            caller = keys.caller_of(session, self.key)
        if caller is None:
            raise Unauthenticated
        return caller

    @cached_property
    def reading(self) -> Session:
        return self._sessions.enter_context(self.services.database.read())

    @cached_property
    def writing(self) -> Session:
        return self._sessions.enter_context(self.services.database.write())

    def call(self, work: Callable[[], Any]) -> Any:
        """Do the work, commit what it wrote, then do what is to follow."""
        with self._sessions:
            answer = work()
        for effect in self.effects:
            try:
                effect()
            except Exception:
                # The request did what it says; the reconciler makes good what is missing here.
                log.exception("an effect after the commit failed")
        return answer


@dataclass(frozen=True)
class FromVisit:
    """Marks a parameter of an endpoint as one that its visit gives.

    `admits` is False where the endpoint itself has to look the key up, before anything else. `in_thread` is True for
    what begins or ends with the visit's sessions: an `async` endpoint, which runs in none, must not ask for it.
    """

    give: Callable[[Visit], Any]
    admits: bool = True
    in_thread: bool = False


def visiting(endpoint: Endpoint) -> Endpoint:
    """The endpoint as the framework sees it: without the parameters that the visit gives, and with the request."""
    signature = inspect.signature(endpoint)
    marked = {name: _marker(parameter) for name, parameter in signature.parameters.items()}
    given = {name: marker for name, marker in marked.items() if marker is not None}
    admits = all(marker.admits for marker in given.values())
    asks_for_request = "request" in marked
    is_async = inspect.iscoroutinefunction(endpoint)
    if is_async and any(marker.in_thread for marker in given.values()):
        raise TypeError(f"{endpoint.__name__} is async and asks for a session; use `services.database` in a thread.")

    def begun(request: Request) -> Visit:
        request.state.visited = True
        return Visit(request)

    def call(visit: Visit, request: Request, values: dict[str, Any]) -> Any:
        if asks_for_request:
            values["request"] = request
        return endpoint(**values, **{name: marker.give(visit) for name, marker in given.items()})

    @wraps(endpoint)
    def visit_and_call(request: Request, **values: Any) -> Any:
        visit = begun(request)
        if admits:
            _ = visit.caller
        return visit.call(lambda: call(visit, request, values))

    @wraps(endpoint)
    async def admit_and_call(request: Request, **values: Any) -> Any:
        visit = begun(request)
        if admits:
            await run_in_threadpool(lambda: visit.caller)
        return await call(visit, request, values)

    wrapped: Any = admit_and_call if is_async else visit_and_call
    keyword = inspect.Parameter.KEYWORD_ONLY
    wrapped.__signature__ = signature.replace(
        parameters=[
            inspect.Parameter("request", keyword, annotation=Request),
            *(
                parameter.replace(kind=keyword)
                for name, parameter in signature.parameters.items()
                if name not in {"request", *given}
            ),
        ]
    )
    return wrapped  # type: ignore[no-any-return]


async def admit(request: Request) -> None:
    """Look the key of a request up that was refused before its visit: a stranger hears of the key first."""
    if not getattr(request.state, "visited", False):
        visit = Visit(request)
        await run_in_threadpool(lambda: visit.caller)


def _marker(parameter: inspect.Parameter) -> FromVisit | None:
    return next((one for one in get_args(parameter.annotation)[1:] if isinstance(one, FromVisit)), None)
