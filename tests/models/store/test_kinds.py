"""The registry of kinds of work: each kind is complete, and its properties hold."""

import ast
import re
from itertools import chain
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import select

from heldout.errors import JobNotFound
from heldout.spec.dataset import DatasetSpec
from heldout.work.kinds import KINDS, LISTED_KINDS, IngestSpec, JobKind, WorkSpec
from models.specs import read_spec
from models.store import claims, jobs, new_jobs
from models.store.claims import Capacity
from models.store.listing import Filters
from models.store.new_jobs import NewJob
from models.tables import DatasetRow, JobRow
from tests.models.work import ALICE, Work, add_dataset, page_of_jobs, spec

ROOT = Path(__file__).resolve().parents[3]
CHECK = IngestSpec(dataset=DatasetSpec(name="pets"), upload="uploads/ds_1/pets.zip", max_runtime_s=60)


def queued_check(work: Work, dataset_id: str) -> str:
    with work.database.write() as session:
        return new_jobs.add(session, NewJob(spec=CHECK, owner=ALICE, name="pets@1", dataset_id=dataset_id)).id


def dataset_of(work: Work, dataset_id: str) -> DatasetRow:
    with work.database.read() as session:
        return session.scalars(select(DatasetRow).where(DatasetRow.id == dataset_id)).one()


def test_every_kind_is_in_the_registry_with_its_own_spec():
    assert set(KINDS) == set(JobKind)
    assert {about.spec for about in KINDS.values()} == set(get_args(WorkSpec))
    assert len({about.spec for about in KINDS.values()}) == len(KINDS)


def test_kinds_yield_in_one_direction_and_are_claimed_after_those_they_yield_to():
    yielding = [kind for kind, about in KINDS.items() if about.yields_to]
    assert yielding
    for kind in yielding:
        for other in KINDS[kind].yields_to:
            assert kind not in KINDS[other].yields_to
            assert KINDS[kind].priority < KINDS[other].priority
            assert set(KINDS[other].yields_to) <= set(KINDS[kind].yields_to)


def test_no_kind_is_compared_with_a_bare_string():
    """`train` is also the name of a split, so only strings compared with something called `kind` count."""
    found, names = [], f"""["'](?:{"|".join(JobKind)})["']"""  # parsing every file would take seconds
    for file in chain(*((ROOT / folder).rglob("*.py") for folder in ("api", "models", "worker", "heldout", "host"))):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if re.search(names, text) else ():
            sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            values = {side.value for side in sides if isinstance(side, ast.Constant)}
            if values & set(JobKind) and "kind" in ast.unparse(node):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert not found


def test_a_worker_is_given_the_spec_that_was_queued(work):
    check = queued_check(work, work.dataset.id)
    training = work.submit(resources={"gpus": 2})
    first, second = work.claim(devices=("cpu", "gpu"), gpus=2), work.claim(devices=("cpu", "gpu"), gpus=2)
    assert (first.held.job_id, first.spec, first.needs.device, first.needs.gpus) == (check, CHECK, "cpu", 0)
    assert (second.held.job_id, second.spec) == (training, spec(resources={"gpus": 2}))
    assert (second.needs.device, second.needs.gpus) == ("gpu", 2)
    assert read_spec(work.row(check)) == CHECK


def test_clients_see_only_jobs_of_listed_kinds(work):
    assert LISTED_KINDS == (JobKind.TRAIN,)
    check, training = queued_check(work, work.dataset.id), work.submit(metadata={"team": "a"})
    with work.database.read() as session:
        for filters in (
            Filters(),
            Filters(statuses=["queued"]),
            Filters(dataset="dots"),
            Filters(metadata={"team": "a"}),
        ):
            rows, more = page_of_jobs(session, ALICE, filters, after=None, limit=10)
            assert ([row.id for row in rows], more) == ([training], False)
        for look_up in (jobs.find, jobs.find_with_dataset):
            with pytest.raises(JobNotFound):
                look_up(session, ALICE, check)
        assert set(jobs.count_unfinished(session)) == {("train", "queued", 1), ("ingest", "queued", 1)}


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_check_that_does_not_succeed_rejects_its_dataset_and_a_training_does_not(work, end):
    checked, other = (add_dataset(work.database, name, ALICE, status="checking") for name in ("pets", "other"))
    queued_check(work, checked)
    held = work.claim().held
    training = work.running(dataset=dataset_of(work, other))
    for attempt in (held, training):
        if end == "failed":
            work.fail(attempt, "out_of_memory")
        else:
            work.set(attempt.job_id, request="cancel")
            work.stop_as_requested(attempt)
        assert work.row(attempt.job_id).status == end
    assert dataset_of(work, checked).status == "rejected"
    assert dataset_of(work, checked).error["code"] == ("out_of_memory" if end == "failed" else "cancelled")
    assert (dataset_of(work, other).status, dataset_of(work, other).error) == ("checking", None)


@pytest.mark.parametrize("kind", [JobKind.TRAIN, JobKind.INGEST])
def test_an_unreadable_spec_fails_its_job_and_others_continue(work, kind):
    dataset_id = add_dataset(work.database, "pets", ALICE, status="checking")
    broken = work.submit(priority=100) if kind is JobKind.TRAIN else queued_check(work, dataset_id)
    work.set(broken, spec={**work.row(broken).spec, "from_a_newer_release": True})
    following = work.submit()
    assert work.claim().held.job_id == following
    row = work.row(broken)
    assert (row.status, row.failures, row.worker, row.error["code"]) == ("failed", 1, None, "spec_unreadable")
    assert "/from_a_newer_release" in row.error["detail"]
    assert work.event_types(broken) == ["job.queued", "job.started", "job.failed"]
    assert dataset_of(work, dataset_id).status == ("checking" if kind is JobKind.TRAIN else "rejected")
    assert work.claim() is None


def test_if_only_unreadable_jobs_wait_all_fail_and_nothing_is_claimed(work):
    ids = [work.submit() for _ in range(3)]
    for job_id in ids:
        work.set(job_id, spec={})
    assert work.claim() is None
    assert {work.row(job_id).status for job_id in ids} == {"failed"}
    with work.database.read() as session:
        assert not claims.is_any_claimable(session, Capacity(("auto", "cpu")))


def test_a_kind_of_a_newer_release_is_left_to_its_workers(work):
    newer = work.submit(priority=9)
    with work.database.write() as session:
        session.connection().exec_driver_sql("UPDATE jobs SET kind = 'newer'")
    known = work.submit()
    assert work.claim().held.job_id == known
    assert work.claim() is None
    with work.database.read() as session:
        assert session.scalar(select(JobRow.status).where(JobRow.id == newer)) == "queued"
