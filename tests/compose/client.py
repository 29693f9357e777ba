"""Plain HTTP to the published port: every status is checked, and no request is retried silently."""

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

TERMINAL = {"succeeded", "failed", "cancelled"}

# Trains in about a second.
SMALL = {
    "dataset": "digits",
    "network": {"blocks": [{"filters": 4}]},
    "training": {"epochs": 1, "batch_size": 64, "seed": 1},
    "evaluation": {"test": "never"},
}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    def __init__(self, port: int, key: str = "") -> None:
        self.port = port
        self.key = key

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send one request on its own connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **headers}
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.body[:300]!r}"
        return answer.json

    def submit(self, spec: Any) -> str:
        answer = self.ask("POST", "/v1/jobs", spec)
        assert answer.status == 201, f"POST /v1/jobs: {answer.status} {answer.body[:300]!r}"
        return str(answer.json["id"])

    def ended(self, job_id: str, timeout_s: float) -> Any:
        """Wait for the job's terminal state, and return the job."""
        until = time.monotonic() + timeout_s
        while (job := self.get(f"/v1/jobs/{job_id}?wait=10"))["status"] not in TERMINAL:
            assert time.monotonic() < until, f"{job_id} is still {job['status']} after {timeout_s} s"
        return job

    def reached(self, job_id: str, epoch: int, timeout_s: float = 60) -> Any:
        """Return the job once it is running and has done this many epochs."""
        until = time.monotonic() + timeout_s
        while (job := self.get(f"/v1/jobs/{job_id}"))["status"] != "running" or job["progress"]["epoch"] < epoch:
            assert job["status"] not in TERMINAL, f"{job_id} has {job['status']} too early"
            assert time.monotonic() < until, f"{job_id} has not reached epoch {epoch} within {timeout_s} s"
            time.sleep(0.1)
        return job

    def all_jobs(self, query: str = "") -> list[Any]:
        jobs, after = [], ""
        while True:
            page = self.get(f"/v1/jobs?limit=200{query}{after}")
            jobs += page["data"]
            if not page["has_more"]:
                return jobs
            after = f"&after={page['next']}"

    def workers_of(self, job_id: str) -> list[str]:
        """Return the hosts that ran the job's attempts, in order."""
        events = self.get(f"/v1/jobs/{job_id}/events?limit=200")["data"]
        return [event["data"]["worker"].split(":")[0] for event in events if event["type"] == "job.started"]


@dataclass
class Load:
    """Clients that submit and list jobs continuously. After a 503 they repeat a request with the same key."""

    api: Api
    accepted: dict[str, str] = field(default_factory=dict)  # idempotency key → job
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def __enter__(self) -> "Load":
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._submit, self._list)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _submit(self) -> None:
        count = 0
        while not self._stop.wait(0.6):
            count += 1
            key = f"load-{count}"
            spec = {**SMALL, "name": key, "metadata": {"load": "yes"}}
            while (answer := self._asked("POST", "/v1/jobs", 201, spec, **{"Idempotency-Key": key})) is not None:
                if answer.status == 201:
                    self.accepted[key] = answer.json["id"]
                    break
                time.sleep(0.3)

    def _list(self) -> None:
        while not self._stop.wait(0.3):
            self._asked("GET", "/v1/jobs?limit=5", 200)

    def _asked(self, method: str, path: str, expected: int, body: Any = None, **headers: str) -> Answer | None:
        """Return the response if its status is allowed. Otherwise record it and return None."""
        began = time.monotonic()
        try:
            answer = self.api.ask(method, path, body, **headers)
        except OSError as error:
            self.wrong.append(f"{method} {path}: {error!r}")
            return None
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.statuses[f"{method} {answer.status}"] += 1
        if answer.status == expected or (answer.status == 503 and answer.headers["Retry-After"]):
            return answer
        self.wrong.append(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return None
