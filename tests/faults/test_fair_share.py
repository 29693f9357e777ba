"""A lone job behind a thousand, with real workers. Simulated hours are in tests/analysis/test_fair_share.py."""

from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import select

from heldout.client.client import Client
from heldout.lifecycle.job import JobStatus
from heldout.spec.job import JobSpec
from models.blobs import Blobs
from models.database import Database
from models.job_creation import create_job
from models.store import keys
from models.tables import JobRow
from tests.e2e.running import until, wait_for_end
from tests.e2e.stack import OWNER, SHORT, Stack, digits, long_digits
from tests.faults.marks import on

WAITING = 1000
SLOTS = 2

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def settings() -> dict[str, str]:
    return SHORT | {"HELDOUT_SLOTS": str(SLOTS)}


@pytest.fixture
def database(stack: Stack) -> Iterator[Database]:
    opened = Database(stack.database_url)
    yield opened
    opened.dispose()


def queue_many(stack: Stack, database: Database) -> None:
    """Queue jobs of the stack's own owner, all in one transaction."""
    spec = JobSpec.model_validate(long_digits(12) | {"priority": 100})
    blobs = Blobs(stack.environment["HELDOUT_BLOBS"])
    with database.write() as session:
        for _ in range(WAITING):
            create_job(session, blobs, OWNER, spec, max_parameters=10**6)


def jobs_that_began(database: Database) -> Sequence[JobRow]:
    """List all jobs that workers have begun, in order of their start."""
    with database.read() as session:
        return session.scalars(select(JobRow).where(JobRow.started_at.is_not(None)).order_by(JobRow.started_at)).all()


@on()
def test_a_lone_job_behind_a_thousand_is_next_and_its_start_is_estimated(stack: Stack, database: Database) -> None:
    stack.start(workers=1)
    with database.write() as session:
        key = keys.make(session, "someone-else")
    other = Client(stack.url, key)
    # The estimate for an owner needs a training of that owner.
    wait_for_end(other, other.jobs.create(long_digits(12)).id)
    queue_many(stack, database)

    def all_slots_are_busy() -> bool:
        """Return whether all slots are busy and no claim is under way: the running jobs began a while ago."""
        running = [row for row in jobs_that_began(database) if row.status is JobStatus.RUNNING]
        return len(running) == SLOTS and all(row.epoch >= 3 for row in running)

    until(all_slots_are_busy, "work for all slots")
    lone_id = other.jobs.create(digits()).id
    estimated_s = other.jobs.queue(lone_id).estimated_start_s
    assert wait_for_end(other, lone_id).status == "succeeded"
    other.close()
    began = jobs_that_began(database)
    [lone] = [row for row in began if row.id == lone_id]
    others = [row for row in began if row.id != lone_id]
    assert not [row.id for row in others if lone.created_at < row.started_at < lone.started_at], (
        "another job was claimed first"
    )
    then_running = [row for row in others if row.started_at < lone.created_at < (row.finished_at or lone.started_at)]
    longest = max((row.finished_at or lone.started_at) - row.started_at for row in then_running)
    waited = lone.started_at - lone.created_at
    assert waited <= longest
    waited_s = waited.total_seconds()
    assert estimated_s is not None
    # The machine may be busier than during the first training.
    assert waited_s / 4 - 5 <= estimated_s <= 4 * waited_s + 5
