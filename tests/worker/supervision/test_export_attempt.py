"""Exports by a real process: each file gives the same answers in its own runtime and has facts of the job in it."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated
from ai_edge_litert.interpreter import Interpreter

from analysis.answers.answers import Predictions
from analysis.arrays.dataset import ImageSet, compute_content_address, save
from heldout.lifecycle.job import FailureCode, StopReason
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, ExportFormat, ExportStatus
from heldout.work.kinds import EvaluateSpec
from models.database import Database
from models.ids import make_id
from models.store import claims, datasets, exports, jobs, new_jobs
from models.store.claims import Result
from models.store.new_jobs import NewJob
from models.stored_files import store_artifact
from models.tables import ExportRow, JobRow, StudyRow
from tests.analysis.reports.made_studies import cure
from tests.damaged_files import damage
from tests.models.work import ALICE, final_of
from tests.worker.supervision.bench import Bench, ScriptedProcess, repeat, script_process
from tests.worker.training.trainings import fewer
from worker.messages import AssignedDataset, ExportAssignment, Exported, Failed
from worker.training.data.training_data import ResidentData, TrainingData, select
from worker.training.exports import run
from worker.training.exports.exported_model import build_exported, describe_model
from worker.training.exports.proof import NotExported, cut_into_parts
from worker.training.exports.run import export_model
from worker.training.finalize import save_predictions
from worker.training.measuring.predictor import Predictor
from worker.training.networks.network import build_network

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SMALL = {"blocks": [{"filters": 4}]}
# Layers of every kind, and every activation.
VARIED = {
    "blocks": [
        {"filters": 4, "batch_norm": True, "activation": "gelu", "pool": 1, "dropout": 0.2},
        {"filters": 5, "padding": "same", "activation": "silu", "repeat": 2, "pool": 2},
        {"filters": 8, "norm": "group", "residual": True, "repeat": 2, "strides": 2, "pool": 1},
        {"filters": 8, "norm": "layer", "residual": True, "pool": 2, "pool_type": "average"},
        {"filters": 4, "kernel_size": 1, "activation": "tanh", "pool": 1},
    ],
    "dense": [{"units": 8, "activation": "elu", "dropout": 0.3}],
}


# Models that were made once for all tests, with their file and the predictions of each split.
MADE: dict[str, tuple[keras.Model, bytes, dict[str, Predictions]]] = {}


def make_model(
    spec: JobSpec, data: TrainingData, seed: int, folder: Path
) -> tuple[keras.Model, bytes, dict[str, Predictions]]:
    network = build_network(spec.network, data.image, len(data.classes), 3)
    draws, factor = np.random.default_rng(seed), 3 if seed == 5 else -2
    weights = network.get_weights()
    network.set_weights([w * factor if w.ndim > 1 else w + draws.uniform(0, 0.2, w.shape) for w in weights])
    model = build_exported(spec.network, data, network)
    model.save(folder / "model.keras")
    predictor = Predictor(model, ResidentData(data), data.value_range)
    content = (folder / "model.keras").read_bytes()
    return model, content, {split: predictor.predict(rows) for split, rows in data.rows.items()}


class ExportBench(Bench):
    """A worker, and a training that has succeeded, with its model and predictions."""

    def __init__(self, database: Database, folder: Path, images: ImageSet) -> None:
        super().__init__(database, folder)
        self.network: dict[str, Any] = SMALL
        self.images = fewer(images, 60, 60, 150)
        (folder / "digits").mkdir()
        save(self.images, folder / "digits")
        self.sha256 = compute_content_address(self.images)
        for file in (folder / "digits").iterdir():
            self.blobs.put(f"datasets/{self.sha256}/{file.name}", file)
        with database.write() as session:
            datasets.add_bundled(session, "ds_digits", "digits", self.images, self.sha256, 1)
            self.work.dataset = datasets.find(session, ALICE, "digits")
        self.job_id = self.add_training()

    def add_training(self, seed: int = 5, **changes: Any) -> str:
        """Add a training that has succeeded, with weights far from their initial values."""
        job_id = self.work.submit(network=self.network, **changes)
        held = self.work.claim().held
        spec = JobSpec.model_validate({"dataset": "digits", "network": self.network, **changes})
        data = select(self.images, spec)
        key = f"{self.network} {seed} {changes}"
        if key not in MADE:
            MADE[key] = make_model(spec, data, seed, self.folder)
        model, content, self.predictions = MADE[key]
        (self.folder / "model.keras").write_bytes(content)
        about = describe_model(model, job_id, self.sha256, data.classes, data.value_range)
        save_predictions(self.folder / "predictions.npz", data, self.predictions, None, about)
        files = []
        for name, format_, file in (("model", "keras", "model.keras"), ("predictions", "npz", "predictions.npz")):
            stored = self.folder / file
            blob = f"jobs/{job_id}/1/{file}"
            files.append(store_artifact(self.blobs, blob, stored, ArtifactName(name), ArtifactFormat(format_)))
        with self.work.database.write() as session:
            result = Result(final_of(1, with_test=spec.evaluation.test != "never"), tuple(files))
            claims.succeed(session, held, result=result, stop_reason=StopReason.COMPLETED)
        return job_id

    def add_evaluation(self, members: Sequence[str]) -> str:
        """Add a job that has measured a study's ensemble of these trainings."""
        self.study_id = self.work.ended_study()
        with self.work.database.write() as session:
            spec = EvaluateSpec(base=tuple(members), winner=tuple(members))
            about = {"owner": ALICE, "name": "test", "dataset_id": self.work.dataset.id, "study_id": self.study_id}
            job = new_jobs.add_evaluation(session, NewJob(spec=spec, **about))
        held = self.work.claim().held
        shown = cure().model_dump(mode="json")
        with self.work.database.write() as session:
            claims.complete(session, held)
            row = session.get_one(StudyRow, self.study_id)
            row.spec, row.plan = shown["spec"], {"seeds": 2, "folds": 4, "max_jobs": None, "max_seconds": None}
            row.found = {name: shown[name] for name in ("arms", "conclusion", "ensemble", "progress", "ledger")}
        return job.id

    def export(self, format_: ExportFormat, job_id: str | None = None) -> ExportRow | None:
        """Order the model in a format, and let the worker export it."""
        job_id = job_id or self.job_id
        with self.work.database.write() as session:
            exports.create_export(session, session.get_one(JobRow, job_id), format_)
        self.run()
        with self.work.database.read() as session:
            return exports.find(session, job_id, format_)

    def read(self, row: ExportRow) -> bytes:
        content = self.blobs.read(row.key)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row.size_bytes, row.sha256)
        assert row.report["sha256"] == row.sha256
        return content

    def assign(self, predictions: Sequence[str] = ("predictions.npz",), **changes: Any) -> ExportAssignment:
        """Return the assignment of a process that exports the last training as a SavedModel."""
        scratch = self.folder / make_id("job")
        scratch.mkdir()
        assignment = ExportAssignment(
            source_id=self.job_id,
            format=ExportFormat.SAVED_MODEL,
            spec=JobSpec.model_validate({"dataset": "digits", "network": self.network}),
            dataset=AssignedDataset(self.folder / "digits", self.sha256),
            scratch=scratch,
            card="# Model card",
            models=(self.folder / "model.keras",),
            predictions=tuple(self.folder / name for name in predictions),
        )
        return replace(assignment, **changes)

    def list_exports(self) -> list:
        return list(self.blobs.stored(f"jobs/{self.job_id}/exports"))

    @property
    def test_images(self) -> np.ndarray:
        return self.images.images[self.images.splits["test"]].astype(np.float32)


@pytest.fixture
def bench(database: Database, tmp_path: Path, digits: ImageSet) -> Iterator[ExportBench]:
    bench = ExportBench(database, tmp_path, digits)
    yield bench
    bench.scratch.close()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable], list[ScriptedProcess]]:
    """Let the process send what a function returns for its assignment."""
    return lambda answer: script_process(monkeypatch, repeat(answer))


@pytest.mark.timeout(1200)  # four conversions, each with its own runtime
def test_each_format_gives_the_answers_of_the_training_in_its_own_runtime_and_describes_itself(
    bench: ExportBench,
) -> None:
    bench.network = VARIED
    bench.job_id = bench.add_training()
    pixels, expected = bench.test_images, bench.predictions["test"].probabilities
    assert len(set(expected.argmax(1))) > 1, "the answers differ from image to image"

    def agrees(answers: np.ndarray) -> bool:
        return np.allclose(answers, expected, rtol=0, atol=1e-5) and (answers.argmax(1) == expected.argmax(1)).all()

    rows = {format_: bench.export(format_) for format_ in ExportFormat}
    assert {(row.status, str(row.error)) for row in rows.values()} == {(ExportStatus.STORED, "None")}

    (bench.folder / "again.keras").write_bytes(bench.read(rows[ExportFormat.KERAS]))
    again = keras.saving.load_model(bench.folder / "again.keras", safe_mode=True)
    own = keras.saving.load_model(bench.folder / "model.keras")
    assert all(np.array_equal(*pair) for pair in zip(again.get_weights(), own.get_weights(), strict=True))
    assert agrees(again(pixels).numpy())
    labels = bench.images.labels[bench.images.splits["test"]]
    assert again.evaluate(pixels, labels, verbose=0) == pytest.approx(own.evaluate(pixels, labels, verbose=0))
    with zipfile.ZipFile(bench.folder / "again.keras") as archive:
        of_keras = json.loads(archive.read("heldout.json"))
        card_of_keras = archive.read("MODEL_CARD.md").decode()

    content = bench.read(rows[ExportFormat.ONNX])
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["pixels"]
    assert agrees(session.run(["probabilities"], {"pixels": pixels})[0])
    of_onnx = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}

    with zipfile.ZipFile(io.BytesIO(bench.read(rows[ExportFormat.SAVED_MODEL]))) as archive:
        archive.extractall(bench.folder / "served")
    version = bench.folder / "served" / bench.job_id / "1"
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    assert agrees(serve(pixels=tf.constant(pixels))["probabilities"].numpy())
    of_saved_model = json.loads((version / "assets.extra" / "heldout.json").read_bytes())

    content = bench.read(rows[ExportFormat.LITERT])
    assert agrees(Interpreter(model_content=content).get_signature_runner()(pixels=pixels)["probabilities"])
    model = schema_py_generated.ModelT.InitFromObj(schema_py_generated.Model.GetRootAs(content, 0))
    in_litert = {entry.name.decode(): bytes(model.buffers[entry.buffer].data) for entry in model.metadata}
    of_litert, card = json.loads(in_litert["heldout.json"]), in_litert["MODEL_CARD.md"].decode()
    assert (
        card == card_of_keras == of_onnx.pop("model_card") == (version / "assets.extra" / "MODEL_CARD.md").read_text()
    )
    assert bench.job_id in card

    with np.load(bench.folder / "predictions.npz") as arrays:
        facts = json.loads(str(arrays["about"]))
    assert of_keras == of_saved_model == of_litert == facts
    assert {
        name: value if isinstance(facts[name], str) else json.loads(value) for name, value in of_onnx.items()
    } == facts
    assert facts["classes"] == list(bench.images.classes)
    assert (facts["job_id"], facts["dataset_sha256"], facts["range"]) == (bench.job_id, bench.sha256, [0.0, 16.0])
    for row in rows.values():
        report = row.report
        assert report["about"] == facts
        assert (report["split"], report["images"], report["batch_sizes"]) == ("test", 150, [1, 7, 14, 64])
        assert (report["compared_with"], report["differing_answers"]) == ("predictions", 0)
        assert report["max_difference"] <= 1e-5
    assert rows[ExportFormat.KERAS].report["runtime"] == f"keras {keras.__version__}"


def test_a_job_that_never_uses_test_is_checked_on_validation_and_one_without_predictions_against_keras(
    bench: ExportBench,
) -> None:
    report = export_model(bench.assign(predictions=())).report
    assert (report.split, report.images, report.compared_with) == ("test", 150, "keras")
    bench.add_training(evaluation={"test": "never"})
    report = export_model(bench.assign()).report
    assert (report.split, report.images, report.compared_with) == ("validation", 60, "predictions")


def test_a_file_that_gives_other_answers_is_refused(bench: ExportBench) -> None:
    with np.load(bench.folder / "predictions.npz") as arrays:
        found = dict(arrays)
    found["test_probabilities"][3] = np.roll(found["test_probabilities"][3], 1)
    np.savez(bench.folder / "predictions.npz", **found)
    with pytest.raises(NotExported, match=r"^Loaded again, it names another class for 1 of 150 images"):
        export_model(bench.assign())
    found["test_probabilities"][3] = bench.predictions["test"].probabilities[3] * np.float32(0.9999)
    np.savez(bench.folder / "predictions.npz", **found)
    differs = r"^Loaded again, it names another class for 0 of 150 images, .* by up to 0\.000\d+; .* 0\.00001\.$"
    with pytest.raises(NotExported, match=differs):
        export_model(bench.assign())


def test_a_failed_check_leaves_no_file_and_is_not_retried(bench: ExportBench, scripted) -> None:
    scripted(lambda _: Failed(FailureCode.EXPORT_DIFFERS, "It names another class."))
    row = bench.export(ExportFormat.SAVED_MODEL)
    assert (row.status, row.key) == (ExportStatus.FAILED, None)
    assert row.error == {"code": "export_differs", "detail": "It names another class."}
    assert bench.work.row(row.export_job_id).status == "failed"
    assert bench.list_exports() == []


def test_missing_packages_are_named(bench: ExportBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: None if "onnx" in name else object())
    with pytest.raises(NotExported, match=r"lacks tf2onnx, onnx, onnxruntime.*--group export"):
        export_model(bench.assign(format=ExportFormat.ONNX))


def test_a_missing_model_is_named(bench: ExportBench) -> None:
    bench.blobs.delete(f"jobs/{bench.job_id}/1/model.keras")
    row = bench.export(ExportFormat.LITERT)
    assert (row.status, row.error["code"]) == (ExportStatus.FAILED, FailureCode.MODEL_UNAVAILABLE)
    assert bench.job_id in row.error["detail"]


def test_missing_predictions_are_not_reported_as_a_missing_model(bench: ExportBench) -> None:
    """Otherwise the owner would train a model again that still exists."""
    bench.blobs.delete(f"jobs/{bench.job_id}/1/predictions.npz")
    row = bench.export(ExportFormat.LITERT)
    assert (row.status, row.error["code"]) == (ExportStatus.FAILED, FailureCode.EXPORT_FAILED)
    assert "predictions" in row.error["detail"]


@pytest.mark.parametrize("file", ["model.keras", "predictions.npz"])
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_damaged_model_or_damaged_predictions_stop_the_export(bench: ExportBench, file, how) -> None:
    damage(bench.blobs, f"jobs/{bench.job_id}/1/{file}", how)
    row = bench.export(ExportFormat.LITERT)
    assert (row.status, row.error["code"]) == (ExportStatus.FAILED, FailureCode.ARTIFACT_DAMAGED)
    assert f"The file with the {file.partition('.')[0]} of {bench.job_id} is damaged" in row.error["detail"]


def test_an_export_is_discarded_if_its_training_was_deleted_meanwhile(bench: ExportBench, scripted) -> None:
    def delete_and_export(assignment: ExportAssignment) -> Exported:
        with bench.work.database.write() as session:
            jobs.remove(session, ALICE, bench.job_id)
        return Exported(assignment.models[0], report)

    report = export_model(bench.assign()).report
    scripted(delete_and_export)
    assert bench.export(ExportFormat.SAVED_MODEL) is None
    assert bench.list_exports() == []


def test_an_ensemble_is_one_model_that_gives_the_mean_of_its_members_answers(bench: ExportBench) -> None:
    """The members come from different folds: each has other validation images, and none has used test."""
    members, answers = [], []
    for seed, fold in ((5, 0), (6, 1)):
        changes = {"validation": {"folds": 4, "fold": fold}, "evaluation": {"test": "never"}}
        members.append(bench.add_training(seed, **changes))
        for name in ("model.keras", "predictions.npz"):
            (bench.folder / name).rename(bench.folder / f"{fold}-{name}")
        with np.load(bench.folder / f"{fold}-predictions.npz") as arrays:
            found = {
                split: (arrays[f"{split}_indices"], arrays[f"{split}_probabilities"])
                for split in ("train", "validation")
            }
        answers.append(dict(pair for of_split in found.values() for pair in zip(*of_split, strict=True)))
    with np.load(bench.folder / "0-predictions.npz") as arrays:
        rows = arrays["validation_indices"]
    mean = np.mean([[member[row] for row in rows] for member in answers], axis=0)
    evaluation = bench.add_evaluation(members)
    exported_rows = {format_: bench.export(format_, evaluation) for format_ in (ExportFormat.KERAS, ExportFormat.ONNX)}
    for row in exported_rows.values():
        assert (row.status, row.error) == (ExportStatus.STORED, None)
        report = row.report
        assert (report["job_id"], report["split"], report["images"]) == (bench.study_id, "validation", len(rows))
        assert (report["compared_with"], report["about"]["job_id"]) == ("predictions", bench.study_id)
    pixels = bench.images.images[rows].astype(np.float32)
    (bench.folder / "ensemble.keras").write_bytes(bench.read(exported_rows[ExportFormat.KERAS]))
    ensemble = keras.saving.load_model(bench.folder / "ensemble.keras", safe_mode=True)
    assert np.allclose(ensemble(pixels).numpy(), mean, atol=1e-5)
    assert not np.allclose(mean, [answers[0][row] for row in rows], atol=1e-2), "the members differ"
    session = onnxruntime.InferenceSession(bench.read(exported_rows[ExportFormat.ONNX]))
    assert np.allclose(session.run(["probabilities"], {"pixels": pixels})[0], mean, atol=1e-5)
    with zipfile.ZipFile(bench.folder / "ensemble.keras") as archive:
        assert "dropout" in archive.read("MODEL_CARD.md").decode(), "the report of the study"


def test_batches_of_every_size_cover_all_images_once(database_url) -> None:
    for count in (1, 5, 8, 9, 72, 200):
        assert [row for part in cut_into_parts(count) for row in range(part.start, part.stop)] == list(range(count))
    assert [part.stop - part.start for part in cut_into_parts(150)] == [1, 7, 64, 64, 14]
