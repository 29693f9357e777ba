"""A real S3-protocol server (moto's) in its own process, which a test may freeze, stop and start again."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from tests.e2e.running import until

# The kernel kills the server when the test run ends, however it ends.
SERVE = """
import ctypes, logging, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
host, port, descriptor = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
app = DomainDispatcherApplication(create_backend_app)
make_server(host, port, app, threaded=True, request_handler=MotoRequestHandler, fd=descriptor).serve_forever()
"""


class S3Server:
    """Listens in the network of the thread that starts it. Stopping it loses its content."""

    def __init__(self, log: Path, host: str = "127.0.0.1") -> None:
        self._log = log
        self._host = host
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which S3 clients, including ours, find it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_REGION": "us-east-1",
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it empty, at its previous address if it had one. Returns once it answers."""
        with socket.socket() as listening, self._log.open("ab") as log:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self._host, self._port))
            listening.listen(128)
            self._port = int(listening.getsockname()[1])
            descriptor = listening.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVE, self._host, str(self._port), str(descriptor)],
                # Keys and Python settings of the person who runs the tests must not reach it.
                env={"PATH": os.defpath, "HOME": str(self._log.parent)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[descriptor],
                start_new_session=True,
            )
        until(self._answers, "the S3 server's first answer", 60)

    def stop(self) -> None:
        if self._process is None:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Freeze it: it accepts connections but answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def bucket(self) -> str:
        """The URL of a new bucket's folder, as in HELDOUT_BLOBS."""
        name = f"test-{secrets.token_hex(6)}"
        httpx2.put(f"{self.url}/{name}", trust_env=False).raise_for_status()
        return f"s3://{name}/some/prefix"

    def keys(self, url: str) -> list[str]:
        """The first thousand keys in the bucket of that URL."""
        listed = httpx2.get(f"{self.url}/{url.split('/')[2]}?list-type=2", trust_env=False)
        return re.findall("<Key>(.*?)</Key>", listed.raise_for_status().text)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with suppress(httpx2.TransportError):
            return httpx2.get(f"{self.url}/moto-api/data.json", timeout=5, trust_env=False).status_code == 200
        return False
