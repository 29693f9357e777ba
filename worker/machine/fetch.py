"""Downloads the bundled datasets that the operator named in `HELDOUT_FETCH` and that are not stored yet."""

import subprocess
import sys
from pathlib import Path

import structlog

from heldout.errors import DatabaseUnavailable
from heldout.lifecycle.dataset import DatasetStatus
from heldout.service.parent_process import launched
from heldout.service.settings import Settings
from models.database import Database
from models.store import datasets

log = structlog.get_logger()

DOWNLOAD_TIMEOUT_S = 1800


def fetch_missing(settings: Settings, database: Database) -> None:
    """Fetch what `HELDOUT_FETCH` names and nobody has stored; each in a process of its own, which may load Keras."""
    try:
        with database.read() as session:
            present = {row.name for row in datasets.bundled(session) if row.status is DatasetStatus.READY}
    except DatabaseUnavailable:
        log.warning("database_unavailable", thread="fetch")
        return
    for name in settings.fetch:
        if name in present:
            continue
        try:
            done = subprocess.run(
                launched([sys.executable, "-m", "worker.training.download", name]),
                stdin=subprocess.DEVNULL,
                timeout=DOWNLOAD_TIMEOUT_S,
                cwd=Path(__file__).resolve().parents[2],
                check=False,
            )
            log.info("dataset_fetched" if done.returncode == 0 else "dataset_not_fetched", dataset=name)
        except subprocess.TimeoutExpired:
            log.warning("dataset_not_fetched", dataset=name, after_s=DOWNLOAD_TIMEOUT_S)
