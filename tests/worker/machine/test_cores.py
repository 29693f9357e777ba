"""Jobs share the cores of a machine, and the results of a job do not depend on other jobs."""

import os
import subprocess
import sys
from itertools import chain, product

import pytest

from tests.worker.training.trainings import load_example, small_spec
from worker.machine.cores import Cores, divide_cores, find_usable_cores, limit_towers
from worker.training.choices import choose_towers

MNIST = ((28, 28, 1), 10)

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no process")


def test_jobs_are_not_pinned_while_there_are_enough_cores():
    assert divide_cores([0, 1], [2]) == [(0, 1)]
    assert divide_cores([0, 1], [1, 1]) == [(0, 1)] * 2
    assert divide_cores([4, 5, 6, 7], [2, 1, 1]) == [(4, 5, 6, 7)] * 3


def test_a_job_with_two_towers_gives_one_core_to_a_new_job():
    assert divide_cores([0, 1], [2, 1]) == [(0,), (1,)]
    assert divide_cores([0, 1], [2, 2]) == [(0,), (1,)]
    assert divide_cores([0, 1, 2], [2, 2]) == [(0, 2), (1,)]


@pytest.mark.parametrize("count", range(1, 6))
def test_every_job_has_a_core_and_none_is_left_idle_or_overfull(count):
    for demands in chain.from_iterable(product((1, 2), repeat=jobs) for jobs in range(1, 9)):
        jobs, shares = len(demands), divide_cores(range(count), demands)
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


def test_a_job_that_demands_no_core_still_keeps_the_worker_busy():
    cores = Cores()
    with cores.for_job(demand=0):
        assert not cores.are_idle
    assert cores.are_idle


def test_nothing_is_divided_if_the_system_reports_no_cores():
    assert divide_cores([], [2, 1]) == [(), ()]


def test_the_number_of_towers_is_chosen_for_cores_but_not_for_gpus():
    assert limit_towers("auto", "cpu") == "auto"
    assert limit_towers("auto", "gpu") == 1


@pytest.mark.parametrize("requested", [1, 2, 16])
def test_a_requested_number_of_towers_is_kept_on_every_machine(requested):
    assert {limit_towers(requested, device) for device in ("cpu", "gpu")} == {requested}


@linux
@pytest.mark.skipif(len(find_usable_cores()) < 2, reason="needs two cores")
def test_a_running_process_is_pinned_and_unpinned_with_all_its_threads():
    code = "import threading; [threading.Thread(target=input).start() for _ in range(3)]; print(flush=True); input()"
    cores = Cores()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with cores.for_job() as first:
            first.pin_process(process.pid, 2)
            assert count_cores(process.pid) == [len(find_usable_cores())] * 4
            others = [cores.for_job() for _ in find_usable_cores()[1:]]
            for other in others:
                other.__enter__()
            assert count_cores(process.pid) == [1] * 4
            for other in others:
                other.__exit__(None, None, None)
            assert count_cores(process.pid) == [len(find_usable_cores())] * 4
        process.kill()


def count_cores(pid: int) -> list[int]:
    """Return the number of cores that each thread of a process may use."""
    return [len(os.sched_getaffinity(int(task))) for task in os.listdir(f"/proc/{pid}/task")]


def test_several_towers_are_chosen_only_where_they_save_time():
    assert choose_towers("auto", 2, load_example("overfit"), *MNIST) == 2
    assert choose_towers("auto", 2, load_example("augmented"), *MNIST) == 2
    assert choose_towers("auto", 2, small_spec({"filters": 4}), (8, 8, 1), 10) == 1
    assert choose_towers("auto", 2, small_spec({"filters": 64, "batch_norm": True}), *MNIST) == 2
    assert choose_towers("auto", 1, load_example("overfit"), *MNIST) == 1
    assert choose_towers("auto", 8, load_example("overfit"), *MNIST) == 8


def test_a_number_of_towers_that_was_requested_or_decided_before_is_kept():
    tiny = small_spec({"filters": 4})
    assert choose_towers(2, 2, tiny, (8, 8, 1), 10) == 2
    assert choose_towers(1, 2, load_example("overfit"), *MNIST) == 1
