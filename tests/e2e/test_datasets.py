"""A user's own images, from a folder to a training: a real service, whose ingests run in separate processes."""

import csv
import io
import os
import signal
import stat
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from heldout.client.client import Client
from heldout.client.datasets import DatasetRejected
from heldout.errors import DatasetDamaged
from heldout.views.dataset import DatasetView
from models.blobs import Blobs
from tests.damaged_files import damage
from tests.e2e.external_runner import make_answers
from tests.e2e.running import (
    ROOT,
    Service,
    assert_trained_again,
    lives,
    spec,
    until,
    wait_for_end,
    wait_for_epoch,
)

DIGITS = load_digits()


def digits_zip(path: Path, *, size: int = 8) -> Path:
    """Write the 1,797 real digits as `split/class/name.png`, a fifth as test."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (pixels, label) in enumerate(zip(DIGITS.images, DIGITS.target, strict=True)):
            picture = Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((size, size))
            file = io.BytesIO()
            picture.save(file, "PNG")
            split = "test" if number % 5 == 0 else "train"
            archive.writestr(f"{split}/{label}/{number:04d}.png", file.getvalue())
    return path


def pushed(client: Client, content: Path, **dataset: object) -> DatasetView:
    """Push the files, and return the dataset once its ingest has ended, ready or rejected."""
    try:
        return client.datasets.push(content, **{"name": "own", **dataset})
    except DatasetRejected as rejected:
        return rejected.dataset


def _settled(client: Client, dataset_id: str) -> DatasetView | None:
    dataset = client.datasets.get(dataset_id)
    return None if dataset.status in {"uploading", "checking"} else dataset


def test_own_images_are_ingested_and_trained_on(client: Client, service: Service, tmp_path: Path) -> None:
    dataset = pushed(client, digits_zip(tmp_path / "digits.zip"), description="Small digits.")
    assert dataset.status == "ready", dataset.error
    assert (dataset.shape, dataset.dtype, dataset.range) == ((8, 8, 1), "uint8", (0, 255))
    assert dataset.classes == [str(digit) for digit in range(10)]
    counts = {name: split.count for name, split in dataset.splits}
    assert counts["test"] == 360
    assert sum(counts.values()) == 1797
    trained = wait_for_end(client, client.jobs.create({**spec("overfit"), **SMALL, "dataset": "own"}).id)
    assert trained.status == "succeeded", trained.error
    assert client.jobs.metrics(trained.id).final.test.count == 360
    mistakes = client.jobs.confusion(trained.id).splits["test"].mistakes
    client.jobs.download_predictions(trained.id, tmp_path / "predictions.csv", "csv")
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        lines = {(line["split"], int(line["index"])): line for line in csv.DictReader(file)}
    assert len(lines) == 1797
    for mistake in mistakes:
        line = lines["test", mistake.index]
        assert mistake.member == line["file"]
        assert mistake.member.startswith(f"test/{mistake.label}/")
        assert (line["label"], line["answer"], line["correct"]) == (mistake.label, mistake.answer, "false")
        assert Image.open(io.BytesIO(client.datasets.picture(mistake.thumbnail))).format == "PNG"
    assert not list((service.home / "blobs" / "uploads").rglob("*.*"))
    script = tmp_path / "again.py"
    exporting = [sys.executable, "-m", "heldout", "export", trained.id, "--format", "python", "-o", str(script)]
    subprocess.run([*exporting, "--home", str(service.home)], check=True, capture_output=True, cwd=ROOT)
    assert_trained_again(client, trained.id, script, tmp_path / "digits.zip")
    # The ingest has noted digests: a changed byte is noticed, even by a worker that has used the file before.
    blobs, labels = Blobs((service.home / "blobs").as_uri()), f"datasets/{dataset.sha256}/labels.npy"
    whole = damage(blobs, labels, "flipped")
    failed = wait_for_end(client, client.jobs.create({**SMALL, "dataset": "own"}).id)
    assert failed.error.code == "dataset_damaged"
    assert "The file with the labels of the dataset is damaged" in failed.error.detail
    assert str(service.home) not in failed.error.detail
    with pytest.raises(DatasetDamaged, match="The file with the labels of the dataset is damaged"):
        client.datasets.images(dataset.id)
    blobs.put(labels, whole)


SMALL = {
    "network": {"blocks": [{"filters": 8, "padding": "same"}]},
    "training": {"epochs": 2, "batch_size": 32, "seed": 7},
}


def list_open_files(home: Path) -> list[str]:
    """List what under a home is accessible to others than its owner, with its mode."""
    found = []
    for path in (home, *home.rglob("*")):
        with suppress(FileNotFoundError):  # removed meanwhile
            if not path.is_symlink() and (mode := path.stat().st_mode) & 0o077:
                found.append(f"{stat.filemode(mode)} {path.relative_to(home)}")
    return found


def test_all_that_a_service_writes_in_its_home_is_its_owners_alone(service: Service, client: Client, tmp_path: Path):
    """Whatever the umask: while a job runs, and after it, an upload, an export and a study."""
    home = service.home
    assert pushed(client, digits_zip(tmp_path / "digits.zip"), name="private").status == "ready"
    job = {**spec("overfit"), **SMALL, "dataset": "private", "name": "private"}
    running = client.jobs.create({**job, "training": {**SMALL["training"], "epochs": 200}})
    wait_for_epoch(client, running.id, 1)
    assert any((home / "scratch").rglob(f"{running.id}*"))
    assert list_open_files(home) == []
    client.jobs.cancel(running.id)
    wait_for_end(client, running.id)
    trained = wait_for_end(client, client.jobs.create(job).id)
    client.jobs.download_model(trained.id, tmp_path / "model.onnx", "onnx")
    external = client.studies.external({"base": {}, "better": {}}, seeds=2)
    while (run := client.studies.ask(external.id).run) is not None:
        (tmp_path / "answers.npz").write_bytes(make_answers(run.arm, run.seed))
        client.studies.tell(external.id, run.run, run.token, tmp_path / "answers.npz")
    assert list_open_files(home) == []
    kinds = {path.parts[0] for path in (file.relative_to(home) for file in home.rglob("*"))}
    assert kinds >= {"api-key", "blobs", "heldout.db", "lock", "logs", "scratch", "service.json"}


def test_a_worker_that_is_killed_in_an_ingest_is_followed_by_another(
    client: Client, service: Service, tmp_path: Path
) -> None:
    made = client.datasets.create({"name": "interrupted"})
    client.datasets.upload(made.id, digits_zip(tmp_path / "digits.zip"))
    ingester = until(service.ingesting_pids, "an ingest")[0]
    os.kill(ingester, signal.SIGSTOP)  # so that it cannot end before its worker is killed
    os.kill(service.worker_pid(), signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(ingester, signal.SIGCONT)
    until(lambda: not lives(ingester), "the end of the ingest's process")
    dataset = until(lambda: _settled(client, made.id), "the end of the ingest")
    assert dataset.status == "ready", dataset.error
    assert sum(split.count for _, split in dataset.splits) == 1797


def test_deleting_a_dataset_ends_its_ingest_and_leaves_nothing(
    client: Client, service: Service, tmp_path: Path
) -> None:
    made = client.datasets.create({"name": "deleted"})
    client.datasets.upload(made.id, digits_zip(tmp_path / "digits.zip"))
    ingester = until(service.ingesting_pids, "an ingest")[0]
    os.kill(ingester, signal.SIGSTOP)  # so that it cannot end before its dataset is deleted
    client.datasets.delete("deleted")
    until(lambda: not lives(ingester), "the end of the ingest's process", within_s=60)
    assert "deleted" not in [dataset.name for dataset in client.datasets.list()]
    blobs = service.home / "blobs"
    until(lambda: not list(blobs.glob(f"uploads/{made.id}/*")), "the end of the upload's file", within_s=60)
    assert not (blobs / "datasets" / made.id).exists()


@pytest.mark.proof
def test_a_service_that_is_stopped_in_an_ingest_continues_it_at_its_next_start(make_service, tmp_path: Path) -> None:
    service = make_service().start()
    with service.client() as client:
        made = client.datasets.create({"name": "own"})
        client.datasets.upload(made.id, digits_zip(tmp_path / "large.zip", size=128))
        until(service.ingesting_pids, "an ingest")
    assert service.stop() == 0
    with service.start().client() as client:
        dataset = until(lambda: _settled(client, made.id), "the end of the ingest")
        assert dataset.status == "ready", dataset.error
