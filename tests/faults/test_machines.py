"""Three machines that share only a network: one for servers, two for workers. Their links are cut."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.database import Database
from tests.e2e.running import until
from tests.e2e.stack import SHORT, Program, Stack, digits, long_digits, stack_on
from tests.faults.conftest import predictions_of, require_ended_in_order
from tests.faults.history import read
from tests.faults.network import Host, NotAllowed, network_of
from tests.object_store import S3Server
from tests.servers import PostgresServer, RedisServer

POSTGRES_PORT, REDIS_PORT = 5432, 6379

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]


class Distributed(Stack):
    """A stack whose blobs only processes on the hosts use: this process has threads outside their network."""

    def _register(self, database: Database) -> None:
        register = self._start("migrate", ("-m", "api", "migrate"), {})
        assert register.process.wait(120) == 0, register.read_log()


@dataclass
class Machines:
    """API, database, broker, object store and the test itself on one host, and workers on two others."""

    stack: Stack
    store: S3Server
    blobs_url: str
    hosts: dict[int, Host]  # of the workers, by their process

    def start_worker(self, host: Host) -> Program:
        with host.inside():
            worker = self.stack.start_worker(wait=False)
        self.hosts[worker.pid] = host
        return worker

    def rows(self, table: str, job_id: str, attempt: int) -> list[dict[str, object]]:
        found = read(self.stack.database_url)[table]
        return [row for row in found if (row["job_id"], row["attempt"]) == (job_id, attempt)]


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    try:
        with network_of(3) as made:
            yield made
    except NotAllowed as reason:
        pytest.skip(f"Hosts are network namespaces, which are not allowed here (root makes them): {reason}")


@pytest.fixture
def machines(hosts: list[Host], tmp_path: Path) -> Iterator[Machines]:
    hub, *others = hosts
    with (
        hub.inside(),
        PostgresServer(durable=False, host=hub.address, port=POSTGRES_PORT) as postgres,
        RedisServer(durable=False, host=hub.address, port=REDIS_PORT) as broker,
        S3Server(tmp_path / "s3.log", hub.address) as store,
    ):
        url = store.bucket()
        settings = SHORT | store.environment | {"HELDOUT_BLOBS": url, "HELDOUT_HOST": hub.address, "AWS_TIMEOUT": "5s"}
        with stack_on(tmp_path / "stack", postgres, broker, of=Distributed, **settings) as stack:
            stack.start_api(wait=False)
            made = Machines(stack, store, url, {})
            for worker in [made.start_worker(host) for host in others]:
                stack.until_ready(worker)
            until(stack._api_lives, "the API's first answer", 60)
            yield made
            assert not stack.blobs.exists()


@pytest.mark.parametrize(
    ("back", "epochs"), [("in the middle of both trainings", 240), ("too late, with a model of its own", 50)]
)
def test_a_job_whose_machine_is_cut_off_is_finished_by_another_and_the_first_is_ignored(
    machines: Machines, back: str, epochs: int
) -> None:
    stack = machines.stack
    whole = stack.submit(long_digits(epochs))
    stack.wait_for_end(whole)
    job_id = stack.submit(long_digits(epochs))
    stack.wait_for_epoch(job_id, 3)
    cut_off = stack.holder(job_id)
    host = machines.hosts[cut_off.pid]
    host.cut()
    _require_cut_off(stack, host)
    assert cut_off.lives()

    stack.wait_for_attempt(job_id, attempt=2)
    first = machines.rows("epochs", job_id, attempt=1)
    other = stack.holder(job_id)
    assert machines.hosts[other.pid] is not host
    if back == "in the middle of both trainings":
        stack.wait_for_epoch(job_id, stack.job(job_id)["progress"]["epoch"] + 2)
        assert cut_off.trainings()
    else:
        stack.wait_for_end(job_id)
        until(lambda: not cut_off.trainings(), "the end of its training")
        assert list((stack.homes / cut_off.name / "scratch").rglob("*.keras"))
    assert "attempt_lost" not in cut_off.read_log()  # no one could notice it
    host.fix()
    cut_off.wait_for_log("attempt_lost")
    until(lambda: not cut_off.trainings(), "the end of its training", 30)

    job = stack.wait_for_end(job_id)
    assert (job["status"], job["attempt"], job["failures"], job["error"]) == ("succeeded", 2, 1, None)
    [second] = machines.rows("attempts", job_id, attempt=2)
    assert second["start_epoch"] >= 2, "it began from scratch instead of from the checkpoint"
    assert machines.rows("epochs", job_id, attempt=1) == first
    assert stack.history(job_id) == stack.history(whole)
    finals = [stack.ask("GET", f"/v1/jobs/{same}/metrics").json()["final"] for same in (job_id, whole)]
    assert finals[0] == finals[1]
    assert predictions_of(stack, job_id) == predictions_of(stack, whole)
    require_ended_in_order(stack)
    of_second = ["2/evaluation.json", "2/gap.json", "2/model.keras", "2/predictions.npz"]
    until(lambda: _files(machines, job_id) == of_second, "no file of the first attempt", 30)

    # It is a normal worker again.
    other.stop()
    assert stack.wait_for_end(stack.submit(digits()))["attempt"] == 1
    assert stack.holder(stack.accepted()[-1]) is cut_off
    require_ended_in_order(stack)


def _files(machines: Machines, job_id: str) -> list[str]:
    """List the job's files in the object store, by attempt."""
    folder = f"some/prefix/jobs/{job_id}/"
    return sorted(key.removeprefix(folder) for key in machines.store.keys(machines.blobs_url) if folder in key)


def _require_cut_off(stack: Stack, host: Host) -> None:
    """Check that the fault is real: the host cannot reach the servers."""
    with host.inside():
        for port in (POSTGRES_PORT, REDIS_PORT, int(stack.environment["HELDOUT_PORT"])):
            with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
                socket.create_connection((stack.environment["HELDOUT_HOST"], port), timeout=0.5)
