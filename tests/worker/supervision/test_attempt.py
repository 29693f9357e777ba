"""An attempt whose process says what a test has written down: what it persists, once, and where it continues."""

import hashlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert, update

from analysis.arrays.dataset import save
from analysis.arrays.relations import Relations, load_relations, make_relations_key, save_relations
from analysis.studies.state import Scores
from heldout.errors import DatabaseUnavailable, StorageUnavailable
from heldout.lifecycle.job import JobStatus, StopReason
from heldout.lifecycle.resources import RelationsStatus
from heldout.service.settings import Settings
from heldout.spec.backbone import Backbone
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.gap import StoredGap, Tally
from models.blobs import Blobs
from models.database import Database, Session
from models.job_diagnosis import diagnose_job
from models.store.artifacts import Artifact
from models.store.claims import Claimed, HeldAttempt, recover_from_dead_workers
from models.store.studies import list_runs
from models.tables import ArtifactRow, DatasetRow, JobRow
from tests.models.work import ALICE, BOB, ENGINE, Work, dots, final_of
from tests.worker.training.backbones import small_backbone
from worker.machine.cores import Cores
from worker.machine.scratch import Scratch
from worker.machine.shares import MemoryBudget
from worker.messages import (
    Assignment,
    CheckpointWritten,
    EpochDone,
    Failed,
    Finished,
    FromTraining,
    Overfits,
    Started,
    Stopped,
    TrainedFile,
)
from worker.supervision import attempt as attempts
from worker.supervision import lease as holds
from worker.supervision.attempt import Means
from worker.supervision.lease import AttemptLease
from worker.supervision.processes import ProcessDied
from worker.supervision.threads import LeaseKeeper
from worker.supervision.worker import run_claimed

GIB = 2**30

# Gives what the process says, by what it was assigned; it may write files into its scratch folder before.
Script = Callable[[Assignment], Iterable[FromTraining]]


@pytest.fixture
def work(database: Database) -> Work:
    return Work(database)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def run(work: Work, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a claimed job by a script, on the test's database or another."""
    scratch = Scratch(tmp_path / "scratch")
    save(dots(), tmp_path)
    monkeypatch.setattr("worker.machine.cores.find_usable_cores", lambda: (0, 1))
    monkeypatch.setattr("worker.machine.cores.pin_process", lambda *_: None)
    cores = Cores()

    def run(
        claimed: Claimed,
        script: Script,
        database: Database | None = None,
        *,
        has_bfloat16: bool = False,
        memory: MemoryBudget | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        class Scripted:
            """Stands for the process; the rest is real."""

            pid = 0

            def __init__(self, assignment: Assignment, folder: Path) -> None:
                self._says = iter(script(assignment))

            def receive(self, timeout_s: float) -> FromTraining:
                return next(self._says)

            def kill(self) -> None:
                pass

            def last_lines(self) -> list[str]:
                return []

        monkeypatch.setattr(attempts, "TrainingProcess", Scripted)
        monkeypatch.setattr("worker.supervision.attempt_files.hold_dataset", lambda *_: nullcontext(tmp_path))
        monkeypatch.setattr(holds, "RETRY_INTERVAL_S", 0.0)
        database = database or work.database
        settings = Settings(home=tmp_path / "home")
        hold = AttemptLease(
            claimed.held,
            database=database,
            blobs=blobs,
            keeper=LeaseKeeper(database, settings, "worker", scratch.sign_of_life),
            stopping=stopping or threading.Event(),
        )
        with cores.for_job() as job_cores:
            memory = memory or MemoryBudget(16 * GIB)
            run_claimed(claimed, hold, Means(settings, scratch, memory, job_cores, has_bfloat16=has_bfloat16))

    yield run
    scratch.close()


def whole(
    assignment: Assignment, *epochs: int, evaluation: str = '{"classes": [], "splits": {}}'
) -> list[FromTraining]:
    """A training that ends well, with a checkpoint after each of its epochs."""
    scratch = Path(assignment.scratch)

    def file(name: str, content: str = "") -> str:
        (scratch / name).write_text(content or name)
        return str(scratch / name)

    done = [EpochDone(epoch, {"train_loss": 1.0 / epoch, "seconds": 1.0}, file(f"after-{epoch}")) for epoch in epochs]
    files = (
        TrainedFile(ArtifactName.MODEL, ArtifactFormat.KERAS, Path(file("model.keras"))),
        TrainedFile(ArtifactName.PREDICTIONS, ArtifactFormat.NPZ, Path(file("predictions.npz"))),
        TrainedFile(ArtifactName.EVALUATION, ArtifactFormat.JSON, Path(file("evaluation.json", evaluation))),
    )
    finished = Finished(final_of(epochs[-1]), StopReason.COMPLETED, files)
    return [Started(dict(ENGINE, towers=1)), *done, finished]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_is_assigned_the_same_towers_alone_as_next_to_jobs_that_run_and_wait(work: Work, run) -> None:
    assigned = []

    def beside(assignment: Assignment) -> list[FromTraining]:
        assigned.append(assignment.machine.towers)
        return whole(assignment, 1)

    def first(assignment: Assignment) -> list[FromTraining]:
        """While this job runs, the same spec is claimed and runs next to it, and a third job waits."""
        assigned.append(assignment.machine.towers)
        work.submit()
        work.submit()
        run(work.claim(), beside)
        return whole(assignment, 1)

    work.submit()
    run(work.claim(), first)
    run(work.claim(), beside)
    assert assigned == ["auto", "auto", "auto"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_training_gets_the_relations_of_its_dataset_and_leaves_what_its_gap_is_made_of(
    work: Work, blobs: Blobs, run, tmp_path: Path
) -> None:
    job_id = work.submit()
    claimed = work.claim()
    relations = Relations(np.asarray([0, 1, 0], np.int32))
    some = Tally(count=2, correct=1, loss=0.5, loss_variance=0.0)
    gap = StoredGap(kept_epoch=1, epochs=1, train=some, validation=some, test=some).to_bytes()
    save_relations(relations, tmp_path / "relations.npz")
    blobs.put(make_relations_key(claimed.dataset.id), tmp_path / "relations.npz")

    def script(assignment: Assignment) -> list[FromTraining]:
        given = load_relations(Path(assignment.dataset.relations))
        np.testing.assert_array_equal(given.copy_of, relations.copy_of)
        *before, finished = whole(assignment, 1)
        Path(assignment.scratch, "gap.json").write_bytes(gap)
        file = TrainedFile(ArtifactName.GAP, ArtifactFormat.JSON, Path(assignment.scratch, "gap.json"))
        return [*before, replace(finished, files=(*finished.files, file))]

    run(claimed, script)
    [stored] = [row for row in work.stored(job_id)["artifacts"] if row["name"] == "gap"]
    assert blobs.read(stored["key"]) == gap
    assert work.row(job_id).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_training_of_a_study_leaves_what_it_says_of_each_validation_image_and_another_one_does_not(
    work: Work, run
) -> None:
    of_study, alone = work.submit(), work.submit()
    study = work.ended_study(of_study)
    said = Scores(
        images=np.arange(4, dtype=np.int32),
        losses=np.asarray([0.1, 2.5, 1e-9, 30.0], np.float32),
        right=np.asarray([True, False, True, False]),
        train_loss=0.25,
        train_accuracy=0.75,
        train_images=8,
        kept_epoch=1,
    )
    asked = []

    def script(assignment: Assignment) -> list[FromTraining]:
        asked.append(assignment.for_study)
        *before, finished = whole(assignment, 1)
        return [*before, replace(finished, scores=said if assignment.for_study else None)]

    run(work.claim(), script)
    run(work.claim(), script)
    assert asked == [True, False]
    assert work.row(of_study).status is work.row(alone).status is JobStatus.SUCCEEDED
    with work.database.read() as session:
        [stored] = list_runs(session, study)
    for name, value in asdict(said).items():
        np.testing.assert_array_equal(getattr(stored.scores, name), value)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_training_whose_datasets_relations_are_not_known_runs_without_them(work: Work, run) -> None:
    job_id = work.submit()
    assigned = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assigned.append(assignment.dataset.relations)
        return whole(assignment, 1)

    run(work.claim(), script)
    assert assigned == [None]
    assert work.row(job_id).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_relations_that_cannot_be_fetched_are_done_without(work: Work, blobs: Blobs, run, tmp_path: Path) -> None:
    claimed = work.submit() and work.claim()
    assigned = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assigned.append(assignment.dataset.relations)
        return whole(assignment, 1)

    # A folder in place of the file is not a blob, and reading it is refused.
    (tmp_path / "blobs" / make_relations_key(claimed.dataset.id)).mkdir(parents=True)
    run(claimed, script)
    assert assigned == [None]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("status", [RelationsStatus.STORED, RelationsStatus.FAILED])
def test_folds_are_cut_by_what_was_known_when_they_were_accepted_whatever_lies_in_the_store(
    work: Work, blobs: Blobs, run, tmp_path: Path, status: RelationsStatus
) -> None:
    """All attempts cut alike: with the relations, or all without. A file that is missing is no reason to do without."""
    dataset_id = work.dataset.id
    with work.database.write() as session:
        session.execute(update(DatasetRow).values(relations_status=status))
    save_relations(Relations(np.arange(6, dtype=np.int32)), tmp_path / "relations.npz")
    assigned = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assigned.append(assignment.dataset.relations is not None)
        return whole(assignment, 1)

    ends = []
    for is_there in (True, False):
        blobs.put(make_relations_key(dataset_id), tmp_path / "relations.npz")
        if not is_there:
            blobs.delete(make_relations_key(dataset_id))
        job_id = work.submit(validation={"folds": 2})
        run(work.claim(), script)
        ends.append(work.row(job_id).status)
    known = status is RelationsStatus.STORED
    assert assigned == ([True] if known else [False, False])
    assert ends == [JobStatus.SUCCEEDED, JobStatus.FAILED if known else JobStatus.SUCCEEDED]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_whose_initial_weights_are_gone_says_so_and_does_not_train_without(work: Work, blobs: Blobs, run) -> None:
    job_id = work.submit()
    key = f"jobs/{job_id}/0/initial.keras"
    with work.database.write() as session:
        session.execute(update(JobRow).values(initial={"job": "job_1", "taken": ["block1_conv1"], "new": ["output"]}))
        file = Artifact(ArtifactName.INITIAL, ArtifactFormat.KERAS, key, 1)
        session.execute(insert(ArtifactRow).values(job_id=job_id, attempt=0, **asdict(file)))
    assigned = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assigned.append((Path(assignment.start.initial).read_bytes(), assignment.start.initial_layers))
        return [Failed("process_died", "It broke.")]

    blobs.put(key, b"weights")
    run(work.claim(), script)
    assert assigned == [(b"weights", ("block1_conv1",))]
    blobs.delete(key)
    work.set(job_id, available_at=None)
    run(work.claim(), script)
    assert (len(assigned), work.row(job_id).error["code"]) == (1, "initial_unavailable")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("content", [None, b"no model"])
def test_a_job_whose_backbone_cannot_be_read_says_so_and_does_not_train_without(
    work: Work, blobs: Blobs, run, content: bytes | None
) -> None:
    job_id = work.submit()
    key = f"jobs/{job_id}/0/backbone.keras"
    known = Backbone("mod_1", (8, 8, 3), (2, 2, 4), "bytes", 100, 100, 1_000, 500, 100, 3)
    with work.database.write() as session:
        session.execute(update(JobRow).values(backbone=known.to_json()))
        file = Artifact(ArtifactName.BACKBONE, ArtifactFormat.KERAS, key, 1)
        session.execute(insert(ArtifactRow).values(job_id=job_id, attempt=0, **asdict(file)))
    if content is not None:
        blobs.put(key, content)
    run(work.claim(), lambda assignment: [Failed("process_died", "It trained.")])
    assert work.row(job_id).error["code"] == "backbone_unavailable"
    assert work.row(job_id).status is JobStatus.FAILED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_uploaded_model_is_taken_apart_once_for_each_owner(work: Work, blobs: Blobs, run, tmp_path: Path) -> None:
    model, kept = small_backbone(tmp_path).read_bytes(), tmp_path / "home" / "features"
    known = Backbone("mod_1", (20, 18, 3), (10, 9, 6), "bytes", 100, 100, 1_000, 500, 100, 3)
    folders, layers = [], []

    def script(assignment: Assignment) -> list[FromTraining]:
        assert assignment.start.backbone is not None
        folders.append(Path(assignment.start.backbone.folder))
        layers.append((folders[-1] / "layers.json").read_bytes())
        return whole(assignment, 1)

    for owner in (ALICE, ALICE, BOB, BOB):
        job_id = work.submit(owner)
        key = f"jobs/{job_id}/0/backbone.keras"
        with work.database.write() as session:
            session.execute(update(JobRow).where(JobRow.id == job_id).values(backbone=known.to_json()))
            file = Artifact(ArtifactName.BACKBONE, ArtifactFormat.KERAS, key, 1)
            session.execute(insert(ArtifactRow).values(job_id=job_id, attempt=0, **asdict(file)))
        blobs.put(key, model)
        run(work.claim(), script)
    assert [folder.parent == kept for folder in folders] == [False, True, False, True]
    assert folders[1] != folders[3]
    assert layers == [layers[0]] * 4


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_cancel_after_a_whole_epoch_keeps_the_model_that_the_process_leaves(work: Work, blobs: Blobs, run) -> None:
    job_id = work.submit()
    claimed = work.claim()

    def script(assignment: Assignment) -> list[FromTraining]:
        started, first, finished = whole(assignment, 1)
        work.cancel(job_id)
        return [started, first, finished]

    run(claimed, script)
    assert work.row(job_id).status is JobStatus.CANCELLED
    [file] = work.stored(job_id)["artifacts"]
    assert (file["name"], blobs.read(file["key"])) == ("model", b"model.keras")
    assert work.stored(job_id)["results"] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_stops_while_the_store_is_away_gives_back_a_job_that_has_only_to_be_stored(
    work: Work, blobs: Blobs, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = work.submit()
    stopping = threading.Event()
    tries = []

    def away(key: str, file: Path) -> None:
        if key.endswith("model.keras"):
            tries.append(key)
            stopping.set()
        raise StorageUnavailable

    monkeypatch.setattr(blobs, "put", away)
    run(work.claim(), lambda assignment: whole(assignment, 1), stopping=stopping)
    row = work.row(job_id)
    assert (row.status, row.failures, row.error) == (JobStatus.QUEUED, 0, None)
    assert len(tries) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_a_job_that_resumes_without_units_for_its_precision_says_so_and_keeps_it(
    work: Work, blobs: Blobs, run, has_bfloat16: bool
) -> None:
    """It begins on a worker that has them, where `auto` becomes mixed, and continues on another."""
    assigned = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assigned.append(assignment.machine.precision)
        _, *rest = whole(assignment, 2, 3)
        return [Started({**ENGINE, "towers": 1, "precision": "mixed"}), *rest]

    job_id = work.submit()
    first = work.claim()
    run(first, lambda assignment: [*script(assignment)[:2], Stopped(None)], has_bfloat16=True)
    assert work.row(job_id).spec["training"]["precision"] == "mixed"
    run(work.claim(), script, has_bfloat16=has_bfloat16)
    assert assigned == ["auto", "mixed"]
    assert work.row(job_id).engine["precision"] == "mixed"
    warnings = [event.message for event in work.events(job_id) if event.type == "job.warning"]
    assert ["no units (AMX) for bfloat16" in warning for warning in warnings] == [True] * (not has_bfloat16)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("damage", ["altered", "gone"])
def test_a_damaged_checkpoint_is_reported_of_and_the_one_before_it_continued_from(
    work: Work, blobs: Blobs, run, damage: str
) -> None:
    first = work.running()
    work.begin(first)
    for epoch in (1, 2):
        work.epoch(first, epoch, train_loss=1.0 / epoch)
        work.checkpoint(first, epoch)
    older, newer = (row["key"] for row in work.stored(first.job_id)["checkpoints"])
    blobs.put(older, b"state")
    if damage == "altered":
        blobs.put(newer, b"nonsense")
    work.release(first)
    claimed = work.claim()
    assert claimed is not None
    tried = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assert assignment.start.checkpoint is not None
        tried.append(Path(assignment.start.checkpoint).read_bytes())
        if tried[-1] == b"nonsense":
            return [Started(dict(ENGINE, towers=1)), Failed("checkpoint_damaged", "It does not match its checksum.")]
        return whole(assignment, 2, 3)

    run(claimed, script)
    assert tried == ([b"nonsense"] if damage == "altered" else []) + [b"state"]
    assert work.row(first.job_id).status is JobStatus.SUCCEEDED
    [warning] = [event for event in work.events(first.job_id) if event.type == "job.warning"]
    assert "A checkpoint could not be used" in warning.message
    assert work.stored(first.job_id)["attempts"][1]["start_epoch"] == 1
    assert work.history(first.job_id) == [(1, 1), (2, 2), (2, 3)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_end_leaves_files_with_size_and_digest_and_a_summary(work: Work, blobs: Blobs, run) -> None:
    job_id = work.submit()
    claimed = work.claim()
    assert claimed is not None

    def script(assignment: Assignment) -> list[FromTraining]:
        started, first, second, finished = whole(assignment, 1, 2)
        first.values.update(validation_loss=0.25, validation_accuracy=0.75)
        second.values.update(validation_loss=0.5, validation_accuracy=0.625)
        return [started, first, second, replace(finished, final=final_of(2, with_test=False))]

    run(claimed, script)
    stored = {f"{row['name']}.{row['format']}": row for row in work.stored(job_id)["artifacts"]}
    assert stored.keys() == {"model.keras", "predictions.npz", "evaluation.json"}
    for row in stored.values():
        content = blobs.read(row["key"])
        assert (row["size_bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    row = work.row(job_id)
    with work.database.read() as session:
        diagnosis = diagnose_job(session, blobs, row)
    assert row.summary == {
        "best": {"epoch": 1, "validation_loss": 0.25, "validation_accuracy": 0.75},
        "most_accurate": {"epoch": 1, "validation_loss": 0.25, "validation_accuracy": 0.75},
        "gap": {"validation": {"accuracy": 0.25, "loss": 0.2}, "test": None},
        "test_accuracy": None,
        "verdict": diagnosis.verdict,
        "headline": diagnosis.headline,
    }


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_diagnosis_that_breaks_does_not_fail_the_job(work: Work, run) -> None:
    job_id = work.submit()
    claimed = work.claim()
    assert claimed is not None
    run(claimed, lambda assignment: whole(assignment, 1, evaluation='{"format": 99}'))
    row = work.row(job_id)
    assert (row.status, row.summary["verdict"]) == (JobStatus.SUCCEEDED, None)
    assert work.event_types(job_id)[-1] == "job.succeeded"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_that_fails_for_good_has_a_summary_and_one_that_is_tried_again_none(work: Work, run) -> None:
    job_id = work.submit()
    for code, summed in (("internal", False), ("diverged", True)):
        work.set(job_id, available_at=None)
        claimed = work.claim()
        assert claimed is not None
        failed = Failed(code, "It broke.")
        run(claimed, lambda assignment, failed=failed: [*whole(assignment, 1)[:-1], failed])
        assert (work.row(job_id).summary is not None) == summed


class Unheard(Database):
    """Every other commit is made, and its acknowledgement lost."""

    commits = 0

    @contextmanager
    def write(self) -> Iterator[Session]:
        with super().write() as session:
            yield session
        self.commits += 1
        if self.commits % 2:
            raise DatabaseUnavailable


def test_what_was_committed_and_not_acknowledged_is_reported_once(
    work: Work, blobs: Blobs, run, database_url: str, tmp_path: Path
) -> None:
    work.submit()
    claimed = work.claim()
    assert claimed is not None
    deaf = Unheard(database_url)

    def script(assignment: Assignment) -> list[FromTraining]:
        started, *epochs, finished = whole(assignment, 1, 2, 3)
        within = Path(assignment.scratch) / "within"
        within.write_text("within")
        between = [CheckpointWritten(str(within), 3, 5), Overfits(3, 1, "It overfits.")]
        return [started, *epochs, *between, finished]

    run(claimed, script, deaf)
    deaf.dispose()
    job_id = claimed.held.job_id
    assert deaf.commits >= 18  # nine writes, each of them twice
    told = work.event_types(job_id)
    assert told[2:] == ["job.epoch", "job.checkpoint"] * 3 + ["job.checkpoint", "job.overfitting", "job.succeeded"]
    assert work.history(job_id) == [(1, 1), (1, 2), (1, 3)]
    row = work.row(job_id)
    assert (row.status, row.failures, row.epoch) == (JobStatus.SUCCEEDED, 0, 3)
    [last] = work.stored(job_id)["checkpoints"]
    state = last["key"].rpartition("/")[2]
    assert (last["epoch"], last["step"]) == (3, 5), "the last state is kept, and nothing before it"
    assert left(tmp_path, claimed.held) == {"model.keras", "predictions.npz", "evaluation.json", state}
    assert len(work.stored(job_id)["artifacts"]) == 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_failure_that_was_not_acknowledged_counts_once_and_leaves_its_last_state(
    work: Work, run, database_url: str, tmp_path: Path
) -> None:
    work.submit()
    claimed = work.claim()
    assert claimed is not None
    deaf = Unheard(database_url)
    run(claimed, lambda assignment: [*whole(assignment, 1)[:-1], Failed("diverged", "A loss is not finite.")], deaf)
    deaf.dispose()
    row = work.row(claimed.held.job_id)
    assert (row.status, row.failures) == (JobStatus.FAILED, 1)
    assert work.event_types(row.id)[2:] == ["job.epoch", "job.checkpoint", "job.failed"]
    assert left(tmp_path, claimed.held) == {"checkpoint-00001-00000000.ckpt"}


def test_a_checkpoint_whose_commit_was_not_acknowledged_survives_the_loss_of_the_job(
    work: Work, run, database_url: str, tmp_path: Path
) -> None:
    """It was noted, so the next attempt continues from it: the one that lost the job must leave its blob alone."""
    work.submit()
    claimed = work.claim()
    assert claimed is not None

    class Unlucky(Database):
        """After the second checkpoint was committed, another worker has the job."""

        @contextmanager
        def write(self) -> Iterator[Session]:
            with super().write() as session:
                yield session
            if len(work.stored(claimed.held.job_id)["checkpoints"]) == 2 and work.row(claimed.held.job_id).attempt == 1:
                work.claimed_again(claimed.held)
                raise DatabaseUnavailable

    unlucky = Unlucky(database_url)
    run(claimed, lambda assignment: whole(assignment, 1, 2), unlucky)
    unlucky.dispose()
    named = {row["key"].rpartition("/")[2] for row in work.stored(claimed.held.job_id)["checkpoints"]}
    assert len(named) == 2
    assert left(tmp_path, claimed.held) == named


def left(folder: Path, held: HeldAttempt) -> set[str]:
    """The files of an attempt in the blob store."""
    return {path.name for path in (folder / "blobs" / "jobs" / held.job_id / str(held.attempt)).iterdir()}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_files_that_a_lost_attempt_left_without_rows_go_with_the_end_of_the_job(work: Work, blobs: Blobs, run) -> None:
    held = work.running()
    left = [f"jobs/{held.job_id}/1/{name}" for name in ("model.keras", "checkpoint-00001-00000000.ckpt")]
    kept = [f"jobs/{held.job_id}/0/initial.keras", "jobs/job_other/1/model.keras"]
    for key in (*left, *kept):
        blobs.put(key, b"x")
    work.set(held.job_id, lease_expires_at=None)
    with work.database.write() as session:
        recover_from_dead_workers(session, "worker")
    claimed = work.claim()
    assert claimed is not None
    run(claimed, lambda assignment: whole(assignment, 1))
    assert work.row(held.job_id).status is JobStatus.SUCCEEDED
    there = {one.key for one in blobs.stored("jobs")}
    assert there.isdisjoint(left)
    assert there >= {*kept, f"jobs/{held.job_id}/2/model.keras"}


class Killed:
    """A script whose process the kernel kills for memory: it has this much at the last look."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, peak_bytes: int, at_death: Callable[[], object] = lambda: None
    ) -> None:
        self._kills = 0
        self._at_death = at_death
        monkeypatch.setattr("worker.supervision.attempt.count_memory_kills", lambda: self._kills)
        monkeypatch.setattr("worker.supervision.attempt.read_peak_bytes", lambda pid: peak_bytes)

    def __call__(self, assignment: Assignment) -> Iterator[FromTraining]:
        yield Started(dict(ENGINE, towers=1))
        self._kills += 1
        self._at_death()
        raise ProcessDied(-signal.SIGKILL)


@pytest.mark.parametrize(("peak_bytes", "beside"), [(3 * GIB, True), (1 * GIB, False)], ids=["too much", "alone"])
def test_a_job_that_is_killed_for_its_own_memory_fails_and_is_not_tried_again(
    work: Work, run, monkeypatch: pytest.MonkeyPatch, peak_bytes: int, beside: bool
) -> None:
    work.set(work.submit(), memory_bytes=2 * GIB)
    claimed = work.claim()
    assert claimed is not None
    memory = MemoryBudget(8 * GIB)
    if beside:
        memory.take(HeldAttempt("job_of_a_neighbour", 1), 2 * GIB)
    run(claimed, Killed(monkeypatch, peak_bytes), memory=memory)
    row = work.row(claimed.held.job_id)
    assert (row.status, row.failures, row.error["code"]) == (JobStatus.FAILED, 1, "out_of_memory")
    assert "2,048 MiB were reserved" in row.error["detail"]


def test_a_bystander_of_a_kill_for_memory_is_queued_again_and_no_failure_is_counted(
    work: Work, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.set(work.submit(), memory_bytes=2 * GIB)
    claimed = work.claim()
    assert claimed is not None
    memory = MemoryBudget(8 * GIB)
    neighbour = HeldAttempt("job_of_a_neighbour", 1)
    memory.take(neighbour, 2 * GIB)
    # The kernel may kill both at once; then the cause has been settled before this one is.
    killed = Killed(monkeypatch, int(1.2 * 2 * GIB), at_death=lambda: memory.give_back(neighbour))
    run(claimed, killed, memory=memory)
    row = work.row(claimed.held.job_id)
    assert (row.status, row.failures, row.error) == (JobStatus.QUEUED, 0, None)
    assert row.memory_bytes == 2 * int(1.2 * 2 * GIB), "next time more is reserved, in the end the worker"
    assert work.event_types(row.id)[-1] == "job.requeued"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_process_that_was_killed_while_memory_was_left_counts_as_before(work: Work, run) -> None:
    def killed(assignment: Assignment) -> Iterator[FromTraining]:
        raise ProcessDied(-signal.SIGKILL)
        yield

    work.set(work.submit(), memory_bytes=2 * GIB)
    claimed = work.claim()
    assert claimed is not None
    run(claimed, killed)
    row = work.row(claimed.held.job_id)
    assert (row.status, row.failures) == (JobStatus.QUEUED, 1)
