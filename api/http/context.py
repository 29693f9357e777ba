"""One request's work with the database: its caller, its sessions, their commit, and what follows the commit.

An endpoint and its commit run in one worker thread. FastAPI's own `Depends(scope="function")` would commit in another
one, after a detour through the event loop, while SQLite's only write lock is held (docs/decisions/0010).
"""

import inspect
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any

import structlog
from starlette.responses import Response

from api.http.app_context import AppContext
from api.http.request_id import KNOWN
from heldout.access.scopes import NeededScope
from heldout.errors import InsufficientScope, Unauthenticated
from models.database import Session
from models.store import accounts, activity, callers
from models.store.keys import Caller

log = structlog.get_logger("heldout.api")

Endpoint = Callable[..., Any]


@dataclass(frozen=True)
class NotedChange:
    """What the activity log says of a request that changes something; subject: what its path names."""

    action: str
    subject: str | None
    address: str | None
    request_id: str | None


class RequestContext:
    """Caller and database sessions of one request, created on first use.

    Args:
        state: that of the request, where it is noted that its key is valid.
        scope: what the key must be good for.
        change: what goes into the activity log; None where the request changes nothing.
    """

    def __init__(
        self,
        app_context: AppContext,
        key: str,
        state: MutableMapping[str, Any],
        scope: NeededScope = "read",
        change: NotedChange | None = None,
    ) -> None:
        self.app = app_context
        self._state = state
        self.key = key
        self.change = change
        self._scope = scope
        self.endpoint_called = False
        # Closed once the answer is sent.
        self.held = ExitStack()
        self.after_commit: list[Callable[[], None]] = []
        self._sessions = ExitStack()

    @cached_property
    def caller(self) -> Caller:
        """The owner of the key or session. Raises Unauthenticated, InsufficientScope.

        Looked up for each request, so that revoking acts at once, and in a read transaction of its own: a stranger
        must not wait for SQLite's write lock.
        """
        with self.app.database.read() as session:
            caller = callers.find_caller(session, self.key)
        if caller is None:
            raise Unauthenticated
        self.admit(caller)
        return caller

    def admit(self, caller: Caller) -> None:
        """Note that the key is valid and used. Raises InsufficientScope if it may not do what the request asks."""
        self.__dict__["caller"] = caller
        self._state[KNOWN] = True
        self.app.key_uses.note(caller.key_id)
        if self._scope != "any" and self._scope not in caller.scopes:
            raise InsufficientScope(self._scope, caller.scopes)

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
            if self.change is not None and "write_session" in self.__dict__:
                self.note_change(self.write_session, answer)
        for effect in self.after_commit:
            try:
                effect()
            except Exception:
                # The request did what it says; the reconciler makes good what is missing here.
                log.exception("after_commit_failed")
        return answer

    def note_change(self, session: Session, answer: Any) -> None:
        """Write into the activity log what the request has changed, once.

        An endpoint that opens its own transactions calls this in the one that makes the change.
        """
        # A response in place of a view says what would be done (`dry_run`).
        if self.change is not None and not isinstance(answer, Response):
            self.note_change_of(session, [getattr(answer, "id", None) or self.change.subject])

    def note_change_of(self, session: Session, subjects: Sequence[str | None]) -> None:
        """The same, with an entry for each of these."""
        change, self.change = self.change, None
        if change is None:
            return
        for subject in subjects:
            activity.add(
                session,
                self.caller.owner,
                change.action,
                subject=subject,
                key_id=self.caller.key_id,
                address=change.address,
                request_id=change.request_id,
            )

    def close(self) -> None:
        """Close sessions that were never used, because the request was refused before its endpoint was called."""
        self._sessions.close()


_current: ContextVar[RequestContext] = ContextVar("heldout_request_context")


def get_current_context() -> RequestContext:
    """The context of the request that this task or thread serves."""
    return _current.get()


@contextmanager
def request_context(
    app_context: AppContext, key: str, state: MutableMapping[str, Any], scope: NeededScope, change: NotedChange | None
) -> Iterator[RequestContext]:
    """A new context, which is the current one while the block runs."""
    context = RequestContext(app_context, key, state, scope, change)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
        context.close()


def wrap_in_context(endpoint: Endpoint) -> Endpoint:
    """The endpoint with its commit: a synchronous one ends with that of its sessions, in its own thread."""

    @wraps(endpoint)
    def call(**values: Any) -> Any:
        context = get_current_context()
        context.endpoint_called = True
        return context.call(lambda: endpoint(**values))

    @wraps(endpoint)
    async def call_async(**values: Any) -> Any:
        context = get_current_context()
        context.endpoint_called = True
        return await endpoint(**values)

    return call_async if inspect.iscoroutinefunction(endpoint) else call
