"""What `heldout check` reports about a stack's parts, and who refuses to start on another release's tables."""

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
    """The broker as one that evicts keys when it is full."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield
        client.config_set("maxmemory-policy", "noeviction")


def lines(settings: Settings) -> dict[str, str]:
    said: list[str] = []
    report(settings, said.append)
    return {line[7:].partition(":")[0]: line for line in said}


def run_program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_stack_in_order_is_said_to_be(settings: Settings) -> None:
    said = lines(settings)
    assert said["database"].startswith("ok")
    assert said["broker"].startswith("ok")
    assert said["blobs"].startswith("ok")
    assert said["tensorflow"].startswith("ok")
    assert re.search(r"read as .+ with (no )?Landlock.* and (no )?seccomp", said["foreign files"])


@pytest.mark.usefixtures("evicting_broker")
def test_a_broker_that_may_forget_is_wrong(settings: Settings) -> None:
    said = lines(settings)["broker"]
    assert said.startswith("WRONG")
    assert "allkeys-lru" in said
    assert "noeviction" in said


def test_a_wrong_password_is_wrong_and_is_not_repeated(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    port = str(settings.redis_url.get_secret_value()).rpartition(":")[2]  # type: ignore[union-attr]
    monkeypatch.setenv("HELDOUT_REDIS_URL", f"redis://:not-the-password@127.0.0.1:{port}")
    said = lines(Settings())["broker"]
    assert said.startswith("WRONG")
    assert "not-the-password" not in said


def test_a_variable_that_is_ignored_is_wrong(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(settings)["settings"].startswith("ok")
    monkeypatch.setenv("HELDOUT_MAX_INGESTS", "5")
    said = lines(settings)["settings"]
    assert said.startswith("WRONG")
    assert "did you mean HELDOUT_MAX_INGEST_S?" in said


API, LOCAL, PREDICT = ("-m", "api", "serve"), ("-m", "worker.local"), ("-m", "predict")
CELERY = ("-m", "celery", "-A", "worker.celery_app", "worker")


# How a database tells its revision has tests of its own, on both; here each program meets one of them.
@pytest.mark.parametrize(
    ("program", "database_url"),
    [(API, "postgresql"), (LOCAL, "sqlite"), (CELERY, "postgresql")],
    indirect=["database_url"],
    ids=["api", "local worker", "celery worker"],
)
def test_nothing_starts_on_the_tables_of_another_release_and_ignored_variables_are_logged_before(
    settings: Settings, program: tuple[str, ...]
) -> None:
    database = Database(settings.database)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    database.dispose()
    run = run_program(*program, HELDOUT_PORT="0", HELDOUT_MAX_INGESTS="5")
    assert run.returncode == 1
    [told] = [line for line in run.stderr.splitlines() if line.startswith("heldout: ")]
    assert "0000" in told
    assert "heldout migrate" in told
    if program is not API:  # which logs once it has found its tables
        [logged] = [json.loads(line) for line in run.stderr.splitlines() if '"unknown_setting"' in line]
        assert logged["level"] == "warning"
        assert "HELDOUT_MAX_INGESTS" in logged["detail"]


@pytest.mark.parametrize("program", [API, LOCAL, CELERY, PREDICT])
def test_every_process_says_in_one_line_which_settings_are_wrong_and_never_what_they_are(
    program: tuple[str, ...],
) -> None:
    broker = {"HELDOUT_REDIS_URL": "redis://127.0.0.1:1/0"}
    run = run_program(*program, HELDOUT_LEASE_S="abc", HELDOUT_DATABASE_URL="postgresql://u:secret@h:x/y", **broker)
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "heldout: setting HELDOUT_DATABASE_URL: expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME; "
        "setting HELDOUT_LEASE_S: Input should be a valid number, unable to parse string as a number"
    ]


def test_a_setting_that_is_no_json_is_named_with_what_is_expected() -> None:
    run = run_program("-m", "api", "check", HELDOUT_WEBHOOK_ALLOW="hooks.internal")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        'heldout: setting HELDOUT_WEBHOOK_ALLOW: the value is not JSON; expected, for example, ["one", "two"].'
    )
