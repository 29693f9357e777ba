"""A pool of processes returns results in the order of the tasks, names a fatal file, and leaves nothing running."""

import os
import signal
import time
from pathlib import Path

import pytest

from heldout.lifecycle.resources import RejectionCode
from worker.ingest.pool import ProcessPool, mark
from worker.ingest.rejection import Rejection


def square(number: int) -> int:
    if number < 0:
        raise Rejection(RejectionCode.BAD_LABELS, f"{number} is negative.", str(number))
    return number * number


def die_at_harmful(task: list[str]) -> None:
    for part, name in enumerate(task):
        mark(part)
        if name == "harmful":
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_the_order_of_the_tasks(count):
    with ProcessPool(count) as pool:
        assert list(pool.map(square, range(50), names=lambda task: [str(task)])) == [n * n for n in range(50)]


@pytest.mark.parametrize("count", [1, 3])
def test_the_first_failure_in_the_order_of_the_tasks_is_reported(count):
    with ProcessPool(count) as pool:
        for _ in range(3):
            done = []
            with pytest.raises(Rejection) as caught:
                done.extend(pool.map(square, [1, 2, 3, -4, -5, -6, 7], names=lambda task: [str(task)]))
            assert caught.value.member == "-4"
        assert list(pool.map(square, [2], names=lambda task: [str(task)])) == [4]


def fail_first(task: tuple[Path, int]) -> None:
    folder, number = task
    (folder / f"{number} begun").touch()
    if number == 0:
        raise Rejection(RejectionCode.BAD_LABELS, "The first task fails.")
    time.sleep(0.3)  # the other tasks take time
    (folder / f"{number} ended").touch()


def test_no_task_is_running_once_a_failure_is_reported(tmp_path):
    with ProcessPool(2) as pool:
        with pytest.raises(Rejection, match="first task"):
            list(pool.map(fail_first, [(tmp_path, number) for number in range(9)], names=lambda task: ["x"]))
        names = sorted(path.name for path in tmp_path.iterdir())
        begun = {name.split()[0] for name in names if name.endswith("begun")}
        assert {name.split()[0] for name in names if name.endswith("ended")} == begun - {"0"}
        assert len(begun) < 9


def die_once(folder: Path) -> int:
    if not (folder / "was here").exists():
        (folder / "was here").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


def test_the_file_is_not_blamed_if_a_helper_is_killed_from_outside(tmp_path):
    with ProcessPool(2) as pool, pytest.raises(Rejection) as caught:
        list(pool.map(die_once, [tmp_path], names=lambda task: ["harmless"]))
    assert (caught.value.code, caught.value.member) == (RejectionCode.CRASHED, None)
    assert caught.value.is_retryable


def test_a_helper_that_dies_names_its_part_of_the_task():
    tasks = [["a", "b"], ["c", "harmful", "d"], ["e"]]
    with ProcessPool(2) as pool, pytest.raises(Rejection) as caught:
        list(pool.map(die_at_harmful, tasks, names=lambda task: task))
    assert (caught.value.code, caught.value.member) == ("crashed", "harmful")
