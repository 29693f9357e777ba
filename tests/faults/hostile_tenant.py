"""What a hostile tenant has stored: a large dataset, a large table of predictions, and a slow model.

They are stored as a worker would have stored them. Attacks find them by name.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import update

from analysis.arrays.dataset import compute_content_address
from heldout.service.settings import Settings
from heldout.stored.artifacts import ArtifactName
from models import bundled
from models.blobs import Blobs
from models.database import Database
from models.ids import make_id
from models.store import datasets
from models.tables import ArtifactRow, DatasetRow
from tests.api.support import PlayedWorker
from tests.predict.world import World, network_file

LARGE, TABLE, SLOW, QUICK, PHOTOS = "large", "table", "slow", "quick", "photos"
DIGITS = bundled.BUNDLED["digits"].read(Path("/nonexistent"))
IMAGES_OF_LARGE = 400_000  # some 2.7 MB of splits
ROWS_OF_TABLE, CLASSES_OF_TABLE = 20_000, 300


def prepare(settings: Settings, hostile: str, victim: str) -> None:
    """Store everything for these two owners."""
    database, blobs = Database(settings.database), Blobs(settings.blobs_url)
    add_large_dataset(database, blobs, hostile)
    # Like an upload of digits whose images were resized, so that predictions take images of other sizes.
    _add_dataset(
        database, PHOTOS, hostile, compute_content_address(DIGITS), resize={"height": 8, "width": 8, "rule": "pad"}
    )
    worker = PlayedWorker(database, blobs)
    for owner, name, file in (
        (hostile, SLOW, network_file(filters=256, depth=4)),
        (victim, QUICK, network_file()),
        (hostile, TABLE, network_file()),
        (hostile, PHOTOS, network_file()),
    ):
        world = World("", settings, database, worker, "", "", "", file, DIGITS, owner)
        job_id = world.trained(calibrated=False, name=name, dataset=PHOTOS if name == PHOTOS else "digits")
        world.export(job_id)
        if name == TABLE:
            with database.write() as session:
                changed = update(ArtifactRow).where(
                    ArtifactRow.job_id == job_id, ArtifactRow.name == ArtifactName.PREDICTIONS
                )
                session.execute(changed.values(key=f"jobs/{job_id}/table.npz", size_bytes=None, sha256=None))
            blobs.put(f"jobs/{job_id}/table.npz", _table())
    database.dispose()


def add_large_dataset(database: Database, blobs: Blobs, owner: str) -> None:
    third = IMAGES_OF_LARGE // 3
    content, sha256 = io.BytesIO(), "4" * 64
    rows = np.random.default_rng(0).permutation(IMAGES_OF_LARGE)
    np.savez(content, train=rows[:third], validation=rows[third : 2 * third], test=rows[2 * third :])
    blobs.put(f"datasets/{sha256}/splits.npz", content.getvalue())
    _add_dataset(database, LARGE, owner, sha256)


def _add_dataset(database: Database, name: str, owner: str, sha256: str, **spec: Any) -> None:
    """Add a dataset with the known facts about the digits."""
    with database.write() as session:
        id_ = make_id("ds")
        datasets.add_bundled(session, id_, name, DIGITS, sha256, size_bytes=1)
        own = {"owner": owner, "spec": {"name": name, **spec}}
        session.execute(update(DatasetRow).where(DatasetRow.id == id_).values(**own))


def _table() -> bytes:
    """Return a `predictions.npz` whose table has about 80 MB."""
    chances = np.random.default_rng(0).random((ROWS_OF_TABLE, CLASSES_OF_TABLE), np.float32)
    chances /= chances.sum(axis=1, keepdims=True)
    content = io.BytesIO()
    np.savez(
        content,
        classes=np.array([f"class{number}" for number in range(CLASSES_OF_TABLE)]),
        test_indices=np.arange(ROWS_OF_TABLE),
        test_labels=np.zeros(ROWS_OF_TABLE, np.int32),
        test_probabilities=chances,
    )
    return content.getvalue()
