"""`heldout up`: the embedded service in one process tree: this process serves the API, a child runs the worker."""

import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TextIO

import structlog
import uvicorn

from api.app import create_app
from heldout.errors import OperatorError
from heldout.settings import Settings
from models import logs
from models.blobs import Blobs
from models.bundled import register
from models.database import Database
from models.migrations import upgrade
from models.store import claims, keys

log = structlog.get_logger()

OWNER = "local"
# A worker gives its jobs back within this; compose's grace period is longer.
WORKER_STOPS_S = 20
RESTART_PAUSE_S = 1.0
LOG_BYTES = 20 * 1024 * 1024


def run(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; gives the exit status."""
    home = settings.home_path
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        (home / "logs").mkdir(exist_ok=True)
    except OSError as error:
        raise OperatorError(f"The home {home} cannot be made: {error.strerror}. Choose another with --home.") from error
    # From here on a signal ends the service in good order, also before it serves.
    stop = _StopSignals()
    lock = _only_one(home)
    try:
        logs.configure(settings.log_level, _log_file(home / "logs" / "api.log"))
        listener = _listen(settings)
        database = Database(settings.database)
        upgrade(database)
        register(database, Blobs(settings.blobs_url), settings.datasets)
        _write_key(database, home / "api-key")
        prefix = _worker_prefix(home)
        with database.write() as session:
            claims.take_back_of(session, prefix)
        database.dispose()
        return _serve(settings, listener, prefix, stop)
    finally:
        (home / "service.json").unlink(missing_ok=True)
        os.close(lock)


def _serve(settings: Settings, listener: socket.socket, prefix: str, stop: "_StopSignals") -> int:
    url = f"http://{settings.host}:{listener.getsockname()[1]}"
    worker = _WorkerProcess(settings, prefix)
    server = _Server(settings, url)
    stop.call(server.ask_to_exit)
    try:
        if not stop.asked:
            worker.start()
            server.run(sockets=[listener])
    finally:
        worker.stop()
    return 130 if stop.number == signal.SIGINT else 0


class _StopSignals:
    """SIGINT and SIGTERM, from the first line of the service to its last."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._then: Callable[[], None] = lambda: None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    @property
    def asked(self) -> bool:
        return self.number is not None

    def call(self, then: Callable[[], None]) -> None:
        """What to do when one comes; a signal that came before is not repeated."""
        self._then = then

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number
        self._then()


class _Server(uvicorn.Server):
    """Says where it is once it listens; our own signal handlers stop it."""

    def __init__(self, settings: Settings, url: str) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(settings),
                log_config=None,
                access_log=False,
                lifespan="on",
                timeout_graceful_shutdown=3,
                timeout_keep_alive=30,
            )
        )
        self._home = settings.home_path
        self._url = url

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator there
        """Leave the signals to _StopSignals, which also covers the time before and after serving."""
        return nullcontext()

    def ask_to_exit(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.should_exit:
            return
        service = self._home / "service.json"
        partial = service.with_suffix(".partial")
        partial.write_text(json.dumps({"url": self._url, "pid": os.getpid()}) + "\n", encoding="utf-8")
        partial.replace(service)
        print(f"Heldout is ready at {self._url} (home {self._home}, docs at {self._url}/docs).", flush=True)


class _WorkerProcess:
    """The worker as a child, started again when it dies."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._settings = settings
        self._prefix = prefix
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name="worker-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """SIGTERM, then wait, then SIGKILL: jobs are released, nothing is left."""
        with self._starting:
            self._stopping.set()
            process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(WORKER_STOPS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _keep_running(self) -> None:
        while (process := self._start_one()) is not None:
            process.wait()
            if self._stopping.is_set():
                return
            log.error("worker_died", exit_code=process.returncode)
            self._take_back()
            self._stopping.wait(RESTART_PAUSE_S)

    def _start_one(self) -> subprocess.Popen[bytes] | None:
        output = self._settings.home_path / "logs" / "worker.log"
        with self._starting, output.open("ab") as file:
            if self._stopping.is_set():
                return None
            # Its standard input ends when this process dies, by whatever cause, and the worker then stops.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.local"],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=_worker_environment(self._settings, self._prefix),
                cwd=Path(__file__).resolve().parent.parent,
                start_new_session=True,
            )
            return self._process

    def _take_back(self) -> None:
        """What a dead worker held need not wait for its lease; the failure counts, since the job may be the cause."""
        database = Database(self._settings.database)
        try:
            with database.write() as session:
                claims.take_back_of(session, self._prefix, counts=True)
        except Exception:
            log.exception("take_back_failed")
        finally:
            database.dispose()


def _worker_environment(settings: Settings, prefix: str) -> dict[str, str]:
    """The caller's environment with every setting that decides where data goes replaced by ours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "REDIS_URL", "HELDOUT_REDIS_URL", "PORT", "LOG_LEVEL"}
    }
    return kept | {
        "HELDOUT_HOME": str(settings.home_path),
        "HELDOUT_DATABASE_URL": settings.database,
        "HELDOUT_BLOBS": settings.blobs_url,
        "HELDOUT_LOG_LEVEL": settings.log_level,
        "HELDOUT_WORKER_PREFIX": prefix,
    }


def _only_one(home: Path) -> int:
    """Hold the home's lock for as long as this process lives.

    Raises:
        OperatorError: if another service runs in this home.
    """
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise OperatorError(f"A service already runs in {home}. Stop it, or choose another --home.") from None
    return lock


def _log_file(path: Path) -> TextIO:
    """The log, appended to; a large one of an earlier run is set aside first."""
    if path.is_file() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)


def _listen(settings: Settings) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise OperatorError(
            f"Port {settings.port} cannot be had: {error.strerror}. Choose another with --port; 0 picks a free one."
        ) from error
    return listener


def _write_key(database: Database, file: Path) -> None:
    """A key for this machine's clients, made once and readable by the owner alone."""
    known = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    with database.write() as session:
        if known and keys.caller_of(session, known) is not None:
            return
        key = keys.make(session, OWNER)
    partial = file.with_name("api-key.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(key + "\n")
    partial.replace(file)


def _worker_prefix(home: Path) -> str:
    """Names the workers of this home, so that its own dead leases can be told from others'."""
    return f"{socket.gethostname()}-{hashlib.sha256(str(home).encode()).hexdigest()[:8]}"
