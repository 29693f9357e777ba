"""The process for predictions of `heldout up`: started by the first request for one, and ended when nobody asks.

The socket is held here, so that a connection that comes while no process runs waits for the next one.
"""

import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from heldout.service.parent_process import launched
from heldout.service.settings import Settings
from host.workers import ROOT, environment_of

log = structlog.get_logger("heldout.up")

BACKLOG = 128
STOP_TIMEOUT_S = 10
RESTART_PAUSE_S = 1.0
MAX_RESTART_PAUSE_S = 30.0
# A process that has run for so long does not die of its start.
HEALTHY_S = 60.0


class PredictionsOnDemand:
    """A context in which a process for predictions runs whenever somebody asks. `url` is where it is asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(BACKLOG)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._stop_asked, self._stop_asks = socket.socketpair()
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="keeper of predictions", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._starting:
            self._stopping.set()
        self._stop_asks.send(b"stop")
        if self._process is not None:
            self._process.terminate()
        self._thread.join(STOP_TIMEOUT_S)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for one in (self._listener, self._stop_asked, self._stop_asks):
            one.close()

    def _keep(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            select.select([self._listener, self._stop_asked], [], [])
            began = time.monotonic()
            try:
                process = self._start()
            except OSError as error:  # no room on the disk, no free file or memory at the moment
                log.error("predictions_not_started", error=str(error))
                ended_well = False
            else:
                if process is None:
                    return
                ended_well = self._ends_well(process)
            if ended_well or time.monotonic() - began > HEALTHY_S:
                failures = 0
            if not ended_well and not self._stopping.is_set():
                if failures:
                    self._send_away_who_waits()
                self._stopping.wait(min(RESTART_PAUSE_S * 2**failures, MAX_RESTART_PAUSE_S))
                failures += 1

    def _ends_well(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for the process; whether it ended by its own will."""
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
        if process.returncode and not self._stopping.is_set():
            log.error("predictions_died", exit_code=process.returncode)
        return process.returncode == 0

    def _send_away_who_waits(self) -> None:
        """Close the connections that no process has taken: they would wait in vain, and each have one started."""
        with suppress(OSError):
            while select.select([self._listener], [], [], 0)[0]:
                self._listener.accept()[0].close()

    def _start(self) -> subprocess.Popen[bytes] | None:
        descriptor, idle_s = str(self._listener.fileno()), str(self._settings.predict_idle_s)
        output = self._settings.home_path / "logs" / "predict.log"
        with self._starting, output.open("ab") as file:
            if self._stopping.is_set():
                return None
            self._process = subprocess.Popen(
                launched([sys.executable, "-m", "predict", "--fd", descriptor, "--idle", idle_s]),
                pass_fds=[self._listener.fileno()],
                # Its standard input ends with this process too: where there is no Linux, it stops by that.
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=environment_of(self._settings) | {"HELDOUT_PREDICT_PROCESSES": "1"},
                cwd=ROOT,
                start_new_session=True,
            )
            return self._process
