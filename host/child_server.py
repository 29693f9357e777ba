"""A server program that runs as a child of this process: what PostgreSQL and the broker have in common.

For `heldout up --stack` and for tests. A server listens on loopback, unless another address is given, with a random
password, keeps its data in the folder that it is given, and ends with its parent.
"""

import fcntl
import os
import secrets
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, ClassVar, Self

from heldout.errors import OperatorError
from heldout.service.parent_process import launched
from host.ports import free_port, is_port_taken
from host.process_table import POLL_S, children_of, holders_of, is_alive, send_signal, wait_until
from host.runtime_folder import make_runtime_folder, remove_runtime_folder, unprivileged_user

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
# Another supervisor may just be ending.
LOCK_TIMEOUT_S = 10.0
# A server whose supervisor was killed has this long to end, then again after it was asked to, and once it is killed.
# PostgreSQL kills those of its processes that do not end after 5 s.
ORPHAN_TIMEOUT_S = 6.0
# Another process may take a free port before the server does.
FREE_PORT_TRIES = 5


class ServerFailed(OperatorError):
    """A server did not start, with the last lines of its log."""

    code, title = "server_failed", "A server did not start"

    def __init__(self, name: str, why: str, log: Sequence[str] = ()) -> None:
        super().__init__("\n".join([f"{name} did not start: {why}", *(f"  {line}" for line in log)]))


class ChildServer(ABC):
    """A server in a folder of its own.

    `start()` returns once it answers; after `stop()` or `kill()` it starts again with the same data, port and password.
    Linux ends the server with the *thread* that started it, so start it from one that lives as long as it should.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    # What it gets when its supervisor has died: it ends at once, and removes what it has outside of its folder.
    orphan_signal: ClassVar[signal.Signals]

    def __init__(self, folder: Path, *, durable: bool = True, host: str = LOOPBACK, port: int | None = None) -> None:
        """
        Args:
            folder: where data, log and password live; made if it is not there.
            durable: whether what was acknowledged outlives a power cut; without, PostgreSQL keeps it as long as the
                machine runs, and Redis as long as the server does.
            host: the address that it listens on; other than loopback, all machines of its network may ask it.
            port: a free one if None.
        """
        self.folder = folder.absolute()
        self.durable = durable
        self._host = host
        self._port = port or 0
        self.password = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._supervision: BinaryIO | None = None
        self._paused: list[int] = []
        self._runtime_folder: Path | None = None
        self._uid, self._gid = unprivileged_user()

    @property
    def port(self) -> int:
        """The port, known once the server has started."""
        return self._port

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it, password included: never log it."""

    @property
    def pid(self) -> int | None:
        """The server's process, or None if it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def runtime_folder(self) -> Path:
        """The folder of its socket, outside of its own folder; it is there while the server runs."""
        assert self._runtime_folder is not None, "the server has not been started"
        return self._runtime_folder

    @property
    @abstractmethod
    def socket_path(self) -> Path:
        """The socket through which this process asks the server, whoever has its port."""

    @property
    def _runtime_link(self) -> Path:
        return self.folder / "runtime"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, and wait until it answers.

        Raises:
            ServerFailed: with the last lines of its log.
        """
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.password = _password_in(self.folder)
        try:
            with self._lock_folder() as lock:
                if self._runtime_folder is None:
                    self._runtime_folder = make_runtime_folder(self._runtime_link)
                    self._hand_over(self._runtime_folder)
                data = self._data_folder("data")
                self._prepare(data, lock)
                self._launch(data, lock)
        except BaseException:
            self.kill()
            raise

    def wait_for_end(self) -> int | None:
        """Wait until the server has ended, by whatever cause; gives its exit status, or None if it did not run."""
        process = self._process
        return None if process is None else process.wait()

    def stop(self) -> None:
        """Ask the server to end, and wait until it has; a server that does not is killed."""
        self.resume()
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._clean_up()

    def kill(self) -> None:
        """End the server and its children at once, as a power cut would."""
        if self._process is not None:
            if self._process.poll() is None:
                # Stopped first, so that it makes no more children while they are counted.
                self._process.send_signal(signal.SIGSTOP)
                family = [self._process.pid, *children_of(self._process.pid)]
                for pid in family:
                    send_signal(pid, signal.SIGKILL)
                self._process.wait()
                wait_until(lambda: not any(map(is_alive, family)), STOP_TIMEOUT_S)
            self._process.wait()
        self._clean_up()

    def pause(self) -> None:
        """Freeze the server: it keeps its connections and answers nothing."""
        if self.pid is not None and not self._paused:
            send_signal(self.pid, signal.SIGSTOP)
            self._paused = [self.pid, *children_of(self.pid)]
            for pid in self._paused:
                send_signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        for pid in reversed(self._paused):
            send_signal(pid, signal.SIGCONT)
        self._paused = []

    @abstractmethod
    def _prepare(self, data: Path, lock: BinaryIO) -> None:
        """Make the data folder's first content, once."""

    @abstractmethod
    def _command(self) -> tuple[list[str], bytes]:
        """The server's program with its arguments, and what it reads from standard input."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server takes commands. May raise OSError."""

    def _launch(self, data: Path, lock: BinaryIO) -> None:
        tries = 1 if self._port else FREE_PORT_TRIES
        for left in reversed(range(tries)):
            self._port = self._port or free_port(self._host)
            log_begins = self.log.stat().st_size if self.log.exists() else 0
            command, standard_input = self._command()
            self._process = self._spawn(command, data, lock, subprocess.PIPE)
            assert self._process.stdin is not None
            with suppress(BrokenPipeError), self._process.stdin as stdin:  # it has ended: its log says why
                stdin.write(standard_input)
            deadline = time.monotonic() + START_TIMEOUT_S
            while self._process.poll() is None:
                with suppress(OSError):
                    if self._answers():
                        return
                if time.monotonic() > deadline:
                    why = f"it does not answer after {START_TIMEOUT_S:g} s."
                    raise ServerFailed(self.name, why, self._log_tail(log_begins))
                time.sleep(POLL_S)
            if not left or not is_port_taken(self._host, self._port):
                why = f"it ended with status {self._process.returncode}."
                raise ServerFailed(self.name, why, self._log_tail(log_begins))
            self._port = 0

    def _spawn(
        self, command: Sequence[str], data: Path, lock: BinaryIO, stdin: int | BinaryIO
    ) -> subprocess.Popen[bytes]:
        """Run a program in the data folder as the unprivileged user; it ends with this process."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                launched(command, self.orphan_signal, (self._uid, self._gid)),
                cwd=data,
                # Nothing of ours: PGDATA, PGPORT and the like would change what the programs do.
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                stdin=stdin,
                stdout=log,
                stderr=log,
                # Held by every process of the server: while one lives, no other server opens the folder.
                pass_fds=[lock.fileno()],
                # The terminal's Ctrl-C is for the supervisor, which then stops its servers in order.
                start_new_session=True,
                umask=0o077,
            )

    def _lock_folder(self) -> BinaryIO:
        """The lock that every process of the server inherits. What is left of a server without a supervisor is ended.

        A supervisor holds a lock of its own, which no child inherits: whoever has that one is the only supervisor, and
        processes that still hold the other one belong to a supervisor that is gone.

        Raises:
            ServerFailed: another supervisor has the folder, or what is left does not end.
        """
        if self._supervision is None:
            self._supervision = self._locked("supervisor", LOCK_TIMEOUT_S)
        if self._supervision is None:
            raise ServerFailed(self.name, f"another server runs in {self.folder}.")
        for number in (self.orphan_signal, signal.SIGKILL, 0):  # 0 only asks which are left
            if lock := self._locked("lock", ORPHAN_TIMEOUT_S):
                return lock
            left = holders_of(self.folder / "lock")
            for pid in left:
                send_signal(pid, number)
        who = ", ".join(map(str, left)) or "unknown"
        why = f"an earlier server in {self.folder} cannot be ended. End its processes ({who}), then start again."
        raise ServerFailed(self.name, why)

    def _locked(self, name: str, timeout_s: float) -> BinaryIO | None:
        """A file of the folder with a lock on it; None if another process keeps the lock."""
        lock = (self.folder / name).open("ab")

        def locked() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if wait_until(locked, timeout_s):
            return lock
        lock.close()
        return None

    def _data_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True, mode=0o700)
        self._hand_over(folder)
        return folder

    def _hand_over(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self._uid, self._gid)

    def _log_tail(self, log_begins: int = 0, lines: int = 12) -> list[str]:
        with self.log.open("rb") as log:
            log.seek(log_begins)
            return log.read().decode(errors="replace").splitlines()[-lines:]

    def _clean_up(self) -> None:
        self._process = None
        self._paused = []
        if self._runtime_folder is not None:
            remove_runtime_folder(self._runtime_folder, self._runtime_link)
            self._runtime_folder = None
        if self._supervision is not None:
            self._supervision.close()
            self._supervision = None


def _password_in(folder: Path) -> str:
    """The folder's password, made with it: 0600."""
    file = folder / "password"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text()
    with os.fdopen(descriptor, "w") as created:
        password = secrets.token_hex(24)
        created.write(password)
    return password
