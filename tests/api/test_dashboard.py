"""The API serves the dashboard's files, or a page that says how to build them."""

import shutil
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api import dashboard

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><head><title>Heldout</title></head>" + "<p>…</p>" * 100)
    shutil.copyfile(ROOT / "web/src/pages.json", tmp_path / "pages.json")
    (tmp_path / "assets/index-abc.js").write_text("console.log(1);" * 100)
    (tmp_path / "icon.svg").write_text("<svg/>")
    return tmp_path


def make_client(built: Path) -> TestClient:
    app = FastAPI()
    dashboard.install(app, built)
    return TestClient(app, raise_server_exceptions=False)


def test_files_are_compressed_and_cached_and_no_others_are_served(built: Path) -> None:
    client = make_client(built)
    page = client.get("/jobs/job_1", headers={"Accept-Encoding": "gzip"})
    assert page.text.startswith("<!doctype html>")
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["content-encoding"] == "gzip"
    assert client.get("/", headers={"Accept-Encoding": "identity"}).text == page.text
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.head("/studies").headers["content-type"] == "text/html; charset=utf-8"
    script = client.get("/assets/index-abc.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in script.headers["cache-control"]
    assert client.get("/icon.svg").headers["content-type"] == "image/svg+xml"
    for path in (
        "/index.html",
        "/pages.json",
        "/assets/none.js",
        "/assets/../index.html",
        "/assets/%2e%2e/icon.svg",
        "/v1",
        "/jobsx",
    ):
        assert client.get(path).status_code != 200, path
    for answer in (page, script):
        assert "script-src 'self';" in answer.headers["content-security-policy"]


def test_browsers_get_a_page_and_programs_a_problem_at_unknown_addresses(built: Path) -> None:
    app = FastAPI()
    app.add_api_route("/v1/jobs", list)
    dashboard.install(app, built)
    client = TestClient(app, raise_server_exceptions=False)
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/anything", "/assets/none.js"):
        page = client.get(path, headers=browser)
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8"), path
        assert page.text == client.get("/").text
        again = client.get(path, headers=browser | {"If-None-Match": page.headers["etag"]})
        assert again.status_code == 404
        assert client.get(path).json()["code"] == "route_not_found"
    of_the_api = client.get("/v1/nothing", headers=browser)
    assert (of_the_api.status_code, of_the_api.json()["code"]) == (404, "route_not_found")


@pytest.mark.parametrize("has_manual", [True, False])
def test_pages_link_to_the_manual_if_there_is_one(built: Path, has_manual: bool) -> None:
    app = FastAPI()
    dashboard.install(app, built, has_manual=has_manual)
    assert ('<link rel="help" href="/manual/">' in TestClient(app).get("/models").text) is has_manual


def test_the_page_says_how_to_build_a_missing_dashboard(tmp_path: Path) -> None:
    answer = make_client(tmp_path).get("/")
    assert answer.status_code == 200
    assert "make web" in answer.text
