"""`heldout check` reports on a stack's parts, and programs refuse to start on another release's tables."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import text

from heldout.service.settings import Settings
from host.check import report
from models.database import Database
from tests.host.conftest import Command
from tests.servers import RedisServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in {
        "HELDOUT_HOME": str(tmp_path),
        "HELDOUT_DATABASE_URL": database_url,
        "HELDOUT_REDIS_URL": redis_server.url,
    }.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.fixture
def evicting_broker(redis_server: RedisServer) -> Iterator[None]:
    """Configure the broker to evict keys when it is full."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield
        client.config_set("maxmemory-policy", "noeviction")


def list_lines(settings: Settings) -> dict[str, str]:
    reported: list[str] = []
    report(settings, reported.append)
    return {line[7:].partition(":")[0]: line for line in reported}


def run_program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,  # on a busy machine, a start takes more than a minute
        check=False,
    )


def test_a_working_stack_is_reported_as_ok(settings: Settings) -> None:
    reported = list_lines(settings)
    assert reported["database"].startswith("ok")
    assert reported["broker"].startswith("ok")
    assert reported["blobs"].startswith("ok")
    assert reported["tensorflow"].startswith("ok")
    assert re.search(r"read as .+ with (no )?Landlock.* and (no )?seccomp", reported["uploaded files"])


@pytest.mark.usefixtures("evicting_broker")
def test_a_broker_that_evicts_keys_is_reported_as_wrong(settings: Settings) -> None:
    reported = list_lines(settings)["broker"]
    assert reported.startswith("WRONG")
    assert "allkeys-lru" in reported
    assert "noeviction" in reported


def test_a_wrong_password_is_reported_but_not_repeated(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    port = str(settings.redis_url.get_secret_value()).rpartition(":")[2]  # type: ignore[union-attr]
    monkeypatch.setenv("HELDOUT_REDIS_URL", f"redis://:not-the-password@127.0.0.1:{port}")
    reported = list_lines(Settings())["broker"]
    assert reported.startswith("WRONG")
    assert "not-the-password" not in reported


def test_an_unknown_variable_is_reported_as_wrong(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list_lines(settings)["settings"].startswith("ok")
    monkeypatch.setenv("HELDOUT_MAX_INGESTS", "5")
    reported = list_lines(settings)["settings"]
    assert reported.startswith("WRONG")
    assert "did you mean HELDOUT_MAX_INGEST_S?" in reported


API, LOCAL, PREDICT = ("-m", "api", "serve"), ("-m", "worker.local"), ("-m", "predict")
CELERY = ("-m", "celery", "-A", "worker.celery_app", "worker")


# Reading the revision is tested elsewhere on both databases. Here each program uses one of them.
@pytest.mark.parametrize(
    ("program", "database_url"),
    [(API, "postgresql"), (LOCAL, "sqlite"), (CELERY, "postgresql")],
    indirect=["database_url"],
    ids=["api", "local worker", "celery worker"],
)
def test_no_program_starts_on_another_releases_tables_and_unknown_variables_are_logged(
    settings: Settings, program: tuple[str, ...]
) -> None:
    database = Database(settings.database)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    database.dispose()
    run = run_program(*program, HELDOUT_PORT="0", HELDOUT_MAX_INGESTS="5")
    assert run.returncode == 1
    [message] = [line for line in run.stderr.splitlines() if line.startswith("heldout: ")]
    assert "0000" in message
    assert "heldout migrate" in message
    if program is not API:  # the API configures its log only after it has found its tables
        [logged] = [json.loads(line) for line in run.stderr.splitlines() if '"unknown_setting"' in line]
        assert logged["level"] == "warning"
        assert "HELDOUT_MAX_INGESTS" in logged["detail"]


@pytest.mark.parametrize("program", [API, LOCAL, CELERY, PREDICT])
def test_every_program_names_invalid_settings_in_one_line_without_their_values(
    program: tuple[str, ...],
) -> None:
    broker = {"HELDOUT_REDIS_URL": "redis://127.0.0.1:1/0"}
    run = run_program(*program, HELDOUT_LEASE_S="abc", HELDOUT_DATABASE_URL="postgresql://u:secret@h:x/y", **broker)
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "heldout: setting HELDOUT_DATABASE_URL: expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME; "
        "setting HELDOUT_LEASE_S: Input should be a valid number, unable to parse string as a number"
    ]


def test_a_setting_that_is_not_json_is_named_with_an_example(
    run_on_home: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELDOUT_WEBHOOK_ALLOW", "hooks.internal")
    status, _, errors = run_on_home(tmp_path, "check")
    assert status == 1
    assert errors.splitlines()[-1] == (
        'heldout: setting HELDOUT_WEBHOOK_ALLOW: the value is not JSON; expected, for example, ["one", "two"].'
    )
