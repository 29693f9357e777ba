"""Attempts at the features of a dataset whose processes follow a script: what they get, and how they end."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from analysis.arrays.dataset import save
from heldout.stored.looks import make_features_key, make_looks_key
from models import pretrained
from models.database import Database
from models.digests import compute_file_digest
from models.store import file_digests, searches
from models.tables import DatasetRow, JobRow, ModelRow
from tests.models.work import ALICE, dots
from tests.worker.supervision.bench import Bench, repeat, script_process
from worker.messages import FeaturesAssignment, FeaturesFound, FromTraining

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
WEIGHTS = b"weights"


class FeaturesBench(Bench):
    """A worker, and a dataset of alice's whose features are queued."""

    keeps_leases = True

    def __init__(self, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(database, folder, poll_s=0.05)
        self._monkeypatch = monkeypatch
        monkeypatch.setattr("worker.supervision.attempt_files.hold_dataset", lambda *_: nullcontext(folder))
        save(dots(), folder)
        with database.write() as session:
            session.get_one(DatasetRow, self.work.dataset.id).owner = ALICE
            self.job_id = searches.queue(session, searches.FEATURES, ALICE, self.work.dataset.id).id

    def add_weights(self) -> None:
        file = self.folder / "weights"
        file.write_bytes(WEIGHTS)
        self.blobs.put("models/mod_1/shared", file)
        digest = compute_file_digest(file)
        row = ModelRow(
            id="mod_1", name="net", key="models/mod_1/shared", sha256=digest.sha256, size_bytes=digest.size_bytes
        )
        self._monkeypatch.setattr(pretrained, "find_shared", lambda *_: row)

    def compute(self, answer) -> list:
        started = script_process(self._monkeypatch, repeat(answer))
        self.run()
        return started

    @property
    def job(self) -> JobRow:
        return self.work.row(self.job_id)

    @property
    def status(self) -> str:
        with self.work.database.read() as session:
            return session.get_one(DatasetRow, self.work.dataset.id).features_status


@pytest.fixture
def bench(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeaturesBench]:
    bench = FeaturesBench(database, tmp_path, monkeypatch)
    yield bench
    bench.scratch.close()


def answer(assignment: FeaturesAssignment) -> FromTraining:
    assert assignment.model.read_bytes() == WEIGHTS
    assert assignment.cache.owner == ALICE
    found = FeaturesFound(assignment.scratch / "features.npz", assignment.scratch / "looks.json")
    found.features.write_bytes(b"features")
    found.looks.write_bytes(b"looks")
    return found


def test_features_are_stored_with_their_digests(bench: FeaturesBench) -> None:
    bench.add_weights()
    bench.compute(answer)
    assert (bench.job.status, bench.status) == ("succeeded", "stored")
    for key, content in ((make_features_key, b"features"), (make_looks_key, b"looks")):
        with bench.work.database.read() as session:
            digest = file_digests.find(session, key(bench.work.dataset.id))
        assert digest is not None
        assert bench.blobs.read(key(bench.work.dataset.id), digest) == content


def test_without_a_pretrained_network_it_says_so_and_starts_no_process(bench: FeaturesBench) -> None:
    assert bench.compute(answer) == []
    assert (bench.job.status, bench.status) == ("failed", "failed")
    assert bench.job.error["code"] == "model_unavailable"
    assert "no pretrained network" in bench.job.error["detail"]


def test_damaged_weights_are_one_clear_error(bench: FeaturesBench) -> None:
    bench.add_weights()
    bench.blobs.put("models/mod_1/shared", Path(__file__))
    assert bench.compute(answer) == []
    assert "lost or damaged" in bench.job.error["detail"]


def test_a_waiting_training_ends_it_and_it_is_queued_again(bench: FeaturesBench) -> None:
    bench.add_weights()
    submitted: list[str] = []

    def submit(_: FeaturesAssignment) -> None:
        if not submitted:
            submitted.append(bench.work.submit())

    bench.compute(submit)
    assert (bench.job.status, bench.job.failures, bench.status) == ("queued", 0, "queued")
    assert [bench.work.claim().held.job_id for _ in range(2)] == [submitted[0], bench.job_id]
