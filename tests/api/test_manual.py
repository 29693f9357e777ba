"""The manual as the API serves it: its files, their policy, and the page that replaces it if nothing was built."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api import manual
from api.http import problems

ROOT = Path(__file__).resolve().parents[2]


def client_of(built: Path) -> TestClient:
    app = FastAPI(redirect_slashes=False)
    manual.install(app, built)
    problems.install(app, [])
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manual of these sources, built strictly: a link that leads nowhere would end the build."""
    folder = tmp_path_factory.mktemp("manual")
    shutil.copytree(ROOT / "docs", folder / "docs")
    (folder / "zensical.toml").write_text((ROOT / "zensical.toml").read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "api" / "static_manual"


@pytest.fixture(scope="module")
def client(built: Path) -> Iterator[TestClient]:
    with client_of(built) as opened:
        yield opened


def test_the_manual_holds_every_page(built: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert {path.relative_to(built).with_suffix("") for path in built.rglob("*.html")} - {Path("404")} == pages
    listed = re.findall(r'"([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8"))
    assert {Path(one).with_suffix("") for one in listed} == pages, "zensical.toml lists the pages in their order"


def test_pages_fetch_nothing_from_elsewhere_and_run_their_own_scripts_alone(client: TestClient, built: Path) -> None:
    assert client.get("/manual").url.path == "/manual/"
    for path in built.rglob("*.html"):
        page = client.get(f"/manual/{path.relative_to(built)}")
        fetched = re.findall(r'<(?:script|img|link)[^>]*?(?:src|href)="([^"]+)"', page.text)
        assert fetched
        assert not [one for one in fetched if re.match(r"\w+:|//", one)]
        policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
        assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
        assert "unsafe" not in policy["script-src"]
        assert policy["script-src"].count("sha256-") == page.text.count("<script>")


def test_search_finds_what_pages_say(client: TestClient) -> None:
    found = client.get("/manual/search.json").json()["items"]
    assert any("gap.html" in one["location"] for one in found)


def test_files_are_known_again_and_nothing_outside_of_them_is_served(client: TestClient) -> None:
    page = client.get("/manual/tutorial/first-job.html", headers={"Accept-Encoding": "gzip"})
    assert page.headers["content-encoding"] == "gzip"
    again = client.get("/manual/tutorial/first-job.html", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path in (
        "/manual/none.html",
        "/manual/../zensical.toml",
        "/manual/%2e%2e/%2e%2e/zensical.toml",
        "/manual//etc/passwd",
    ):
        assert client.get(path).status_code == 404, path


def test_where_nothing_is_built_a_page_says_how_to(tmp_path: Path) -> None:
    client = client_of(tmp_path)
    for path in ("/manual", "/manual/"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "make docs" in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/manual/tutorial/first-job.html").status_code == 404
