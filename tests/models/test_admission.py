"""Trainings that no worker has the memory for are refused. Others are claimed once a worker has enough."""

import pytest

from heldout.errors import NeedsMoreMemory
from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan, plan_network
from heldout.spec.model_facts import ModelFacts, ModelLayer
from heldout.stored.artifacts import ExportFormat
from heldout.work.kinds import KINDS, EvaluateSpec
from heldout.work.memory import SUSPECTS_BYTES, WorkerMemory, estimate_export_bytes, estimate_uploaded_model_bytes
from models.ids import make_id
from models.job_creation import require_memory
from models.memory import add_uploaded_weights, compute_reserved_bytes, estimate_needed_bytes
from models.specs import make_plan
from models.store import claims, model_evaluations, new_jobs, searches, workers
from models.store import models as uploaded_models
from models.store.claims import Capacity
from models.store.new_jobs import NewJob
from models.tables import DatasetRow, JobRow
from tests.models.work import ALICE, CPU, Work
from worker.machine.shares import Share, Shares

GIB = 2**30
PHOTOS = DatasetRow(
    shape=[256, 256, 3],
    classes=["cat", "dog"],
    dtype="uint8",
    splits={name: {"count": 10} for name in ("train", "validation", "test")},
)


def spec(**more) -> JobSpec:
    return JobSpec.model_validate({"dataset": "photos", "network": {"blocks": [{"filters": 16}]}, **more})


def check(work: Work, asked: JobSpec) -> None:
    plan = plan_network(asked.network, tuple(PHOTOS.shape), len(PHOTOS.classes))
    with work.database.read() as session:
        require_memory(session, PHOTOS, asked, plan)


def report(work: Work, worker: str, memory_bytes: int) -> None:
    with work.database.write() as session:
        workers.report(session, worker, WorkerMemory(memory_bytes))


def planned(spec: JobSpec) -> NetworkPlan:
    plan = make_plan(PHOTOS, spec, None)
    assert plan is not None
    return plan


def test_a_training_that_no_worker_can_hold_is_refused_with_what_would_fit(work):
    asked = spec(training={"batch_size": 1024})
    check(work, asked)  # no worker is known yet
    needed = estimate_needed_bytes(PHOTOS, asked, planned(asked))
    report(work, "small", needed // 4)
    report(work, "larger", needed // 2)
    with pytest.raises(NeedsMoreMemory, match="batch_size") as refused:
        check(work, asked)
    assert [error.pointer for error in refused.value.errors] == ["/training/batch_size"]
    check(work, spec())
    report(work, "larger", needed)
    check(work, asked)


def test_never_more_is_reserved_than_the_largest_worker_can_hold():
    """A job that no worker may claim would wait forever. Images that would fill a worker are read from their file."""
    asked = spec()
    alone = compute_reserved_bytes(PHOTOS, asked, None, planned(asked))
    assert compute_reserved_bytes(PHOTOS, asked, WorkerMemory(8 * alone), planned(asked)) == alone
    assert compute_reserved_bytes(PHOTOS, asked, WorkerMemory(alone // 2), planned(asked)) == int(1.25 * (alone // 2))
    many = DatasetRow(
        shape=PHOTOS.shape,
        classes=PHOTOS.classes,
        dtype="uint8",
        splits={name: {"count": 100_000} for name in ("train", "validation", "test")},
    )
    assert estimate_needed_bytes(many, asked, planned(asked)) > 60 * GIB
    assert compute_reserved_bytes(many, asked, WorkerMemory(16 * GIB), planned(asked)) < 2 * GIB
    assert compute_reserved_bytes(many, asked, WorkerMemory(120 * GIB), planned(asked)) > 60 * GIB
    from_file = WorkerMemory(120 * GIB, resident_bytes=16 * GIB)
    assert compute_reserved_bytes(many, asked, from_file, planned(asked)) < 2 * GIB, "read from the file"


def test_a_job_for_gpus_is_not_limited_by_a_workers_memory_and_its_batches_take_none_of_it(work):
    asked, larger = (spec(resources={"device": "gpu"}, training={"batch_size": size}) for size in (32, 1024))
    report(work, "small", 1)
    check(work, asked)
    assert 3 * GIB < compute_reserved_bytes(PHOTOS, asked, WorkerMemory(16 * GIB), planned(asked)) < 4 * GIB
    assert compute_reserved_bytes(PHOTOS, larger, None, planned(larger)) == compute_reserved_bytes(
        PHOTOS, asked, None, planned(asked)
    )


def test_work_of_every_kind_has_memory_reserved_but_never_more_than_the_largest_worker_has(work):
    def reserved(dataset: str) -> int:
        with work.database.write() as session:
            job = searches.queue(session, searches.SUSPECTS, ALICE, dataset)
        return work.row(job.id).memory_bytes

    assert reserved(work.dataset.id) == SUSPECTS_BYTES
    report(work, "small", SUSPECTS_BYTES // 4)
    with work.database.write() as session:
        session.get_one(DatasetRow, work.dataset.id).suspects_status = None
    assert reserved(work.dataset.id) == int(1.25 * (SUSPECTS_BYTES // 4))
    # A model's check reserves memory for its file, and a heatmap as much as its training did.
    own = ("check_model", "heatmap")
    assert all(about.memory_bytes for kind, about in KINDS.items() if about.is_check and kind not in own)
    first, second = work.submit(), work.submit()
    work.set(first, memory_bytes=3 * GIB)
    work.set(second, memory_bytes=2 * GIB)
    with work.database.write() as session:
        asked = EvaluateSpec(base=(first,), winner=(second,))
        new_job = NewJob(spec=asked, owner=ALICE, name="study", dataset_id=work.dataset.id)
        job = new_jobs.add_evaluation(session, new_job)
    assert work.row(job.id).memory_bytes == 3 * GIB, "as much as for the larger training"


def test_the_memory_for_an_uploaded_model_follows_the_size_of_its_file(work):
    def reserved(size_bytes: int) -> tuple[int, int]:
        half = ModelLayer(name="dense", type="Dense", weights=((size_bytes // 8, 1),))
        facts = ModelFacts(format="keras", input_shape=(8, 8, 1), output_shape=(3,), parameters=1, layers=(half, half))
        about = {"key": "models/x", "sha256": "0" * 64, "size_bytes": size_bytes}
        with work.database.write() as session:
            model = uploaded_models.add(session, ALICE, make_id("mod"), "theirs", **about)
            check = session.get_one(JobRow, model.check_job)
            dataset = session.get_one(DatasetRow, work.dataset.id)
            measure = model_evaluations.queue(session, ALICE, model, facts, dataset)
        return check.memory_bytes, measure.memory_bytes

    small, large = reserved(1_000), reserved(GIB // 2)
    assert large[0] - small[0] == pytest.approx(7 * GIB / 2, rel=0.01), "it may all be one layer"
    assert large[1] - small[1] == pytest.approx((2 + 5 / 2) * GIB / 2, rel=0.01), "the largest layer is half of it"
    assert small[1] > small[0]
    assert (
        estimate_export_bytes(ExportFormat.ONNX, 10**7) > estimate_export_bytes(ExportFormat.LITERT, 10**7) > GIB // 2
    )
    report(work, "worker", GIB)
    assert reserved(GIB // 2) == (int(1.25 * GIB), int(1.25 * GIB)), "never more than a worker can hold"


def test_a_training_from_an_uploaded_model_has_memory_for_reading_its_weights():
    alone = compute_reserved_bytes(PHOTOS, spec(), None, planned(spec()))
    assert add_uploaded_weights(alone, 1_000, None) == max(alone, estimate_uploaded_model_bytes(1_000))
    assert add_uploaded_weights(alone, 2 * GIB, None) == estimate_uploaded_model_bytes(2 * GIB) > alone
    assert add_uploaded_weights(alone, 2 * GIB, WorkerMemory(2 * GIB)) == int(1.25 * 2 * GIB)


def test_a_job_waits_for_memory_if_no_worker_has_enough_left(work):
    def is_short(needed_bytes: int) -> bool:
        with work.database.read() as session:
            return workers.is_short(session, needed_bytes)

    assert not is_short(64 * GIB), "no worker is known"
    report(work, "worker", 8 * GIB)
    assert is_short(11 * GIB)
    assert not is_short(9 * GIB), "the estimate may be too high"
    work.set(work.submit(), memory_bytes=5 * GIB)
    work.claim()
    assert is_short(4 * GIB)
    assert not is_short(3 * GIB)


def test_a_job_is_claimed_once_its_memory_is_free_and_does_not_hide_others(work):
    large, small = work.submit(), work.submit()
    work.set(large, memory_bytes=4 * GIB)
    work.set(small, memory_bytes=GIB)

    def claimed(free_bytes: int) -> str | None:
        with work.database.write() as session:
            assert claims.is_any_claimable(session, Capacity(CPU, memory_bytes=free_bytes)) == (free_bytes >= GIB)
            found = claims.claim(session, "worker", Capacity(CPU, memory_bytes=free_bytes), 60)
            return None if found is None else found.held.job_id

    assert claimed(GIB - 1) is None
    assert claimed(2 * GIB) == small
    assert claimed(4 * GIB) == large


def test_a_worker_lends_memory_to_jobs_and_gets_it_back():
    shares = Shares(8 * GIB)
    assert shares.free.memory_bytes == 10 * GIB, "a job that runs alone may use more: estimates may be too high"
    for held, memory_bytes, left in (("a", 5 * GIB, 3 * GIB), ("b", 3 * GIB, 0)):
        shares.take(held, Share(memory_bytes))
        assert shares.free.memory_bytes == left
    assert not shares.is_alone("a")
    shares.give_back("b")
    assert shares.is_alone("a")


def test_a_job_may_end_while_free_memory_is_summed():
    shares = Shares(8 * GIB)

    class Ending:
        """A share that is read when the thread of another job gives its share back."""

        gpus = ()
        check_of = None
        in_slot = True

        @property
        def memory_bytes(self) -> int:
            shares.give_back("b")
            return GIB

    shares.take("a", Ending())
    shares.take("b", Share(GIB))
    assert shares.free.memory_bytes in {6 * GIB, 7 * GIB}
    assert shares.free.memory_bytes == 7 * GIB
