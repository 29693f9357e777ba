"""Processes of a pool answer in the tasks' order, name the file that ends one, and leave nothing running."""

import os
import signal
import time
from pathlib import Path

import pytest

from heldout.lifecycle.resources import RejectionCode
from worker.ingest.pool import ProcessPool, mark
from worker.ingest.rejection import Rejection


def squared(number: int) -> int:
    if number < 0:
        raise Rejection(RejectionCode.BAD_LABELS, f"{number} is negative.", str(number))
    return number * number


def dying(task: list[str]) -> None:
    for part, name in enumerate(task):
        mark(part)
        if name == "harmful":
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_the_order_of_the_tasks(count):
    with ProcessPool(count) as pool:
        assert list(pool.map(squared, range(50), names=lambda task: [str(task)])) == [n * n for n in range(50)]


@pytest.mark.parametrize("count", [1, 3])
def test_the_first_failure_in_the_order_of_the_tasks_is_the_one_that_is_reported(count):
    with ProcessPool(count) as pool:
        for _ in range(10):
            done = []
            with pytest.raises(Rejection) as caught:
                done.extend(pool.map(squared, [1, 2, 3, -4, -5, -6, 7], names=lambda task: [str(task)]))
            assert caught.value.member == "-4"
        assert list(pool.map(squared, [2], names=lambda task: [str(task)])) == [4]


def failing_first(task: tuple[Path, int]) -> None:
    folder, number = task
    (folder / f"{number} begun").touch()
    if number == 0:
        raise Rejection(RejectionCode.BAD_LABELS, "The first one fails.")
    time.sleep(0.3)  # the work of the others
    (folder / f"{number} ended").touch()


def test_no_task_runs_any_more_once_a_failure_is_reported(tmp_path):
    with ProcessPool(2) as pool:
        with pytest.raises(Rejection, match="first one"):
            list(pool.map(failing_first, [(tmp_path, number) for number in range(9)], names=lambda task: ["x"]))
        names = sorted(path.name for path in tmp_path.iterdir())
        begun = {name.split()[0] for name in names if name.endswith("begun")}
        assert {name.split()[0] for name in names if name.endswith("ended")} == begun - {"0"}
        assert len(begun) < 9


def ended_once(folder: Path) -> int:
    if not (folder / "was here").exists():
        (folder / "was here").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


def test_a_helper_that_is_ended_from_outside_is_no_fault_of_its_file(tmp_path):
    with ProcessPool(2) as pool, pytest.raises(Rejection) as caught:
        list(pool.map(ended_once, [tmp_path], names=lambda task: ["harmless"]))
    assert (caught.value.code, caught.value.member) == (RejectionCode.CRASHED, None)
    assert caught.value.is_retryable


def test_a_helper_that_dies_names_the_part_of_its_task():
    tasks = [["a", "b"], ["c", "harmful", "d"], ["e"]]
    with ProcessPool(2) as pool, pytest.raises(Rejection) as caught:
        list(pool.map(dying, tasks, names=lambda task: task))
    assert (caught.value.code, caught.value.member) == ("crashed", "harmful")
