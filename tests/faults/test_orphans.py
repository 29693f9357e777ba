"""Nothing that a service or worker has started outlives it, whenever it is killed, and it starts again."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from heldout.errors import JobFinished
from tests.e2e.running import ROOT, Service, command_of, lives, processes_of, tree_of, until
from tests.e2e.stack import Stack, digits, long_digits
from tests.faults.marks import SQLITE, on
from tests.worker.ingest.uploads import arrays_of, npz

# Time between the kill of a process and the end of the last one that it started, on two busy cores.
GONE_WITHIN_S = 30.0
LAUNCHES = 8
PROOF_KILLS = 30
# A parent that starts children until it is killed.
PARENT = """
import subprocess, sys
from heldout.parent_process import build_launch_command
print("here", flush=True)
while True:
    subprocess.Popen(build_launch_command([sys.executable, "-S", "-c", "import time; time.sleep(60)", sys.argv[1]]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for homes and for what is stored outside them."""
    with tempfile.TemporaryDirectory(prefix="heldout-test-", ignore_cleanup_errors=True) as name:
        made = Path(name)
        (made / "tmp").mkdir()
        yield made


def gone(folder: Path, what: str) -> float:
    """Wait until no process names the folder, and return how many seconds that took."""
    began = time.monotonic()
    try:
        until(lambda: not processes_of(folder), f"the end of {what}", GONE_WITHIN_S)
    except AssertionError:
        left = {pid: command_of(pid).replace(b"\0", b" ").strip()[:100] for pid in processes_of(folder)}
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        raise AssertionError(f"{what} has left {left}") from None
    return time.monotonic() - began


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    time.sleep(seconds)  # a random moment
    process.kill()
    process.wait(240)


def test_a_program_ends_with_its_parent_even_if_that_ends_first_during_the_start(tmp_path: Path) -> None:
    chance = random.Random(1)
    for _ in range(LAUNCHES):
        with subprocess.Popen(
            [sys.executable, "-c", PARENT, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
        ) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"here\n"
            kill_after(parent, chance.uniform(0, 0.06))
        gone(tmp_path, "a parent of launched programs")


@pytest.mark.proof  # tests/e2e/test_supervision.py kills a service once in every run
@pytest.mark.timeout(1800)
def test_nothing_outlives_a_service_that_is_killed_at_a_random_moment_and_it_starts_again(folder: Path) -> None:
    chance = random.Random(PROOF_KILLS)
    service = Service(folder / "home", TMPDIR=str(folder / "tmp"))
    longest = 0.0
    try:
        for number in range(PROOF_KILLS):
            if number % 6 == 5:  # also at the first start of a home
                service = Service(folder / f"home-{number}", TMPDIR=str(folder / "tmp"))
            if number % 3 == 2:
                service.begin()
                kill_after(service.process, chance.choice((chance.uniform(0, 0.3), chance.uniform(0, 5))))
            else:
                service.start()
                kill_after(service.process, chance.uniform(0, 0.2 if number % 2 else 3))
            (service.home / "service.json").unlink(missing_ok=True)
            longest = max(longest, gone(folder, f"the service, kill {number}"))
        service.start()
        with service.client() as client:
            assert client.datasets.get("digits").status == "ready"
        assert service.stop() == 0
        gone(folder, "the service that was stopped")
    finally:
        service.close()
    print(f"{PROOF_KILLS} kills, nothing left; the last process ended within {longest:.1f} s")


@on(SQLITE)
@pytest.mark.timeout(1800)
def test_nothing_outlives_a_worker_that_is_killed_at_a_random_moment(stack: Stack, tmp_path: Path) -> None:
    chance = random.Random(3)
    stack.start_api()
    longest = 0.0
    npz(tmp_path / "own.npz", **arrays_of())
    with stack.client() as client:
        for number in range(PROOF_KILLS):
            if number % 3 == 0:
                stack.submit(long_digits(100))
                made = client.datasets.create({"name": f"own{number}"})
                client.datasets.upload(made.id, tmp_path / "own.npz")
            worker = stack.start_worker(wait=number % 4 != 0)
            time.sleep(chance.uniform(0, 6 if number % 2 else 1))  # a random moment
            below = tree_of(worker.pid)
            worker.kill()
            began = time.monotonic()
            until(lambda below=below: not any(map(lives, below)), f"the end of {below}", GONE_WITHIN_S)
            longest = max(longest, time.monotonic() - began)
        for job in client.jobs.list():
            with suppress(JobFinished):  # three failures end it
                client.jobs.cancel(job.id)
        stack.start_worker()
        assert stack.wait_for_end(stack.submit(digits()))["status"] == "succeeded"
    print(f"{PROOF_KILLS} kills, nothing left; the last process ended within {longest:.1f} s")
