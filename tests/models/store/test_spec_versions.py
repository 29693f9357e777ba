"""Workers of two releases share a queue: none claims a job whose spec it cannot read."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import update

from heldout.lifecycle.job import JobStatus
from heldout.work.kinds import SPEC_VERSION
from models.store import claims
from models.store.claims import Capacity, Claimed, claiming, finding
from models.tables import JobRow
from tests.models.work import CPU, Work

NEXT = SPEC_VERSION + 1


@contextmanager
def release(spec_version: int) -> Iterator[None]:
    """Let workers in the block be of a release that reads specs up to this version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding, "SPEC_VERSION", spec_version)
        yield


def submitted_by_the_next_release(work: Work) -> str:
    """Submit a job whose spec has a field that this release does not know."""
    job_id = work.submit()
    with work.database.write() as session:
        values = {"spec": work.row(job_id).spec | {"sharpness": 1}, "spec_version": NEXT}
        session.execute(update(JobRow).where(JobRow.id == job_id).values(**values))
    return job_id


def claimed(work: Work) -> Claimed | None:
    with work.database.read() as session:
        is_there = claims.is_any_claimable(session, Capacity(CPU))
    found = work.claim()
    assert is_there == (found is not None)
    return found


def test_a_worker_skips_a_job_that_only_the_next_release_can_read(work: Work) -> None:
    newer, older = submitted_by_the_next_release(work), work.submit()
    with release(SPEC_VERSION):
        first = claimed(work)
        assert first is not None
        assert first.held.job_id == older
        assert claimed(work) is None
    row = work.row(newer)
    assert (row.status, row.attempt, row.failures) == (JobStatus.QUEUED, 0, 0)


def test_a_worker_of_the_next_release_takes_jobs_of_both_releases(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {submitted_by_the_next_release(work), work.submit()}
    # The next release knows the field.
    read = claiming.read_spec

    def read_new(job: JobRow):
        known = {name: value for name, value in job.spec.items() if name != "sharpness"}
        return read(JobRow(id=job.id, kind=job.kind, spec=known))

    monkeypatch.setattr(claiming, "read_spec", read_new)
    with release(NEXT):
        assert {found.held.job_id for found in (claimed(work), claimed(work)) if found is not None} == jobs
