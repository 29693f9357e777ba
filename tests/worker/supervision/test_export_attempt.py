"""Exports by a real process: each file is what its own runtime says it is, with facts of the job in it."""

import hashlib
import io
import json
import threading
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

from analysis.arrays.dataset import ImageSet, compute_content_address, save
from heldout.lifecycle.job import FailureCode, StopReason
from heldout.service.settings import Settings
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, ExportFormat, ExportStatus
from heldout.work.kinds import EvaluateSpec
from models.blobs import Blobs
from models.database import Database
from models.ids import make_id
from models.store import claims, datasets, exports, jobs, new_jobs
from models.store.claims import Result
from models.store.new_jobs import NewJob
from models.stored_files import store_artifact
from models.tables import ExportRow, JobRow, StudyRow
from tests.analysis.reports.made_studies import cure
from tests.damaged_files import damage
from tests.models.work import ALICE, Work, final_of
from tests.worker.training.trainings import fewer
from worker.machine.cores import Cores
from worker.machine.scratch import Scratch
from worker.machine.shares import MemoryBudget
from worker.messages import AssignedDataset, ExportAssignment, Exported, Failed, FromTraining
from worker.supervision import attempt
from worker.supervision.attempt import Means
from worker.supervision.lease import AttemptLease
from worker.supervision.threads import LeaseKeeper
from worker.supervision.worker import run_claimed
from worker.training.batch_sources import ResidentData
from worker.training.data import select
from worker.training.export import build_exported, describe_model
from worker.training.exports import run
from worker.training.exports.proof import AnswersDiffer, cut_into_parts
from worker.training.exports.run import export_model
from worker.training.finish import save_predictions
from worker.training.network import build_network
from worker.training.predictor import Predictor

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# Layers of every sort, and every activation.
NETWORK = {
    "blocks": [
        {"filters": 4, "batch_norm": True, "activation": "gelu", "pool": 1, "dropout": 0.2},
        {"filters": 5, "padding": "same", "activation": "silu", "repeat": 2, "pool": 2},
        {"filters": 8, "norm": "group", "residual": True, "repeat": 2, "strides": 2, "pool": 1},
        {"filters": 8, "norm": "layer", "residual": True, "pool": 2, "pool_type": "average"},
        {"filters": 4, "kernel_size": 1, "activation": "tanh", "pool": 1},
    ],
    "dense": [{"units": 8, "activation": "elu", "dropout": 0.3}],
}


class Bench:
    """A training that has ended, with its model and predictions, and a worker."""

    def __init__(self, database: Database, folder: Path, images: ImageSet) -> None:
        self.work = Work(database)
        self.blobs = Blobs((folder / "blobs").as_uri())
        self.folder = folder
        self.images = fewer(images, 60, 60, 150)
        self.scratch = Scratch(folder / "scratch")
        self.settings = Settings(home=folder / "home")
        (folder / "digits").mkdir()
        save(self.images, folder / "digits")
        self.sha256 = compute_content_address(self.images)
        for file in (folder / "digits").iterdir():
            self.blobs.put(f"datasets/{self.sha256}/{file.name}", file)
        with database.write() as session:
            datasets.add_bundled(session, "ds_digits", "digits", self.images, self.sha256, 1)
            self.work.dataset = datasets.find(session, ALICE, "digits")
        self.job_id = self.trained()

    def trained(self, seed: int = 5, **changes: Any) -> str:
        """A training that has succeeded, with weights that are far from their beginning."""
        job_id = self.work.submit(network=NETWORK, **changes)
        held = self.work.claim().held
        spec = JobSpec.model_validate({"dataset": "digits", "network": NETWORK, **changes})
        data = select(self.images, spec)
        network = build_network(spec.network, data.image, len(data.classes), 3)
        draws = np.random.default_rng(seed)
        network.set_weights(
            [
                weight * (3 if seed == 5 else -2) if weight.ndim > 1 else weight + draws.uniform(0, 0.2, weight.shape)
                for weight in network.get_weights()
            ]
        )
        model = build_exported(spec.network, data, network)
        model.save(self.folder / "model.keras")
        predictor = Predictor(model, ResidentData(data), data.value_range)
        self.said = {split: predictor.predict(rows) for split, rows in data.rows.items()}
        about = describe_model(model, job_id, self.sha256, data.classes, data.value_range)
        save_predictions(self.folder / "predictions.npz", data, self.said, None, about)
        files = []
        for name, format_, file in (("model", "keras", "model.keras"), ("predictions", "npz", "predictions.npz")):
            key = f"jobs/{job_id}/1/{file}"
            stored = self.folder / file
            files.append(store_artifact(self.blobs, key, stored, ArtifactName(name), ArtifactFormat(format_)))
        with self.work.database.write() as session:
            result = Result(final_of(1, with_test=spec.evaluation.test != "never"), tuple(files))
            claims.succeed(session, held, result=result, stop_reason=StopReason.COMPLETED)
        return job_id

    def evaluated(self, members: Sequence[str]) -> str:
        """The job that has measured a study's ensemble of these trainings."""
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
        """Order the model in a format, and have a worker do it."""
        job_id = job_id or self.job_id
        with self.work.database.write() as session:
            exports.order(session, session.get_one(JobRow, job_id), format_)
        self.run()
        with self.work.database.read() as session:
            return exports.find(session, job_id, format_)

    def run(self) -> JobRow:
        """One attempt at the job that waits, to its end."""
        claimed = self.work.claim()
        keeper = LeaseKeeper(self.work.database, self.settings, "worker", self.scratch.sign_of_life)
        lease = AttemptLease(
            claimed.held, database=self.work.database, blobs=self.blobs, keeper=keeper, stopping=threading.Event()
        )
        with Cores().for_job() as cores:
            run_claimed(claimed, lease, Means(self.settings, self.scratch, MemoryBudget(2**30), cores))
        return self.work.row(claimed.held.job_id)

    def content(self, row: ExportRow) -> bytes:
        content = self.blobs.read(row.key)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row.size_bytes, row.sha256)
        assert row.report["sha256"] == row.sha256
        return content

    def assigned(self, predictions: Sequence[str] = ("predictions.npz",), **changes: Any) -> ExportAssignment:
        """The assignment of a process that exports the last training as a SavedModel."""
        scratch = self.folder / make_id("job")
        scratch.mkdir()
        assignment = ExportAssignment(
            source_id=self.job_id,
            format=ExportFormat.SAVED_MODEL,
            spec=JobSpec.model_validate({"dataset": "digits", "network": NETWORK}),
            dataset=AssignedDataset(str(self.folder / "digits"), self.sha256),
            scratch=str(scratch),
            card="# Model card",
            models=(str(self.folder / "model.keras"),),
            predictions=tuple(str(self.folder / name) for name in predictions),
        )
        return replace(assignment, **changes)

    def exported_files(self) -> list:
        return list(self.blobs.stored(f"jobs/{self.job_id}/exports"))

    @property
    def test_images(self) -> np.ndarray:
        return self.images.images[self.images.splits["test"]].astype(np.float32)


@pytest.fixture
def bench(database: Database, tmp_path: Path, digits: ImageSet) -> Iterator[Bench]:
    bench = Bench(database, tmp_path, digits)
    yield bench
    bench.scratch.close()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[ExportAssignment], FromTraining]], None]:
    """Lets the process say what a test has written down."""

    def scripted(script: Callable[[ExportAssignment], FromTraining]) -> None:
        class Scripted:
            pid = 0

            def __init__(self, assignment: ExportAssignment, folder: Path) -> None:
                self.receive = lambda timeout_s: script(assignment)

            def kill(self) -> None:
                pass

            def last_lines(self) -> list[str]:
                return []

        monkeypatch.setattr(attempt, "TrainingProcess", Scripted)
        monkeypatch.setattr("worker.machine.cores.pin_process", lambda *_: None)

    return scripted


def test_each_format_answers_in_its_own_runtime_as_the_training_did_and_says_what_it_is(bench: Bench) -> None:
    pixels, expected = bench.test_images, bench.said["test"].probabilities
    assert len(set(expected.argmax(1))) > 1, "the answers differ from image to image"

    def agrees(said: np.ndarray) -> bool:
        return np.allclose(said, expected, rtol=0, atol=1e-5) and (said.argmax(1) == expected.argmax(1)).all()

    rows = {format_: bench.export(format_) for format_ in ExportFormat}
    assert {(row.status, str(row.error)) for row in rows.values()} == {(ExportStatus.STORED, "None")}

    (bench.folder / "again.keras").write_bytes(bench.content(rows[ExportFormat.KERAS]))
    again = keras.saving.load_model(bench.folder / "again.keras", safe_mode=True)
    own = keras.saving.load_model(bench.folder / "model.keras")
    assert all(np.array_equal(*pair) for pair in zip(again.get_weights(), own.get_weights(), strict=True))
    assert agrees(again(pixels).numpy())
    labels = bench.images.labels[bench.images.splits["test"]]
    assert again.evaluate(pixels, labels, verbose=0) == pytest.approx(own.evaluate(pixels, labels, verbose=0))
    with zipfile.ZipFile(bench.folder / "again.keras") as archive:
        of_keras = json.loads(archive.read("heldout.json"))
        card_of_keras = archive.read("MODEL_CARD.md").decode()

    content = bench.content(rows[ExportFormat.ONNX])
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["pixels"]
    assert agrees(session.run(["probabilities"], {"pixels": pixels})[0])
    of_onnx = {one.key: one.value for one in onnx.load_from_string(content).metadata_props}

    with zipfile.ZipFile(io.BytesIO(bench.content(rows[ExportFormat.SAVED_MODEL]))) as archive:
        archive.extractall(bench.folder / "served")
    version = bench.folder / "served" / bench.job_id / "1"
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    assert agrees(serve(pixels=tf.constant(pixels))["probabilities"].numpy())
    of_saved_model = json.loads((version / "assets.extra" / "heldout.json").read_bytes())

    content = bench.content(rows[ExportFormat.LITERT])
    assert agrees(Interpreter(model_content=content).get_signature_runner()(pixels=pixels)["probabilities"])
    model = schema_py_generated.ModelT.InitFromObj(schema_py_generated.Model.GetRootAs(content, 0))
    (entry,) = (one for one in model.metadata if one.name == b"heldout.json")
    of_litert = json.loads(bytes(model.buffers[entry.buffer].data))

    (card,) = (bytes(model.buffers[one.buffer].data).decode() for one in model.metadata if one.name == b"MODEL_CARD.md")
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


def test_a_job_that_never_looks_at_test_is_proven_on_validation_and_one_without_predictions_next_to_keras(
    bench: Bench,
) -> None:
    report = export_model(bench.assigned(predictions=())).report
    assert (report.split, report.images, report.compared_with) == ("test", 150, "keras")
    bench.trained(evaluation={"test": "never"})
    report = export_model(bench.assigned()).report
    assert (report.split, report.images, report.compared_with) == ("validation", 60, "predictions")


def test_a_file_that_answers_otherwise_is_refused(bench: Bench) -> None:
    with np.load(bench.folder / "predictions.npz") as arrays:
        found = dict(arrays)
    found["test_probabilities"][3] = np.roll(found["test_probabilities"][3], 1)
    np.savez(bench.folder / "predictions.npz", **found)
    with pytest.raises(AnswersDiffer, match=r"^Loaded again, it names another class for 1 of 150 images"):
        export_model(bench.assigned())
    found["test_probabilities"][3] = bench.said["test"].probabilities[3] * np.float32(0.9999)
    np.savez(bench.folder / "predictions.npz", **found)
    differs = r"^Loaded again, it names another class for 0 of 150 images, .* by up to 0\.000\d+; .* 0\.00001\.$"
    with pytest.raises(AnswersDiffer, match=differs):
        export_model(bench.assigned())


def test_a_failed_proof_leaves_no_file_and_is_not_tried_again(bench: Bench, scripted) -> None:
    scripted(lambda _: Failed(FailureCode.EXPORT_DIFFERS, "It names another class."))
    row = bench.export(ExportFormat.SAVED_MODEL)
    assert (row.status, row.key) == (ExportStatus.FAILED, None)
    assert row.error == {"code": "export_differs", "detail": "It names another class."}
    assert bench.work.row(row.export_job_id).status == "failed"
    assert bench.exported_files() == []


def test_a_worker_without_the_packages_says_which_ones(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: None if "onnx" in name else object())
    with pytest.raises(run.PackagesMissing, match=r"lacks tf2onnx, onnx, onnxruntime.*--group export"):
        export_model(bench.assigned(format=ExportFormat.ONNX))


def test_a_model_that_is_gone_is_named(bench: Bench) -> None:
    bench.blobs.delete(f"jobs/{bench.job_id}/1/model.keras")
    row = bench.export(ExportFormat.LITERT)
    assert (row.status, row.error["code"]) == (ExportStatus.FAILED, FailureCode.MODEL_UNAVAILABLE)
    assert bench.job_id in row.error["detail"]


def test_predictions_that_are_gone_are_not_said_to_be_the_model(bench: Bench) -> None:
    """No one should train again a model that is there."""
    bench.blobs.delete(f"jobs/{bench.job_id}/1/predictions.npz")
    row = bench.export(ExportFormat.LITERT)
    assert (row.status, row.error["code"]) == (ExportStatus.FAILED, FailureCode.EXPORT_FAILED)
    assert "predictions" in row.error["detail"]


@pytest.mark.parametrize("file", ["model.keras", "predictions.npz"])
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_nothing_is_exported_of_a_damaged_model_or_proven_by_damaged_predictions(bench: Bench, file, how) -> None:
    damage(bench.blobs, f"jobs/{bench.job_id}/1/{file}", how)
    row = bench.export(ExportFormat.LITERT)
    assert (row.status, row.error["code"]) == (ExportStatus.FAILED, FailureCode.ARTIFACT_DAMAGED)
    assert f"The file with the {file.partition('.')[0]} of {bench.job_id} is damaged" in row.error["detail"]


def test_what_was_exported_of_a_training_that_was_deleted_meanwhile_is_not_kept(bench: Bench, scripted) -> None:
    def deleted_meanwhile(assignment: ExportAssignment) -> Exported:
        with bench.work.database.write() as session:
            jobs.remove(session, ALICE, bench.job_id)
        return Exported(assignment.models[0], report)

    report = export_model(bench.assigned()).report
    scripted(deleted_meanwhile)
    assert bench.export(ExportFormat.SAVED_MODEL) is None
    assert bench.exported_files() == []


def test_an_ensemble_is_one_model_that_gives_the_mean_of_what_its_trainings_have_said(bench: Bench) -> None:
    """As of a study whose folds differ: each member has validated on other images, and none has looked at test."""
    members, said = [], []
    for seed, fold in ((5, 0), (6, 1)):
        changes = {"validation": {"folds": 4, "fold": fold}, "evaluation": {"test": "never"}}
        members.append(bench.trained(seed, **changes))
        for name in ("model.keras", "predictions.npz"):
            (bench.folder / name).rename(bench.folder / f"{fold}-{name}")
        with np.load(bench.folder / f"{fold}-predictions.npz") as arrays:
            found = {
                split: (arrays[f"{split}_indices"], arrays[f"{split}_probabilities"])
                for split in ("train", "validation")
            }
        said.append(dict(pair for of_split in found.values() for pair in zip(*of_split, strict=True)))
    with np.load(bench.folder / "0-predictions.npz") as arrays:
        rows = arrays["validation_indices"]
    mean = np.mean([[one[row] for row in rows] for one in said], axis=0)
    evaluation = bench.evaluated(members)
    exported_rows = {format_: bench.export(format_, evaluation) for format_ in (ExportFormat.KERAS, ExportFormat.ONNX)}
    for row in exported_rows.values():
        assert (row.status, row.error) == (ExportStatus.STORED, None)
        report = row.report
        assert (report["job_id"], report["split"], report["images"]) == (bench.study_id, "validation", len(rows))
        assert (report["compared_with"], report["about"]["job_id"]) == ("predictions", bench.study_id)
    pixels = bench.images.images[rows].astype(np.float32)
    (bench.folder / "ensemble.keras").write_bytes(bench.content(exported_rows[ExportFormat.KERAS]))
    ensemble = keras.saving.load_model(bench.folder / "ensemble.keras", safe_mode=True)
    assert np.allclose(ensemble(pixels).numpy(), mean, atol=1e-5)
    assert not np.allclose(mean, [said[0][row] for row in rows], atol=1e-2), "the members differ"
    session = onnxruntime.InferenceSession(bench.content(exported_rows[ExportFormat.ONNX]))
    assert np.allclose(session.run(["probabilities"], {"pixels": pixels})[0], mean, atol=1e-5)
    with zipfile.ZipFile(bench.folder / "ensemble.keras") as archive:
        assert "dropout" in archive.read("MODEL_CARD.md").decode(), "the report of the study"


def test_batches_of_every_size_cover_all_images_once(database: Database) -> None:
    for count in (1, 5, 8, 9, 72, 200):
        assert [row for part in cut_into_parts(count) for row in range(part.start, part.stop)] == list(range(count))
    assert [part.stop - part.start for part in cut_into_parts(150)] == [1, 7, 64, 64, 14]
