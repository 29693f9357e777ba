"""Log-in of browsers over real HTTP: by a key or a link, inaccessible to other sites, as long as the key is valid."""

import threading

import httpx2
import pytest
from sqlalchemy import select, update

from models.database import db_now
from models.store import keys, sessions
from models.tables import SessionRow
from tests.api.support import assert_problem, bearer, serving, sqlite_only


@pytest.fixture
def browser_at(app):
    """A client without a key, as a browser is: it keeps cookies, and says on whose page it is."""
    with serving(app) as (url, _), httpx2.Client(base_url=url, headers={"Origin": url}, timeout=90) as client:
        yield client


def logged_in(client: httpx2.Client, key: str) -> httpx2.Response:
    answer = client.post("/v1/session", json={"key": key})
    assert answer.status_code == 201, answer.text
    return answer


def test_a_key_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(browser_at, key, database):
    assert_problem(browser_at.get("/v1/jobs"), 401, "unauthenticated")
    answer = logged_in(browser_at, key)
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
def test_a_session_does_what_its_key_does_and_its_jobs_can_be_waited_for(browser_at, key, spec):
    logged_in(browser_at, key)
    job = browser_at.post("/v1/jobs", json=spec).json()
    waited = browser_at.get(f"/v1/jobs/{job['id']}", params={"wait": 0.1}, headers={"If-None-Match": '"0"'})
    assert waited.json() == job == browser_at.get(f"/v1/jobs/{job['id']}", headers=bearer(key)).json()
    assert browser_at.get("/v1/jobs/job_00000000000000000000000000").status_code == 404


FOREIGN = [
    *({"Origin": origin} for origin in ("http://evil.example", "http://127.0.0.1:1", "null", "")),
    *({"Sec-Fetch-Site": site} for site in ("cross-site", "same-site")),
]


@sqlite_only
def test_no_page_of_another_site_or_port_can_use_the_session(browser_at, key, spec):
    logged_in(browser_at, key)
    job = browser_at.post("/v1/jobs", json=spec).json()
    cancel = f"/v1/jobs/{job['id']}/cancel"
    for headers in FOREIGN:
        assert_problem(browser_at.post(cancel, headers=headers), 403, "cross_site_request")
        assert_problem(browser_at.post("/v1/session", json={"key": key}, headers=headers), 403, "cross_site_request")
        assert_problem(browser_at.get("/v1/jobs", headers=headers), 403, "cross_site_request")
    assert browser_at.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued"
    assert browser_at.post(cancel).json()["status"] == "cancelled"


@sqlite_only
def test_a_change_with_a_cookie_must_say_where_it_comes_from_and_one_with_a_key_need_not(browser_at, key, spec):
    logged_in(browser_at, key)
    del browser_at.headers["Origin"]
    assert browser_at.get("/v1/jobs").status_code == 200
    assert_problem(browser_at.post("/v1/jobs", json=spec), 403, "cross_site_request")
    assert browser_at.post("/v1/jobs", json=spec, headers=bearer(key)).status_code == 201


def test_a_link_logs_in_once_also_where_two_ask_at_the_same_time(browser_at, key, database):
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


def test_what_is_over_used_revoked_or_of_another_kind_logs_no_one_in(browser_at, key, database):
    with database.write() as session:
        key_id = keys.get_row(session, key).id
        link, late = sessions.make_link(session, key_id), sessions.make_link(session, key_id)
        session.execute(update(SessionRow).where(SessionRow.id == late.split("_")[1]).values(expires_at=db_now(-1)))
    token = _token(logged_in(browser_at, key))
    browser_at.cookies.clear()
    for wanted in ({"link": late}, {"link": token}, {"link": link + "x"}, {"key": token}, {"key": link}, {"key": ""}):
        assert_problem(browser_at.post("/v1/session", json=wanted), 401, "unauthenticated")
    # Nor is a session's token a key, or a link's a session.
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
def test_logging_out_ends_the_session_itself_and_not_only_its_cookie(browser_at, key):
    token = _token(logged_in(browser_at, key))
    assert browser_at.delete("/v1/session").status_code == 204
    assert not browser_at.cookies
    stolen = {"Cookie": f"heldout_session_{browser_at.base_url.port}={token}"}
    assert_problem(browser_at.get("/v1/jobs", headers=stolen), 401, "unauthenticated")


def _token(answer: httpx2.Response) -> str:
    return answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
