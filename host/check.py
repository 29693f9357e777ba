"""`heldout check`: reports what works and what is wrong, one line each."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis

from heldout.errors import HeldoutError, OperatorError
from heldout.lifecycle.resources import DatasetStatus
from heldout.service.settings import Settings
from heldout.service.start import list_unknown_settings
from host.children import ROOT
from host.homes import open_database
from models.blob_check import YOUNG, BlobCheck, compare
from models.blobs import Blobs
from models.bundled import BUNDLED, store_again
from models.database import Database
from models.migrations import get_current, get_newest
from models.store import datasets, relations

# This many orphans may be deleted whatever their share of the store is.
FEW_ORPHANS = 100


def report(
    settings: Settings,
    echo: Callable[[str], None],
    *,
    as_json: bool = False,
    deep: bool = False,
    collect: bool = False,
) -> bool:
    """Print one line per part, or one JSON object. Returns True if everything that the service needs is in order.

    Args:
        deep: also compare rows with files, which reads every file, and fix bundled datasets.
        collect: delete the files that belong to nothing.
    """
    parts: list[dict[str, Any]] = []

    def tell(name: str, works: bool, text: str) -> None:
        parts.append({"name": name, "works": works, "detail": text})
        if not as_json:
            echo(f"{'ok   ' if works else 'WRONG'}  {name}: {text}")

    for finding in _find_all(settings):
        tell(*finding)
    answer: dict[str, Any] = {"object": "check", "works": True, "parts": parts}
    if deep:
        answer["files"] = _check_deeply(settings, tell, collect=collect)
    answer["works"] = all(part["works"] for part in parts)
    if as_json:
        echo(json.dumps(answer, ensure_ascii=False))
    return bool(answer["works"])


def _check_deeply(
    settings: Settings, tell: Callable[[str, bool, str], None], *, collect: bool
) -> dict[str, Any] | None:
    """Compare rows with files and report the result. Returns it for JSON, or None if the comparison failed."""
    try:
        with open_database(settings) as database:
            found = check_deep(database, Blobs(settings.blobs_url), settings.datasets, collect=collect)
    except HeldoutError as error:
        tell("files", False, f"could not be compared with the rows: {error.detail}")
        return None
    for fault in found.faults:
        tell("file", False, f"{fault.what} is {fault.why} ({fault.key}); restore it from a backup, or make it again")
    for fault in found.fixed:
        tell("file", True, f"{fault.what} was {fault.why} and is fixed ({fault.key})")
    wrong = f"{len(found.faults):,} that the database names are missing or damaged"
    whole = "every file that the database names is there and undamaged"
    tell("files", found.is_fine, f"{found.files:,} with {found.bytes:,} bytes; {whole if found.is_fine else wrong}")
    sizes = (
        f"{len(found.orphans):,} with {sum(orphan.size_bytes for orphan in found.orphans):,} bytes belong to nothing"
    )
    done = f"{found.collected:,} deleted" if collect else "`heldout check --deep --collect` deletes them"
    tell("orphans", True, f"{sizes}; {done}" if found.orphans or collect else "none")
    return {
        "faults": [vars(fault) for fault in found.faults],
        "fixed": [vars(fault) for fault in found.fixed],
        "orphans": [{"key": orphan.key, "size_bytes": orphan.size_bytes} for orphan in found.orphans],
        "collected": found.collected,
    }


def _find_all(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    ignored = list_unknown_settings(os.environ)
    yield "settings", not ignored, " ".join(ignored) or "every HELDOUT_* variable is known"
    yield _check_database(settings)
    if settings.redis_url is not None:
        yield _check_broker(settings.redis_url.get_secret_value())
    yield _check_blobs(settings)
    yield _check_datasets(settings)
    present = find_spec("tensorflow") is not None
    yield (
        "tensorflow",
        present,
        "installed" if present else "not installed; a worker needs the dependency group `cpu` or `gpu`",
    )
    yield "gpu", True, _describe_gpus()
    yield _check_uploaded_files()


def _check_database(settings: Settings) -> tuple[str, bool, str]:
    try:
        with open_database(settings, any_revision=True) as database:
            revision = get_current(database)
    except OperatorError as error:
        return "database", False, error.detail
    except HeldoutError:
        return "database", False, "does not answer; check DATABASE_URL, the server and the password"
    if revision != get_newest():
        return "database", False, f"is at revision {revision}, but needs {get_newest()}; run `heldout migrate`"
    return "database", True, f"at revision {revision}"


def _check_broker(url: str) -> tuple[str, bool, str]:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3) as client:
            client.ping()
            policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except (redis.RedisError, OSError, ValueError):
        return "broker", False, "does not answer; check REDIS_URL, the server and the password"
    if policy not in {"noeviction", None}:
        return "broker", False, f"may drop messages: its maxmemory-policy is {policy}; set it to noeviction"
    return "broker", True, "answers, and never drops messages"


def _check_blobs(settings: Settings) -> tuple[str, bool, str]:
    try:
        Blobs(settings.blobs_url).check()
    except (HeldoutError, OSError):
        return "blobs", False, "cannot be written; check HELDOUT_BLOBS, its rights and the disk"
    return "blobs", True, "can be written and read"


def _check_datasets(settings: Settings) -> tuple[str, bool, str]:
    try:
        with open_database(settings) as database, database.read() as session:
            here = sorted(row.name for row in datasets.list_bundled(session) if row.status is DatasetStatus.READY)
    except OperatorError:
        return "datasets", False, "unknown, because the database is not one of this release"
    except HeldoutError:
        return "datasets", False, "unknown, because the database does not answer"
    missing = sorted(set(BUNDLED) - set(here))
    return "datasets", bool(here), f"here: {', '.join(here) or 'none'}; not here: {', '.join(missing) or 'none'}"


def _describe_gpus() -> str:
    # The NVML binding is light; worker/machine/devices.py uses it for the same reason.
    import pynvml

    try:
        pynvml.nvmlInit()
        return f"{pynvml.nvmlDeviceGetCount()} found"
    except pynvml.NVMLError:
        return "none found; jobs train on the CPU"


def _check_uploaded_files() -> tuple[str, bool, str]:
    # In its own process, because only the worker's code knows this, and this process does not import it.
    command = [sys.executable, "-m", "worker.machine.enclosure"]
    try:
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
        works, text = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return "uploaded files", False, "unknown; run `python -m worker.machine.enclosure`, which says why it fails"
    return "uploaded files", works, text


def check_deep(
    database: Database, blobs: Blobs, operator_files: Path, *, collect: bool, young: timedelta = YOUNG
) -> BlobCheck:
    """Compare rows with files, fix bundled datasets, and delete orphans if `collect` is set.

    Raises:
        OperatorError: if too many files would be deleted, so that this cannot be intended.
        DatabaseUnavailable, StorageUnavailable.
    """
    found = compare(database, blobs, young=young)
    faults = {fault.key: fault for fault in found.faults}
    for content in found.faulty_contents:
        if content.bundled is not None and store_again(
            database, blobs, content.bundled, content.sha256, operator_files
        ):
            found.fixed.append(faults.pop(f"datasets/{content.sha256}"))
    with database.write() as session:
        for key in relations.queue_lost_of_bundled(session, list(faults)):
            found.fixed.append(faults.pop(key))
    found.faults = list(faults.values())
    if collect:
        if len(found.orphans) > max(FEW_ORPHANS, found.files // 2):
            raise OperatorError(
                f"{len(found.orphans):,} of {found.files:,} files belong to nothing in the database. This may be "
                "another service's store, or an old database. Nothing was deleted. Check HELDOUT_BLOBS."
            )
        for orphan in found.orphans:
            blobs.delete(orphan.key)
        found.collected = len(found.orphans) + blobs.delete_partial(datetime.now(UTC) - young)
    return found
