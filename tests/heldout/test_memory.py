"""The memory estimate of a training, and which job ends if memory runs out."""

import pytest

from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network
from heldout.work.kinds import EXPERIMENT_KINDS, KINDS, KINDS_OF_WORKERS, JobKind
from heldout.work.memory import MemoryKill, could_hold, estimate_training_bytes, find_fitting_batch_size

GIB = 2**30
BLOCKS = {"blocks": [{"filters": 32, "padding": "same"}, {"filters": 64, "padding": "same"}]}


def spec(augmentation: dict[str, float] | None = None, **training) -> JobSpec:
    body = {"dataset": "mnist5k", "network": BLOCKS, "training": training, "augmentation": augmentation}
    return JobSpec.model_validate(body)


def needed(asked: JobSpec, side: int = 224) -> int:
    return estimate_training_bytes(asked, plan_network(asked.network, (side, side, 3), 10), images=1000, pixel_bytes=1)


def test_more_memory_is_needed_for_larger_batches_larger_images_and_averaged_weights():
    assert needed(spec(batch_size=64)) > needed(spec()) > needed(spec(), side=28)
    assert needed(spec(ema_decay=0.99)) > needed(spec())
    assert needed(spec({"zoom": 0.1})) > needed(spec({"contrast": 0.1})) == needed(spec())
    assert needed(spec(precision="mixed")) < needed(spec(precision="auto")) == needed(spec(precision="float32"))


@pytest.mark.parametrize("memory_bytes", [2 * GIB, 5 * GIB, 64 * GIB])
def test_the_suggested_batch_size_fits_and_the_next_larger_does_not(memory_bytes):
    asked = spec(batch_size=1024)
    fitting = find_fitting_batch_size(asked, needed, memory_bytes)
    assert fitting is not None
    assert needed(spec(batch_size=fitting)) <= memory_bytes
    assert fitting == 1024 or needed(spec(batch_size=fitting + 1)) > memory_bytes


def test_no_batch_size_fits_if_tensorflow_alone_does_not():
    assert find_fitting_batch_size(spec(), needed, GIB // 4) is None


def test_a_job_is_refused_only_if_its_estimate_is_far_too_large():
    assert could_hold(4 * GIB, 5 * GIB)
    assert not could_hold(4 * GIB, 5 * GIB + 1)


def test_a_bystander_that_is_killed_repeatedly_finally_runs_alone_and_is_the_cause():
    """It may have grown too fast to be noticed, and must not be retried forever."""
    reserved, attempts = GIB, 0
    while not (kill := MemoryKill(GIB // 2, reserved, is_alone=reserved == 8 * GIB)).is_cause:
        reserved = kill.compute_next_reservation(8 * GIB)
        attempts += 1
    assert attempts == 3


def test_work_of_every_kind_reserves_memory():
    # None means that the amount depends on the spec. Any process that loads NumPy or TensorFlow takes at least 0.5 GiB.
    reserved = {kind: about.memory_bytes for kind, about in KINDS.items() if about.memory_bytes is not None}
    assert all(amount >= 2**29 for amount in reserved.values()), reserved
    depend_on_spec = {
        JobKind.TRAIN,
        JobKind.EVALUATE,
        JobKind.EXPORT,
        JobKind.HEATMAP,
        JobKind.CHECK_MODEL,
        JobKind.MEASURE,
        *EXPERIMENT_KINDS,
    }
    assert depend_on_spec == set(KINDS_OF_WORKERS) - reserved.keys()
