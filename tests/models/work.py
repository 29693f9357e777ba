"""Small pieces of work on a database: a dataset, jobs, attempts at them, and everything stored about a job."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select, update

from analysis.arrays.dataset import ImageSet
from heldout.lifecycle.job import FailureCode, JobStatus, StopReason
from heldout.lifecycle.resources import RelationsStatus, StudyStatus
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.results import FinalView, GapsView, GapView, SplitResult
from heldout.work.kinds import KINDS_BESIDE_SLOTS
from models.database import Database, Limits, Session, db_now
from models.ids import make_id
from models.store import claims, datasets, events, jobs, metrics, new_jobs
from models.store.artifacts import Artifact
from models.store.claims import Capacity, Checkpoint, Claimed, HeldAttempt, Result
from models.store.listing import Filters, Sort
from models.store.new_jobs import NewJob
from models.tables import (
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    DatasetRow,
    EpochRow,
    EventRow,
    JobRow,
    ResultRow,
    StudyRow,
    StudyRunRow,
)

ALICE, BOB = "alice", "bob"
# For tests of decisions, whose statements other tests send to both databases.
sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
CPU = ("auto", "cpu")
ENGINE = {"device": "cpu", "threads": 1, "precision": "float32"}
OF_A_JOB = (JobRow, AttemptRow, EpochRow, CheckpointRow, ResultRow, ArtifactRow, EventRow)


def page_of_jobs(
    session: Session,
    owner: str,
    filters: Filters,
    *,
    after: str | None,
    limit: int,
    sort: Sort = Sort.CREATED,
) -> tuple[list[JobRow], bool]:
    """Return the rows of a page of the owner's jobs, and whether there are more."""
    ids = jobs.list_page(session, owner, filters, after=after, limit=limit, sort=sort)
    rows = [session.get_one(JobRow, job_id, populate_existing=True) for job_id in ids[:limit]]
    assert [row.id for row, _ in jobs.get_listed(session, ids[:limit])] == [row.id for row in rows]
    return rows, len(ids) > limit


class Work:
    """What a client, a worker and a reconciler do, each in its own transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.write() as session:
            datasets.add_bundled(session, make_id("ds"), "dots", dots(), "0" * 64, 1000)
            found = datasets.find(session, ALICE, "dots")
            assert found is not None
            self.dataset = found
            # Its copies count as known, so no reconciler queues a job that finds them.
            self.dataset.relations_status = RelationsStatus.STORED

    def forget_digests(self) -> None:
        """Let the dataset be one of an earlier release, whose splits have no digests."""
        with self.database.write() as session:
            row = session.get_one(DatasetRow, self.dataset.id)
            row.splits = {
                split: {name: value for name, value in about.items() if name != "sha256"}
                for split, about in (row.splits or {}).items()
            }
            session.flush()
            session.refresh(row)
            session.expunge(row)
        self.dataset = row

    def submit(self, owner: str = ALICE, *, dataset: DatasetRow | None = None, **changes: Any) -> str:
        """Queue a job whose spec differs from the smallest one by `changes`."""
        asked, on = spec(**changes), (dataset or self.dataset).id
        with self.database.write() as session:
            new_job = NewJob(spec=asked, owner=owner, name=asked.name or "dots", dataset_id=on, parameters=10)
            return new_jobs.add(session, new_job).id

    def ended_study(self, *job_ids: str) -> str:
        """Add an ended study on the dataset, with these jobs as trainings of its base."""
        study_id = make_id("std")
        with self.database.write() as session:
            session.execute(
                insert(StudyRow).values(
                    id=study_id,
                    owner=ALICE,
                    name="study",
                    kind="remedies",
                    status=StudyStatus.CANCELLED,
                    cancel_requested=False,
                    dataset_id=self.dataset.id,
                    **{key: {} for key in ("spec", "plan", "found", "user_metadata")},
                    remedies=[],
                    version=1,
                    priority=0,
                    last_event=0,
                    created_at=db_now(),
                )
            )
            for seed, job_id in enumerate(job_ids):
                key = {"arm": "base", "purpose": "race", "seed": seed, "fold": -1, "fold_seed": 0, "variant": 0}
                session.execute(insert(StudyRunRow).values(study_id=study_id, job_id=job_id, **key))
                session.execute(update(JobRow).where(JobRow.id == job_id).values(study_id=study_id))
        return study_id

    def claim(
        self, worker: str = "worker", *, devices: tuple[str, ...] = CPU, gpus: int = 1, lease_s: float = 60
    ) -> Claimed | None:
        with self.database.write() as session:
            return claims.claim(session, worker, Capacity(devices, gpus), lease_s)

    def claim_beside_slots(self, worker: str = "worker") -> Claimed | None:
        with self.database.write() as session:
            return claims.claim(session, worker, Capacity(("cpu",), 0, KINDS_BESIDE_SLOTS), 60)

    def running(self, *, lease_s: float = 60, **changes: Any) -> HeldAttempt:
        """Submit a job and claim it. No other job may be waiting."""
        job_id = self.submit(**changes)
        claimed = self.claim(lease_s=lease_s)
        assert claimed is not None
        assert claimed.held.job_id == job_id
        return claimed.held

    def claimed_again(self, held: HeldAttempt) -> HeldAttempt:
        """Let the attempt's lease expire, and return the next attempt."""
        self.set(held.job_id, lease_expires_at=db_now(-1))
        with self.database.write() as session:
            assert claims.recover_expired_leases(session) == [(held.job_id, JobStatus.QUEUED)]
        claimed = self.claim("another worker")
        assert claimed is not None
        assert claimed.held == HeldAttempt(held.job_id, held.attempt + 1)
        return claimed.held

    def begin(self, held: HeldAttempt, start_epoch: int = 0) -> None:
        with self.database.write() as session:
            claims.record_start(session, held, engine=ENGINE, spec=spec(), start_epoch=start_epoch)

    def epoch(self, held: HeldAttempt, epoch: int, **values: float | None) -> bool:
        with self.database.write() as session:
            return claims.record_epoch(session, held, epoch, values)

    def set_epoch(self, held: HeldAttempt, epoch: int, **columns: float | None) -> None:
        """Change an epoch's figures without the store."""
        of_epoch = (EpochRow.job_id == held.job_id, EpochRow.attempt == held.attempt, EpochRow.epoch == epoch)
        with self.database.write() as session:
            session.execute(update(EpochRow).where(*of_epoch).values(**columns))

    def checkpoint(self, held: HeldAttempt, epoch: int, step: int = 0, *, keep: int = 2) -> list[str]:
        key = f"jobs/{held.job_id}/{held.attempt}/{epoch}-{step}"
        with self.database.write() as session:
            return claims.add_checkpoint(session, held, Checkpoint(epoch, step, key), keep=keep)

    def succeed(self, held: HeldAttempt, reason: StopReason = StopReason.COMPLETED) -> JobStatus:
        with self.database.write() as session:
            return claims.succeed(session, held, result=result(held), stop_reason=reason)

    def fail(self, held: HeldAttempt, code: str = FailureCode.PROCESS_DIED) -> JobStatus:
        with self.database.write() as session:
            return claims.fail(session, held, code=FailureCode(code), detail="It broke.")

    def release(self, held: HeldAttempt) -> JobStatus:
        with self.database.write() as session:
            return claims.release(session, held)

    def stop_as_requested(self, held: HeldAttempt) -> JobStatus:
        with self.database.write() as session:
            return claims.stop_as_requested(session, held)

    def cancel(self, job_id: str, owner: str = ALICE) -> JobRow:
        with self.database.write() as session:
            return jobs.cancel(session, owner, job_id)

    def pause(self, job_id: str, owner: str = ALICE) -> JobRow:
        with self.database.write() as session:
            return jobs.pause(session, owner, job_id)

    def resume(self, job_id: str, owner: str = ALICE) -> JobRow:
        with self.database.write() as session:
            return jobs.resume(session, owner, job_id)

    def set(self, job_id: str, **columns: Any) -> None:
        """Change the row without the store, for example to let time pass."""
        with self.database.write() as session:
            session.execute(update(JobRow).where(JobRow.id == job_id).values(**columns))

    def row(self, job_id: str) -> JobRow:
        with self.database.read() as session:
            return session.get_one(JobRow, job_id)

    def events(self, job_id: str) -> list[EventRow]:
        with self.database.read() as session:
            return events.list_page(session, job_id, after=0, limit=1000)[0]

    def event_types(self, job_id: str) -> list[str]:
        return [event.type for event in self.events(job_id)]

    def history(self, job_id: str) -> list[tuple[int, int]]:
        """List attempt and epoch of each visible row of metrics."""
        with self.database.read() as session:
            return [(row.attempt, row.epoch) for row in metrics.list_epochs(session, job_id)]

    def stored(self, job_id: str) -> dict[str, list[Mapping[str, Any]]]:
        """Return everything in the database about a job, by table."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        with self.database.read() as session:
            for table in OF_A_JOB:
                columns = table.__table__.columns
                key = columns[{JobRow: "id", EventRow: "subject_id"}.get(table, "job_id")]
                rows = session.execute(
                    select(table.__table__).where(key == job_id).order_by(*table.__table__.primary_key)
                )
                found[table.__tablename__] = [dict(row._mapping) for row in rows]
        return found

    @contextmanager
    def unchanged(self, job_id: str) -> Iterator[None]:
        """Check that the block changes nothing in the database about this job."""
        before = self.stored(job_id)
        yield
        assert self.stored(job_id) == before


def spec(**changes: Any) -> JobSpec:
    """Return the smallest complete spec, with some fields changed."""
    small = {"name": "a job", "dataset": "dots", "network": {"blocks": [{"filters": 1}]}, "training": {"seed": 1}}
    return JobSpec.model_validate({**small, **changes})


def final_of(epoch: int, *, with_test: bool = True) -> FinalView:
    """Make up figures of the weights of `epoch`."""
    train = SplitResult(loss=0.3, accuracy=0.75, count=8, interval=(0.41, 0.93))
    held_out = SplitResult(loss=0.5, accuracy=0.5, count=4, interval=(0.15, 0.85))
    gap = GapView(accuracy=0.25, loss=0.2)
    test, test_gap = (held_out, gap) if with_test else (None, None)
    return FinalView(
        epoch=epoch, train=train, validation=held_out, test=test, gap=GapsView(validation=gap, test=test_gap)
    )


def result(held: HeldAttempt) -> Result:
    """Return the result of a training, whose files do not exist."""
    return Result(final=final_of(1), artifacts=artifacts_of(held))


def artifacts_of(held: HeldAttempt) -> tuple[Artifact, ...]:
    folder, sha256 = f"jobs/{held.job_id}/{held.attempt}", f"{held.attempt:064x}"
    return (
        Artifact(ArtifactName.MODEL, ArtifactFormat.KERAS, f"{folder}/model.keras", 2**33, sha256),
        Artifact(ArtifactName.PREDICTIONS, ArtifactFormat.NPZ, f"{folder}/predictions.npz", 200, sha256),
        Artifact(ArtifactName.EVALUATION, ArtifactFormat.JSON, f"{folder}/evaluation.json", 100, sha256),
    )


def dots() -> ImageSet:
    """Six images of 4×4 pixels in two classes."""
    return ImageSet(
        images=np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4, 1),
        labels=np.array([0, 1, 0, 1, 0, 1], np.int32),
        splits={"train": np.array([0, 1]), "validation": np.array([2, 3]), "test": np.array([4, 5])},
        classes=("even", "odd"),
        value_range=(0, 255),
    )


def add_dataset(database: Database, name: str, owner: str | None, version: int = 1, status: str = "ready") -> str:
    """Add only a row, without images."""
    id_ = make_id("ds")
    with database.write() as session:
        session.execute(
            insert(DatasetRow).values(
                id=id_, owner=owner, name=name, version=version, status=status, created_at=db_now()
            )
        )
    return id_


def claim_until_empty(url: str, worker: str) -> list[str]:
    """Claim jobs as a worker process does until none is left, and return their ids."""
    database = Database(url, limits=Limits(sqlite_busy_ms=60_000))
    claimed = []
    while True:
        with database.write() as session:
            found = claims.claim(session, worker, Capacity(CPU), 60)
            waits = claims.is_any_claimable(session, Capacity(CPU))
        if found is not None:
            claimed.append(found.held.job_id)
        elif not waits:
            database.dispose()
            return claimed
