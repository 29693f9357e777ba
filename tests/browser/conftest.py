"""A real Chromium at a real service, whose dashboard was built from these sources."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from heldout.client.client import Client
from tests.e2e.running import ROOT, Service

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 60_000
# Messages of the browser itself about responses that pages expect.
EXPECTED = re.compile(r"the server responded with a status of (401|404|409|422)|ERR_INTERNET_DISCONNECTED|ERR_FAILED")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a dashboard and the manual."""
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], check=True, cwd=ROOT, capture_output=True)
    subprocess.run([ROOT / "scripts/web", "build"], check=True, cwd=ROOT)
    running = Service(tmp_path_factory.mktemp("browser") / "home").start()
    yield running
    running.close()


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[Client]:
    with service.client() as opened:
        yield opened


@pytest.fixture(scope="session")
def ended(client: Client) -> str:
    """The id of a job that has memorized its images, so that its page shows every part."""
    spec = json.loads((ROOT / "examples/overfit.json").read_text())
    spec["training"] |= {"train_limit": 400, "epochs": 12}
    submitted, ended = client.jobs.create(spec), None
    while ended is None or not ended.has_ended:
        ended = client.jobs.poll(submitted.id)
    assert ended.status == "succeeded"
    return ended.id


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    assert program, "The browser tests need Chromium: apt-get install chromium"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # Root in a container has no sandbox. Only this service's own pages are opened.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, service: Service) -> Iterator[Callable[..., Page]]:
    """Open pages, each in its own browser. Requests to other hosts and errors on the console fail the test."""
    contexts: list[BrowserContext] = []
    elsewhere: list[str] = []
    complaints: list[str] = []

    def note_request(request: Request) -> None:
        if not request.url.startswith((f"{service.url}/", "blob:", "data:")):
            elsewhere.append(request.url)

    def make(path: str = "/jobs", *, log_in: bool = True, width: int = 1400, colours: str = "light") -> Page:
        context = chromium.new_context(
            base_url=service.url,
            viewport={"width": width, "height": 900},
            color_scheme=colours,  # type: ignore[arg-type]  # one of its literals
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        if log_in:
            key = (service.home / "api-key").read_text().strip()
            answer = context.request.post("/v1/session", data={"key": key}, headers={"Origin": service.url})
            assert answer.status == 201
        page = context.new_page()
        page.on("request", note_request)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda entry: (
                complaints.append(entry.text) if entry.type == "error" and not EXPECTED.search(entry.text) else None
            ),
        )
        page.goto(path)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not elsewhere, "a page sent a request to another host"
    assert not complaints


@pytest.fixture(scope="session")
def pictures() -> Path | None:
    """The folder for pictures of pages, or None if no one asked for them."""
    folder = os.environ.get("HELDOUT_PICTURES")
    if folder is None:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)
