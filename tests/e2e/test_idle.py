"""The processor time of an idle service."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.running import Service, command_of, processor_s, tree_of, until, wait_for_end
from tests.e2e.stack import digits

WATCHED_S = 60.0
# After its last job a service tidies up, and polls more often for a while.
QUIET_AFTER_S = 30.0
MOST_OF_A_CORE = 0.01

pytestmark = [pytest.mark.proof, pytest.mark.timeout(400)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "home").start()
    yield running
    running.close()


def seconds_of(pids: list[int]) -> dict[int, float]:
    """Return the processor seconds of each living process."""
    used = {}
    for pid in pids:
        with suppress(OSError):
            used[pid] = processor_s(pid)
    return used


def test_a_service_without_work_takes_less_than_a_hundredth_of_a_core(service: Service) -> None:
    with service.client() as client:
        assert wait_for_end(client, client.jobs.create(digits()).id).status == "succeeded"
        bundled = len(list(client.datasets.list()))
    # After the start the worker looks for copies in the bundled datasets.
    log = service.home / "logs" / "worker.log"
    until(lambda: log.read_text().count('"attempt_settled"') >= 1 + bundled, "the start")
    time.sleep(QUIET_AFTER_S)
    before = seconds_of(tree_of(service.pid))
    time.sleep(WATCHED_S)  # what is measured
    after = seconds_of(tree_of(service.pid))
    shares = {pid: (used - before.get(pid, 0.0)) / WATCHED_S for pid, used in after.items()}
    shown = [f"{share:.2%} {command_of(pid)[:60]!r}" for pid, share in sorted(shares.items()) if share > 0]
    print("\n".join(shown))
    assert sum(shares.values()) <= MOST_OF_A_CORE, shown
