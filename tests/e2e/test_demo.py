"""The demonstration as a user runs it: what it prints, how it ends, and that nothing is left."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.e2e.running import until

ROOT = Path(__file__).resolve().parent.parent.parent
# Epochs and parameters of each job.
JOBS = {
    "overfit": (10, "93,962"),
    "regularized": (10, "34,826"),
    "augmented": (20, "27,210"),
    "memorizing": (40, "347,690"),
}
EPOCH = re.compile(r"(\w+) +epoch +(\d+)/\d+  train \S+  validation \S+  loss \d+\.\d{3}/\d+\.\d{3}  \d+\.\d s")
ROW = re.compile(r"(\w+) +(\d[\d,]+) +(\d+\.\d)% +(\d+\.\d)% +(\d+\.\d)%  (.+)")
ARM = re.compile(r"(\w[\w +]+?)  +(?:finished|dropped) .+")
LINES_AT_THE_END = 9

# The whole demonstration takes more than two minutes on two cores, and several times that on a busy machine.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def temporary():
    """A folder for temporary files, whose path is short enough for the service's sockets."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def start(temporary):
    """Starts the demonstration in its own process group, with an environment that would mislead it."""
    environment = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(temporary),
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "TERM": "dumb",
        "COLUMNS": "20",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        "HELDOUT_URL": "http://127.0.0.1:9",
        "HELDOUT_HOME": "/nonexistent",
        "HELDOUT_LEASE_S": "never",
        "PORT": "80",
    }
    processes = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def left_by(folder):
    """List the files in the temporary folder, and the processes whose environment names it."""
    processes = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if os.fsencode(folder) in environment.read_bytes():
                processes.append(environment.parent.name)
        except OSError:
            continue
    return [*folder.iterdir(), *processes]


@pytest.mark.proof  # `.ci/run` runs the demonstration itself
def test_trainings_are_compared_one_is_cured_and_nothing_is_left(start, temporary):
    process = start()
    first = process.stdout.readline()
    assert str(temporary) in first  # so that leftovers would be found there
    out, err = process.communicate(timeout=1700)
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    epochs = [match.groups() for match in map(EPOCH.fullmatch, lines) if match]
    rows = [match.groups() for match in map(ROW.fullmatch, lines) if match]
    assert [(name, parameters) for name, parameters, *_ in rows] == [(name, last) for name, (_, last) in JOBS.items()]
    for name, (count, _) in JOBS.items():
        assert [epoch for job, epoch in epochs if job == name] == [str(number) for number in range(1, count + 1)]
    verdicts = {row[0]: row[-1] for row in rows}
    # How far the augmented network gets depends on the processor, which decides the last bits.
    assert verdicts["augmented"] in {"underfitting", "ended too early"}
    assert verdicts["memorizing"] == "too little data"
    assert "The network memorized its 200 training images." in out
    end = lines[-LINES_AT_THE_END:]
    assert end[0] == ""
    assert re.match(r"(Dropout \+ a|A)ugmentation helps\. ", end[1])
    assert re.match(r"On the 1,000 test images, which had no part in any choice, accuracy rises by \d", end[2])
    arms = [match[1] for match in map(ARM.fullmatch, end) if match]
    assert arms == ["base", "augmentation", "dropout", "dropout + augmentation"]
    report = Path(end[-1].rpartition(" ")[2])
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    until(lambda: left_by(temporary) == [], "the end of everything that it started", within_s=60)


@pytest.mark.proof  # of a service alone, this is tested in every run, by test_supervision.py
def test_ctrl_c_in_the_middle_of_a_training_ends_it_all(start, temporary):
    process = start()
    for line in process.stdout:
        if EPOCH.fullmatch(line.rstrip("\n")):
            break
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=240)
    assert (process.returncode, err.split()) == (130, ["Interrupted:", "ending", "the", "service", "…"])
    until(lambda: left_by(temporary) == [], "the end of everything that it started", within_s=60)


@pytest.mark.proof
def test_repeated_ctrl_c_while_it_starts_only_hurries_it(start, temporary):
    process = start()
    process.stdout.readline()
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < 60:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Traceback" not in err
    until(lambda: left_by(temporary) == [], "the end of everything that it started", within_s=60)
