"""Each request is logged as one JSON line with its id, and never with a secret."""

import io
import json
import logging

import pytest

from models import logs
from tests.api.support import bearer, sqlite_only, submit


@sqlite_only
def test_each_request_is_logged_as_one_line_of_json(client, log_lines, spec):
    began = log_lines.tell()
    job = submit(client, spec, **{"X-Request-ID": "line-1"})
    client.get("/livez")
    lines = [json.loads(line) for line in log_lines.getvalue()[began:].splitlines() if "heldout.api" in line]
    [line] = [line for line in lines if line.get("request_id") == "line-1"]
    assert line["event"] == "request"
    assert (line["method"], line["path"], line["status"], line["level"]) == ("POST", "/v1/jobs", 201, "info")
    assert line["milliseconds"] > 0
    assert line["timestamp"].endswith("Z")
    [probe] = [line for line in lines if line["path"] == "/livez"]
    assert probe["level"] == "debug"
    assert job["id"]


@sqlite_only
def test_no_path_through_the_service_logs_keys(client, key, log_lines, spec, monkeypatch, app):
    began = log_lines.tell()
    made = client.post("/v1/keys").json()["key"]
    client.get("/v1/jobs", headers=bearer(made))
    client.get("/v1/jobs", headers=bearer(made + "x"))
    client.get(f"/v1/jobs?after={made}")
    client.get(f"/v1/jobs/{made}")
    client.post("/v1/jobs", json={"dataset": made})
    client.post("/v1/jobs", json={**spec, made: 1})

    def breaks(*_):
        raise RuntimeError(f"about {made} and Authorization: Bearer {key}")

    monkeypatch.setattr("models.store.keys.list_of_owner", breaks)
    assert client.get("/v1/keys").status_code == 500
    logged = log_lines.getvalue()[began:]
    assert "request_failed" in logged
    for text in (made, key):
        assert text not in logged
        assert text.split("_", 2)[2] not in logged


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("key ho_0123456789ab_s3cr-et_x end", "key ho_0123456789ab_*** end"),
        ("/login#hl_0123456789ab_s3cr-et_x end", "/login#hl_0123456789ab_*** end"),
        ("cookie heldout_session_80=hs_0123456789ab_s3cr-et", "cookie heldout_session_80=hs_0123456789ab_***"),
        ("'whsec_ab/c+d==' and so on", "'whsec_***' and so on"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("postgresql+psycopg://me:pass/w0rd@host/db", "postgresql+psycopg://me:pass/w0rd@host/db"),
        ("at postgresql+psycopg://me:p%40ss@host:5432/db now", "at postgresql+psycopg://me:***@host:5432/db now"),
        ("redis://:p4ss@cache/0", "redis://:***@cache/0"),
        ("https://example.org/a@b:c", "https://example.org/a@b:c"),
        ("nothing", "nothing"),
    ],
)
def test_whatever_looks_like_a_secret_is_masked(text, logged):
    assert logs.hide_secrets(text) == logged


def test_log_lines_of_other_libraries_are_masked_too(log_lines):
    stream = io.StringIO()
    try:
        logs.configure("INFO", stream)
        logging.getLogger("some.library").warning("connecting to %s", "redis://:p4ss@cache/0")
        logging.getLogger("some.library").info("shown")
        logging.getLogger("some.library").debug("not shown")
        first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
        assert (first["event"], first["level"]) == ("connecting to redis://:***@cache/0", "warning")
        assert (second["event"], second["logger"]) == ("shown", "some.library")
    finally:
        logs.configure("DEBUG", log_lines)
