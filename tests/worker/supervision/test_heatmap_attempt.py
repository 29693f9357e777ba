"""A worker keeps heatmaps as files, and says why one cannot be computed.

Real processes compute them in `tests/e2e/test_pages.py`.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.exc import NoResultFound

from analysis.arrays.dataset import ImageSet
from analysis.arrays.heatmaps import read_maps
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.database import Database
from models.store import artifacts, heatmaps, jobs
from models.tables import JobRow
from tests.models.work import ALICE
from tests.worker.supervision.bench import repeat, script_process
from tests.worker.supervision.test_export_attempt import ExportBench
from worker.messages import HeatmapAssignment, ResultWritten
from worker.training.measuring.heatmap import compute_heatmaps, make_maps

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

INDEX, CLASSES = 17, (3, 8)


@pytest.fixture
def bench(database: Database, tmp_path: Path, digits: ImageSet) -> Iterator[ExportBench]:
    bench = ExportBench(database, tmp_path, digits)
    yield bench
    bench.scratch.close()


def order(bench: ExportBench) -> None:
    with bench.work.database.write() as session:
        heatmaps.queue(session, session.get_one(JobRow, bench.job_id), INDEX, CLASSES)


def test_a_worker_keeps_the_maps_as_a_file(bench: ExportBench, monkeypatch) -> None:
    script_process(monkeypatch, repeat(make_maps))
    order(bench)
    row = bench.run()
    assert row.status == "succeeded", row.error
    with bench.work.database.read() as session:
        stored = artifacts.find(session, row.id, ArtifactName.HEATMAP, ArtifactFormat.NPZ)
    assert stored is not None
    maps = read_maps(bench.blobs.read(stored.key, stored.digest))
    model = keras.models.load_model(bench.folder / "model.keras")
    image = bench.images.images[INDEX].astype(np.float32)
    np.testing.assert_allclose(maps, compute_heatmaps(model, image, CLASSES), rtol=1e-5)
    assert maps.max() > 0


def test_a_network_without_maps_fails_once_with_its_own_code(bench: ExportBench, monkeypatch) -> None:
    """Only uploaded networks can be without convolutions."""
    pixels = keras.Input((8, 8, 1))
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(pixels)))
    file = bench.folder / "dense.keras"
    keras.Model(pixels, keras.layers.Softmax(name="probabilities")(logits)).save(file)
    script_process(monkeypatch, repeat(lambda assignment: make_maps(replace(assignment, model=file))))
    order(bench)
    row = bench.run()
    assert (row.status, row.error["code"]) == ("failed", "no_map")
    assert "Networks with convolutions have such maps." in row.error["detail"]


def test_a_model_that_is_gone_ends_the_job(bench: ExportBench) -> None:
    order(bench)
    bench.blobs.delete(f"jobs/{bench.job_id}/1/model.keras")
    row = bench.run()
    assert (row.status, row.error["code"]) == ("failed", "model_unavailable")


def test_a_training_deleted_meanwhile_leaves_no_file(bench: ExportBench, monkeypatch) -> None:
    def delete_and_answer(assignment: HeatmapAssignment) -> ResultWritten:
        with bench.work.database.write() as session:
            jobs.remove(session, ALICE, bench.job_id)
        return make_maps(assignment)

    script_process(monkeypatch, repeat(delete_and_answer))
    order(bench)
    claimed = bench.work.claim()
    with pytest.raises(NoResultFound):  # the row of the job is gone
        bench.run(claimed)
    with bench.work.database.read() as session:
        assert session.scalars(select(JobRow)).all() == []
    assert list(bench.blobs.stored(f"jobs/{claimed.held.job_id}")) == []
