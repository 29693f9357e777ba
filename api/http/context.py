"""One request's work with the database: its caller, its sessions, their commit, and what follows the commit.

An endpoint and its commit run in one worker thread. FastAPI's own `Depends(scope="function")` would commit in another
one, after a detour through the event loop, while SQLite's only write lock is held (docs/decisions/0010).
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cached_property, wraps
from typing import Any

import structlog

from api.http.app_context import AppContext
from heldout.errors import Unauthenticated
from models.database import Session
from models.store import accounts, callers
from models.store.keys import Caller

log = structlog.get_logger("heldout.api")

Endpoint = Callable[..., Any]


class RequestContext:
    """Caller and database sessions of one request, created on first use."""

    def __init__(self, app_context: AppContext, key: str) -> None:
        self.app = app_context
        self.key = key
        self.endpoint_called = False
        self.after_commit: list[Callable[[], None]] = []
        self._sessions = ExitStack()

    @cached_property
    def caller(self) -> Caller:
        """The owner of the key or session. Raises Unauthenticated.

        Looked up for each request, so that revoking acts at once, and in a read transaction of its own: a stranger
        must not wait for SQLite's write lock.
        """
        with self.app.database.read() as session:
            caller = callers.caller_of(session, self.key)
        if caller is None:
            raise Unauthenticated
        return caller

    @property
    def _knows_caller(self) -> bool:
        """Whether the caller was looked up before; an endpoint that does so itself is spared a second query."""
        return "caller" in self.__dict__

    @cached_property
    def read_session(self) -> Session:
        return self._sessions.enter_context(self.app.database.read())

    @cached_property
    def write_session(self) -> Session:
        session = self._sessions.enter_context(self.app.database.write())
        if self._knows_caller:
            accounts.note_key(session, self.caller.key_id)
        return session

    def call(self, endpoint: Callable[[], Any]) -> Any:
        """Call the endpoint, commit what it wrote, then do what follows the commit; all in this thread."""
        with self._sessions:
            answer = endpoint()
        for effect in self.after_commit:
            try:
                effect()
            except Exception:
                # The request did what it says; the reconciler makes good what is missing here.
                log.exception("after_commit_failed")
        return answer

    def close(self) -> None:
        """Close sessions that were never used, because the request was refused before its endpoint was called."""
        self._sessions.close()


_current: ContextVar[RequestContext] = ContextVar("heldout_request_context")


def current_context() -> RequestContext:
    """The context of the request that this task or thread serves."""
    return _current.get()


@contextmanager
def request_context(app_context: AppContext, key: str) -> Iterator[RequestContext]:
    """A new context, which is the current one while the block runs."""
    context = RequestContext(app_context, key)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
        context.close()


def called_in_context(endpoint: Endpoint) -> Endpoint:
    """The endpoint with its commit: a synchronous one ends with that of its sessions, in its own thread."""

    @wraps(endpoint)
    def call(**values: Any) -> Any:
        context = current_context()
        context.endpoint_called = True
        return context.call(lambda: endpoint(**values))

    @wraps(endpoint)
    async def call_async(**values: Any) -> Any:
        current_context().endpoint_called = True
        return await endpoint(**values)

    return call_async if inspect.iscoroutinefunction(endpoint) else call
