"""The dashboard's files as the API serves them, and the page that replaces them if nothing was built."""

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


def client_of(built: Path) -> TestClient:
    app = FastAPI()
    dashboard.install(app, built)
    return TestClient(app, raise_server_exceptions=False)


def test_files_are_packed_kept_and_known_again_and_nothing_outside_of_them_is_served(built: Path) -> None:
    client = client_of(built)
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


def test_a_browser_at_an_unknown_address_sees_a_page_and_programs_see_the_problem(built: Path) -> None:
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
def test_pages_know_of_the_manual_where_there_is_one(built: Path, has_manual: bool) -> None:
    app = FastAPI()
    dashboard.install(app, built, has_manual=has_manual)
    assert ('<link rel="help" href="/manual/">' in TestClient(app).get("/models").text) is has_manual


def test_where_nothing_is_built_the_page_says_how_to(tmp_path: Path) -> None:
    answer = client_of(tmp_path).get("/")
    assert answer.status_code == 200
    assert "make web" in answer.text
