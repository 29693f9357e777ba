"""A prediction server in a thread, with models of jobs on the bundled digits, made once for all tests."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.arrays.dataset import compute_content_address, save
from heldout.service.settings import Settings
from models import bundled
from models.blobs import Blobs
from models.database import Database
from models.ids import make_id
from models.store import datasets, keys
from tests.api.support import PlayedWorker
from tests.predict.world import World, network_file, predicting


@pytest.fixture(scope="package")
def world(log_lines: io.StringIO, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("predict")
    shutil.copyfile(sqlite_template, home / "heldout.db")
    settings = Settings(home=home, redis_url=None, max_predict_bytes=1024**2)
    database, blobs = Database(settings.database), Blobs(settings.blobs_url)
    digits = bundled.BUNDLED["digits"].read(Path("/nonexistent"))
    folder, sha256 = tmp_path_factory.mktemp("digits"), compute_content_address(digits)
    save(digits, folder)
    for file in folder.iterdir():
        blobs.put(f"datasets/{sha256}/{file.name}", file)
    with database.write() as session:
        datasets.add_bundled(session, make_id("ds"), "digits", digits, sha256, size_bytes=1)
        key = keys.make(session, "ada")
    made = World("", settings, database, PlayedWorker(database, blobs), key, "", "", network_file(), digits)
    made.job, made.unseen = made.trained(calibrated=True), made.trained(calibrated=False, test="never")
    for job_id in (made.job, made.unseen):
        made.export(job_id)
    with predicting(settings) as made.url:
        yield made
    database.dispose()
