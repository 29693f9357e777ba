"""Child servers that are started again when they die, with the same data, port and password."""

import threading
from types import TracebackType
from typing import Self

import structlog

from heldout.errors import OperatorError
from host.child_server import ChildServer

log = structlog.get_logger("heldout.up")

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0


class KeptServer:
    """A context in which a server runs, and is started again whenever it ends by itself.

    It is started by a thread that lives as long as the context: Linux ends a server with the thread that started it.
    """

    def __init__(self, server: ChildServer) -> None:
        self._server = server
        self._began = threading.Event()
        self._stopping = threading.Event()
        # Held while the server starts, so that one which is just starting is stopped as well.
        self._starting = threading.Lock()
        self._failure: OperatorError | OSError | None = None
        self._thread = threading.Thread(target=self._run, name=f"keeper of {server.name}", daemon=True)

    def __enter__(self) -> Self:
        """Start the server, and wait until it answers. Raises ServerFailed."""
        self._thread.start()
        self._began.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with self._starting:
            self._server.stop()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where clients find it, password included: never log it."""
        return self._server.url

    def _run(self) -> None:
        try:
            self._server.start()
        except (OperatorError, OSError) as error:
            self._failure = error
            return
        finally:
            self._began.set()
        while True:
            status = self._server.wait_for_end()
            if self._stopping.is_set():
                return
            log.error("server_died", server=self._server.name, exit_code=status)
            self._start_again()

    def _start_again(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.wait(pause_s):
            with self._starting:
                if self._stopping.is_set():
                    return
                try:
                    self._server.start()
                except (OperatorError, OSError) as error:
                    log.error("server_not_started", server=self._server.name, reason=str(error))
                else:
                    log.warning("server_started_again", server=self._server.name)
                    return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
