"""Evaluations of base and winner on the test split, by a real process: the figures are those of plain Keras."""

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from sqlalchemy import select

from analysis.arrays.dataset import ImageSet, compute_content_address, save
from analysis.studies import state
from analysis.studies.stored import unpack_tested
from heldout.lifecycle.job import JobStatus, StopReason
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.gap import GapOnTest
from heldout.views.study import EnsembleFiguresView, EnsembleView
from heldout.work.kinds import EvaluateSpec
from models.database import Database
from models.store import claims, datasets, new_jobs
from models.store.artifacts import Artifact
from models.store.claims import Result
from models.store.new_jobs import NewJob
from models.tables import LabelReadRow, StudyRow
from tests.models.work import ALICE, final_of
from tests.worker.supervision.bench import Bench, ScriptedProcess, repeat, script_process
from worker.machine.enclosed_process import ProcessDied
from worker.messages import EvaluateAssignment, Evaluated, FromTraining
from worker.training.data.training_data import select as select_data
from worker.training.exports.exported_model import build_exported
from worker.training.networks.network import build_network

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NETWORKS = {"base": {"blocks": [{"filters": 4}]}, "winner": {"blocks": [{"filters": 6, "kernel_size": 5}]}}
KEPT_EPOCH = 3


class EvaluateBench(Bench):
    """A worker, and a study whose base and winner have been trained with two seeds each."""

    def __init__(self, database: Database, folder: Path, images: ImageSet) -> None:
        super().__init__(database, folder)
        self.images = images
        (folder / "digits").mkdir()
        save(images, folder / "digits")
        sha256 = compute_content_address(images)
        for file in (folder / "digits").iterdir():
            self.blobs.put(f"datasets/{sha256}/{file.name}", file)
        with database.write() as session:
            datasets.add_bundled(session, "ds_digits", "digits", images, sha256, 1)
            self.work.dataset = datasets.find(session, ALICE, "digits")
        self.study_id = self.work.ended_study()
        self.jobs = {arm: [self.add_training(arm, seed) for seed in (1, 2)] for arm in NETWORKS}

    def add_training(self, arm: str, seed: int, **changes) -> str:
        """Add a training that has succeeded, with an empty model file."""
        job_id = self.work.submit(network=NETWORKS[arm], training={"seed": seed}, **changes)
        held = self.work.claim().held
        self.blobs.put(model_key(job_id), b"")
        artifact = Artifact(ArtifactName.MODEL, ArtifactFormat.KERAS, model_key(job_id))
        with self.work.database.write() as session:
            result = Result(final_of(KEPT_EPOCH, with_test=False), (artifact,))
            claims.succeed(session, held, result=result, stop_reason=StopReason.COMPLETED)
        return job_id

    def save_models(self) -> None:
        """Give each job a model of its arm's network, with untrained weights of its own."""
        for arm, jobs in self.jobs.items():
            spec = JobSpec.model_validate({"dataset": "digits", "network": NETWORKS[arm]})
            data = select_data(self.images, spec)
            for seed, job_id in enumerate(jobs):
                network = build_network(spec.network, data.image, len(data.classes), seed)
                build_exported(spec.network, data, network).save(self.folder / f"{job_id}.keras")
                self.blobs.put(model_key(job_id), self.folder / f"{job_id}.keras")

    def queue(self, **jobs: list[str]) -> str:
        asked = {**self.jobs, **jobs}
        with self.work.database.write() as session:
            spec = EvaluateSpec(base=tuple(asked["base"]), winner=tuple(asked["winner"]))
            about = {"owner": ALICE, "name": "test", "dataset_id": self.work.dataset.id, "study_id": self.study_id}
            return new_jobs.add_evaluation(session, NewJob(spec=spec, **about)).id

    @property
    def study(self) -> StudyRow:
        with self.work.database.read() as session:
            return session.get_one(StudyRow, self.study_id)

    def list_test_reads(self) -> list[tuple[str, int]]:
        with self.work.database.read() as session:
            rows = session.execute(select(LabelReadRow).where(LabelReadRow.split == "test")).scalars()
            return sorted((row.subject_id, row.epoch) for row in rows)


def model_key(job_id: str) -> str:
    return f"jobs/{job_id}/1/model.keras"


@pytest.fixture
def bench(database: Database, tmp_path: Path, digits: ImageSet) -> Iterator[EvaluateBench]:
    bench = EvaluateBench(database, tmp_path, digits)
    yield bench
    bench.scratch.close()


@pytest.fixture
def scripted(bench: EvaluateBench, monkeypatch) -> Callable[[Callable], list[ScriptedProcess]]:
    """Let the process send what a function returns for its assignment. Returns the processes that were started."""
    return lambda answer: script_process(monkeypatch, repeat(answer))


def evaluate(assignment: EvaluateAssignment) -> Evaluated:
    nothing = EnsembleFiguresView(members=2, validation=None, test=None)
    return Evaluated(state.TestScores({}, {}), EnsembleView(base=nothing, winner=nothing), {})


def test_base_and_winner_are_tested_once_and_give_the_figures_of_plain_keras(bench: EvaluateBench, scripted) -> None:
    bench.save_models()
    bench.queue()
    assert bench.run().status is JobStatus.SUCCEEDED
    tested, ensemble = unpack_tested(bench.study.tested), EnsembleView.model_validate(bench.study.found["ensemble"])
    assert set(tested.losses) == set(tested.right) == {job for jobs in bench.jobs.values() for job in jobs}
    for arm, jobs in bench.jobs.items():
        models = [keras.saving.load_model(bench.folder / f"{job}.keras", safe_mode=True) for job in jobs]
        for split in ("test", "validation"):
            rows = bench.images.splits[split]
            pixels, labels = bench.images.images[rows], bench.images.labels[rows]
            answers = [model(pixels).numpy() for model in models]
            if split == "test":
                for job, model in zip(jobs, models, strict=True):
                    loss, accuracy = model.evaluate(pixels, labels, verbose=0)
                    assert tested.losses[job].mean() == pytest.approx(loss, abs=1e-5)
                    assert tested.right[job].mean() == pytest.approx(accuracy, abs=1e-6)
                    on_test = GapOnTest.model_validate(bench.study.found["gaps_on_test"][job])
                    assert (on_test.test.count, on_test.test.correct) == (len(rows), tested.right[job].sum())
                    assert on_test.test.loss == pytest.approx(loss, abs=1e-5)
            together = np.mean(answers, axis=0)
            losses = keras.losses.sparse_categorical_crossentropy(labels, together).numpy()
            shown = getattr(getattr(ensemble, arm), split)
            assert (shown.count, getattr(ensemble, arm).members) == (len(rows), 2)
            assert shown.loss == pytest.approx(losses.mean(), abs=1e-5)
            assert shown.accuracy == pytest.approx((together.argmax(axis=1) == labels).mean())
            half = 1.96 * losses.std(ddof=1) / len(rows) ** 0.5
            assert shown.intervals.loss == pytest.approx((losses.mean() - half, losses.mean() + half), rel=0.01)
    assert bench.list_test_reads() == sorted((job, KEPT_EPOCH) for jobs in bench.jobs.values() for job in jobs)
    scripted(evaluate)
    bench.queue()
    bench.run()
    assert len(bench.list_test_reads()) == 4, "the second evaluation is not counted as another read"


def test_models_of_folds_are_not_compared_on_validation_images(bench: EvaluateBench, scripted) -> None:
    started = scripted(evaluate)
    bench.queue()
    bench.run()
    fold = bench.add_training("winner", 3, validation={"folds": 5, "fold": 1})
    bench.queue(winner=[fold])
    bench.run()
    assert [process.assignment.with_validation for process in started] == [True, False]


def die(_: EvaluateAssignment) -> FromTraining:
    raise ProcessDied(-9)


def test_a_study_is_given_the_reason_once_all_attempts_have_failed(bench: EvaluateBench, scripted) -> None:
    scripted(die)
    bench.queue()
    for _ in range(2):
        assert (bench.run().status, bench.study.test_failed) == (JobStatus.QUEUED, None)
    assert bench.run().status is JobStatus.FAILED
    assert "SIGKILL" in bench.study.test_failed
    assert bench.study.tested is None


def test_a_missing_model_is_named_and_the_evaluation_is_not_retried(bench: EvaluateBench, scripted) -> None:
    started = scripted(evaluate)
    missing = bench.jobs["winner"][1]
    bench.blobs.delete(model_key(missing))
    bench.queue()
    job = bench.run()
    assert (job.status, job.error["code"], started) == (JobStatus.FAILED, "model_unavailable", [])
    assert missing in bench.study.test_failed
    assert bench.list_test_reads() == []


def test_a_canceled_evaluation_stores_nothing_in_its_study(bench: EvaluateBench, scripted) -> None:
    job_id = bench.queue()

    def cancel_and_evaluate(assignment: EvaluateAssignment) -> FromTraining:
        bench.work.set(job_id, request="cancel")
        return evaluate(assignment)

    scripted(cancel_and_evaluate)
    assert bench.run().status is JobStatus.CANCELLED
    assert (bench.study.tested, bench.study.found) == (None, {})
