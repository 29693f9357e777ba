"""One request's work with the database: its caller, its sessions, their commit, and the work after the commit.

An endpoint and its commit run in the same worker thread. FastAPI's `Depends(scope="function")` would commit in another
thread, after a detour through the event loop, while holding SQLite's only write lock (docs/decisions/0010).
"""

import inspect
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any

import structlog
from starlette.responses import Response

from api.http.app_context import AppContext
from api.http.request_id import HAS_VALID_KEY
from heldout.access.rights import NeededScope, Scope
from heldout.errors import InsufficientScope, Unauthenticated
from models.blobs import Blobs
from models.database import Session
from models.store import accounts, activity, sessions
from models.store.keys import Caller

log = structlog.get_logger("heldout.api")

Endpoint = Callable[..., Any]


@dataclass(frozen=True)
class NotedChange:
    """The activity log's entry of a request that changes something. `subject` is what its path names."""

    action: str
    subject: str | None
    address: str | None
    request_id: str | None


class RequestContext:
    """What an endpoint works with: the caller and the database sessions of one request, created on first use.

    What an endpoint in a worker thread writes is committed when it returns.

    Args:
        state: the request's state, which records that its key is valid.
        scope: the scope that the key needs.
        change: the entry for the activity log. None if the request changes nothing.
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
        self.session: Session  # `ReadContext` or `WriteContext` chooses it
        # Closed after the answer is sent.
        self.held = ExitStack()
        self._deleted: list[str] = []
        self._sessions = ExitStack()

    @cached_property
    def caller(self) -> Caller:
        """The owner of the key or session. Raises Unauthenticated, InsufficientScope.

        Looked up for each request, so that revoking a key takes effect at once. The lookup has its own read
        transaction, because unauthenticated clients must not wait for SQLite's write lock.
        """
        with self.app.database.read() as session:
            caller = sessions.find_caller(session, self.key)
        if caller is None:
            raise Unauthenticated
        self.admit(caller)
        return caller

    def admit(self, caller: Caller) -> None:
        """Note that the key is valid and in use. Raises InsufficientScope if its scopes do not allow the request."""
        self.__dict__["caller"] = caller
        self._state[HAS_VALID_KEY] = True
        self.app.key_uses.note(caller.key_id)
        if self._scope != "any":
            self._require_scope_of(caller, self._scope)

    def require_scope(self, scope: Scope) -> None:
        """Check a scope that only some things of a route need. Raises InsufficientScope."""
        self._require_scope_of(self.caller, scope)

    @staticmethod
    def _require_scope_of(caller: Caller, scope: Scope) -> None:
        if scope not in caller.scopes:
            raise InsufficientScope(scope, caller.scopes)

    @property
    def owner(self) -> str:
        """The owner of the request's key."""
        return self.caller.owner

    @property
    def blobs(self) -> Blobs:
        return self.app.blobs

    @property
    def _knows_caller(self) -> bool:
        """Whether the caller was looked up. Endpoints that look up the key themselves avoid a second query."""
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

    def read(self) -> AbstractContextManager[Session]:
        """Open a transaction of its own to read in, for an endpoint that needs several."""
        return self.app.database.read()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction of its own to write in. The jobs that it queues are attributed to the request's key."""
        with self.app.database.write() as session:
            accounts.note_key(session, self.caller.key_id)
            yield session

    def delete_files(self, *folders: str) -> None:
        """Delete folders of the blob store after the commit. Failures are logged."""
        self._deleted += folders

    def call(self, endpoint: Callable[[], Any]) -> Any:
        """Call the endpoint, commit, then delete files that are no longer needed, all in this thread."""
        with self._sessions:
            answer = endpoint()
            if self.change is not None and "write_session" in self.__dict__:
                self.note_change(self.write_session, answer)
        for folder in self._deleted:
            try:
                self.blobs.delete_all(folder)
            except Exception as error:
                # The request itself succeeded. `heldout check --deep --collect` finds these files.
                log.warning("files_not_deleted", folder=folder, exc_info=error)
        return answer

    def note_change(self, session: Session, answer: Any) -> None:
        """Write the request's change into the activity log, once.

        Endpoints that open their own transactions call this in the one that makes the change.
        """
        # An endpoint that returns a response instead of a view only described the change (`dry_run`).
        if self.change is not None and not isinstance(answer, Response):
            self.note_changes(session, [getattr(answer, "id", None) or self.change.subject])

    def note_changes(self, session: Session, subjects: Sequence[str | None]) -> None:
        """Write one entry per subject into the activity log, once."""
        change, self.change = self.change, None
        if change is None:
            return
        for subject in subjects:
            activity.add(
                session,
                self.owner,
                change.action,
                subject=subject,
                key_id=self.caller.key_id,
                address=change.address,
                request_id=change.request_id,
            )

    def close(self) -> None:
        """Close the sessions if the request was refused before its endpoint was called."""
        self._sessions.close()


_current: ContextVar[RequestContext] = ContextVar("heldout_request_context")


def get_current_context() -> RequestContext:
    """Get the context of the request that this task or thread serves."""
    return _current.get()


@contextmanager
def request_context(
    app_context: AppContext, key: str, state: MutableMapping[str, Any], scope: NeededScope, change: NotedChange | None
) -> Iterator[RequestContext]:
    """Create a context, which is the current one while the block runs."""
    context = RequestContext(app_context, key, state, scope, change)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
        context.close()


def wrap_in_context(endpoint: Endpoint) -> Endpoint:
    """Wrap the endpoint in the request's context. A synchronous endpoint commits in its own thread at its end."""

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
