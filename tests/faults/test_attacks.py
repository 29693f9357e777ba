"""The API process survives strangers: while they attack, another owner is answered soon, and memory stays bounded.

Each attack is a program of its own, against a real API process with default settings. The proofs attack for a minute
each; every run does so for a second.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from models.database import Database
from models.store import keys
from tests.e2e.running import ROOT
from tests.e2e.stack import Stack, digits
from tests.faults.attacks import ATTACKS

MIB = 1024 * 1024
# What docker-compose.yml gives the API.
MAX_MEMORY_MIB = 1024
MAX_P99_S = 1.0
# A log that strangers fill: a line each for some thousand requests a second.
MAX_LOG_BYTES_A_SECOND = 1.5 * MIB
LONG_S, SHORT_S = 60.0, 1.0
SECONDS = [SHORT_S, pytest.param(LONG_S, marks=pytest.mark.proof)]


@pytest.fixture(scope="module")
def attacked(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API alone, with no settings but where things are."""
    folder = tmp_path_factory.mktemp("strangers")
    file = folder / "heldout.db"
    file.write_bytes(sqlite_template.read_bytes())
    stack = Stack(folder / "stack", f"sqlite:///{file}")
    stack.start_api()
    yield stack
    stack.close()


@pytest.fixture(scope="module")
def tenant_key(attacked: Stack) -> str:
    """The key of an owner who means no good."""
    database = Database(attacked.database_url)
    with database.write() as session:
        key = keys.make(session, "mallory")
    database.dispose()
    return key


@dataclass
class Victim:
    """Another owner, who reads and submits jobs on one connection, and a probe on a new one each time."""

    stack: Stack
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __enter__(self) -> "Victim":
        self._stop = threading.Event()
        self._job = self.stack.submit(digits())
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def p99_s(self) -> float:
        return sorted(self.seconds)[int(0.99 * (len(self.seconds) - 1))]

    def _work(self) -> None:
        headers = {"Authorization": f"Bearer {self.stack.key}"}
        with httpx2.Client(base_url=self.stack.url, headers=headers, timeout=30, trust_env=False) as client:
            while not self._stop.wait(0.02):
                self._timed(200, lambda: client.get(f"/v1/jobs/{self._job}"))
                self._timed(201, lambda: client.post("/v1/jobs", json=digits()))
                self._timed(200, lambda: httpx2.get(f"{self.stack.url}/livez", timeout=30, trust_env=False))

    def _timed(self, expected: int, ask) -> None:  # type: ignore[no-untyped-def]
        began = time.monotonic()
        try:
            status = ask().status_code
        except httpx2.TransportError as error:
            status = repr(error)
        self.seconds.append(time.monotonic() - began)
        if status != expected:
            self.wrong.append(str(status))


@pytest.mark.parametrize("seconds", SECONDS)
@pytest.mark.parametrize("name", ATTACKS)
def test_another_owner_is_answered_soon_during(name: str, seconds: float, attacked: Stack, tenant_key: str) -> None:
    assert attacked.api is not None
    log_bytes = attacked.api.err.stat().st_size
    _reset_peak(attacked.api.pid)
    began = time.monotonic()
    with _attack(name, attacked, seconds, tenant_key) as attacker:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == "begun\n"
        with Victim(attacked) as victim:
            said, _ = attacker.communicate(timeout=seconds + 60)
    took_s = time.monotonic() - began
    logged = (attacked.api.err.stat().st_size - log_bytes) / took_s
    peak_mib = _peak_mib(attacked.api.pid)
    print(
        f"\n{name}: {said.strip()}; {len(victim.seconds)} requests of another owner, p99 {victim.p99_s:.3f} s, "
        f"longest {max(victim.seconds):.3f} s; peak {peak_mib:.0f} MiB; {logged / 1000:.0f} kB of log a second"
    )
    assert attacked.api.lives()
    assert attacker.returncode == 0
    assert sum(json.loads(said).values()) > 0, "the attack was none"
    assert not victim.wrong, victim.wrong[:5]
    assert victim.p99_s < MAX_P99_S
    assert peak_mib < MAX_MEMORY_MIB
    assert logged < MAX_LOG_BYTES_A_SECOND


def _attack(name: str, stack: Stack, seconds: float, key: str) -> subprocess.Popen[str]:
    port = stack.environment["HELDOUT_PORT"]
    command = [sys.executable, "-m", "tests.faults.attacks", name, port, str(seconds), key]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_mib(pid: int) -> float:
    [line] = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1024
