"""Attempts at trainings whose processes follow a script: what they store, once, and where they continue."""

import hashlib
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select, update

from analysis.arrays.dataset import save
from analysis.arrays.relations import Relations, load_relations, make_relations_key, save_relations
from analysis.studies.state import Scores
from heldout.errors import DatabaseUnavailable, StorageUnavailable
from heldout.lifecycle.job import FailureCode, JobStatus, StopReason
from heldout.lifecycle.resources import RelationsStatus
from heldout.spec.backbone import Backbone
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.gap import StoredGap, Tally
from models.blobs import Blobs
from models.database import Database, Session
from models.job_diagnosis import diagnose_job
from models.store.artifacts import Artifact
from models.store.claims import Claimed, HeldAttempt, recover_from_dead_workers
from models.store.studies import list_runs
from models.tables import ArtifactRow, DatasetRow, EpochRow, JobRow
from tests.damaged_files import flip
from tests.models.work import ALICE, BOB, ENGINE, Work, dots, final_of
from tests.worker.supervision.bench import GIB, Bench, script_process
from tests.worker.training.backbones import small_backbone
from tests.worker.training.processes import wait_long
from worker.machine.enclosed_process import ProcessDied
from worker.machine.shares import Share, Shares
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
from worker.supervision import lease as holds
from worker.supervision import processes
from worker.supervision.processes import SpareProcesses, TrainingProcess

Script = Callable[[Assignment], Iterable[FromTraining]]


@pytest.fixture
def bench(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    save(dots(), tmp_path)
    monkeypatch.setattr("worker.machine.cores.find_usable_cores", lambda: (0, 1))
    monkeypatch.setattr("worker.supervision.attempt_files.hold_dataset", lambda *_: nullcontext(tmp_path))
    monkeypatch.setattr(holds, "RETRY_INTERVAL_S", 0.0)
    bench = Bench(database, tmp_path)
    yield bench
    bench.scratch.close()


@pytest.fixture
def work(bench: Bench) -> Work:
    return bench.work


@pytest.fixture
def blobs(bench: Bench) -> Blobs:
    return bench.blobs


@pytest.fixture
def run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a claimed job by a script, on the test's database or another."""

    def run(claimed: Claimed | None, script: Script, database: Database | None = None, **resources: Any) -> None:
        script_process(monkeypatch, lambda assignment: iter(script(assignment)))
        bench.run(claimed, database, **resources)

    return run


def train_fully(
    assignment: Assignment, *epochs: int, evaluation: str = '{"classes": [], "splits": {}}'
) -> list[FromTraining]:
    """Write the files of a training that succeeds; return its messages, with a checkpoint after each epoch."""

    def file(name: str, content: str = "") -> Path:
        written = assignment.scratch / name
        written.write_text(content or name)
        return written

    done = [EpochDone(epoch, {"train_loss": 1.0 / epoch, "seconds": 1.0}, file(f"after-{epoch}")) for epoch in epochs]
    files = (
        TrainedFile(ArtifactName.MODEL, ArtifactFormat.KERAS, file("model.keras")),
        TrainedFile(ArtifactName.PREDICTIONS, ArtifactFormat.NPZ, file("predictions.npz")),
        TrainedFile(ArtifactName.EVALUATION, ArtifactFormat.JSON, file("evaluation.json", evaluation)),
    )
    finished = Finished(final_of(epochs[-1]), StopReason.COMPLETED, files)
    return [Started(dict(ENGINE, towers=1)), *done, finished]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_gets_the_same_towers_alone_as_next_to_running_and_waiting_jobs(work: Work, run) -> None:
    assigned = []

    def record(assignment: Assignment) -> list[FromTraining]:
        assigned.append(assignment.machine.towers)
        return train_fully(assignment, 1)

    def first(assignment: Assignment) -> list[FromTraining]:
        """While this job runs, a job with the same spec runs next to it, and a third job waits."""
        assigned.append(assignment.machine.towers)
        work.submit()
        work.submit()
        run(work.claim(), record)
        return train_fully(assignment, 1)

    work.submit()
    run(work.claim(), first)
    run(work.claim(), record)
    assert assigned == ["auto", "auto", "auto"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_training_gets_the_relations_of_its_dataset_and_leaves_the_terms_of_its_gap(
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
        given = load_relations(assignment.dataset.relations)
        np.testing.assert_array_equal(given.copy_of, relations.copy_of)
        *before, finished = train_fully(assignment, 1)
        (assignment.scratch / "gap.json").write_bytes(gap)
        file = TrainedFile(ArtifactName.GAP, ArtifactFormat.JSON, (assignment.scratch / "gap.json"))
        return [*before, replace(finished, files=(*finished.files, file))]

    run(claimed, script)
    [stored] = [row for row in work.stored(job_id)["artifacts"] if row["name"] == "gap"]
    assert blobs.read(stored["key"]) == gap
    assert work.row(job_id).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_only_trainings_of_studies_leave_scores_of_each_validation_image(work: Work, run) -> None:
    of_study, alone = work.submit(), work.submit()
    study = work.ended_study(of_study)
    scores = Scores(
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
        *before, finished = train_fully(assignment, 1)
        return [*before, replace(finished, scores=scores if assignment.for_study else None)]

    run(work.claim(), script)
    run(work.claim(), script)
    assert asked == [True, False]
    assert work.row(of_study).status is work.row(alone).status is JobStatus.SUCCEEDED
    with work.database.read() as session:
        [stored] = list_runs(session, study)
    for name, value in asdict(scores).items():
        np.testing.assert_array_equal(getattr(stored.scores, name), value)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_process_of_a_studys_job_waits_for_another_seed_unless_it_took_too_much_memory(
    work: Work, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, failed, large, usual = (work.submit() for _ in range(4))
    work.ended_study(failed, large, usual)
    peaks = {alone: GIB, failed: GIB, large: 17 * GIB, usual: GIB}
    spares, waiting = SpareProcesses(), list[str]()
    monkeypatch.setattr(spares, "put", lambda process: waiting.append(process.assignment.job_id))

    def script(assignment: Assignment) -> Iterator[FromTraining]:
        monkeypatch.setattr("worker.supervision.attempt.read_peak_bytes", lambda _: peaks[assignment.job_id])
        fails = assignment.job_id == failed
        return iter([Failed(FailureCode.DIVERGED, "")] if fails else train_fully(assignment, 1))

    started = script_process(monkeypatch, script)
    for _ in peaks:
        bench.run(spares=spares)
    assert waiting == [usual]
    assert [process.killed for process in started] == [True, True, True, False]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("forking")
def test_one_process_trains_two_seeds_of_a_study_and_another_the_job_of_another_owner(
    work: Work, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes.child, "main", wait_long)
    monkeypatch.setattr(processes, "FORK_READY_TIMEOUT_S", 100)
    started = list[TrainingProcess]()

    def start(*given: Any) -> TrainingProcess:
        started.append(TrainingProcess(*given))
        return started[-1]

    monkeypatch.setattr("worker.supervision.attempt.TrainingProcess", start)
    jobs, counts, spares = list[str](), list[int](), SpareProcesses()
    try:
        for seed, owner in enumerate((ALICE, ALICE, BOB)):
            jobs.append(work.submit(owner, training={"epochs": 2, "batch_size": 2, "seed": seed}))
            work.ended_study(jobs[-1])
            assert bench.run(work.claim(lease_s=3600), spares=spares).status is JobStatus.SUCCEEDED
            counts.append(len(started))
    finally:
        spares.take()
    assert counts == [1, 1, 2]
    for process in started:
        process._process.join(100)
        assert process._process.exitcode is not None
    with work.database.read() as session:
        found = session.execute(select(EpochRow.job_id, EpochRow.epoch, EpochRow.train_loss)).all()
    losses = {job: [loss for of, _, loss in sorted(found) if of == job] for job in jobs}
    assert {len(of_job) for of_job in losses.values()} == {2}
    assert losses[jobs[0]] != losses[jobs[1]]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_training_runs_without_relations_if_its_dataset_has_none(work: Work, run) -> None:
    job_id = work.submit()
    assigned = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assigned.append(assignment.dataset.relations)
        return train_fully(assignment, 1)

    run(work.claim(), script)
    assert assigned == [None]
    assert work.row(job_id).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_training_runs_without_relations_that_cannot_be_fetched(
    work: Work, blobs: Blobs, run, tmp_path: Path
) -> None:
    claimed = work.submit() and work.claim()
    assigned = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assigned.append(assignment.dataset.relations)
        return train_fully(assignment, 1)

    # A folder in place of the file is not a blob, and reading it is refused.
    (tmp_path / "blobs" / make_relations_key(claimed.dataset.id)).mkdir(parents=True)
    run(claimed, script)
    assert assigned == [None]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("status", [RelationsStatus.STORED, RelationsStatus.FAILED])
def test_folds_use_relations_if_they_were_known_when_the_job_was_accepted(
    work: Work, blobs: Blobs, run, tmp_path: Path, status: RelationsStatus
) -> None:
    """All attempts make the same folds. If relations were known, a job whose file is missing fails."""
    dataset_id = work.dataset.id
    with work.database.write() as session:
        session.execute(update(DatasetRow).values(relations_status=status))
    save_relations(Relations(np.arange(6, dtype=np.int32)), tmp_path / "relations.npz")
    assigned = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assigned.append(assignment.dataset.relations is not None)
        return train_fully(assignment, 1)

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
def test_a_job_fails_if_its_initial_weights_are_gone(work: Work, blobs: Blobs, run) -> None:
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
def test_a_job_fails_if_its_backbone_cannot_be_read(work: Work, blobs: Blobs, run, content: bytes | None) -> None:
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
def test_an_uploaded_model_is_unpacked_once_for_each_owner(work: Work, blobs: Blobs, run, tmp_path: Path) -> None:
    model, kept = small_backbone(tmp_path).read_bytes(), tmp_path / "home" / "features"
    known = Backbone("mod_1", (20, 18, 3), (10, 9, 6), "bytes", 100, 100, 1_000, 500, 100, 3)
    folders, files = [], []

    def script(assignment: Assignment) -> list[FromTraining]:
        assert assignment.start.backbone is not None
        folders.append(Path(assignment.start.backbone.folder))
        with np.load(folders[-1] / "weights.npz") as arrays:
            weights = b"".join(arrays[name].tobytes() for name in sorted(arrays.files))
        files.append(((folders[-1] / "layers.json").read_bytes(), weights))
        return train_fully(assignment, 1)

    def train(owner: str) -> None:
        job_id = work.submit(owner)
        key = f"jobs/{job_id}/0/backbone.keras"
        with work.database.write() as session:
            session.execute(update(JobRow).where(JobRow.id == job_id).values(backbone=known.to_json()))
            file = Artifact(ArtifactName.BACKBONE, ArtifactFormat.KERAS, key, 1)
            session.execute(insert(ArtifactRow).values(job_id=job_id, attempt=0, **asdict(file)))
        blobs.put(key, model)
        run(work.claim(), script)

    for owner in (ALICE, ALICE, BOB):
        train(owner)
    assert [folder.parent == kept for folder in folders] == [False, True, False]
    # tests/worker/machine/test_cache.py damages every file of a note.
    damaged = folders[1] / "weights.npz"
    flip(damaged, damaged.stat().st_size // 2)
    train(ALICE)
    train(ALICE)
    assert [folder.parent == kept for folder in folders[-2:]] == [False, True], "it is rebuilt once"
    assert files == [files[0]] * len(folders)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_canceled_after_a_complete_epoch_keeps_its_model(work: Work, blobs: Blobs, run) -> None:
    job_id = work.submit()
    claimed = work.claim()

    def script(assignment: Assignment) -> list[FromTraining]:
        started, first, finished = train_fully(assignment, 1)
        work.cancel(job_id)
        return [started, first, finished]

    run(claimed, script)
    assert work.row(job_id).status is JobStatus.CANCELLED
    [file] = work.stored(job_id)["artifacts"]
    assert (file["name"], blobs.read(file["key"])) == ("model", b"model.keras")
    assert work.stored(job_id)["results"] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_stops_during_a_storage_outage_releases_a_trained_job(
    bench: Bench, work: Work, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = work.submit()
    tries = []

    def fail(key: str, file: Path) -> None:
        if key.endswith("model.keras"):
            tries.append(key)
            bench.stopping.set()
        raise StorageUnavailable

    monkeypatch.setattr(bench.blobs, "put", fail)
    run(work.claim(), lambda assignment: train_fully(assignment, 1))
    row = work.row(job_id)
    assert (row.status, row.failures, row.error) == (JobStatus.QUEUED, 0, None)
    assert len(tries) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_a_job_resumed_on_a_worker_without_bfloat16_units_warns_and_keeps_its_precision(
    work: Work, blobs: Blobs, run, has_bfloat16: bool
) -> None:
    """The job begins on a worker with such units, where `auto` becomes mixed precision."""
    assigned = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assigned.append(assignment.machine.precision)
        _, *rest = train_fully(assignment, 2, 3)
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
def test_a_damaged_checkpoint_is_reported_and_the_previous_one_is_used(
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
    tried = []

    def script(assignment: Assignment) -> list[FromTraining]:
        assert assignment.start.checkpoint is not None
        tried.append(assignment.start.checkpoint.read_bytes())
        if tried[-1] == b"nonsense":
            return [Started(dict(ENGINE, towers=1)), Failed("checkpoint_damaged", "It does not match its checksum.")]
        return train_fully(assignment, 2, 3)

    run(claimed, script)
    assert tried == ([b"nonsense"] if damage == "altered" else []) + [b"state"]
    assert work.row(first.job_id).status is JobStatus.SUCCEEDED
    [warning] = [event for event in work.events(first.job_id) if event.type == "job.warning"]
    assert "A checkpoint could not be used" in warning.message
    assert work.stored(first.job_id)["attempts"][1]["start_epoch"] == 1
    assert work.history(first.job_id) == [(1, 1), (2, 2), (2, 3)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_finished_job_has_files_with_sizes_and_digests_and_a_summary(work: Work, blobs: Blobs, run) -> None:
    job_id = work.submit()
    claimed = work.claim()

    def script(assignment: Assignment) -> list[FromTraining]:
        started, first, second, finished = train_fully(assignment, 1, 2)
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
def test_a_failing_diagnosis_does_not_fail_the_job(work: Work, run) -> None:
    job_id = work.submit()
    claimed = work.claim()
    run(claimed, lambda assignment: train_fully(assignment, 1, evaluation='{"format": 99}'))
    row = work.row(job_id)
    assert (row.status, row.summary["verdict"]) == (JobStatus.SUCCEEDED, None)
    assert work.event_types(job_id)[-1] == "job.succeeded"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_only_a_job_that_will_not_be_retried_gets_a_summary_when_it_fails(work: Work, run) -> None:
    job_id = work.submit()
    for code, summed in (("internal", False), ("diverged", True)):
        work.set(job_id, available_at=None)
        claimed = work.claim()
        failed = Failed(code, "It broke.")
        run(claimed, lambda assignment, failed=failed: [*train_fully(assignment, 1)[:-1], failed])
        assert (work.row(job_id).summary is not None) == summed


class LossyDatabase(Database):
    """Loses the acknowledgement of every other commit."""

    commits = 0

    @contextmanager
    def write(self) -> Iterator[Session]:
        with super().write() as session:
            yield session
        self.commits += 1
        if self.commits % 2:
            raise DatabaseUnavailable


def test_a_commit_without_acknowledgement_is_repeated_and_reported_once(
    work: Work, blobs: Blobs, run, database_url: str, tmp_path: Path
) -> None:
    work.submit()
    claimed = work.claim()
    lossy = LossyDatabase(database_url)

    def script(assignment: Assignment) -> list[FromTraining]:
        started, *epochs, finished = train_fully(assignment, 1, 2, 3)
        within = assignment.scratch / "within"
        within.write_text("within")
        between = [CheckpointWritten(within, 3, 5), Overfits(3, 1, "It overfits.")]
        return [started, *epochs, *between, finished]

    run(claimed, script, lossy)
    lossy.dispose()
    job_id = claimed.held.job_id
    assert lossy.commits >= 18  # nine writes, each made twice
    assert work.event_types(job_id)[2:] == ["job.epoch", "job.checkpoint"] * 3 + [
        "job.checkpoint",
        "job.overfitting",
        "job.succeeded",
    ]
    assert work.history(job_id) == [(1, 1), (1, 2), (1, 3)]
    row = work.row(job_id)
    assert (row.status, row.failures, row.epoch) == (JobStatus.SUCCEEDED, 0, 3)
    [last] = work.stored(job_id)["checkpoints"]
    state = last["key"].rpartition("/")[2]
    assert (last["epoch"], last["step"]) == (3, 5), "only the last checkpoint is kept"
    assert list_files(tmp_path, claimed.held) == {"model.keras", "predictions.npz", "evaluation.json", state}
    assert len(work.stored(job_id)["artifacts"]) == 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_failure_without_acknowledgement_counts_once_and_keeps_the_last_checkpoint(
    work: Work, run, database_url: str, tmp_path: Path
) -> None:
    work.submit()
    claimed = work.claim()
    lossy = LossyDatabase(database_url)
    run(
        claimed,
        lambda assignment: [*train_fully(assignment, 1)[:-1], Failed("diverged", "A loss is not finite.")],
        lossy,
    )
    lossy.dispose()
    row = work.row(claimed.held.job_id)
    assert (row.status, row.failures) == (JobStatus.FAILED, 1)
    assert work.event_types(row.id)[2:] == ["job.epoch", "job.checkpoint", "job.failed"]
    assert list_files(tmp_path, claimed.held) == {"checkpoint-00001-00000000.ckpt"}


def test_a_checkpoint_without_acknowledgement_survives_the_loss_of_the_job(
    work: Work, run, database_url: str, tmp_path: Path
) -> None:
    """Its row exists, so the next attempt continues from it. The attempt that lost the job must keep its blob."""
    work.submit()
    claimed = work.claim()

    class Unlucky(Database):
        """Gives the job to another worker once the second checkpoint is committed."""

        @contextmanager
        def write(self) -> Iterator[Session]:
            with super().write() as session:
                yield session
            if len(work.stored(claimed.held.job_id)["checkpoints"]) == 2 and work.row(claimed.held.job_id).attempt == 1:
                work.claimed_again(claimed.held)
                raise DatabaseUnavailable

    unlucky = Unlucky(database_url)
    run(claimed, lambda assignment: train_fully(assignment, 1, 2), unlucky)
    unlucky.dispose()
    named = {row["key"].rpartition("/")[2] for row in work.stored(claimed.held.job_id)["checkpoints"]}
    assert len(named) == 2
    assert list_files(tmp_path, claimed.held) == named


def list_files(folder: Path, held: HeldAttempt) -> set[str]:
    """List the files of an attempt in the blob store."""
    return {path.name for path in (folder / "blobs" / "jobs" / held.job_id / str(held.attempt)).iterdir()}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_files_that_a_lost_attempt_left_without_rows_are_deleted_when_the_job_ends(
    work: Work, blobs: Blobs, run
) -> None:
    held = work.running()
    left = [f"jobs/{held.job_id}/1/{name}" for name in ("model.keras", "checkpoint-00001-00000000.ckpt")]
    kept = [f"jobs/{held.job_id}/0/initial.keras", "jobs/job_other/1/model.keras"]
    for key in (*left, *kept):
        blobs.put(key, b"x")
    work.set(held.job_id, lease_expires_at=None)
    with work.database.write() as session:
        recover_from_dead_workers(session, "worker")
    claimed = work.claim()
    run(claimed, lambda assignment: train_fully(assignment, 1))
    assert work.row(held.job_id).status is JobStatus.SUCCEEDED
    stored = {blob.key for blob in blobs.stored("jobs")}
    assert stored.isdisjoint(left)
    assert stored >= {*kept, f"jobs/{held.job_id}/2/model.keras"}


class KilledForMemory:
    """A script whose process the kernel kills when memory runs out.

    peak_bytes: the memory of the process when it was last seen.
    """

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


@pytest.mark.parametrize(("peak_bytes", "has_neighbor"), [(3 * GIB, True), (1 * GIB, False)], ids=["too much", "alone"])
def test_a_job_that_is_killed_for_its_own_memory_fails_without_a_retry(
    bench: Bench, work: Work, run, monkeypatch: pytest.MonkeyPatch, peak_bytes: int, has_neighbor: bool
) -> None:
    work.set(work.submit(), memory_bytes=2 * GIB)
    claimed = work.claim()
    bench.shares = Shares(8 * GIB)
    if has_neighbor:
        bench.shares.take(HeldAttempt("job_of_a_neighbour", 1), Share(2 * GIB))
    run(claimed, KilledForMemory(monkeypatch, peak_bytes))
    row = work.row(claimed.held.job_id)
    assert (row.status, row.failures, row.error["code"]) == (JobStatus.FAILED, 1, "out_of_memory")
    assert "2,048 MiB were reserved" in row.error["detail"]


def test_a_bystander_of_a_kill_for_memory_is_queued_again_without_a_failure(
    bench: Bench, work: Work, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.set(work.submit(), memory_bytes=2 * GIB)
    claimed = work.claim()
    bench.shares = Shares(8 * GIB)
    neighbor = HeldAttempt("job_of_a_neighbour", 1)
    bench.shares.take(neighbor, Share(2 * GIB))
    # The kernel may kill both at once. The job that caused it is then settled before this one.
    killed = KilledForMemory(monkeypatch, int(1.2 * 2 * GIB), at_death=lambda: bench.shares.give_back(neighbor))
    run(claimed, killed)
    row = work.row(claimed.held.job_id)
    assert (row.status, row.failures, row.error) == (JobStatus.QUEUED, 0, None)
    assert row.memory_bytes == 2 * int(1.2 * 2 * GIB), "more is reserved next time"
    assert work.event_types(row.id)[-1] == "job.requeued"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_process_killed_while_memory_was_free_counts_as_a_failure(work: Work, run) -> None:
    def killed(assignment: Assignment) -> Iterator[FromTraining]:
        raise ProcessDied(-signal.SIGKILL)
        yield

    work.set(work.submit(), memory_bytes=2 * GIB)
    claimed = work.claim()
    run(claimed, killed)
    row = work.row(claimed.held.job_id)
    assert (row.status, row.failures) == (JobStatus.QUEUED, 1)
