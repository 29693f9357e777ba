"""The dashboard in a real Chromium: bytes and time to a useful page, frames while jobs train, memory after an hour.

The service has 10,000 ended jobs, one with 1,000 epochs, and 20 that a program trains in place of a worker. It writes
what a worker writes, one epoch of each job per round. `python -m benchmarks.dashboard` needs Chromium and a built
dashboard (`make web`); `python -m benchmarks.dashboard memory` only measures memory.
"""

import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright

from benchmarks.lists import fill
from benchmarks.serving import add_job, prepare, service
from heldout.spec.job import JobSpec
from heldout.words import pluralize
from models.database import Database
from models.specs import read_training_spec
from models.store import claims, events
from models.store.claims import Capacity
from models.tables import JobRow

ENDED, LIVE, EPOCHS = 10_000, 20, 1_000
ROUNDS = 5
LOOK_S = 15.0
# An hour in which each of the live jobs ends an epoch every five seconds.
HOUR_OF_ROUNDS = 720
ANSWERED_WITHIN_S = 30
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
ROWS = "table.jobs tbody tr"
CHART = ".u-over"
# Milliseconds between the frames that the page could draw, until it is asked for them.
COUNT_FRAMES = """() => {
  window.frames_ms = []; window.long_ms = []
  new PerformanceObserver(list => list.getEntries().forEach(one => window.long_ms.push(one.duration)))
    .observe({type: 'longtask'})
  let last = performance.now()
  const next = now => { window.frames_ms.push(now - last); last = now; requestAnimationFrame(next) }
  requestAnimationFrame(next)
}"""


class Trainings:
    """Jobs that are claimed and get epochs as if from a worker."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._epoch: dict[claims.HeldAttempt, int] = {}

    def begin(self) -> str:
        """Claim the next waiting job, and return its id."""
        with self._database.write() as session:
            claimed = claims.claim(session, "bench", Capacity(["auto", "cpu"]), 3600)
            assert claimed is not None
            row = session.get(JobRow, claimed.held.job_id)
            assert row is not None
            spec: JobSpec = read_training_spec(row)
            claims.record_start(session, claimed.held, engine={"device": "cpu"}, spec=spec, start_epoch=0)
        self._epoch[claimed.held] = 0
        return claimed.held.job_id

    def epochs(self, job_ids: list[str], count: int = 1) -> None:
        """Write this many more epochs of these jobs, with their events, in one transaction."""
        with self._database.write() as session:
            for held in [one for one in self._epoch if one.job_id in job_ids]:
                for epoch in range(self._epoch[held] + 1, self._epoch[held] + 1 + count):
                    values = _figures(epoch)
                    claims.record_epoch(session, held, epoch, values)
                    claims.record_progress(session, held, epoch=epoch, eta_s=30.0)
                    said = f"Epoch {epoch}: validation accuracy {values['validation_accuracy']:.4f}."
                    events.add(session, held.job_id, "job.epoch", said, data={"epoch": epoch, **values})
                self._epoch[held] += count


def _figures(epoch: int) -> dict[str, float]:
    """Curves that fall, rise again and are noisy."""
    train, shake = 2.3 / (1 + 0.05 * epoch), 0.02 * (epoch * 7919 % 13 - 6) / 6
    return {
        "train_loss": train,
        "train_accuracy": 1 - train / 2.5,
        "validation_loss": train + 0.0005 * epoch + abs(shake),
        "validation_accuracy": 0.95 - train / 3 + shake,
        "fit_loss": train * 1.1,
        "fit_accuracy": 1 - train / 2.3,
        "learning_rate": 0.001,
        "seconds": 1.0,
        "evaluation_seconds": 0.1,
        "images_per_second": 1000.0,
    }


def main(*, of_memory_alone: bool = False) -> None:
    """Print each figure as soon as it is measured."""
    program = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    if program is None:
        raise SystemExit("This needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        url = f"sqlite:///{folder}/heldout.db"
        database = Database(url)
        key = prepare(database, folder)
        fill(database, ENDED)
        trainings = Trainings(database)
        for _ in range(LIVE + 1 - 5):  # `fill` leaves five that wait
            add_job(database)
        long, *live = [trainings.begin() for _ in range(LIVE + 1)]
        trainings.epochs([long], EPOCHS)
        trainings.epochs(live)
        with service(url, folder) as running, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            visitor = _Visitor(browser, f"http://127.0.0.1:{running.port}", key)
            if not of_memory_alone:
                _first_page(visitor)
                _many_jobs(visitor)
                _long_history(visitor, long)
                _live(visitor, lambda: trainings.epochs(live), "list of 10,000 jobs", "/jobs", ROWS)
                _live(visitor, lambda: trainings.epochs(live), "one job", f"/jobs/{live[0]}", CHART)
            _hour(visitor, lambda: trainings.epochs(live[:1]), "one job", f"/jobs/{live[0]}", CHART, "/metrics", jobs=1)
            _hour(visitor, lambda: trainings.epochs(live), "list of jobs", "/jobs", ROWS, "/v1/jobs?")
            browser.close()
        database.dispose()


class _Visitor:
    """A user who has logged in; each context is a browser with an empty cache."""

    def __init__(self, browser: Browser, url: str, key: str) -> None:
        self._browser, self.url, self._key = browser, url, key

    def context(self) -> BrowserContext:
        context = self._browser.new_context(base_url=self.url, viewport={"width": 1400, "height": 900})
        answer = context.request.post("/v1/session", data={"key": self._key}, headers={"Origin": self.url})
        assert answer.status == 201, answer.text()
        return context


def _first_page(visitor: _Visitor) -> None:
    received, painted, useful, heard = [], [], [], []
    for _ in range(ROUNDS):
        context = visitor.context()
        page = context.new_page()
        network = context.new_cdp_session(page)
        network.send("Network.enable")
        sizes: list[float] = []
        network.on("Network.loadingFinished", lambda done, sizes=sizes: sizes.append(done["encodedDataLength"]))
        page.goto("/jobs")
        page.wait_for_selector(ROWS)
        useful.append(page.evaluate("performance.now()"))
        painted.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        page.wait_for_timeout(300)  # what is still under way is counted too
        received.append(sum(sizes) / 1000)
        heard.append(len(sizes))
        context.close()
    print(
        f"first page: {statistics.median(received):.1f} kB in {statistics.median(heard):.0f} answers, "
        f"first paint {statistics.median(painted):.0f} ms, list of jobs {statistics.median(useful):.0f} ms",
        flush=True,
    )


def _many_jobs(visitor: _Visitor) -> None:
    context = visitor.context()
    page = context.new_page()
    page.goto("/jobs")
    page.wait_for_selector(ROWS)
    called = page.locator(f"{ROWS} .name").first.inner_text()
    for name, path in (
        ("newest", "/jobs"),
        ("by name", "/jobs?sort=name"),
        ("by best value", "/jobs?sort=best"),
        ("by gap", "/jobs?sort=gap"),
        ("running", "/jobs?status=running"),
        ("search", f"/jobs?search={called[:4]}"),
    ):
        took = []
        for _ in range(ROUNDS):
            page.goto(path)
            page.wait_for_selector(ROWS)
            took.append(page.evaluate("performance.now()"))
        print(f"{ENDED:,} jobs, {name}: {statistics.median(took):.0f} ms to the rows", flush=True)
    context.close()


def _long_history(visitor: _Visitor, job_id: str) -> None:
    context = visitor.context()
    page = context.new_page()
    took = []
    for _ in range(ROUNDS):
        page.goto(f"/jobs/{job_id}")
        page.wait_for_selector(CHART)
        took.append(page.evaluate("performance.now()"))
    print(f"{EPOCHS:,} epochs: {statistics.median(took):.0f} ms to the chart", flush=True)
    box = page.locator(CHART).first.bounding_box()
    assert box is not None
    page.evaluate(COUNT_FRAMES)
    for place in range(200):
        page.mouse.move(box["x"] + box["width"] * (place + 0.5) / 200, box["y"] + box["height"] / 2)
    print(f"{EPOCHS:,} epochs, the pointer over the chart: {_frames(page)}", flush=True)
    context.close()


def _live(visitor: _Visitor, step: Callable[[], None], name: str, path: str, ready: str) -> None:
    """Count frames while each live job finishes an epoch per second."""
    context = visitor.context()
    page = context.new_page()
    page.goto(path)
    page.wait_for_selector(ready)
    page.wait_for_timeout(1000)
    over = threading.Event()

    def write() -> None:
        while not over.wait(1.0):
            step()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        page.evaluate(COUNT_FRAMES)
        page.wait_for_timeout(LOOK_S * 1000)
        print(f"{LIVE} live jobs, {name}: {_frames(page)}", flush=True)
    finally:
        over.set()
        writer.join()
    context.close()


def _frames(page: Page) -> str:
    frames = sorted(page.evaluate("window.frames_ms"))
    long = page.evaluate("window.long_ms")
    at = lambda share: frames[min(int(len(frames) * share), len(frames) - 1)]  # noqa: E731
    return (
        f"{len(frames)} frames, median {at(0.5):.1f} ms, 95 % within {at(0.95):.1f} ms, 99 % within {at(0.99):.1f} ms, "
        f"longest {frames[-1]:.0f} ms; {len(long)} tasks over 50 ms"
    )


def _hour(
    visitor: _Visitor, step: Callable[[], None], name: str, path: str, ready: str, asked: str, *, jobs: int = LIVE
) -> None:
    """Measure the page's memory before and after an hour of updates. Its clock is set forward, so it takes less."""
    context = visitor.context()
    page = context.new_page()
    page.clock.install()
    page.goto(path)
    page.wait_for_selector(ready)
    tools = context.new_cdp_session(page)
    _turn(page, step, asked, 20)
    before = _heap_mb(tools)
    began = time.monotonic()
    _turn(page, step, asked, HOUR_OF_ROUNDS)
    print(
        f"an hour of {pluralize(jobs, 'job')}, {name}: {before:.1f} MB of heap before, {_heap_mb(tools):.1f} MB after "
        f"{HOUR_OF_ROUNDS * jobs:,} epochs, played in {time.monotonic() - began:.0f} s",
        flush=True,
    )
    context.close()


def _turn(page: Page, step: Callable[[], None], asked: str, rounds: int) -> None:
    """Repeat: add an epoch to each live job, and let the page ask for news."""
    answers: list[str] = []
    page.on("response", lambda answer: answers.append(answer.url) if asked in answer.url else None)
    for _ in range(rounds):
        answers.clear()
        step()
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        while not answers:
            if time.monotonic() > deadline:
                raise SystemExit(f"The page has not asked for {asked} again.")
            page.clock.run_for(1000)  # it waits that long for more events
            page.wait_for_timeout(20)


def _heap_mb(tools: CDPSession) -> float:
    tools.send("HeapProfiler.collectGarbage")
    used: Any = tools.send("Runtime.getHeapUsage")
    return float(used["usedSize"]) / 1e6


if __name__ == "__main__":
    main(of_memory_alone=sys.argv[1:] == ["memory"])
