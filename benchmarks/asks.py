"""Times `ask` with 50 runners of one study and a thousand requests a minute. `python -m benchmarks.asks [SECONDS]`.

It uses the service of HELDOUT_URL or of its home. A runner that gets a training reports its result at once.
"""

import sys
import threading
from time import monotonic

import httpx2
import numpy as np

from heldout.client.locate import locate
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
                client.post(f"/v1/studies/{study}/runs/{training['run']}/result", files=parts).raise_for_status()
            pause.wait(max(0.0, every_s - (monotonic() - begun)))


def main(seconds: float = 60.0) -> None:
    address = locate()
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
    main(*map(float, sys.argv[1:]))
