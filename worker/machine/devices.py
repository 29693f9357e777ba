"""The devices of this worker, found without TensorFlow, and those that a job gets."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import pynvml

from heldout.spec.job import Device as JobDevice

Device = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Gpu:
    """One GPU: NVIDIA's id of it, its memory, and CUDA's compute capability (major, minor)."""

    id: str
    memory_bytes: int
    capability: tuple[int, int]


def find_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this worker may use.

    none without NVIDIA's driver or with a TensorFlow built without CUDA.
    """
    if not is_cuda_build():
        return ()
    try:
        pynvml.nvmlInit()
        try:
            found = [_make_gpu(pynvml.nvmlDeviceGetHandleByIndex(n)) for n in range(pynvml.nvmlDeviceGetCount())]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return ()
    return select_visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def is_cuda_build() -> bool:
    """Return whether the installed TensorFlow can use GPUs."""
    with suppress(PackageNotFoundError):
        return not version("tensorflow-cpu")
    return True


def select_visible(found: Sequence[Gpu], named: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES selects, in its order.

    It names them by number, as in `nvidia-smi`, or by the beginning of their id. Like CUDA, ignore everything after a
    name that matches no GPU.
    """
    if named is None:
        return tuple(found)
    seen: list[Gpu] = []
    for name in (part.strip() for part in named.split(",")):
        if name.isdecimal():
            fitting = list(found[int(name) : int(name) + 1])
        else:
            fitting = [gpu for gpu in found if name and gpu.id.startswith(name)]
        if len(fitting) != 1 or fitting[0] in seen:
            break
        seen += fitting
    return tuple(seen)


def list_claimable_devices(gpus: int) -> tuple[str, ...]:
    """Return the values of a job's `device` that a worker with this many free GPUs may claim."""
    return ("auto", "cpu", "gpu") if gpus else ("auto", "cpu")


def choose_gpus(device: JobDevice, gpus: int, free: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Choose the GPUs of a job among the free ones; with none it runs on the processor.

    Args:
        device: `auto` takes a GPU if one is free.
        gpus: how many the job needs. It is only claimed if that many are free.
    """
    return () if device == "cpu" else tuple(free[: max(1, gpus)])


def choose_slots(wanted: int | None, gpus: int, cores: int) -> int:
    """Return how many jobs a worker runs at once by default: one on each of its GPUs, or else of its cores."""
    return wanted or gpus or cores


def get_host_name() -> str:
    return socket.gethostname()


def _make_gpu(handle: Any) -> Gpu:
    return Gpu(
        id=pynvml.nvmlDeviceGetUUID(handle),
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
    )
