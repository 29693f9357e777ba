"""Times `ask` with 50 runners of one study and a thousand requests a minute.

`python -m benchmarks.asks [SECONDS]` starts a service on SQLite, and with `--postgres` an API on PostgreSQL. With
`--running` it uses the service of HELDOUT_URL or of its home. A runner that gets a training reports its result at once.
"""

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from time import monotonic

import httpx2
import numpy as np

from heldout.cli.running.embedded import run_service
from heldout.client.locate import ServiceAddress, locate
from tests.e2e.external_runner import make_answers

RUNNERS, ASKS_A_MINUTE, SEEDS = 50, 1000, 20


def run(url: str, headers: dict[str, str], study: str, number: int, ends_at: float, found: list[float]) -> None:
    """Ask every few seconds, at this runner's own pace."""
    every_s = 60 * RUNNERS / ASKS_A_MINUTE
    pause = threading.Event()
    with httpx2.Client(base_url=url, headers=headers, timeout=60) as client:
        pause.wait(every_s * number / RUNNERS)
        while monotonic() < ends_at:
            begun = monotonic()
            asked = (
                client.post(f"/v1/studies/{study}/ask", json={"runner": f"runner-{number}"}).raise_for_status().json()
            )
            found.append(monotonic() - begun)
            if (training := asked["run"]) is not None:
                parts = {
                    "token": (None, training["token"]),
                    "file": ("answers.npz", make_answers(training["arm"], training["seed"])),
                }
                path = f"/v1/studies/{study}/runs/{training['run']}/result"
                while (response := client.post(path, files=parts)).status_code == 429:  # as clients repeat it
                    pause.wait(float(response.headers["Retry-After"]))
                response.raise_for_status()
            pause.wait(max(0.0, every_s - (monotonic() - begun)))


@contextmanager
def serve_on_postgres() -> Iterator[ServiceAddress]:
    """An API with PostgreSQL for the block."""
    from tests.e2e.stack import stack_on
    from tests.servers import PostgresServer, RedisServer

    with (
        tempfile.TemporaryDirectory(prefix="heldout-asks-") as folder,
        PostgresServer() as postgres,
        RedisServer() as broker,
        stack_on(Path(folder), postgres, broker) as running,
    ):
        running.start_api()
        yield ServiceAddress(running.url, running.key)


@contextmanager
def serve_on_sqlite() -> Iterator[ServiceAddress]:
    """A service without a worker, in a folder of its own, for the block."""
    with tempfile.TemporaryDirectory(prefix="heldout-asks-") as name:
        folder = Path(name)
        with run_service(folder / "heldout.db", folder):
            yield locate(folder / ".service")


SERVICES: dict[str, Callable[[], AbstractContextManager[ServiceAddress]]] = {
    "--postgres": serve_on_postgres,
    "--running": lambda: nullcontext(locate()),
}


def main(arguments: list[str]) -> None:
    """Print the median and the 99th percentile of the time that an ask takes."""
    seconds = next((float(text) for text in arguments if text not in SERVICES), 60.0)
    with next((SERVICES[text] for text in arguments if text in SERVICES), serve_on_sqlite)() as address:
        measure(address, seconds)


def measure(address: ServiceAddress, seconds: float) -> None:
    headers = {"Authorization": f"Bearer {address.api_key}"}
    arms = [{"name": name} for name in ("base", *(f"arm{number}" for number in range(20)))]
    order = {"kind": "external", "arms": arms, "seeds": SEEDS}
    study = (
        httpx2.post(f"{address.url}/v1/studies", json=order, headers=headers, timeout=60)
        .raise_for_status()
        .json()["id"]
    )
    found: list[float] = []
    ends_at = monotonic() + seconds
    threads = [
        threading.Thread(target=run, args=(address.url, headers, study, number, ends_at, found))
        for number in range(RUNNERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    middle, late = (1000 * float(np.quantile(found, share)) for share in (0.5, 0.99))
    print(f"{len(found)} asks in {seconds:g} s: median {middle:.0f} ms, p99 {late:.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
