"""A real server refuses bodies that are not JSON, too large or declared as something else."""

import http.client
import json
import urllib.error
import urllib.request

import pytest

from tests.api.support import assert_problem, sqlite_only, submit

pytestmark = sqlite_only  # none of these reaches the database
JSON = {"Content-Type": "application/json"}
LIMIT = 1024 * 1024


@pytest.fixture
def empty(service):
    """Return a service that must not have a job after the test."""
    yield service
    assert service.get("/v1/jobs").json()["data"] == []


def test_broken_json_and_wrong_types_are_problems(empty, spec):
    assert_problem(empty.post("/v1/jobs", content="{", headers=JSON), 400, "invalid_json")
    assert_problem(empty.post("/v1/jobs", content="", headers=JSON), 400, "invalid_json")
    assert_problem(empty.post("/v1/jobs", content=b"[" * 100_000, headers=JSON), 400, "invalid_json")
    assert_problem(empty.post("/v1/jobs", content=json.dumps(spec)), 415, "unsupported_media_type")
    assert_problem(empty.post("/v1/jobs", data={"dataset": "digits"}), 415, "unsupported_media_type")
    assert_problem(
        empty.post("/v1/jobs", content=b"{", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type"
    )


def test_ten_megabytes_are_refused_with_the_limit_and_the_connection_continues(empty):
    problem = assert_problem(empty.post("/v1/jobs", content=b" " * 10_000_000, headers=JSON), 413, "body_too_large")
    assert str(LIMIT) in problem["detail"]
    chunks = (b" " * 100_000 for _ in range(100))
    assert_problem(empty.post("/v1/jobs", content=chunks, headers=JSON), 413, "body_too_large")
    assert empty.get("/livez").status_code == 200


def test_a_body_of_exactly_the_limit_is_read(service, spec):
    text = json.dumps(spec).encode()
    padded = text + b" " * (LIMIT - len(text))
    assert service.post("/v1/jobs", content=padded, headers=JSON).status_code == 201
    chunked = (padded[start : start + 65_536] for start in range(0, LIMIT, 65_536))
    assert service.post("/v1/jobs", content=chunked, headers=JSON).status_code == 201
    assert_problem(service.post("/v1/jobs", content=padded + b" ", headers=JSON), 413, "body_too_large")


def test_a_client_that_sends_everything_before_it_reads_gets_its_response(empty):
    request = urllib.request.Request(f"{empty.base_url}/v1/jobs", b" " * 10_000_000, {**JSON, **dict(empty.headers)})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert json.load(refused.value)["code"] == "body_too_large"


def test_expect_100_continue_is_refused_for_too_large_a_body(empty):
    connection = http.client.HTTPConnection(empty.base_url.host, empty.base_url.port, timeout=60)
    connection.putrequest("POST", "/v1/jobs")
    headers = {**JSON, "Expect": "100-continue", "Content-Length": "10000000", **dict(empty.headers)}
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()  # at once, before any byte of the body was sent
    assert answer.status == 413
    connection.close()


def test_an_absurd_declared_length_is_refused(empty):
    connection = http.client.HTTPConnection(empty.base_url.host, empty.base_url.port, timeout=60)
    headers = {**JSON, "Content-Length": "9" * 18, "Expect": "100-continue", **dict(empty.headers)}
    connection.request("POST", "/v1/jobs", headers=headers)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_client_that_disconnects_during_its_body_leaves_nothing_behind(empty):
    connection = http.client.HTTPConnection(empty.base_url.host, empty.base_url.port, timeout=60)
    connection.putrequest("POST", "/v1/jobs")
    for name, value in {**JSON, "Content-Length": "1000", **dict(empty.headers)}.items():
        connection.putheader(name, value)
    connection.endheaders(b'{"dataset":')
    connection.close()
    assert empty.get("/livez").status_code == 200


def test_a_missing_key_is_reported_before_a_broken_body(empty):
    anonymous = {**JSON, "Authorization": ""}
    assert_problem(empty.post("/v1/jobs", content="{", headers=anonymous), 401, "unauthenticated")
    assert_problem(empty.post("/v1/jobs", json={}, headers=anonymous), 401, "unauthenticated")


def test_a_body_sent_to_a_route_without_one_is_ignored(service, spec):
    job = submit(service, spec)
    answer = service.post(f"/v1/jobs/{job['id']}/cancel", content=b"\xff" * 10, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 200
