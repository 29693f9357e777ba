"""Every route that reads a missing, truncated or corrupted file names it, and no other route changes."""

from pathlib import Path

import numpy as np
import pytest

from analysis.arrays.dataset import ImageSet, compute_content_address, compute_split_digests, save
from analysis.arrays.relations import Relations, save_relations
from heldout.lifecycle.job import StopReason
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.audit import IngestedContent, SplitCounts, StoredAudit
from heldout.stored.evaluation import SPLIT_NAMES, StoredClassScores, StoredEvaluation, StoredSplitScores
from heldout.stored.gap import StoredGap, Tally
from heldout.stored.results import FinalView
from models.digests import compute_file_digest
from models.store import claims, ingests, model_evaluations, searches
from models.store.artifacts import Artifact
from models.stored_files import store_artifact
from tests.api.routes.datasets.test_suspects import make_suspects
from tests.api.routes.exported import store_export as store_export
from tests.api.routes.models.test_models_served import FACTS, MEASURED, add_model
from tests.api.support import FINAL, assert_problem, sqlite_only, submit
from tests.damaged_files import damage, walk

pytestmark = sqlite_only

CLASSES = ("cat", "dog")
TALLY = Tally(count=8, correct=6, loss=0.5, loss_variance=0.1)


def make_images() -> ImageSet:
    rows = np.arange(40, dtype=np.int64)
    return ImageSet(
        images=np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1)).astype(np.uint8),
        labels=(rows % 2).astype(np.int32),
        splits={"train": rows[:24], "validation": rows[24:32], "test": rows[32:]},
        classes=CLASSES,
        value_range=(0, 255),
    )


@pytest.fixture
def dataset(client, worker, tmp_path) -> dict[str, str]:
    """Return a dataset of `ada` with every file that an ingest and a search for wrong labels leave."""
    made = client.post("/v1/datasets", json={"name": "pets"}).json()
    client.put(f"/v1/datasets/{made['id']}/content", content=b"the API does not parse uploads")
    folder, stored, sha256 = tmp_path / "dataset", make_images(), compute_content_address(make_images())
    (folder / "preview").mkdir(parents=True)
    save(stored, folder)
    of_content = [file.name for file in folder.iterdir() if file.is_file()]
    counts = {name: SplitCounts(count=8, per_class=(4, 4)) for name in SPLIT_NAMES}
    source = {"format": "image folder in zip"}
    audit = StoredAudit(sha256=sha256, splits=counts, statistics={}, findings=(), checks={}, source=source)
    (folder / "audit.json").write_bytes(audit.to_bytes())
    (folder / "members.txt").write_text("".join(f"{CLASSES[row % 2]}/{row}.png\n" for row in range(40)))
    save_relations(Relations(np.arange(40, dtype=np.int32)), folder / "relations.npz")
    for number in range(len(CLASSES)):
        (folder / "preview" / f"{number}.png").write_bytes(b"the API does not parse pictures")
    digests = {}
    for file in folder.rglob("*.*"):
        name = file.relative_to(folder).as_posix()
        key = f"datasets/{sha256 if name in of_content else made['id']}/{name}"
        worker.blobs.put(key, file)
        digests[key] = compute_file_digest(file)
    splits = {
        name: {"count": len(rows), "per_class": [len(rows) // 2] * 2, "sha256": compute_split_digests(stored)[name]}
        for name, rows in stored.splits.items()
    }
    content = IngestedContent(sha256, 1, (28, 28, 1), "uint8", (0, 255), CLASSES, splits)
    held = worker.claim()
    with worker.database.write() as session:
        ingests.mark_ready(session, held, made["id"], content, digests)
    client.get(f"/v1/datasets/{made['id']}/suspects")
    search_for_wrong_labels(worker, made["id"], tmp_path)
    return {"dataset": made["id"], "sha256": sha256}


def search_for_wrong_labels(worker, dataset_id: str, folder: Path) -> None:
    held, file = worker.claim(), folder / "suspects.json"
    file.write_bytes(make_suspects(1, classes=()).to_bytes())
    worker.blobs.put(f"datasets/{dataset_id}/suspects.json", file)
    digests = {f"datasets/{dataset_id}/suspects.json": compute_file_digest(file)}
    with worker.database.write() as session:
        searches.mark_stored(session, searches.SUSPECTS, held, dataset_id, digests)


def store_files(worker, job: str, folder: Path) -> tuple[Artifact, ...]:
    """Store one file of each kind, as a training does."""
    model, predictions = folder / "model.keras", folder / "predictions.npz"
    model.write_bytes(b"the API does not parse models" * 1000)
    probabilities = np.tile(np.array([0.9, 0.1], np.float32), (24, 1))
    rows = make_images().splits["train"]
    np.savez(
        predictions, train_indices=rows, train_labels=make_images().labels[rows], train_probabilities=probabilities
    )
    of_class = StoredClassScores(count=4, precision=0.5, recall=0.5, f1=0.5)
    scores = StoredSplitScores(
        confusion=((3, 1), (1, 3)), per_class=(of_class, of_class), calibration_error=0.1, mistakes=()
    )
    evaluation = StoredEvaluation(classes=CLASSES, splits=dict.fromkeys(SPLIT_NAMES, scores))
    gap = StoredGap(kept_epoch=2, epochs=2, train=TALLY, validation=TALLY, test=TALLY)
    for content in (evaluation, gap):
        (folder / content.file_name).write_bytes(content.to_bytes())
    files = (
        (ArtifactName.MODEL, ArtifactFormat.KERAS, model),
        (ArtifactName.PREDICTIONS, ArtifactFormat.NPZ, predictions),
        (ArtifactName.EVALUATION, ArtifactFormat.JSON, folder / evaluation.file_name),
        (ArtifactName.GAP, ArtifactFormat.JSON, folder / gap.file_name),
    )
    return tuple(
        store_artifact(worker.blobs, f"jobs/{job}/1/{file.name}", file, name, format_) for name, format_, file in files
    )


@pytest.fixture
def ids(client, worker, spec, dataset, tmp_path) -> dict[str, str]:
    """Store a file of each kind and return the ids of what they belong to."""
    job = submit(client, {**spec, "dataset": "pets"})
    held = worker.claim()
    worker.begin(held, job["spec"])
    for epoch in (1, 2):
        worker.epoch(held, epoch)
    result = claims.Result(FinalView.model_validate(FINAL), store_files(worker, job["id"], tmp_path))
    with worker.database.write() as session:
        claims.succeed(session, held, result=result, stop_reason=StopReason.COMPLETED)
    client.post(f"/v1/jobs/{job['id']}/model?format=onnx")
    store_export(worker, job["id"])
    folds = submit(client, {**spec, "dataset": "pets", "validation": {"folds": 2, "fold": 0}})["id"]
    client.post(f"/v1/jobs/{folds}/cancel")
    model = add_model(client, worker, FACTS.model_copy(update={"output_shape": (2,)}))
    evaluation = client.post("/v1/evaluations", json={"model": model, "dataset": "pets"}).json()["id"]
    held = worker.claim()
    files = [file for file in store_files(worker, evaluation, tmp_path) if file.format is ArtifactFormat.JSON]
    with worker.database.write() as session:
        model_evaluations.end(session, held, MEASURED, files)
    [export] = [blob.key for blob in worker.blobs.stored(f"jobs/{job['id']}/exports")]
    [model_key] = [blob.key for blob in worker.blobs.stored(f"models/{model}")]
    return {
        **dataset,
        "job": job["id"],
        "folds": folds,
        "label": "cat",
        "evaluation": evaluation,
        "export": export,
        "model": model,
        "model_file": model_key.rpartition("/")[2],
    }


def test_damaged_files_are_named_and_nothing_else_changes(client, worker, ids, settings):
    roots = (str(settings.home), str(worker.blobs.get_local_folder("")), "Traceback", "numpy", "zip file")
    walk(client.get, worker.blobs, ids, roots)


def test_lost_files_can_be_recreated_as_the_response_says(client, worker, ids, tmp_path):
    for how in ("missing", "cut", "flipped"):
        [export] = [blob.key for blob in worker.blobs.stored(f"jobs/{ids['job']}/exports")]
        damage(worker.blobs, export, how)
        route = f"/v1/jobs/{ids['job']}/model?format=onnx"
        assert client.get(route).status_code == 410
        assert client.post(route).json()["status"] == "queued"
        worker.blobs.delete(export)
        store_export(worker, ids["job"])
        assert client.get(route).status_code == 200
        assert client.post(route).json()["status"] == "stored", "it is intact"
        route = f"/v1/datasets/{ids['dataset']}/suspects"
        damage(worker.blobs, f"datasets/{ids['dataset']}/suspects.json", how)
        assert client.get(route).status_code == 410
        assert client.get(f"{route}?again=true").status_code == 202
        search_for_wrong_labels(worker, ids["dataset"], tmp_path)
        assert client.get(f"{route}?again=true").status_code == 200, "it is intact"


def test_specs_with_folds_are_refused_if_the_files_are_damaged(client, worker, spec, ids):
    folds = {**spec, "dataset": "pets", "validation": {"folds": 2, "fold": 0}}
    for name in ("labels.npy", "splits.npz"):
        whole = damage(worker.blobs, f"datasets/{ids['sha256']}/{name}", "flipped")
        for route in ("/v1/jobs", "/v1/jobs?dry_run=true"):
            assert_problem(client.post(route, json=folds), 410, "dataset_damaged")
        worker.blobs.put(f"datasets/{ids['sha256']}/{name}", whole)
    damage(worker.blobs, f"datasets/{ids['dataset']}/relations.npz", "cut")
    assert_problem(client.post("/v1/jobs", json=folds), 410, "dataset_damaged")
    submit(client, {**spec, "dataset": "pets"})


def test_a_study_does_not_choose_remedies_from_an_incomplete_diagnosis(client, worker, ids):
    study = {"job": ids["job"], "remedies": "auto"}
    whole = client.post("/v1/studies?dry_run=true", json=study)
    assert whole.status_code != 410, whole.text
    key = f"jobs/{ids['job']}/1/gap.json"
    content = damage(worker.blobs, key, "flipped")
    assert_problem(client.post("/v1/studies?dry_run=true", json=study), 410, "artifact_damaged")
    worker.blobs.put(key, content)
    assert client.post("/v1/studies?dry_run=true", json=study).text == whole.text
