"""Workers of two releases on one queue: none claims a job whose spec it could not read."""

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
    """What a worker does in here, one of a release does that can read specs up to this version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding, "SPEC_VERSION", spec_version)
        yield


def submitted_by_the_next_release(work: Work) -> str:
    """A job whose spec has a field unknown to this release."""
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


def test_a_worker_leaves_a_job_that_only_the_next_release_can_read_and_takes_those_behind_it(work: Work) -> None:
    newer, older = submitted_by_the_next_release(work), work.submit()
    with release(SPEC_VERSION):
        first = claimed(work)
        assert first is not None
        assert first.held.job_id == older
        assert claimed(work) is None
    row = work.row(newer)
    assert (row.status, row.attempt, row.failures) == (JobStatus.QUEUED, 0, 0)


def test_a_worker_of_the_next_release_takes_the_jobs_of_both(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {submitted_by_the_next_release(work), work.submit()}
    # The next release knows the field.
    read = claiming.read_spec
    monkeypatch.setattr(claiming, "read_spec", lambda job: read(JobRow(id=job.id, kind=job.kind, spec=known(job.spec))))
    with release(NEXT):
        assert {one.held.job_id for one in (claimed(work), claimed(work)) if one is not None} == jobs


def known(spec: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in spec.items() if name != "sharpness"}
