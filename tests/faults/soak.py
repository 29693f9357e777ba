"""Owners who use everything at once, and samples of what must not grow, for the soak test."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.stack import TERMINAL, Recorder, digits, long_digits
from tests.worker.ingest.uploads import arrays_of, npz

PATIENCE_S = 240.0


@dataclass
class Owner:
    """A client with its own key, which makes requests in sequence until it is stopped.

    Whether or not the service answers, an accepted job has to end.
    """

    name: str
    key: str
    url: str
    folder: Path
    stop: threading.Event
    recorder: Recorder = field(default_factory=Recorder)
    ended: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    done: int = 0

    def run(self) -> None:
        draw = random.Random(self.name)
        acts: list[Callable[[], None]] = [
            self.train,
            self.cancel_while_it_runs,
            self.pause_and_resume,
            self.upload_train_and_delete,
            self.read,
            self.read,
        ]
        with httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=30,
            trust_env=False,
            event_hooks=self.recorder.hooks(),
        ) as self.http:
            while not self.stop.is_set():
                act = draw.choice(acts)
                try:
                    act()
                    self.done += 1
                except Exception as error:  # noqa: BLE001  (any error is a finding of the soak)
                    self.wrong.append(f"{self.name}, {act.__name__}: {error!r}")

    # --- what it does --------------------------------------------------------------------------------

    def train(self) -> None:
        job = self._submit(digits(epochs=2))
        self._end(job, {"succeeded"})
        self._ask("GET", f"/v1/jobs/{job}/model")
        self._ask("GET", f"/v1/jobs/{job}/diagnosis")

    def cancel_while_it_runs(self) -> None:
        job = self._submit(long_digits(200))
        self._after_epoch(job)
        self._ask("POST", f"/v1/jobs/{job}/cancel")
        self._end(job, {"cancelled"})

    def pause_and_resume(self) -> None:
        job = self._submit(long_digits(8))
        self._after_epoch(job)
        self._ask("POST", f"/v1/jobs/{job}/pause")
        self._until(lambda: self._job(job)["status"] in {"paused", *TERMINAL}, f"the pause of {job}")
        self._ask("POST", f"/v1/jobs/{job}/resume")
        self._end(job, {"succeeded"})
        self._ask("DELETE", f"/v1/jobs/{job}")

    def upload_train_and_delete(self) -> None:
        made = self._ask("POST", "/v1/datasets", json={"name": f"set-{self.done}"}).json()
        content = npz(self.folder / f"{self.name}.npz", **arrays_of()).read_bytes()
        self._ask("PUT", f"/v1/datasets/{made['id']}/content", content=content)
        path = f"/v1/datasets/{made['id']}"
        self._until(lambda: self._ask("GET", path).json()["status"] in {"ready", "rejected"}, f"the check of {path}")
        job = self._submit(digits() | {"dataset": made["id"]})
        self._end(job, {"succeeded"})
        self._ask("DELETE", path)

    def read(self) -> None:
        for path in ("/v1/jobs?limit=50", "/v1/datasets", "/v1/events?limit=50", "/v1/jobs?status=running"):
            self._ask("GET", path)
        self.stop.wait(1)

    # --- how it makes requests ---------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        """Repeat the request until there is an answer other than 503. Any other server error is wrong."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            with suppress(httpx2.TransportError):
                answer = self.http.request(method, path, **arguments)
                if answer.status_code < 500:
                    return answer
                if answer.status_code != 503:
                    self.wrong.append(f"{self.name}: {method} {path} was answered with {answer.status_code}")
            if time.monotonic() > ends:
                raise AssertionError(f"{method} {path} was not answered within {PATIENCE_S:g} s")
            time.sleep(0.2)

    def _submit(self, spec: dict[str, Any]) -> str:
        key = {"Idempotency-Key": f"{self.name} {time.monotonic_ns()}"}
        while True:
            answer = self._ask("POST", "/v1/jobs", json=spec, headers=key)
            if answer.status_code != 409:  # the first request with this key is still being answered
                assert answer.status_code == 201, answer.text
                return str(answer.json()["id"])
            time.sleep(0.2)

    def _job(self, job_id: str) -> dict[str, Any]:
        return dict(self._ask("GET", f"/v1/jobs/{job_id}").json())

    def _after_epoch(self, job_id: str) -> None:
        def has_one() -> bool:
            job = self._job(job_id)
            return job["progress"]["epoch"] >= 1 or job["status"] in TERMINAL

        self._until(has_one, f"an epoch of {job_id}")

    def _end(self, job_id: str, expected: set[str]) -> None:
        self._until(lambda: self._job(job_id)["status"] in TERMINAL, f"the end of {job_id}")
        status = self._job(job_id)["status"]
        self.ended[job_id] = status
        if status not in expected:
            error = self._job(job_id)["error"]
            self.wrong.append(f"{self.name}: {job_id} has {status} ({error}) and not {expected}")

    @staticmethod
    def _until(condition: Callable[[], bool], what: str) -> None:
        ends = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < ends, f"{what} did not happen within {PATIENCE_S:g} s"
            time.sleep(0.3)


@dataclass(frozen=True)
class Sample:
    """State of a process at one moment: its resident memory, open files and threads."""

    at_s: float
    memory_mb: float
    files: int
    threads: int


class Watch:
    """Samples some long-lived processes every second."""

    def __init__(self) -> None:
        self.samples: dict[str, list[Sample]] = {}
        self._pids: dict[str, int] = {}
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def follow(self, name: str, pid: int) -> None:
        self._pids[name] = pid
        self.samples[name] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            for name, pid in list(self._pids.items()):
                with suppress(OSError, ValueError, KeyError):
                    self.samples[name].append(sample_of(pid, time.monotonic() - self._began))


def sample_of(pid: int, at_s: float) -> Sample:
    """Read a sample from /proc."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    memory_kb = int(fields["VmRSS"].split()[0])
    return Sample(at_s, memory_kb / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())), int(fields["Threads"]))


def growth(values: list[float]) -> float:
    """Return how much the last quarter's median exceeds the second quarter's. The first quarter is warm-up."""
    quarter = len(values) // 4
    early, late = sorted(values[quarter : 2 * quarter]), sorted(values[3 * quarter :])
    return late[len(late) // 2] - early[len(early) // 2]
