"""The dashboard in a real Chromium: bytes and first paint, frames while 20 jobs go on, heap after an hour."""

import shutil
import subprocess
import tempfile
import threading
import time
from statistics import median
from typing import Any

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright

from benchmarks.serving import ROOT, add_job, prepare, service
from heldout.spec import JobSpec
from models.database import Database
from models.store import claims
from models.tables import JobRow

JOBS, EPOCHS_BEFORE = 20, 300
LOADS, FRAME_SECONDS = 5, 20
# An event a second; the page asks again after each.
UPDATES_OF_AN_HOUR = 3600
LEASE_S = 3600
ENGINE = {"device": "cpu", "threads": 1, "towers": 1, "precision": "float32"}
# An event source that the benchmark drives: an hour passes in a minute, and the answers stay the service's.
DRIVEN = """
window.sources = []
window.EventSource = class {
  constructor() { this.heard = new Map(); window.sources.push(this); setTimeout(() => this.onopen?.(), 0) }
  addEventListener(type, listener) { this.heard.set(type, listener) }
  close() {}
}
window.say = (id) => window.sources.at(-1).heard.get('job.epoch')({ data: JSON.stringify(
  { id: 1, type: 'job.epoch', level: 'info', message: '', subject: { object: 'job', id }, data: {} }) })
"""
FRAMES = """seconds => new Promise(resolve => {
  const frames = []; let before = performance.now(); const begun = before
  const step = now => { frames.push(now - before); before = now
    now - begun < 1000 * seconds ? requestAnimationFrame(step) : resolve(frames.slice(1)) }
  requestAnimationFrame(step)
})"""
ENCODED = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter(one => !new URL(one.name).pathname.startsWith('/v1')).reduce((sum, one) => sum + one.encodedBodySize, 0)"""


def main() -> None:
    """Print each figure in a line."""
    subprocess.run([ROOT / "scripts/web", "build"], check=True, cwd=ROOT)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("There is no Chromium: apt-get install chromium.")
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        url = f"sqlite:///{folder}/db"
        database = Database(url)
        key = prepare(database, folder)
        running = [_running(database) for _ in range(JOBS)]
        with service(url, folder) as serving, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            address = f"http://127.0.0.1:{serving.port}"
            _first_paint(browser, address, key)
            _frames(browser, address, key, database, running)
            _heap(browser, address, key, "the list", "/jobs", running[0].job_id)
            _heap(browser, address, key, "one job", f"/jobs/{running[0].job_id}", running[0].job_id)
            browser.close()
        database.dispose()


def _running(database: Database) -> claims.HeldAttempt:
    """A job that runs and has some epochs behind it."""
    add_job(database)
    with database.write() as session:
        claimed = claims.claim(session, "bench", ["auto", "cpu"], LEASE_S)
        assert claimed is not None
        held = claimed.held
        row = session.get_one(JobRow, held.job_id)
        claims.record_start(session, held, engine=ENGINE, spec=JobSpec.model_validate(row.spec), start_epoch=0)
        for epoch in range(1, EPOCHS_BEFORE + 1):
            _epoch(session, held, epoch)
    return held


def _epoch(session: Any, held: claims.HeldAttempt, epoch: int) -> None:
    figures = {"train_loss": 1 / epoch, "validation_loss": 0.5 + 1 / epoch, "seconds": 1.0}
    accuracies = {"train_accuracy": 1 - 0.5 / epoch, "validation_accuracy": 0.8 - 0.3 / epoch}
    claims.record_epoch(session, held, epoch, figures | accuracies)
    claims.record_progress(session, held, epoch=epoch, eta_s=60.0)


def _opened(browser: Browser, address: str, key: str, path: str, *, script: str = "") -> tuple[BrowserContext, Page]:
    context = browser.new_context(base_url=address, viewport={"width": 1400, "height": 900})
    answer = context.request.post("/v1/session", data={"key": key}, headers={"Origin": address})
    assert answer.ok, answer.text()
    if script:
        context.add_init_script(script)
    page = context.new_page()
    if script:
        page.clock.install()
    page.goto(path)
    return context, page


def _first_paint(browser: Browser, address: str, key: str) -> None:
    seconds, size = [], 0
    for _ in range(LOADS):
        context, page = _opened(browser, address, key, "/jobs")
        page.wait_for_selector("td.name")
        seconds.append(page.evaluate("performance.now()"))
        size = page.evaluate(ENCODED)
        context.close()
    print(f"first page: {size:,} bytes packed; the first row after {median(seconds):.0f} ms", flush=True)


def _frames(browser: Browser, address: str, key: str, database: Database, running: list[claims.HeldAttempt]) -> None:
    """Each job ends an epoch a second, as the list watches."""
    done = threading.Event()

    def train() -> None:
        for epoch in range(EPOCHS_BEFORE + 1, EPOCHS_BEFORE + 10 * FRAME_SECONDS):
            began = time.monotonic()
            for held in running:
                with database.write() as session:
                    _epoch(session, held, epoch)
            if done.wait(max(0.0, 1 - (time.monotonic() - began))):
                return

    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        context, page = _opened(browser, address, key, "/jobs")
        page.wait_for_selector("td.name")
        frames = sorted(page.evaluate(FRAMES, FRAME_SECONDS))
        context.close()
    finally:
        done.set()
        trainer.join()
    print(
        f"{JOBS} live jobs: frames of {median(frames):.1f} ms, 99 % within {frames[int(0.99 * len(frames))]:.0f} ms, "
        f"longest {frames[-1]:.0f} ms, of {len(frames)}",
        flush=True,
    )


def _heap(browser: Browser, address: str, key: str, what: str, path: str, job_id: str) -> None:
    context, page = _opened(browser, address, key, path, script=DRIVEN)
    page.wait_for_selector("h1")
    session = context.new_cdp_session(page)
    sizes = []
    for count in (UPDATES_OF_AN_HOUR // 60, UPDATES_OF_AN_HOUR):
        for _ in range(count):
            page.evaluate("id => window.say(id)", job_id)
            with page.expect_response(lambda answer: "/v1/jobs" in answer.url):
                page.clock.run_for(1000)
        sizes.append(_used(session))
    context.close()
    print(f"heap of {what}: {sizes[0]:.1f} MB after a minute, {sizes[1]:.1f} MB after an hour of updates", flush=True)


def _used(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


if __name__ == "__main__":
    main()
