"""The service as teams run it: the API and workers, each a separate process tree that a test may damage."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import redis
from sqlalchemy import create_engine

from heldout.client.client import Client
from models import migrations, wake
from models.blobs import Blobs
from models.bundled import register
from models.database import Database
from models.store import keys
from tests.e2e.running import PATIENCE_S, ROOT, children_of, command_of, freeze, lives, tree_of, until
from tests.servers import PostgresServer, RedisServer, find_free_port
from tests.servers_fixtures import empty_postgres

OWNER = "me"
# As docker-compose.yml starts it.
CELERY = ("-m", "celery", "--quiet", "-A", "worker.celery_app", "worker")
CELERY_OPTIONS = ("--without-gossip", "--without-mingle", "--without-heartbeat")
# A lease that tests can wait for; a worker is counted as lost after eight missed heartbeats.
SHORT = {
    "HELDOUT_LEASE_S": "4",
    "HELDOUT_HEARTBEAT_S": "0.5",
    "HELDOUT_POLL_S": "0.2",
    "HELDOUT_RECONCILE_S": "0.5",
    # The state of a finished job goes at once, so counts of files and rows do not include it.
    "HELDOUT_KEEP_STATE_S": "0",
}
LEASE_S = float(SHORT["HELDOUT_LEASE_S"])
TERMINAL = {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True)
class Answer:
    """An HTTP response as seen by a client; times are of this machine's monotonic clock."""

    method: str
    path: str
    status: int
    body: Any
    sent_at: float
    answered_at: float


@dataclass
class Recorder:
    """Records every response in the order of arrival."""

    answers: list[Answer] = field(default_factory=list)

    def hooks(self) -> dict[str, list[Any]]:
        return {"request": [self._sent], "response": [self._answered]}

    def _sent(self, request: httpx2.Request) -> None:
        request.extensions["sent_at"] = time.monotonic()

    def _answered(self, response: httpx2.Response) -> None:
        content = response.read()
        body = None
        if content and response.headers.get("content-type", "").partition(";")[0].endswith("json"):
            body = json.loads(content)
        request = response.request
        self.answers.append(
            Answer(
                request.method,
                request.url.path,
                response.status_code,
                body,
                request.extensions["sent_at"],
                time.monotonic(),
            )
        )


class Program:
    """One of our processes in its own session and group."""

    def __init__(
        self, name: str, arguments: Collection[str], folder: Path, environment: dict[str, str], root: Path = ROOT
    ) -> None:
        self.name = name
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def read_log(self) -> str:
        return self.err.read_text(errors="replace")

    def lives(self) -> bool:
        return self.process.poll() is None

    def wait_for_log(self, text: str, within_s: float = 120.0) -> None:
        until(lambda: text in self.read_log() or not self.lives(), f"{text!r} from {self.name}", within_s)
        assert text in self.read_log(), f"{self.name} ended with {self.process.returncode}: {self.read_log()[-2000:]}"

    def trainings(self) -> list[int]:
        """List the processes that train: children of the server that forks, and spawned ones."""
        found = []
        for child in children_of(self.pid):
            command = command_of(child)
            if b"forkserver" in command:
                found += children_of(child)
            elif b"spawn_main" in command:
                found.append(child)
        return found

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL to this process alone. Its children have to end by themselves."""
        if self.lives():
            self.send(signal.SIGKILL)
        self.process.wait(60)

    def kill_all(self) -> None:
        """Send SIGKILL to this process and everything below it, like a power cut."""
        if self.lives():
            freeze(self.pid)  # starts nothing while it is counted
            for pid in tree_of(self.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(60)

    def stop(self, within_s: float = 60.0) -> int:
        """Send SIGTERM, and return the exit status."""
        if self.lives():
            self.send(signal.SIGTERM)
        return self.process.wait(within_s)


class Stack:
    """One database, one blob folder, one API, any number of workers, and a broker if `redis_url` names one.

    The setting `HELDOUT_BLOBS` puts blobs elsewhere, for example in an object store.
    Without a broker the workers are `worker.local`, as in the embedded service, but each may be harmed alone.
    """

    def __init__(self, folder: Path, database_url: str, redis_url: str | None = None, **environment: str) -> None:
        self.folder = folder
        self.root = ROOT
        self.database_url = database_url
        self.redis_url = redis_url
        self.blobs = folder / "blobs"
        self.homes = folder
        self.recorder = Recorder()
        self.workers: list[Program] = []
        self.api: Program | None = None
        self._started = 0
        self._http: httpx2.Client | None = None
        folder.mkdir(parents=True, exist_ok=True)
        ours = {
            "HELDOUT_DATABASE_URL": database_url,
            "HELDOUT_BLOBS": self.blobs.as_uri(),
            "HELDOUT_SLOTS": "1",
            "HELDOUT_CALIBRATE": "false",
            "HELDOUT_CHECK_LABELS": "false",
            "HELDOUT_PROVE_IDLE_S": "0",
            "HELDOUT_PORT": str(find_free_port()),
        }
        if redis_url is not None:
            ours["HELDOUT_REDIS_URL"] = redis_url
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HELDOUT_", "DATABASE_", "REDIS_", "TEST_"))
        }
        self.environment = kept | ours | environment
        database = Database(database_url)
        self._register(database)
        self.key = self._make_key(database)
        database.dispose()

    def _register(self, database: Database) -> None:
        register(database, Blobs(self.environment["HELDOUT_BLOBS"]), self.folder / "no-operator-files")

    def _make_key(self, database: Database) -> str:
        with database.write() as session:
            return keys.make(session, OWNER)

    @property
    def url(self) -> str:
        return f"http://{self.environment.get('HELDOUT_HOST', '127.0.0.1')}:{self.environment['HELDOUT_PORT']}"

    # --- processes -----------------------------------------------------------------------------------

    def start_api(self, *, wait: bool = True, **environment: str) -> Program:
        if self._http is not None:
            self._http.close()  # its connections were to an earlier process
            self._http = None
        self.api = self._start("api", ("-m", "api", "serve"), environment)
        if wait:
            until(self._api_lives, "the API's first answer", 60)
        return self.api

    def start_predict(self, **environment: str) -> Program:
        """Start a process for predictions without waiting until it listens."""
        return self._start("predict", ("-m", "predict"), environment)

    def start(self, workers: int = 1, **environment: str) -> list[Program]:
        """Start the API and this many workers."""
        self.start_api(wait=False)
        started = self.start_workers(workers, **environment)
        until(self._api_lives, "the API's first answer", 60)
        return started

    def start_worker(self, *, wait: bool = True, **environment: str) -> Program:
        name = f"worker-{self._started}"
        if self.redis_url is None:
            arguments: tuple[str, ...] = ("-m", "worker.local")
        else:
            arguments = (*CELERY, *CELERY_OPTIONS, "--hostname", f"{name}@test")
        worker = self._start("worker", arguments, {"HELDOUT_WORKER_NAME": name} | environment)
        self.workers.append(worker)
        if wait:
            self.until_ready(worker)
        return worker

    def start_workers(self, count: int, **environment: str) -> list[Program]:
        """Start several workers at once, so that they load TensorFlow in parallel."""
        started = [self.start_worker(wait=False, **environment) for _ in range(count)]
        for worker in started:
            self.until_ready(worker)
        return started

    def until_ready(self, worker: Program) -> None:
        worker.wait_for_log("worker_ready" if self.redis_url is None else "@test ready.")

    def close(self) -> None:
        """End all processes at once."""
        if self._http is not None:
            self._http.close()
        for program in (self.api, *self.workers):
            if program is not None:
                program.kill_all()

    def _start(self, kind: str, arguments: Collection[str], environment: dict[str, str]) -> Program:
        name = f"{kind}-{self._started}"
        self._started += 1
        # Each process gets its own home, as each machine has its own.
        home = {"HELDOUT_HOME": str(self.homes / name)}
        return Program(name, arguments, self.folder, self.environment | home | environment, self.root)

    def _api_lives(self) -> bool:
        assert self.api is not None
        assert self.api.lives(), self.api.read_log()[-2000:]
        with suppress(httpx2.TransportError):
            return httpx2.get(f"{self.url}/livez", timeout=30).status_code == 200
        return False

    # --- what a client does --------------------------------------------------------------------------

    def client(self) -> Client:
        return Client(self.url, self.key)

    @property
    def http(self) -> httpx2.Client:
        """A client that records every response."""
        if self._http is None:
            self._http = httpx2.Client(
                base_url=self.url,
                headers={"Authorization": f"Bearer {self.key}"},
                timeout=30,
                trust_env=False,
                verify=False,
                event_hooks=self.recorder.hooks(),
            )
        return self._http

    def ask(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        return self.http.request(method, path, **arguments)

    def submit(self, spec: dict[str, Any]) -> str:
        answer = self.ask("POST", "/v1/jobs", json=spec)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def accepted(self) -> list[str]:
        """List the ids of all jobs whose submission was answered with 201."""
        answers = self.recorder.answers
        return [str(answer.body["id"]) for answer in answers if (answer.method, answer.status) == ("POST", 201)]

    def job(self, job_id: str) -> dict[str, Any]:
        """Return the job as served. Repeats the request while the service answers 503 or not at all."""

        def served() -> dict[str, Any] | None:
            with suppress(httpx2.TransportError):
                answer = self.ask("GET", f"/v1/jobs/{job_id}")
                assert answer.status_code in {200, 503}, answer.text
                return dict(answer.json()) if answer.status_code == 200 else None
            return None

        return dict(until(served, "an answer"))

    def wait_for_end(self, job_id: str, within_s: float = PATIENCE_S) -> dict[str, Any]:
        return dict(
            until(lambda: (job := self.job(job_id))["status"] in TERMINAL and job, f"the end of {job_id}", within_s)
        )

    def wait_for_epoch(self, job_id: str, epoch: int) -> dict[str, Any]:
        """Return the job once this many complete epochs are served."""

        def far_enough() -> dict[str, Any] | None:
            job = self.job(job_id)
            assert job["status"] not in TERMINAL, job
            return job if job["progress"]["epoch"] >= epoch else None

        return dict(until(far_enough, f"epoch {epoch} of {job_id}"))

    def wait_for_attempt(self, job_id: str, attempt: int = 1) -> dict[str, Any]:
        """Return the job once that attempt or a later one trains it."""
        return dict(
            until(lambda: (job := self.job(job_id))["attempt"] >= attempt and job, f"attempt {attempt} of {job_id}")
        )

    def events(self, job_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["id"] if found else 0
            page = self.ask("GET", f"/v1/jobs/{job_id}/events?after={after}&limit=200").json()
            found += page["data"]
            if not page["has_more"]:
                return found

    def history(self, job_id: str) -> list[dict[str, Any]]:
        """Return the served epochs without what depends on the clock."""
        clocks = {"seconds", "evaluation_seconds", "images_per_second"}
        epochs = self.ask("GET", f"/v1/jobs/{job_id}/metrics").json()["epochs"]
        return [{k: v for k, v in epoch.items() if k not in clocks} for epoch in epochs]

    def holder(self, job_id: str) -> Program:
        """Return the worker of the job's latest attempt."""
        name = [event["data"]["worker"] for event in self.events(job_id) if event["type"] == "job.started"][-1]
        pid = int(name.split(":")[1])
        return next(worker for worker in self.workers if worker.pid == pid)


@contextmanager
def stack_on(
    folder: Path, postgres: PostgresServer, broker: RedisServer, of: type[Stack] = Stack, **environment: str
) -> Iterator[Stack]:
    """A stack on a fresh database of this server and an empty broker; all its processes end with the block."""
    admin = create_engine(postgres.url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    with empty_postgres(admin) as url:
        migrated = Database(url)
        migrations.upgrade(migrated)
        migrated.dispose()
        with redis.Redis.from_url(broker.url) as client:
            client.flushall()
        stack = of(folder, url, broker.url, **environment)
        try:
            yield stack
        finally:
            stack.close()
            # A test that stops a server starts it again, but a failed test may not have got there.
            for server in (postgres, broker):
                server.resume()
                server.start()
    admin.dispose()


def digits(**changes: Any) -> dict[str, Any]:
    """A spec for the 1,797 small digits: one epoch of a tiny network unless its training is changed."""
    return {
        "dataset": "digits",
        "network": {"blocks": [{"filters": 4}]},
        "training": {"epochs": 1, "seed": 3} | changes,
        "resources": {"towers": 1},
    }


def submit_promptly(stack: Stack, count: int) -> list[str]:
    """Submit this many small jobs while the broker is away. No response waits for the broker."""
    jobs, took = [], []
    for _ in range(count):
        began = time.monotonic()
        jobs.append(stack.submit(digits()))
        took.append(time.monotonic() - began)
    # A response that waits for the broker takes this long every time; a busy machine is slow only now and then.
    assert min(took) < wake.BROKER_TIMEOUT_S
    return jobs


def long_digits(epochs: int = 40, **changes: Any) -> dict[str, Any]:
    """A spec with epochs of about a quarter of a second, and with dropout and augmentation for checkpoints to hold."""
    return digits(epochs=epochs, batch_size=16, **changes) | {
        "network": {"blocks": [{"filters": 16, "dropout": 0.2, "padding": "same"}, {"filters": 16, "padding": "same"}]},
        "augmentation": {"rotation_degrees": 10, "width_shift": 0.1},
    }


def all_gone(pids: Collection[int], within_s: float = 60.0) -> None:
    """Wait until none of these processes is alive."""
    until(lambda: not any(map(lives, pids)), f"the end of {list(pids)}", within_s)
