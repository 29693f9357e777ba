"""Jobs share the cores of a machine, and what a job computes does not depend on the others."""

import os
import subprocess
import sys
from itertools import product

import pytest

from tests.worker.training.trainings import example, small_spec
from worker.machine.cores import Cores, divide_cores, find_usable_cores, limit_towers
from worker.training.choices import choose_towers

MNIST = ((28, 28, 1), 10)

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no process")


def test_while_there_are_enough_cores_the_scheduler_places_every_job():
    assert divide_cores([0, 1], [2]) == [(0, 1)]
    assert divide_cores([0, 1], [1, 1]) == [(0, 1)] * 2
    assert divide_cores([4, 5, 6, 7], [2, 1, 1]) == [(4, 5, 6, 7)] * 3


def test_a_job_in_two_towers_gives_one_core_to_the_job_that_comes():
    assert divide_cores([0, 1], [2, 1]) == [(0,), (1,)]
    assert divide_cores([0, 1], [2, 2]) == [(0,), (1,)]
    assert divide_cores([0, 1, 2], [2, 2]) == [(0, 2), (1,)]


@pytest.mark.parametrize(("count", "jobs"), list(product(range(1, 6), range(1, 9))))
def test_every_job_has_a_core_and_none_is_left_idle_or_overfull(count, jobs):
    for demands in product((1, 2), repeat=jobs):
        shares = divide_cores(range(count), demands)
        assert all(shares)
        if sum(demands) > count:
            used = [core for cores in shares for core in cores]
            assert {used.count(core) for core in range(count)} <= {-(-jobs // count), jobs // count} | {1}
            assert set(used) == set(range(count))


@pytest.mark.parametrize("demands", [[1], [2, 2], [1, 2, 1, 1]])
def test_a_job_that_demands_no_core_takes_none_from_the_others(demands):
    for cores in ([0], [0, 1], [0, 1, 2]):
        shares = divide_cores(cores, demands)
        for place in range(len(demands) + 1):
            with_it = divide_cores(cores, [*demands[:place], 0, *demands[place:]])
            assert with_it == [*shares[:place], (), *shares[place:]]


def test_a_job_that_demands_no_core_keeps_the_worker_busy_all_the_same():
    cores = Cores()
    with cores.for_job(demand=0):
        assert not cores.are_idle
    assert cores.are_idle


def test_where_the_system_tells_no_cores_nothing_is_divided():
    assert divide_cores([], [2, 1]) == [(), ()]


def test_towers_are_chosen_for_cores_and_not_for_gpus():
    assert limit_towers("auto", "cpu") == "auto"
    assert limit_towers("auto", "gpu") == 1


@pytest.mark.parametrize("requested", [1, 2, 16])
def test_towers_that_the_spec_names_are_kept_on_every_machine(requested):
    assert {limit_towers(requested, device) for device in ("cpu", "gpu")} == {requested}


@linux
@pytest.mark.skipif(len(find_usable_cores()) < 2, reason="needs two cores")
def test_a_running_process_moves_over_and_back_with_all_of_its_threads():
    code = "import threading; [threading.Thread(target=input).start() for _ in range(3)]; print(flush=True); input()"
    cores = Cores()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with cores.for_job() as first:
            first.pin_process(process.pid, 2)
            assert spread_of(process.pid) == [len(find_usable_cores())] * 4
            others = [cores.for_job() for _ in find_usable_cores()[1:]]
            for other in others:
                other.__enter__()
            assert spread_of(process.pid) == [1] * 4
            for other in others:
                other.__exit__(None, None, None)
            assert spread_of(process.pid) == [len(find_usable_cores())] * 4
        process.kill()


def spread_of(pid: int) -> list[int]:
    """For each thread of a process the number of cores that it may use."""
    return [len(os.sched_getaffinity(int(task))) for task in os.listdir(f"/proc/{pid}/task")]


def test_towers_are_chosen_where_they_pay():
    assert choose_towers("auto", 2, example("overfit"), *MNIST) == 2
    assert choose_towers("auto", 2, example("augmented"), *MNIST) == 2
    assert choose_towers("auto", 2, small_spec({"filters": 4}), (8, 8, 1), 10) == 1
    assert choose_towers("auto", 2, small_spec({"filters": 64, "batch_norm": True}), *MNIST) == 2
    assert choose_towers("auto", 1, example("overfit"), *MNIST) == 1
    assert choose_towers("auto", 8, example("overfit"), *MNIST) == 8


def test_towers_that_were_asked_for_or_decided_before_stay():
    tiny = small_spec({"filters": 4})
    assert choose_towers(2, 2, tiny, (8, 8, 1), 10) == 2
    assert choose_towers(1, 2, example("overfit"), *MNIST) == 1
