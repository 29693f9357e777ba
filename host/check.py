"""`heldout check`: what works and what is wrong, a line each."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import redis

from heldout.dataset_lifecycle import DatasetStatus
from heldout.errors import HeldoutError
from heldout.settings import Settings, unknown_settings
from models.blobs import Blobs
from models.bundled import BUNDLED
from models.database import Database
from models.migrations import current, newest
from models.store import datasets


def report(settings: Settings, echo: Callable[[str], None], *, as_json: bool = False) -> bool:
    """Print a line for each part, or all as one JSON object; True if all that the service needs is in order."""
    # What it says of the database's revision is said below, in a line for people.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    parts: list[dict[str, Any]] = []
    for name, works, text in _findings(settings):
        parts.append({"name": name, "works": works, "detail": text})
        if not as_json:
            echo(f"{'ok   ' if works else 'WRONG'}  {name}: {text}")
    fine = all(part["works"] for part in parts)
    if as_json:
        echo(json.dumps({"object": "check", "works": fine, "parts": parts}, ensure_ascii=False))
    return fine


def _findings(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    ignored = unknown_settings(os.environ)
    yield "settings", not ignored, " ".join(ignored) or "every HELDOUT_* variable is known"
    yield _database(settings)
    if settings.redis_url is not None:
        yield _broker(settings.redis_url.get_secret_value())
    yield _blobs(settings)
    yield _datasets(settings)
    present = find_spec("tensorflow") is not None
    yield (
        "tensorflow",
        present,
        "installed" if present else "not installed; a worker needs the extra `cpu` or `gpu`",
    )
    yield "gpu", True, _gpus()


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database)
    try:
        yield database
    finally:
        database.dispose()


def _database(settings: Settings) -> tuple[str, bool, str]:
    try:
        with _opened(settings) as database:
            revision = current(database)
    except HeldoutError:
        return "database", False, "does not answer; check DATABASE_URL, the server and the password"
    if revision != newest():
        return "database", False, f"is at revision {revision}, needed is {newest()}; run `heldout migrate`"
    return "database", True, f"at revision {revision}"


def _broker(url: str) -> tuple[str, bool, str]:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3) as client:
            client.ping()
            policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except (redis.RedisError, OSError, ValueError):
        return "broker", False, "does not answer; check REDIS_URL, the server and the password"
    if policy not in {"noeviction", None}:
        return "broker", False, f"may drop messages: its maxmemory-policy is {policy}; set it to noeviction"
    return "broker", True, "answers, and never drops messages"


def _blobs(settings: Settings) -> tuple[str, bool, str]:
    try:
        Blobs(settings.blobs_url).check()
    except (HeldoutError, OSError):
        return "blobs", False, "cannot be written; check HELDOUT_BLOBS, its rights and the disk"
    return "blobs", True, "can be written and read"


def _datasets(settings: Settings) -> tuple[str, bool, str]:
    try:
        with _opened(settings) as database, database.read() as session:
            here = sorted(row.name for row in datasets.bundled(session) if row.status is DatasetStatus.READY)
    except HeldoutError:
        return "datasets", False, "unknown, since the database does not answer"
    missing = sorted(set(BUNDLED) - set(here))
    return "datasets", bool(here), f"here: {', '.join(here) or 'none'}; not here: {', '.join(missing) or 'none'}"


def _gpus() -> str:
    # The NVML binding is light; worker/machine/devices.py uses it for the same reason.
    import pynvml

    try:
        pynvml.nvmlInit()
        return f"{pynvml.nvmlDeviceGetCount()} found"
    except pynvml.NVMLError:
        return "none found; jobs train on the CPU"
