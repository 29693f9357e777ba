"""With an object store, uploads, datasets, checkpoints and models are stored there and nowhere else."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from analysis.arrays.dataset import SPLITS
from tests.e2e.running import until, wait_for_end
from tests.e2e.stack import SHORT, Stack
from tests.e2e.test_datasets import SMALL, digits_zip, pushed
from tests.object_store import S3Server


@pytest.fixture
def stack(s3_url: str, sqlite_url: str, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path / "stack", sqlite_url, HELDOUT_BLOBS=s3_url, **SHORT)
    yield made
    made.close()


def kinds(s3_server: S3Server, url: str) -> set[str]:
    """List the folders of the first level."""
    return {key.removeprefix("some/prefix/").split("/")[0] for key in s3_server.keys(url)}


def test_own_images_go_through_an_object_store_and_come_back_as_a_model(
    stack: Stack, s3_server: S3Server, s3_url: str, tmp_path: Path
) -> None:
    [worker] = stack.start(workers=1)
    with stack.client() as client:
        dataset = pushed(client, digits_zip(tmp_path / "digits.zip"))
        assert dataset.status == "ready", dataset.error
        address = f"some/prefix/datasets/{dataset.sha256}"
        assert {f"{address}/images.npy", f"{address}/about.json"} <= set(s3_server.keys(s3_url))
        splits = client.datasets.split_indices(dataset.id)
        assert sum(len(getattr(splits, name)) for name in SPLITS) == 1797

        quick = {"optimizer": {"name": "adam", "learning_rate": 0.01}}
        spec = SMALL | {"training": SMALL["training"] | quick, "dataset": "own"}
        job = wait_for_end(client, client.jobs.create(spec).id)
        assert job.status == "succeeded", job.error
        final = client.jobs.metrics(job.id).final
        served = sum(getattr(final, name).accuracy * getattr(final, name).count for name in SPLITS) / 1797
        client.jobs.download_model(job.id, tmp_path / "model.keras")
        assert accuracy_on_digits(tmp_path / "model.keras") == pytest.approx(served, abs=0.002)
        assert served > 0.5
        client.jobs.download_predictions(job.id, tmp_path / "predictions.npz")
        with np.load(tmp_path / "predictions.npz") as predictions:
            assert len(predictions.files) > 0

        # The worker's disk has a copy of the dataset but no file of the job. It may have copies of bundled datasets,
        # in which it looks for relations.
        home = stack.homes / worker.name
        bundled = {dataset.sha256 for dataset in client.datasets.list() if dataset.bundled}
        assert {path.name for path in (home / "datasets").iterdir() if path.is_dir()} - bundled == {dataset.sha256}
        assert not stack.blobs.exists()
        assert not (home / "blobs").exists()
        assert kinds(s3_server, s3_url) == {"datasets", "jobs"}  # the upload is gone once it is checked

        client.jobs.delete(job.id)
        client.datasets.delete(dataset.id)
        until(lambda: "jobs" not in kinds(s3_server, s3_url), "the removal of the job's files")
        until(
            lambda: not [key for key in s3_server.keys(s3_url) if key.startswith(address)], "the removal of the images"
        )


def accuracy_on_digits(model: Path) -> float:
    digits = load_digits()
    pixels = (digits.images * 15.9).astype(np.uint8)[..., np.newaxis]
    predicted = keras.saving.load_model(model)(pixels).numpy().argmax(axis=1)
    return float((predicted == digits.target).mean())
