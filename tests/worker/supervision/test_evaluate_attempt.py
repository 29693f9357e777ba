"""An evaluation of base and winner on test, by a real process: its figures are those of plain Keras."""

import threading
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
from heldout.service.settings import Settings
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.gap import GapOnTest
from heldout.views.study import EnsembleFiguresView, EnsembleView
from heldout.work.kinds import EvaluateSpec
from models.blobs import Blobs
from models.database import Database
from models.store import claims, datasets, new_jobs
from models.store.artifacts import Artifact
from models.store.claims import Result
from models.store.new_jobs import NewJob
from models.tables import JobRow, LabelReadRow, StudyRow
from tests.models.work import ALICE, Work, final_of
from worker.machine.cores import Cores
from worker.machine.scratch import Scratch
from worker.machine.shares import MemoryBudget
from worker.messages import EvaluateAssignment, Evaluated, FromTraining
from worker.supervision import attempt
from worker.supervision.attempt import Means
from worker.supervision.lease import AttemptLease
from worker.supervision.processes import ProcessDied
from worker.supervision.threads import LeaseKeeper
from worker.supervision.worker import run_claimed
from worker.training.data import select as taken_by
from worker.training.export import build_exported
from worker.training.network import build_network

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NETWORKS = {"base": {"blocks": [{"filters": 4}]}, "winner": {"blocks": [{"filters": 6, "kernel_size": 5}]}}
KEPT_EPOCH = 3


class Bench:
    """A study whose base and winner have been trained with two seeds each, and a worker."""

    def __init__(self, database: Database, folder: Path, images: ImageSet) -> None:
        self.work = Work(database)
        self.blobs = Blobs((folder / "blobs").as_uri())
        self.folder = folder
        self.images = images
        self.scratch = Scratch(folder / "scratch")
        self.settings = Settings(home=folder / "home")
        (folder / "digits").mkdir()
        save(images, folder / "digits")
        sha256 = compute_content_address(images)
        for file in (folder / "digits").iterdir():
            self.blobs.put(f"datasets/{sha256}/{file.name}", file)
        with database.write() as session:
            datasets.add_bundled(session, "ds_digits", "digits", images, sha256, 1)
            self.work.dataset = datasets.find(session, ALICE, "digits")
        self.study_id = self.work.ended_study()
        self.jobs = {arm: [self.trained(arm, seed) for seed in (1, 2)] for arm in NETWORKS}

    def trained(self, arm: str, seed: int, **changes) -> str:
        """A training that has succeeded. Its model is nothing yet."""
        job_id = self.work.submit(network=NETWORKS[arm], training={"seed": seed}, **changes)
        held = self.work.claim().held
        self.blobs.put(model_key(job_id), b"")
        artifact = Artifact(ArtifactName.MODEL, ArtifactFormat.KERAS, model_key(job_id))
        with self.work.database.write() as session:
            result = Result(final_of(KEPT_EPOCH, with_test=False), (artifact,))
            claims.succeed(session, held, result=result, stop_reason=StopReason.COMPLETED)
        return job_id

    def save_models(self) -> None:
        """Give each job a model of its arm's network, with weights of its own, which no one has trained."""
        for arm, jobs in self.jobs.items():
            spec = JobSpec.model_validate({"dataset": "digits", "network": NETWORKS[arm]})
            data = taken_by(self.images, spec)
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

    def run(self) -> JobRow:
        """One attempt at the job that waits, to its end."""
        claimed = self.work.claim()
        keeper = LeaseKeeper(self.work.database, self.settings, "worker", self.scratch.sign_of_life)
        lease = AttemptLease(
            claimed.held, database=self.work.database, blobs=self.blobs, keeper=keeper, stopping=threading.Event()
        )
        with Cores().for_job() as cores:
            run_claimed(claimed, lease, Means(self.settings, self.scratch, MemoryBudget(2**30), cores))
        self.work.set(claimed.held.job_id, available_at=None)  # the next attempt need not be waited for
        return self.work.row(claimed.held.job_id)

    @property
    def study(self) -> StudyRow:
        with self.work.database.read() as session:
            return session.get_one(StudyRow, self.study_id)

    def looks_at_test(self) -> list[tuple[str, int]]:
        with self.work.database.read() as session:
            rows = session.execute(select(LabelReadRow).where(LabelReadRow.split == "test")).scalars()
            return sorted((row.subject_id, row.epoch) for row in rows)


def model_key(job_id: str) -> str:
    return f"jobs/{job_id}/1/model.keras"


@pytest.fixture
def bench(database: Database, tmp_path: Path, digits: ImageSet) -> Iterator[Bench]:
    bench = Bench(database, tmp_path, digits)
    yield bench
    bench.scratch.close()


@pytest.fixture
def scripted(bench: Bench, monkeypatch) -> Callable[[Callable[[EvaluateAssignment], FromTraining]], list]:
    """Lets the process say what a test has written down; gives what it was assigned."""

    def scripted(script: Callable[[EvaluateAssignment], FromTraining]) -> list[EvaluateAssignment]:
        assigned: list[EvaluateAssignment] = []

        class Scripted:
            pid = 0

            def __init__(self, assignment: EvaluateAssignment, folder: Path) -> None:
                assigned.append(assignment)
                self.receive = lambda timeout_s: script(assignment)

            def kill(self) -> None:
                pass

            def last_lines(self) -> list[str]:
                return []

        monkeypatch.setattr(attempt, "TrainingProcess", Scripted)
        monkeypatch.setattr("worker.machine.cores.pin_process", lambda *_: None)
        return assigned

    return scripted


def found(assignment: EvaluateAssignment) -> Evaluated:
    nothing = EnsembleFiguresView(members=2, validation=None, test=None)
    return Evaluated(state.TestScores({}, {}), EnsembleView(base=nothing, winner=nothing), {})


def test_base_and_winner_meet_the_test_split_once_and_give_the_figures_of_plain_keras(bench: Bench, scripted) -> None:
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
            said = [model(pixels).numpy() for model in models]
            if split == "test":
                for job, model in zip(jobs, models, strict=True):
                    loss, accuracy = model.evaluate(pixels, labels, verbose=0)
                    assert tested.losses[job].mean() == pytest.approx(loss, abs=1e-5)
                    assert tested.right[job].mean() == pytest.approx(accuracy, abs=1e-6)
                    on_test = GapOnTest.model_validate(bench.study.found["gaps_on_test"][job])
                    assert (on_test.test.count, on_test.test.correct) == (len(rows), tested.right[job].sum())
                    assert on_test.test.loss == pytest.approx(loss, abs=1e-5)
            together = np.mean(said, axis=0)
            losses = keras.losses.sparse_categorical_crossentropy(labels, together).numpy()
            shown = getattr(getattr(ensemble, arm), split)
            assert (shown.count, getattr(ensemble, arm).members) == (len(rows), 2)
            assert shown.loss == pytest.approx(losses.mean(), abs=1e-5)
            assert shown.accuracy == pytest.approx((together.argmax(axis=1) == labels).mean())
            half = 1.96 * losses.std(ddof=1) / len(rows) ** 0.5
            assert shown.intervals.loss == pytest.approx((losses.mean() - half, losses.mean() + half), rel=0.01)
    assert bench.looks_at_test() == sorted((job, KEPT_EPOCH) for jobs in bench.jobs.values() for job in jobs)
    scripted(found)
    bench.queue()
    bench.run()
    assert len(bench.looks_at_test()) == 4, "a second time is no second look"


def test_models_of_folds_have_no_validation_images_in_common(bench: Bench, scripted) -> None:
    assigned = scripted(found)
    bench.queue()
    bench.run()
    fold = bench.trained("winner", 3, validation={"folds": 5, "fold": 1})
    bench.queue(winner=[fold])
    bench.run()
    assert [one.with_validation for one in assigned] == [True, False]


def died(_: EvaluateAssignment) -> FromTraining:
    raise ProcessDied(-9)


def test_a_study_hears_why_its_winner_was_not_measured_once_no_attempt_is_left(bench: Bench, scripted) -> None:
    scripted(died)
    bench.queue()
    for _ in range(2):
        assert (bench.run().status, bench.study.test_failed) == (JobStatus.QUEUED, None)
    assert bench.run().status is JobStatus.FAILED
    assert "SIGKILL" in bench.study.test_failed
    assert bench.study.tested is None


def test_a_model_that_is_gone_is_named_and_nothing_is_tried_again(bench: Bench, scripted) -> None:
    assigned = scripted(found)
    gone = bench.jobs["winner"][1]
    bench.blobs.delete(model_key(gone))
    bench.queue()
    job = bench.run()
    assert (job.status, job.error["code"], assigned) == (JobStatus.FAILED, "model_unavailable", [])
    assert gone in bench.study.test_failed
    assert bench.looks_at_test() == []


def test_an_evaluation_that_was_cancelled_tells_its_study_nothing(bench: Bench, scripted) -> None:
    job_id = bench.queue()

    def cancelled(assignment: EvaluateAssignment) -> FromTraining:
        bench.work.set(job_id, request="cancel")
        return found(assignment)

    scripted(cancelled)
    assert bench.run().status is JobStatus.CANCELLED
    assert (bench.study.tested, bench.study.found) == (None, {})
