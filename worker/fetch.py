"""Downloads a bundled dataset through Keras' own loader: `python -m worker.fetch NAME`, started by a worker."""

import subprocess
import sys
from pathlib import Path

import structlog

from heldout.errors import DatabaseUnavailable
from heldout.settings import Settings
from models import bundled, logs
from models.blobs import Blobs
from models.database import Database
from models.store import datasets

log = structlog.get_logger()

LIMIT_S = 1800


def fetch_missing(settings: Settings, database: Database) -> None:
    """Fetch what `HELDOUT_FETCH` names and nobody has stored; each in a process of its own, which may load Keras."""
    try:
        with database.read() as session:
            present = {row.name for row in datasets.bundled(session) if row.status == "ready"}
    except DatabaseUnavailable:
        log.warning("database_unavailable", thread="fetch")
        return
    for name in settings.fetch:
        if name in present:
            continue
        try:
            done = subprocess.run(
                [sys.executable, "-m", "worker.fetch", name],
                stdin=subprocess.DEVNULL,
                timeout=LIMIT_S,
                cwd=Path(__file__).resolve().parent.parent,
                check=False,
            )
            log.info("dataset_fetched" if done.returncode == 0 else "dataset_not_fetched", dataset=name)
        except subprocess.TimeoutExpired:
            log.warning("dataset_not_fetched", dataset=name, after_s=LIMIT_S)


def main(name: str) -> None:
    """Load `name` with Keras, which downloads and checks it, and store it for everyone."""
    settings = Settings()
    logs.configure(settings.log_level)
    classes = {"mnist": bundled.DIGITS, "fashion_mnist": bundled.GARMENTS, "cifar10": bundled.CIFAR10}
    if name not in classes:
        raise SystemExit(f"heldout: Keras has no loader for {name!r}; expected one of {', '.join(classes)}.")
    import keras

    (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    images = bundled.from_arrays(x_train, y_train, x_test, y_test, classes[name])
    bundled.store(Database(settings.database), Blobs(settings.blobs_url), name, images)


if __name__ == "__main__":
    main(sys.argv[1])
