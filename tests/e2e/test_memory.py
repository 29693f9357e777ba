"""Memory really runs out: which process is killed, and which jobs continue."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.e2e.running import Service, event_types, lives, spec, tree_of, until, wait_for_end, wait_for_epoch

GROUPS = Path("/sys/fs/cgroup/memory")  # of cgroups v1; in v2 a group with processes cannot have groups below it
MIB = 2**20

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]


@pytest.fixture
def bounded() -> Iterator[Callable[[list[int], int], None]]:
    """Limits the memory that processes may take from now on."""
    group = GROUPS / f"heldout-test-{os.getpid()}"
    group.mkdir()

    def bound(pids: list[int], limit_bytes: int) -> None:
        (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
        for pid in pids:
            with suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(pid))

    yield bound

    def removed() -> bool:
        with suppress(OSError):  # until the service's processes have gone
            group.rmdir()
        return not group.exists()

    until(removed, "the end of the group", within_s=60)


@pytest.mark.skipif(not (GROUPS / "cgroup.procs").exists(), reason="needs memory cgroups of version 1")
def test_a_training_that_outgrows_its_memory_pays_and_its_neighbour_continues(
    bounded: Callable[[list[int], int], None], make_service: Callable[..., Service]
) -> None:
    service = make_service(HELDOUT_SLOTS="2").start()
    with service.client() as client:
        neighbour, filler = (client.jobs.create(spec("overfit", epochs=1000)).id for _ in range(2))
        for job in (neighbour, filler):
            wait_for_epoch(client, job, 1)
        worker = service.worker_pid()
        assert [score_of(pid) for pid in service.training_pids()] == [1000, 1000], "first in line"
        assert score_of(worker) == 0
        large = {"blocks": [{"filters": 512, "padding": "same", "repeat": 2}], "head": "global_average"}
        greedy = client.jobs.create({**spec("overfit", batch_size=1024), "network": large}).id
        with closing(sqlite3.connect(service.home / "heldout.db", timeout=10)) as database, database:
            database.execute("UPDATE jobs SET memory_bytes = ? WHERE id = ?", (700 * MIB, greedy))
        bounded(tree_of(worker), 1500 * MIB)
        client.jobs.cancel(filler)
        failed = wait_for_end(client, greedy)
        assert (failed.status, failed.attempt, failed.failures) == ("failed", 1, 1)
        assert failed.error.code == "out_of_memory", failed.error
        # The kernel may also have killed the neighbour before it got the memory back. Then it continues where it was.
        known = client.jobs.get(neighbour).progress.epoch
        continued = until(lambda: (now := client.jobs.get(neighbour)).progress.epoch > known and now, "its next epoch")
        assert (continued.status, continued.failures) == ("running", 0), continued.error
        assert lives(worker)
        assert "job.requeued" not in event_types(client, greedy)
    service.close()


def score_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())
