"""Attempts at the features of a dataset whose processes follow a script: what they get, and how they end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from heldout.stored.looks import make_features_key, make_looks_key
from models import pretrained
from models.database import Database
from models.digests import compute_file_digest
from models.store import file_digests, searches
from models.tables import ModelRow
from tests.models.work import ALICE
from tests.worker.supervision.bench import SearchBench
from worker.messages import FeaturesAssignment, FeaturesFound, FromTraining

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
WEIGHTS = b"weights"


class FeaturesBench(SearchBench):
    """A worker, and a dataset whose features are queued."""

    def add_weights(self) -> None:
        file = self.folder / "weights"
        file.write_bytes(WEIGHTS)
        self.blobs.put("models/mod_1/shared", file)
        digest = compute_file_digest(file)
        row = ModelRow(
            id="mod_1", name="net", key="models/mod_1/shared", sha256=digest.sha256, size_bytes=digest.size_bytes
        )
        self.monkeypatch.setattr(pretrained, "find_shared", lambda *_: row)


@pytest.fixture
def bench(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeaturesBench]:
    bench = FeaturesBench(database, tmp_path, monkeypatch, searches.FEATURES)
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
    bench.search(answer)
    assert (bench.job.status, bench.dataset_status) == ("succeeded", "stored")
    for key, content in ((make_features_key, b"features"), (make_looks_key, b"looks")):
        with bench.work.database.read() as session:
            digest = file_digests.find(session, key(bench.work.dataset.id))
        assert digest is not None
        assert bench.blobs.read(key(bench.work.dataset.id), digest) == content


def test_without_a_pretrained_network_it_says_so_and_starts_no_process(bench: FeaturesBench) -> None:
    assert bench.search(answer) == []
    assert (bench.job.status, bench.dataset_status) == ("failed", "failed")
    assert bench.job.error["code"] == "model_unavailable"
    assert "no pretrained network" in bench.job.error["detail"]


def test_damaged_weights_are_one_clear_error(bench: FeaturesBench) -> None:
    bench.add_weights()
    bench.blobs.put("models/mod_1/shared", Path(__file__))
    assert bench.search(answer) == []
    assert "lost or damaged" in bench.job.error["detail"]


def test_a_waiting_training_ends_it_and_it_is_queued_again(bench: FeaturesBench) -> None:
    bench.add_weights()
    submitted: list[str] = []

    def submit(_: FeaturesAssignment) -> None:
        if not submitted:
            submitted.append(bench.work.submit())

    bench.search(submit)
    assert (bench.job.status, bench.job.failures, bench.dataset_status) == ("queued", 0, "queued")
    assert [bench.work.claim().held.job_id for _ in range(2)] == [submitted[0], bench.job_id]
