"""The API serves the manual with a strict policy, or a page that says how to build it."""

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


def make_client(built: Path) -> TestClient:
    app = FastAPI(redirect_slashes=False)
    manual.install(app, built)
    problems.install(app, [])
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the manual strictly, so that a broken link fails the build."""
    folder = tmp_path_factory.mktemp("manual")
    shutil.copytree(ROOT / "docs", folder / "docs")
    (folder / "zensical.toml").write_text((ROOT / "zensical.toml").read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, str(ROOT / "scripts" / "manual.py")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "api" / "static_manual"


@pytest.fixture(scope="module")
def client(built: Path) -> Iterator[TestClient]:
    with make_client(built) as opened:
        yield opened


def test_the_manual_has_every_page(built: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert {path.relative_to(built).with_suffix("") for path in built.rglob("*.html")} - {Path("404")} == pages
    listed = re.findall(r'"([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8"))
    assert {Path(page).with_suffix("") for page in listed} == pages, "zensical.toml lists every page"


def test_llms_txt_lists_every_page_once_with_a_sentence_in_the_form_that_programs_parse(
    client: TestClient, built: Path
) -> None:
    answer = client.get("/manual/llms.txt")
    assert answer.headers["content-type"].startswith("text/plain")
    head, *sections = re.split(r"^## ", answer.text, flags=re.MULTILINE)
    assert re.fullmatch(r"# Heldout\n\n> .+\n\n", head)
    listed = [re.fullmatch(r"- \[(.+)\]\(([\w/-]+\.html)\): .{15,}", line) for line in "".join(sections).splitlines()
              if line.startswith("-")]  # fmt: skip
    assert all(listed), "every page has a title and a sentence"
    pages = [page[2] for page in listed if page]
    assert sorted(pages) == sorted(str(path.relative_to(built)) for path in built.rglob("*.html") if path.stem != "404")
    assert "Why are my training results good" in sections[0]


def test_pages_load_nothing_from_other_sites_and_run_only_their_own_scripts(client: TestClient, built: Path) -> None:
    assert client.get("/manual").url.path == "/manual/"
    for path in built.rglob("*.html"):
        page = client.get(f"/manual/{path.relative_to(built)}")
        fetched = re.findall(r'<(?:script|img|link)[^>]*?(?:src|href)="([^"]+)"', page.text)
        assert fetched
        assert not [address for address in fetched if re.match(r"\w+:|//", address)]
        policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
        assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
        assert "unsafe" not in policy["script-src"]
        assert policy["script-src"].count("sha256-") == page.text.count("<script>")


def test_the_search_index_covers_the_pages(client: TestClient) -> None:
    found = client.get("/manual/search.json").json()["items"]
    assert any("gap.html" in item["location"] for item in found)


def test_files_are_cached_and_no_others_are_served(client: TestClient) -> None:
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


def test_a_page_says_how_to_build_a_missing_manual(tmp_path: Path) -> None:
    client = make_client(tmp_path)
    for path in ("/manual", "/manual/"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "make docs" in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/manual/tutorial/first-job.html").status_code == 404
