"""GPUs are found without TensorFlow, and each has one job at a time."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import SimpleNamespace

import pynvml
import pytest
from pydantic import SecretStr

from analysis.arrays.dataset import save
from heldout.service.settings import Settings
from heldout.spec.job import ResourcesSpec
from models.migrations import upgrade
from models.store.claims import HeldAttempt
from tests.models.work import Work
from tests.worker.training.trainings import small_spec
from worker.machine import devices
from worker.machine.devices import (
    Gpu,
    choose_gpus,
    choose_slots,
    find_gpus,
    get_policy,
    has_bfloat16_units,
    limit_precision,
    list_claimable_devices,
    parse_processor,
    select_visible,
)
from worker.machine.shares import Share, Shares
from worker.messages import Alive, AssignedDataset, AssignedMachine, Assignment, Failed
from worker.supervision import processes
from worker.supervision.worker import Worker
from worker.training import child

GIB = 2**30
ONE, TWO, THREE = (Gpu(f"GPU-{name}", 16 * GIB, (8, 0)) for name in ("1a", "2b", "2c"))
FIRST, SECOND = HeldAttempt("job_1", 1), HeldAttempt("job_2", 1)


class Driver:
    """Stands in for NVIDIA's driver as its library shows it. gpus: None for a machine without the driver."""

    def __init__(self, gpus: list[Gpu] | None) -> None:
        self.gpus, self.open = gpus, 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Driver":
        answers = {
            "nvmlInit": self._init,
            "nvmlShutdown": self._shutdown,
            "nvmlDeviceGetCount": lambda: len(self.gpus or []),
            "nvmlDeviceGetHandleByIndex": lambda number: (self.gpus or [])[number],
            "nvmlDeviceGetUUID": lambda gpu: gpu.id,
            "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(total=gpu.memory_bytes),
            "nvmlDeviceGetCudaComputeCapability": lambda gpu: gpu.capability,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer)
        monkeypatch.setattr(devices, "is_cuda_build", lambda: True)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return self

    def _init(self) -> None:
        if self.gpus is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
        self.open += 1

    def _shutdown(self) -> None:
        self.open -= 1


def test_gpus_are_those_of_the_driver_which_is_then_closed(monkeypatch):
    driver = Driver([ONE, TWO]).install(monkeypatch)
    assert find_gpus() == (ONE, TWO)
    assert driver.open == 0


def test_a_machine_without_the_driver_has_no_gpus(monkeypatch):
    Driver(None).install(monkeypatch)
    assert find_gpus() == ()


def test_tensorflow_without_cuda_uses_no_gpus(monkeypatch):
    Driver([ONE]).install(monkeypatch)
    monkeypatch.setattr(devices, "is_cuda_build", lambda: False)
    assert find_gpus() == ()


def test_a_worker_can_be_given_some_of_the_machines_gpus(monkeypatch):
    Driver([ONE, TWO, THREE]).install(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert find_gpus() == (THREE, ONE)


@pytest.mark.parametrize(
    ("named", "seen"),
    [
        (None, (ONE, TWO, THREE)),
        ("", ()),
        ("-1", ()),
        ("1", (TWO,)),
        ("2, 0", (THREE, ONE)),
        ("GPU-2b,GPU-1", (TWO, ONE)),
        ("GPU-2", ()),  # the prefix of two
        ("0,7,1", (ONE,)),  # none after an invalid name
        ("0,0,1", (ONE,)),
        ("no", ()),
    ],
)
def test_cuda_visible_devices_is_read_as_by_cuda(named, seen):
    assert select_visible([ONE, TWO, THREE], named) == seen


@pytest.mark.parametrize(
    ("asked", "free", "given"),
    [
        ({"device": "auto", "gpus": 1}, (), ()),
        ({"device": "auto", "gpus": 1}, (TWO, THREE), (TWO,)),
        ({"device": "cpu", "gpus": 1}, (ONE,), ()),
        ({"device": "gpu", "gpus": 1}, (ONE, TWO), (ONE,)),
        ({"device": "gpu", "gpus": 2}, (ONE, TWO, THREE), (ONE, TWO)),
        ({"device": "auto", "gpus": 2}, (ONE, TWO), (ONE, TWO)),
    ],
)
def test_a_job_gets_as_many_gpus_as_it_asked_for(asked, free, given):
    resources = ResourcesSpec(**asked)
    assert choose_gpus(resources.required_device, resources.required_gpus, free) == given


def test_a_worker_whose_gpus_are_in_use_leaves_gpu_jobs_to_others():
    assert set(list_claimable_devices(0)) == {"auto", "cpu"}
    assert set(list_claimable_devices(1)) == {"auto", "cpu", "gpu"}
    needs = {
        (device, gpus): (asked.required_device, asked.required_gpus)
        for device in ("auto", "cpu", "gpu")
        for gpus in (1, 2)
        for asked in [ResourcesSpec(device=device, gpus=gpus)]
        if (device, gpus) != ("cpu", 2)  # refused with the spec
    }
    assert needs == {
        ("auto", 1): ("auto", 0),
        ("auto", 2): ("gpu", 2),
        ("cpu", 1): ("cpu", 0),
        ("gpu", 1): ("gpu", 1),
        ("gpu", 2): ("gpu", 2),
    }


def test_a_worker_has_a_slot_for_each_gpu_and_without_gpus_for_each_core():
    assert choose_slots(None, 0, 8) == 8
    assert choose_slots(None, 2, 8) == 2
    assert choose_slots(5, 2, 8) == 5


def test_a_gpu_has_one_job_until_it_is_given_back():
    shares = Shares(GIB, gpus=[ONE, TWO])
    assert shares.free_gpus == (ONE, TWO)
    shares.take(FIRST, Share(0, (ONE,)))
    assert shares.free_gpus == (TWO,)
    shares.take(SECOND, Share(0, (TWO,)))
    assert (shares.get_gpus(FIRST), shares.get_gpus(SECOND), shares.free_gpus) == ((ONE,), (TWO,), ())
    shares.give_back(FIRST)
    assert (shares.get_gpus(FIRST), shares.free_gpus) == ((), (ONE,))


def test_images_take_no_more_than_their_share_of_the_smallest_memory():
    assert Shares(64 * GIB).resident_bytes([16 * GIB, 8 * GIB]) == 4 * GIB
    assert Shares(64 * GIB, slots=16).resident_bytes([16 * GIB]) == 2 * GIB


@pytest.fixture
def worker(tmp_path, monkeypatch) -> Iterator[Worker]:
    """A worker with one GPU, and waiting jobs: for a GPU, for a processor, and two for either."""
    Driver([ONE]).install(monkeypatch)
    worker = Worker(Settings(home=tmp_path, database_url=SecretStr(f"sqlite:///{tmp_path / 'heldout.db'}"), slots=4))
    upgrade(worker.database)
    work = Work(worker.database)
    for priority, device in enumerate(("gpu", "cpu", "auto", "auto")):
        work.submit(resources={"device": device}, priority=priority)
    yield worker
    worker.scratch.close()
    worker.database.dispose()


def test_two_slots_that_claim_at_once_never_count_the_same_gpu_as_free(worker):
    with ThreadPoolExecutor(4) as pool:
        claimed = [claim for claim in pool.map(lambda _: worker.claim(), range(4)) if claim is not None]
    assert len(claimed) == 3
    assert sorted(len(worker.shares.get_gpus(claim.held)) for claim in claimed) == [0, 0, 1]


def test_jobs_beyond_the_number_of_gpus_run_on_the_processor_or_wait(worker):
    claimed = [worker.claim() for _ in range(4)]
    given = [(claim.needs.device, worker.shares.get_gpus(claim.held)) for claim in claimed if claim is not None]
    assert given == [("auto", (ONE,)), ("auto", ()), ("cpu", ())]
    worker.shares.give_back(claimed[1].held)
    assert worker.claim() is None
    worker.shares.give_back(claimed[0].held)
    last = worker.claim()
    assert (last.needs.device, worker.shares.get_gpus(last.held)) == ("gpu", (ONE,))


@pytest.fixture
def gpu_assignment(tmp_path) -> Assignment:
    machine = AssignedMachine("gpu", ("GPU-1a", "GPU-2b"))
    return Assignment("job_1", small_spec(), AssignedDataset(tmp_path), tmp_path, machine)


def test_gpu_jobs_start_in_a_new_interpreter_and_others_are_forked(gpu_assignment, tmp_path, monkeypatch):
    """CUDA may not survive a fork, and TensorFlow in the parent would take memory of the GPU."""
    methods = []

    def record(method: str) -> None:
        methods.append(method)
        raise InterruptedError

    monkeypatch.setattr(processes, "get_context", record)
    for assignment in (gpu_assignment, replace(gpu_assignment, machine=AssignedMachine())):
        with pytest.raises(InterruptedError):
            processes.TrainingProcess(assignment, tmp_path)
    assert methods == ["spawn", "forkserver"]


def send_gpus(pipe: Connection, assignment: Assignment, log: str) -> None:
    """Run the training process, which sends its visible GPUs in place of training."""
    import worker.training.runner

    worker.training.runner.run = lambda *_: pipe.send(os.environ["CUDA_VISIBLE_DEVICES"])
    child.main(pipe, assignment, log)


def test_a_training_process_sees_only_its_own_gpus(gpu_assignment, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "all of them")
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=send_gpus, args=(theirs, gpu_assignment, str(tmp_path / "log.txt")))
    process.start()
    assert isinstance(ours.recv(), Alive)
    assert ours.recv() == "GPU-1a,GPU-2b"
    process.join(240)


@pytest.mark.proof
def test_gpus_that_tensorflow_does_not_find_are_a_failure_with_a_way_out(gpu_assignment, tmp_path, digits):
    """Otherwise the job would train on the processor and claim to have used a GPU."""
    save(digits, tmp_path)
    process = processes.TrainingProcess(gpu_assignment, tmp_path)
    try:
        while not isinstance(message := process.receive(60), Failed | None):
            pass
    finally:
        process.kill()
    assert message.code == "gpu_unavailable"
    assert "given 2 of its worker's GPUs, of which TensorFlow finds 0" in message.detail
    assert "resources.device: cpu" in message.detail


@pytest.mark.parametrize(
    ("asked", "device", "capability", "allowed"),
    [
        ("auto", "gpu", (6, 1), "float32"),
        ("auto", "gpu", (7, 0), "mixed"),
        ("auto", "gpu", (10, 0), "mixed"),
        ("float32", "gpu", (9, 0), "float32"),
        ("mixed", "gpu", (6, 1), "mixed"),
        ("float32", "cpu", None, "float32"),
        ("mixed", "cpu", None, "mixed"),
    ],
)
def test_mixed_precision_is_used_on_suitable_gpus_and_where_it_is_requested(asked, device, capability, allowed):
    for has_bfloat16 in (True, False):
        assert limit_precision(asked, device, capability, has_bfloat16=has_bfloat16) == allowed


@pytest.mark.parametrize(
    ("cpuinfo", "allowed"),
    [
        ("model name\t: Xeon\nflags\t\t: fpu amx_bf16 amx_tile\n", "auto"),
        ("vendor_id\t: GenuineIntel\nflags\t\t: fpu avx512f avx512_bf16\n", "float32"),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512f avx512_bf16\n", "auto"),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2\n", "float32"),
        ("Features\t: fp asimd bf16 i8mm\n", "float32"),
        ("flags\t\t: fpu avx2\nbugs\t\t: amx_bf16\n", "float32"),
        ("", "float32"),
    ],
)
def test_processors_with_bfloat16_units_leave_the_precision_to_the_size_of_the_network(cpuinfo, allowed):
    has_bfloat16 = has_bfloat16_units(parse_processor(cpuinfo))
    assert limit_precision("auto", "cpu", None, has_bfloat16=has_bfloat16) == allowed
    assert (get_policy("mixed", "cpu"), get_policy("mixed", "gpu")) == ("mixed_bfloat16", "mixed_float16")


def test_a_default_spec_gets_one_gpu():
    resources = small_spec().resources
    assert choose_gpus(resources.required_device, resources.required_gpus, (ONE, TWO)) == (ONE,)
