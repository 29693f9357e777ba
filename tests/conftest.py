"""Set-up that all tests share."""

import gc
import io
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import current_process, util
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from models import logs
from tests.order import longest_first

# In a run's temporary directory: files that libraries would write into the home of the person who runs the tests.
CONFIG_FOLDER = "config"

pytest_plugins = ["tests.servers_fixtures"]

# How long an example takes depends on what else the machine does.
settings.register_profile("any-speed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-speed")


def pytest_configure() -> None:
    """Handle these signals, which `nohup` and `&` make Python and the processes that it starts ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    _use_own_temporary_directory()
    os.environ.setdefault("HELDOUT_CHECK_LABELS", "false")  # a search would take the cores of what is tested
    os.environ.setdefault("HELDOUT_PROVE_IDLE_S", "0")
    os.environ.setdefault("HELDOUT_PRETRAINED", "none")  # and so would converting weights


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector from scanning the collected tests, which live until the end of the run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        # As in worker/training/preload.py.
        sys.dont_write_bytecode = True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests so that no processor waits for one long file at the end of a parallel run."""
    items[:] = longest_first(items, config.rootpath)


def _use_own_temporary_directory() -> None:
    """Give this run a temporary directory, so that a test's leftovers can be distinguished from others."""
    usual = tempfile.gettempdir()
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", usual)  # `tmp_path` stays where pytest keeps it for three runs
    own = tempfile.mkdtemp(prefix="ho-", dir=usual)
    os.chmod(own, 0o755)  # servers run as another user where the tests are root
    os.environ["TMPDIR"] = tempfile.tempdir = own
    # Keras and MLflow create settings files if they find none.
    os.environ["KERAS_HOME"] = os.environ["XDG_CONFIG_HOME"] = f"{own}/{CONFIG_FOLDER}"
    # After multiprocessing has removed its own folder (at priority -100), which is inside it.
    util.Finalize(None, shutil.rmtree, args=(own, True), exitpriority=-200)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail the run if a test, or a process that it started, leaves something in the temporary directory."""
    yield
    own = current_process()._config.get("tempdir")  # type: ignore[attr-defined]  # multiprocessing's folder
    there = [path for path in Path(tempfile.gettempdir()).iterdir() if str(path) != own]
    # TensorFlow removes the modules that it generates when the process ends.
    ignored = (CONFIG_FOLDER, "__autograph_generated_file")
    left = [path.name for path in there if not path.name.startswith(ignored)]
    assert not left, f"Tests have left these in the temporary directory: {', '.join(sorted(left))}"


@pytest.fixture(scope="session")
def log_lines() -> io.StringIO:
    """Return the lines that the service logs in this run."""
    stream = io.StringIO()
    logs.configure("DEBUG", stream)
    return stream
