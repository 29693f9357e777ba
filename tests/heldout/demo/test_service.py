"""The demonstration's care for what it starts: signals, folders and processes. Each test is a process of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.heldout.served import ROOT, bare_environment


@pytest.fixture
def temporary():
    """A folder for temporary files with a path so short that the service's sockets fit below it."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def run(tmp_path, temporary):
    """Runs Python code with a temporary folder of its own; gives the ended process."""

    def run(code, **changes):
        environment = bare_environment(tmp_path) | {"TMPDIR": str(temporary)} | changes
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


INTERRUPTS = """
import os, signal
from heldout.demo.interrupts import Interrupted, Interrupts
interrupts = Interrupts()
def ctrl_c(): os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_signal_outside_a_stretch_that_allows_it_waits_for_one(run):
    code = """
ctrl_c()
print("made")
try:
    with interrupts.allowed():
        print("never")
except Interrupted:
    print("interrupted")
"""
    assert run(INTERRUPTS + code).stdout.split() == ["made", "interrupted"]


def test_only_the_first_signal_interrupts_and_cleaning_up_is_left_alone(run):
    code = """
try:
    with interrupts.allowed():
        ctrl_c()
        print("never")
except Interrupted:
    ctrl_c()
    print("cleaned")
print(interrupts.signals)
ctrl_c()
raise SystemExit(interrupts.close(0))
"""
    result = run(INTERRUPTS + code)
    assert result.stdout.splitlines() == ["cleaned", "[2, 2]"]
    assert (result.returncode, result.stderr) == (130, "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_status_is_that_of_the_signal(run, number, status):
    code = f"os.kill(os.getpid(), {int(number)})\nraise SystemExit(interrupts.close(0))"
    assert run(INTERRUPTS + code).returncode == status


def test_without_a_signal_the_status_is_the_given_one(run):
    assert run(INTERRUPTS + "raise SystemExit(interrupts.close(0))").returncode == 0


SERVICE = """
import os, subprocess, sys, time
from pathlib import Path
from heldout.demo import service as room
service = room.TemporaryService()
assert len(os.environ["TMPDIR"]) > room.LONGEST_FOLDER or str(service.folder).startswith(os.environ["TMPDIR"])
"""


def test_a_service_that_does_not_start_shows_its_log_and_leaves_nothing(run, tmp_path, temporary):
    broken = tmp_path / "broken" / "api"
    broken.mkdir(parents=True)
    (broken / "__init__.py").touch()
    (broken / "__main__.py").write_text("raise SystemExit('heldout: cannot be carried out')")
    code = f"""
room.ROOT = Path({str(broken.parent)!r})
service.start()
try:
    service.wait_until_ready()
except room.ServiceFailed as failure:
    print(failure)
service.stop(hurry=lambda: False)
"""
    result = run(SERVICE + code)
    assert "The service ended with status 1" in result.stdout
    assert "service.log: heldout: cannot be carried out" in result.stdout
    assert list(temporary.iterdir()) == []


def test_a_service_that_hangs_is_given_up_and_killed(run, temporary):
    code = """
room.STARTS_WITHIN_S = 0.2
service.start()
os.kill(service._process.pid, 19)  # SIGSTOP
try:
    service.wait_until_ready()
except room.ServiceFailed as failure:
    print(failure)
room.ENDS_WITHIN_S = 0.2
service.stop(hurry=lambda: False)
print(service._process.returncode)
"""
    result = run(SERVICE + code)
    assert "was not ready within" in result.stdout
    assert result.stdout.splitlines()[-1] == "-9"
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_what_the_service_left_behind_is_ended_and_nothing_else(run, temporary):
    code = """
mine = subprocess.Popen(["sleep", "60"])
service._process = subprocess.Popen(
    ["sh", "-c", "trap '' TERM; setsid sh -c 'trap \\"\\" TERM; sleep 60' & sleep 0.3"],
    env=service._environment(), start_new_session=True,
)
while not any(pid != service._process.pid for pid in room.processes_of(service.folder)):
    time.sleep(0.01)
service.stop(hurry=lambda: True)
print(room.processes_of(service.folder), mine.poll())
mine.kill()
"""
    result = run(SERVICE + code)
    assert (result.stdout, result.stderr) == ("[] None\n", "")
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl")
def test_the_service_ends_with_a_demonstration_that_is_killed(run):
    code = """
service.start()
print(service._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    result = run(SERVICE + code)
    pid = int(result.stdout)
    assert result.returncode == -9
    for _ in range(200):
        if not is_running(pid):
            return
        os.sched_yield()
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError("it still runs")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_client_s_install_says_that_a_checkout_is_needed(run, tmp_path, temporary):
    shutil.copytree(ROOT / "heldout", tmp_path / "installed" / "heldout")
    code = "import runpy; runpy.run_module('heldout.demo', run_name='__main__')"
    result = run(code, PYTHONPATH=str(tmp_path / "installed"))
    assert (result.returncode, result.stdout) == (2, "")
    assert "checkout" in result.stderr
    assert list(temporary.iterdir()) == []


def test_nothing_of_the_caller_s_settings_reaches_the_service(run):
    code = """
environment = service._environment()
print(sorted(name for name in environment if name.startswith("HELDOUT") or name in {"DATABASE_URL", "PORT"}))
print(all(environment[name].startswith(str(service.folder)) for name in ("HOME", "KERAS_HOME", "TMPDIR")))
service.stop(hurry=lambda: True)
"""
    result = run(SERVICE + code, HELDOUT_LEASE_S="x", HELDOUT_URL="x", DATABASE_URL="x", PORT="x")
    assert result.stdout.splitlines() == ["['HELDOUT_DATASETS']", "True"]


def test_a_long_temporary_path_is_not_used_for_sockets(run, tmp_path):
    long = tmp_path / ("long" * 20)
    long.mkdir()
    result = run(SERVICE + "print(service.folder)\nservice.stop(hurry=lambda: True)", TMPDIR=str(long))
    assert str(long) not in result.stdout
    assert not Path(result.stdout.strip()).exists()
