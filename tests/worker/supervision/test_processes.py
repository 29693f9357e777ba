"""Pure decisions of supervision. Whole attempts are tested in tests/e2e."""

import itertools

import pytest

from heldout.lifecycle.job import JobRequest
from worker.machine.enclosed_process import ProcessDied
from worker.supervision.lease import choose_stop
from worker.supervision.processes import _is_secret, hide_folders

ALL = list(itertools.product([None, *JobRequest], [False, True], [False, True]))


@pytest.mark.parametrize(("request_", "stopping", "out_of_time"), ALL)
def test_a_request_of_the_client_has_priority(request_: JobRequest | None, stopping: bool, out_of_time: bool) -> None:
    wanted = choose_stop(request_, stopping=stopping, out_of_time=out_of_time)
    if request_ is not None:
        assert wanted == request_.value
    elif out_of_time:
        assert wanted == "deadline"
    else:
        assert wanted == ("release" if stopping else None)


def test_a_killed_process_is_reported_with_the_signal_and_the_likely_cause() -> None:
    assert "SIGKILL" in str(ProcessDied(-9))
    assert "memory" in str(ProcessDied(-9))
    assert "SIGSEGV" in str(ProcessDied(-11))
    assert "exit status 3" in str(ProcessDied(3))


def test_the_last_lines_of_a_process_show_no_folders_of_the_machine() -> None:
    lines = [
        '  File "/srv/heldout/worker/training/runner.py", line 7, in run',
        "FileNotFoundError: [Errno 2] No such file or directory: '/home/ada/.heldout/datasets/7/images.npy'",
        "loss: 0.5/epoch \x1b[31m",
    ]
    shown = hide_folders(lines)
    assert shown[0] == '  File "…/runner.py", line 7, in run'
    assert shown[1].endswith("'…/images.npy'")
    assert shown[2] == "loss: 0.5/epoch \\x1b[31m"


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "HELDOUT_DATABASE_URL", "REDIS_URL", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"]
)
def test_credentials_are_hidden_from_training_processes(name: str) -> None:
    assert _is_secret(name)


def test_variables_that_training_needs_are_not_hidden() -> None:
    assert not any(map(_is_secret, ["PATH", "HOME", "CUDA_VISIBLE_DEVICES", "TF_CPP_MIN_LOG_LEVEL", "HELDOUT_HOME"]))
