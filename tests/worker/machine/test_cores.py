"""Cores are dealt so that no two jobs fight for one while another lies idle."""

import os
import subprocess
import sys
from itertools import product

import pytest

from tests.worker.training.trainings import example, small_spec
from worker.machine.cores import Cores, deal, usable_cores
from worker.training.engine import chosen_towers

MNIST = ((28, 28, 1), 10)

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no process")


def nobody() -> bool:
    return False


def test_while_there_are_enough_cores_the_scheduler_places_every_job():
    assert deal([0, 1], [2]) == [(0, 1)]
    assert deal([0, 1], [1, 1]) == [(0, 1)] * 2
    assert deal([4, 5, 6, 7], [2, 1, 1]) == [(4, 5, 6, 7)] * 3


def test_a_job_in_two_towers_gives_one_core_to_the_job_that_comes():
    assert deal([0, 1], [2, 1]) == [(0,), (1,)]
    assert deal([0, 1], [2, 2]) == [(0,), (1,)]
    assert deal([0, 1, 2], [2, 2]) == [(0, 2), (1,)]


@pytest.mark.parametrize(("count", "jobs"), list(product(range(1, 6), range(1, 9))))
def test_every_job_has_a_core_and_none_is_left_idle_or_overfull(count, jobs):
    for wants in product((1, 2), repeat=jobs):
        dealt = deal(range(count), wants)
        assert all(dealt)
        if sum(wants) > count:
            used = [core for cores in dealt for core in cores]
            assert {used.count(core) for core in range(count)} <= {-(-jobs // count), jobs // count} | {1}
            assert set(used) == set(range(count))


def test_where_the_system_tells_no_cores_nothing_is_dealt():
    assert deal([], [2, 1]) == [(), ()]


@linux
def test_a_job_is_roomy_only_while_no_other_runs_or_waits(monkeypatch):
    monkeypatch.setattr("worker.machine.cores.usable_cores", lambda: (0, 1))
    cores = Cores(slots=2)
    with cores.place(nobody) as first:
        assert first.is_roomy
        with cores.place(nobody) as second:
            assert not first.is_roomy
            assert not second.is_roomy
        assert first.is_roomy
    with cores.place(lambda: True) as busy:
        assert not busy.is_roomy
    with Cores(slots=1).place(nobody) as place:
        assert not place.is_roomy


@linux
@pytest.mark.skipif(len(usable_cores()) < 2, reason="needs two cores")
def test_a_running_process_moves_over_and_back_with_all_of_its_threads():
    code = "import threading; [threading.Thread(target=input).start() for _ in range(3)]; print(flush=True); input()"
    cores = Cores(slots=2)
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with cores.place(nobody) as first:
            first.pin_process(process.pid, 2)
            assert spread_of(process.pid) == [len(usable_cores())] * 4
            places = [cores.place(nobody) for _ in usable_cores()[1:]]
            for place in places:
                place.__enter__()
            assert spread_of(process.pid) == [1] * 4
            for place in places:
                place.__exit__(None, None, None)
            assert spread_of(process.pid) == [len(usable_cores())] * 4
        process.kill()


def spread_of(pid: int) -> list[int]:
    """For each thread of a process the number of cores that it may use."""
    return [len(os.sched_getaffinity(int(task))) for task in os.listdir(f"/proc/{pid}/task")]


def test_towers_are_chosen_where_they_pay_and_never_with_batch_normalisation():
    assert chosen_towers("auto", example("overfit"), *MNIST) == 2
    assert chosen_towers("auto", example("augmented"), *MNIST) == 2
    assert chosen_towers("auto", small_spec({"filters": 4}), (8, 8, 1), 10) == 1
    assert chosen_towers("auto", small_spec({"filters": 64, "batch_norm": True}), *MNIST) == 1


def test_towers_that_were_asked_for_or_decided_before_stay():
    tiny = small_spec({"filters": 4})
    assert chosen_towers(2, tiny, (8, 8, 1), 10) == 2
    assert chosen_towers(1, example("overfit"), *MNIST) == 1
