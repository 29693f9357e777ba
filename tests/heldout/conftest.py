"""A real service on SQLite in a folder, without a worker: tests play the worker through the store."""

import io
import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest
import structlog

from api.app import ApiServer, create_app
from heldout.cli import main
from heldout.client.client import Client
from heldout.service.settings import Settings
from models import bundled
from models.blobs import Blobs
from models.database import Database
from models.migrations import upgrade
from models.store import keys
from tests.heldout.served import SPEC, Service, bare_environment, run_apart
from tests.routes_once import routes_read_once


@pytest.fixture(scope="session")
def home_with_digits(tmp_path_factory):
    """A home whose database has its tables and the bundled `digits`."""
    home = tmp_path_factory.mktemp("home")
    database = Database(f"sqlite:///{home / 'heldout.db'}")
    upgrade(database)
    digits = bundled.BUNDLED["digits"].read(home)
    bundled.store(database, Blobs((home / "blobs").as_uri()), "digits", digits)
    database.dispose()
    return home


@pytest.fixture
def silent_logs():
    """Silence the service, which runs in this process, where the output of commands is captured."""

    def drop(*_):
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[drop])
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session", autouse=True)
def _routes_read_once():
    with routes_read_once():
        yield


@pytest.fixture
def service(home_with_digits, tmp_path, silent_logs):
    home = tmp_path / "home"
    shutil.copytree(home_with_digits, home)
    settings = Settings(home=home, database_url=f"sqlite:///{home / 'heldout.db'}", blobs=(home / "blobs").as_uri())
    database = Database(settings.database)
    with database.write() as session:
        key = keys.make(session, "me")
    listener = socket.create_server(("127.0.0.1", 0))
    server = ApiServer(create_app(settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield Service(f"http://127.0.0.1:{listener.getsockname()[1]}", key, database, Blobs(settings.blobs_url))
    server.ask_to_exit()
    thread.join()
    listener.close()
    database.dispose()


@pytest.fixture
def client(service):
    with Client(service.url, service.key) as client:
        yield client


@pytest.fixture
def ended(service, client):
    """A job that has succeeded after two epochs."""
    job_id = client.jobs.create(SPEC).id
    held = service.begin(job_id)
    service.measure(held, 1)
    service.measure(held, 2, train_accuracy=0.99)
    service.succeed(held)
    return job_id


@pytest.fixture
def environment(service, tmp_path):
    """A user's environment with the address and key of the service."""
    return bare_environment(tmp_path) | {"HELDOUT_URL": service.url, "HELDOUT_API_KEY": service.key}


@pytest.fixture
def run_here(tmp_path, monkeypatch):
    """Run `heldout …` in this process, which is fast, and return its exit code and output."""

    def run(environment, *arguments, input=None, encoding="utf-8"):
        streams = [io.TextIOWrapper(io.BytesIO(text), encoding=encoding) for text in ((input or "").encode(), b"", b"")]
        with monkeypatch.context() as patched:
            patched.chdir(tmp_path)
            patched.setattr(os, "environ", environment)
            patched.setattr(sys, "argv", ["heldout", *arguments])
            for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
                patched.setattr(sys, name, stream)
            with pytest.raises(SystemExit) as end:
                main()
            for stream in streams:
                stream.flush()
            out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams[1:])
        return subprocess.CompletedProcess(arguments, int(end.value.code or 0), out, err)

    return run


@pytest.fixture
def heldout(environment, run_here):
    """Run `heldout …` in this process with the service's address and key."""

    def run(*arguments, input=None, encoding="utf-8", **changes):
        return run_here(environment | changes, *arguments, input=input, encoding=encoding)

    return run


@pytest.fixture
def heldout_apart(environment, tmp_path):
    """Run `heldout …` as a separate process, and return its exit code and output."""

    def run(*arguments, **changes):
        return run_apart(tmp_path, environment | changes, *arguments)

    return run
