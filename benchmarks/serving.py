"""A service to measure: a uvicorn process, and a database with a key, a dataset and jobs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from heldout.spec.job import JobSpec
from models import bundled
from models.blobs import Blobs
from models.database import Database
from models.job_creation import create_job
from models.migrations import upgrade
from models.store import keys

ROOT = Path(__file__).resolve().parent.parent
OWNER = "bench"
MAX_PARAMETERS = 10_000_000


def chosen(name: str) -> bool:
    """Return whether BENCH_DATABASE (`SQLite`, `PostgreSQL`) names this database, or none."""
    return os.environ.get("BENCH_DATABASE", name) == name


@dataclass(frozen=True)
class Served:
    port: int
    pid: int

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def served(app: str, options: list[str], environment: Mapping[str, str]) -> Iterator[Served]:
    """One uvicorn process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", app, *options, "--port", "0", "--no-access-log"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "running on http" in line:
                port = int(line.rpartition("http://127.0.0.1:")[2].split()[0].rstrip('",'))
                break
        else:
            raise SystemExit(f"{app} did not start.")
        yield Served(port, process.pid)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def service(url: str, folder: str) -> Iterator[Served]:
    """Run our API on a database that `prepare` has made."""
    blobs = Path(folder, "blobs").as_uri()
    environment = {"DATABASE_URL": url, "HELDOUT_BLOBS": blobs, "HELDOUT_HOME": folder, "LOG_LEVEL": "WARNING"}
    with served("api.app:from_environment", ["--factory"], environment) as running:
        yield running


def prepare(database: Database, folder: str) -> str:
    """Make tables, the dataset `digits` and a key, and return the key."""
    upgrade(database)
    bundled.register(database, Blobs(Path(folder, "blobs").as_uri()), Path(folder))
    with database.write() as session:
        return keys.make(session, OWNER)


def add_job(database: Database) -> str:
    """Add a queued job of the key's owner, and return its id."""
    example = json.loads((ROOT / "examples" / "overfit.json").read_text())
    # The example's network would shrink the smaller images of `digits` below one pixel.
    blocks = [{**block, "padding": "same"} for block in example["network"]["blocks"]]
    spec = JobSpec.model_validate({**example, "dataset": "digits", "network": {"blocks": blocks}})
    with database.write() as session:
        return create_job(session, Blobs("memory:///"), OWNER, spec, max_parameters=MAX_PARAMETERS)[0].id
