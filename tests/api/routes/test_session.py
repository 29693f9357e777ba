"""Browsers log in by a key or a link. Sessions are inaccessible to other sites and last as long as the key."""

import threading

import httpx2
import pytest
from sqlalchemy import select, update

from models.database import db_now
from models.store import keys, sessions
from models.tables import SessionRow
from tests.api.support import assert_problem, bearer, run_server, sqlite_only


@pytest.fixture
def browser_at(app):
    """Return a client like a browser, which has no key but keeps cookies and sends its origin."""
    with run_server(app) as (url, _), httpx2.Client(base_url=url, headers={"Origin": url}, timeout=90) as client:
        yield client


def log_in(client: httpx2.Client, key: str) -> httpx2.Response:
    answer = client.post("/v1/session", json={"key": key})
    assert answer.status_code == 201, answer.text
    return answer


@sqlite_only
def test_a_key_becomes_a_cookie_hidden_from_scripts_and_other_sites(browser_at, key, database):
    assert_problem(browser_at.get("/v1/jobs"), 401, "unauthenticated")
    answer = log_in(browser_at, key)
    [cookie] = answer.headers.get_list("set-cookie")
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert answer.json()["owner"] == "ada"
    assert key not in cookie
    assert key.split("_", 2)[2] not in answer.text
    assert browser_at.get("/v1/jobs").status_code == 200
    assert browser_at.get("/v1/session").json() == answer.json()
    with database.read() as session:
        rows = session.execute(select(SessionRow.__table__)).mappings().all()
    secret = browser_at.cookies[cookie.partition("=")[0]].split("_", 2)[2]
    assert secret not in str(rows)


@sqlite_only
def test_a_session_can_submit_and_wait_for_jobs(browser_at, key, spec):
    log_in(browser_at, key)
    job = browser_at.post("/v1/jobs", json=spec).json()
    waited = browser_at.get(f"/v1/jobs/{job['id']}", params={"wait": 0.1}, headers={"If-None-Match": '"0"'})
    assert waited.json() == job == browser_at.get(f"/v1/jobs/{job['id']}", headers=bearer(key)).json()
    assert browser_at.get("/v1/jobs/job_00000000000000000000000000").status_code == 404


CROSS_SITE = [
    *({"Origin": origin} for origin in ("http://evil.example", "http://127.0.0.1:1", "null", "")),
    *({"Sec-Fetch-Site": site} for site in ("cross-site", "same-site")),
]


@sqlite_only
def test_pages_of_other_sites_or_ports_cannot_use_the_session(browser_at, key, spec):
    log_in(browser_at, key)
    job = browser_at.post("/v1/jobs", json=spec).json()
    cancel = f"/v1/jobs/{job['id']}/cancel"
    for headers in CROSS_SITE:
        assert_problem(browser_at.post(cancel, headers=headers), 403, "cross_site_request")
        assert_problem(browser_at.post("/v1/session", json={"key": key}, headers=headers), 403, "cross_site_request")
        assert_problem(browser_at.get("/v1/jobs", headers=headers), 403, "cross_site_request")
    assert browser_at.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued"
    assert browser_at.post(cancel).json()["status"] == "cancelled"


@sqlite_only
def test_changes_need_an_origin_with_a_cookie_but_not_with_a_key(browser_at, key, spec):
    log_in(browser_at, key)
    del browser_at.headers["Origin"]
    assert browser_at.get("/v1/jobs").status_code == 200
    assert_problem(browser_at.post("/v1/jobs", json=spec), 403, "cross_site_request")
    assert browser_at.post("/v1/jobs", json=spec, headers=bearer(key)).status_code == 201


def test_a_link_logs_in_once_even_with_concurrent_requests(browser_at, key, database):
    with database.write() as session:
        link = sessions.make_link(session, keys.get_row(session, key).id)
    answers = []

    def use() -> None:
        answers.append(
            httpx2.post(browser_at.base_url.join("/v1/session"), json={"link": link}, timeout=90).status_code
        )

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201, 401, 401, 401]


def test_expired_used_revoked_and_wrong_secrets_cannot_log_in(browser_at, key, database):
    with database.write() as session:
        key_id = keys.get_row(session, key).id
        link, late = sessions.make_link(session, key_id), sessions.make_link(session, key_id)
        session.execute(update(SessionRow).where(SessionRow.id == late.split("_")[1]).values(expires_at=db_now(-1)))
    token = _get_token(log_in(browser_at, key))
    browser_at.cookies.clear()
    for wanted in ({"link": late}, {"link": token}, {"link": link + "x"}, {"key": token}, {"key": link}, {"key": ""}):
        assert_problem(browser_at.post("/v1/session", json=wanted), 401, "unauthenticated")
    # A session's token is not a key, and a link is not a session.
    assert_problem(browser_at.get("/v1/jobs", headers=bearer(token)), 401, "unauthenticated")
    name = f"heldout_session_{browser_at.base_url.port}"
    assert_problem(browser_at.get("/v1/jobs", headers={"Cookie": f"{name}={link}"}), 401, "unauthenticated")
    assert_problem(browser_at.post("/v1/session", json={}), 422, "invalid_spec")
    assert browser_at.get("/v1/jobs", headers={"Cookie": f"{name}={token}"}).status_code == 200
    with database.write() as session:
        keys.revoke(session, key_id)
    assert_problem(browser_at.get("/v1/jobs", headers={"Cookie": f"{name}={token}"}), 401, "unauthenticated")
    assert_problem(browser_at.post("/v1/session", json={"link": link}), 401, "unauthenticated")


@sqlite_only
def test_logging_out_ends_the_session_and_not_only_its_cookie(browser_at, key):
    token = _get_token(log_in(browser_at, key))
    assert browser_at.delete("/v1/session").status_code == 204
    assert not browser_at.cookies
    stolen = {"Cookie": f"heldout_session_{browser_at.base_url.port}={token}"}
    assert_problem(browser_at.get("/v1/jobs", headers=stolen), 401, "unauthenticated")


def _get_token(answer: httpx2.Response) -> str:
    return answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
