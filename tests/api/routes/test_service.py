"""The service itself: health, request ids, unknown routes and methods, failures, metrics and documentation."""

import json
import re

import httpx2
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import text

from api.app import create_app
from models import migrations
from models.blobs import Blobs
from models.database import Database
from models.migrations import upgrade
from models.store import jobs as stored_jobs
from tests.api.support import assert_problem, bearer, make_key, run_server, sqlite_only, submit

pytestmark = sqlite_only


def test_a_working_service_is_live_and_ready_without_a_key(app, client):
    anonymous = TestClient(app)
    for path in ("/livez", "/readyz"):
        answer = anonymous.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert anonymous.head(path).status_code == 200


def test_tables_of_another_release_are_not_ready(client, database):
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0123456789ab'"))
    problem = assert_problem(client.get("/readyz"), 503, "database_mismatched")
    assert "revision 0123456789ab" in problem["detail"]
    assert migrations.get_newest() in problem["detail"]
    assert client.get("/livez").status_code == 200


def test_a_blob_store_that_is_gone_is_not_ready(client, app, monkeypatch, tmp_path):
    lost = Blobs((tmp_path / "blobs").as_uri())
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_text("no folder")
    monkeypatch.setattr(app.state.context.blobs, "_store", lost._store)
    assert_problem(client.get("/readyz"), 503, "storage_unavailable")
    assert client.get("/livez").status_code == 200


def test_readiness_checks_leave_nothing_in_the_blob_store(client, settings):
    before = sorted(Blobs(settings.blobs_url).get_local_folder("").iterdir())
    client.get("/readyz")
    assert sorted(Blobs(settings.blobs_url).get_local_folder("").iterdir()) == before


# --- request ids ----------------------------------------------------------------------------------


def test_every_response_has_its_own_request_id(client):
    answers = [client.get(path) for path in ("/livez", "/v1/jobs", "/nothing", "/v1/jobs/x", "/docs", "/metrics")]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == len(answers)
    assert all(re.fullmatch(r"req_[0-9a-z]{26}", request_id) for request_id in ids)


def test_a_clients_own_request_id_is_kept(client):
    for given in ["abc-123", "a" * 128, "A.b_c:d/e+f=="]:
        assert client.get("/v1/jobs", headers={"X-Request-ID": given}).headers["x-request-id"] == given


def test_invalid_request_ids_are_replaced(client):
    for given in ["", "a" * 129, "a b", "a\tb", "é", '"', "<x>"]:
        answer = client.get("/v1/jobs", headers={"X-Request-ID": given.encode("latin-1")})
        assert answer.headers["x-request-id"].startswith("req_")


# --- unexpected failures --------------------------------------------------------------------------


def test_an_unexpected_failure_reveals_only_its_request_id(service, monkeypatch, log_lines):
    def breaks(*_, **__):
        raise RuntimeError("secret detail of the inside")

    monkeypatch.setattr(stored_jobs, "list_page", breaks)
    began = log_lines.tell()
    answer = service.get("/v1/jobs", headers={"X-Request-ID": "find-me"})
    problem = assert_problem(answer, 500, "internal")
    assert "find-me" in problem["detail"]
    assert "secret detail" not in answer.text
    assert answer.headers["x-request-id"] == "find-me"
    logged = [json.loads(line) for line in log_lines.getvalue()[began:].splitlines()]
    [failure] = [line for line in logged if line["event"] == "request_failed"]
    assert failure["request_id"] == "find-me"
    assert "secret detail of the inside" in failure["exception"]
    monkeypatch.undo()
    assert service.get("/v1/jobs").status_code == 200


def test_an_interrupted_download_is_not_a_complete_response(service, worker, spec, app, monkeypatch):
    job = submit(service, spec)["id"]
    worker.succeed(worker.claim())
    assert service.get(f"/v1/jobs/{job}/model").status_code == 200  # its digest is verified from now on

    def broken(key):
        yield b"x" * 100_000
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(app.state.context.blobs, "chunks", broken)
    with pytest.raises(httpx2.RemoteProtocolError):
        service.get(f"/v1/jobs/{job}/model")
    assert service.get("/livez").status_code == 200


def test_unknown_paths_are_problems(service):
    for path in [
        "/v1",
        "/v1/",
        "/v1/jobs/",
        "/v3/jobs",
        "/v1/jobs/x/y",
        "/v1//jobs",
        "/%00",
        "/docs/static/nothing.js",
        "/.env",
    ]:
        answer = service.get(path)
        assert answer.status_code == 404
        assert answer.json()["code"] == "route_not_found"
        assert answer.headers["content-type"] == "application/problem+json"


def test_paths_cannot_leave_the_folder_of_the_documentation(service):
    for path in ("/docs/static/../../consts.py", "/docs/static/%2e%2e/consts.py", "/docs/static/..%2fconsts.py"):
        assert service.get(path).status_code == 404


def test_a_wrong_method_is_refused_with_the_allowed_ones(app, service):
    for method, path, allowed in [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("DELETE", "/v1/jobs", "GET, POST"),
        ("OPTIONS", "/v1/jobs", "GET, POST"),
        ("HEAD", "/v1/jobs", "GET, POST"),
        ("TRACE", "/v1/jobs", "GET, POST"),
        ("BREW", "/v1/jobs", "GET, POST"),
        ("POST", "/v1/jobs/x", "GET, PATCH, DELETE"),
        ("GET", "/v1/jobs/x/cancel", "POST"),
        ("POST", "/livez", "GET"),
        ("PUT", "/v1/jobs/cancel", "POST"),
        ("POST", "/metrics", "GET"),
    ]:
        answer = service.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        if method == "HEAD":
            assert answer.content == b""
        else:
            assert_problem(answer, 405, "method_not_allowed")
        assert app.openapi_schema is None, "making the document takes a second, which would block the event loop"


# --- metrics --------------------------------------------------------------------------------------


def test_metrics_count_requests_by_route_and_jobs_by_status(client, worker, spec):
    for _ in range(2):
        submit(client, spec)
    worker.claim()
    client.get("/v1/jobs/x")
    answer = client.get("/metrics", headers={"Authorization": ""})
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'heldout_jobs{kind="train",status="queued"} 1.0' in answer.text
    assert 'heldout_jobs{kind="train",status="running"} 1.0' in answer.text
    assert "heldout_database_up 1.0" in answer.text
    assert 'http_requests_total{handler="/v1/jobs",method="POST",status="2xx"} 2.0' in answer.text
    assert 'http_requests_total{handler="/v1/jobs/{job_id}",method="GET",status="4xx"} 1.0' in answer.text
    assert "process_cpu_seconds_total" in answer.text


def test_two_apps_in_one_process_count_separately(settings, database, stored_sets):
    first, second = create_app(settings), create_app(settings)
    with TestClient(first) as first_client, TestClient(second) as other:
        first_client.get("/v1/jobs")
        assert 'handler="/v1/jobs"' not in other.get("/metrics").text
        assert 'handler="/v1/jobs"' in first_client.get("/metrics").text


# --- documentation --------------------------------------------------------------------------------


def test_the_documentation_loads_nothing_from_other_sites(service):
    page = service.get("/docs", headers={"Authorization": ""})
    assert page.status_code == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(sources) == 3
    for source in sources:
        assert not re.match(r"https?:|//", source)
        file = service.get(f"/{source}", headers={"Authorization": ""})
        assert file.status_code == 200
        assert len(file.content) > 1000
    assert "http" not in re.sub(r"<!--.*?-->", "", page.text, flags=re.DOTALL)
    assert "url: 'openapi.json'" in page.text
    assert '"validatorUrl": null' in page.text


def test_the_document_lists_every_error_of_every_route(client):
    document = client.get("/openapi.json", headers={"Authorization": ""}).json()
    assert "HTTPValidationError" not in document["components"]["schemas"]

    def codes(method: str, path: str) -> dict[str, set[str]]:
        return {
            status: set(response["content"]["application/problem+json"]["schema"]["properties"]["code"]["enum"])
            for status, response in document["paths"][path][method]["responses"].items()
            if "application/problem+json" in response.get("content", {})
        }

    assert codes("post", "/v1/jobs") == {
        "400": {"invalid_json", "invalid_parameter"},
        "401": {"unauthenticated"},
        "403": {"cross_site_request", "insufficient_scope", "owner_suspended"},
        "409": {"idempotency_key_in_flight", "not_ready"},
        "410": {"dataset_lost", "dataset_damaged", "artifact_damaged", "artifact_lost"},
        "413": {"body_too_large"},
        "415": {"unsupported_media_type"},
        "422": {
            *("invalid_spec", "dataset_not_found", "dataset_unavailable", "network_too_deep", "too_many_parameters"),
            *("idempotency_key_reused", "needs_more_memory", "not_supported"),
            *("model_not_found", "model_unavailable", "model_does_not_fit"),
        },
        "429": {"quota_exceeded", "too_many_requests", "too_many_uploads", "too_many_downloads"},
        "500": {"internal"},
        "503": {"database_unavailable", "storage_unavailable"},
    }
    assert codes("get", "/v1/jobs/{job_id}/model")["409"] == {
        "no_model",
        "not_ready",
        "export_differs",
        "export_failed",
    }
    assert codes("get", "/v1/jobs/{job_id}/model")["503"] == {
        *("storage_unavailable", "database_unavailable", "spec_unreadable", "file_of_later_release"),
    }
    for path, operations in document["paths"].items():
        for method in operations:
            assert codes(method, path)["500"] == {"internal"}
            if path.startswith("/v1/"):
                assert {"400", "401", "503"} <= codes(method, path).keys()


def test_the_document_has_bounds_defaults_and_nullable_fields(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    block = schemas["BlockSpec"]
    assert block["required"] == ["filters"]
    assert block["additionalProperties"] is False
    assert (block["properties"]["filters"]["minimum"], block["properties"]["filters"]["maximum"]) == (1, 1024)
    kernel = block["properties"]["kernel_size"]
    assert kernel["default"] == 3
    assert {"type": "null"} in kernel["anyOf"]
    assert {"type": "null"} not in schemas["JobChanges"]["properties"]["name"].get("anyOf", [])


def test_the_app_starts_without_a_database_and_serves_once_there_is_one(settings, tmp_path, stored_sets):
    url = f"sqlite:///{tmp_path / 'later' / 'heldout.db'}"
    app = create_app(settings.model_copy(update={"database_url": SecretStr(url)}))
    app.state.context.readiness._lasts_s = 0.0
    with run_server(app) as (address, _), httpx2.Client(base_url=address) as client:
        assert client.get("/readyz").status_code == 503
        (tmp_path / "later").mkdir()
        database = Database(url)
        upgrade(database)
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/jobs", headers=bearer(make_key(database, "ada"))).status_code == 200
        database.dispose()
