"""`heldout up`: runs the whole service. This process serves the API, and its children do the rest."""

import hashlib
import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import FrameType
from typing import Protocol

import structlog

from heldout.errors import DatabaseUnavailable
from heldout.service.database_urls import get_sqlite_file
from heldout.service.settings import Settings
from heldout.service.start import bind_socket
from host.children import PredictionsOnDemand, keep_worker
from host.homes import keep_private, lock_home, make_home
from models import logs, pretrained
from models.blobs import Blobs
from models.bundled import register
from models.database import Database
from models.migrations import upgrade
from models.store import claims, keys, sessions

log = structlog.get_logger()

KEY_OWNER = "local"
ADVICE = "Choose another with --port; 0 picks a free one."


class HttpServer(Protocol):
    """The HTTP server that `heldout up` runs; the API provides it."""

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on these sockets until `ask_to_exit` is called."""

    def ask_to_exit(self) -> None:
        """Stop serving soon. Safe in a signal handler."""


# Makes a server from the settings. The server calls the second argument once it listens.
MakeServer = Callable[[Settings, Callable[[], None]], HttpServer]


def run(settings: Settings, make_server: MakeServer, *, has_dashboard: bool = False, has_worker: bool = True) -> int:
    """Serve until SIGINT or SIGTERM. Returns the exit status.

    Args:
        has_dashboard: print a link that logs this machine's owner in to the dashboard.
        has_worker: False for a service of trainings that run elsewhere; it has no bundled datasets either.
    """
    home = settings.home_path
    keep_private()
    make_home(home)
    make_home(home / "logs")
    # From here on, a signal stops the service cleanly, even before it serves.
    stop = _StopSignals()
    with lock_home(home):
        try:
            logs.configure(settings.log_level, file=home / "logs" / "api.log")
            logs.warn_of_unknown_settings()
            with ExitStack() as servers:
                listener = servers.enter_context(bind_socket(settings, ADVICE))
                predictions = servers.enter_context(PredictionsOnDemand(settings))
                settings = settings.model_copy(update={"predict_url": predictions.url})
                return _serve(settings, make_server, listener, stop, has_dashboard, has_worker)
        finally:
            (home / "service.json").unlink(missing_ok=True)


def _serve(
    settings: Settings,
    make_server: MakeServer,
    listener: socket.socket,
    stop: "_StopSignals",
    has_dashboard: bool,
    has_worker: bool,
) -> int:
    database = Database(settings.database)
    workers_name = _name_workers(settings.home_path)
    key_id = _prepare(settings, database, workers_name, has_worker)

    worker_name = f"{workers_name}-1"

    def requeue() -> None:
        """Requeue a dead worker's jobs immediately. Each counts a failure, because it may be the cause."""
        try:
            with database.write() as session:
                claims.recover_from_dead_workers(session, f"{worker_name}:", counts_as_failure=True)
        except DatabaseUnavailable:
            log.warning("database_unavailable", worker=worker_name)

    url = f"http://{settings.host}:{listener.getsockname()[1]}"

    def announce() -> None:
        _announce_address(settings.home_path, url)
        if has_dashboard:
            with database.write() as session:
                link = sessions.make_link(session, key_id)
            print(f"Dashboard: {url}/login#{link} (logs you in once, within 15 minutes)", flush=True)

    server = make_server(settings, announce)
    stop.call(server.ask_to_exit)
    try:
        if not stop.asked:
            with keep_worker(worker_name, settings, requeue) if has_worker else nullcontext():
                server.run(sockets=[listener])
    finally:
        database.dispose()
    return 130 if stop.number == signal.SIGINT else 0


def _prepare(settings: Settings, database: Database, workers_name: str, has_worker: bool) -> str:
    """Create tables, bundled datasets and this machine's key, and requeue dead workers' jobs. Returns the key's id."""
    upgrade(database)
    if has_worker:
        register(database, Blobs(settings.blobs_url), settings.datasets)
        pretrained.register_chosen(database, Blobs(settings.blobs_url), settings.pretrained)
    key_id = _write_key(database, settings)
    with database.write() as session:
        claims.recover_from_dead_workers(session, f"{workers_name}-")
    return key_id


class _StopSignals:
    """Catches SIGINT, SIGTERM and SIGHUP for as long as the service runs."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._then: Callable[[], None] = lambda: None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    @property
    def asked(self) -> bool:
        return self.number is not None

    def call(self, then: Callable[[], None]) -> None:
        """Set the function to call on a signal. It is not called for earlier signals."""
        self._then = then

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number
        self._then()


def _announce_address(home: Path, url: str) -> None:
    """Write `service.json` for this machine's clients, and print the service's address on standard output."""
    service = home / "service.json"
    partial = service.with_suffix(".partial")
    partial.write_text(json.dumps({"url": url, "pid": os.getpid()}) + "\n", encoding="utf-8")
    partial.replace(service)
    print(f"Heldout is ready at {url} (home {home}, docs at {url}/docs).", flush=True)


def _write_key(database: Database, settings: Settings) -> str:
    """Make a key for this machine's clients if there is none, readable only by the owner. Returns its id."""
    file = settings.home_path / "api-key"
    known = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    with database.write() as session:
        caller = keys.find_caller(session, known) if known else None
        if caller is not None:
            return caller.key_id
        if get_sqlite_file(settings.blobs_url) is not None:
            keys.forget_all(session)
        key = keys.make(session, KEY_OWNER)
        key_id = keys.get_row(session, key).id
    partial = file.with_name("api-key.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(key + "\n")
    partial.replace(file)
    return key_id


def _name_workers(home: Path) -> str:
    """Name this home's workers, so that their leases are distinct from those of other homes."""
    return f"{socket.gethostname()}-{hashlib.sha256(str(home).encode()).hexdigest()[:8]}"
