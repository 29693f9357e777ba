"""The devices of this worker, found without TensorFlow: what a job gets, and the float type that it computes in."""

import os
import platform
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import pynvml

from analysis.scheduling.cost import Precision
from heldout.spec.job import Device as JobDevice

Device = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Gpu:
    """One GPU: NVIDIA's id of it, its memory, and CUDA's compute capability (major, minor)."""

    id: str
    memory_bytes: int
    capability: tuple[int, int]


def find_gpus() -> tuple[Gpu, ...]:
    """Return the worker's GPUs: none without NVIDIA's driver or with a TensorFlow built without CUDA."""
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


@dataclass(frozen=True)
class Processor:
    """model: another model may have other vector instructions, which change last digits and speed.

    vendor: the processor's own name for it, such as `AuthenticAMD`; empty if the operating system does not say.
    flags: its features, by Linux's names.
    """

    model: str
    vendor: str
    flags: frozenset[str]


def get_processor() -> Processor:
    """Return the processor on which this process runs."""
    cpuinfo = ""
    with suppress(OSError):
        cpuinfo = Path("/proc/cpuinfo").read_text()
    return parse_processor(cpuinfo)


def parse_processor(cpuinfo: str) -> Processor:
    """Read the first processor from the text of /proc/cpuinfo. Its flags are `flags` on x86, `Features` on ARM."""
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    model = found.get("model name") or platform.processor() or platform.machine()
    flags = found.get("flags") or found.get("Features") or ""
    return Processor(model, found.get("vendor_id", ""), frozenset(flags.split()))


Policy = Literal["float32", "mixed_float16", "mixed_bfloat16"]

# NVIDIA's GPUs of this compute capability and later have units for products of float16 (tensor cores).
MIN_FLOAT16_CAPABILITY = (7, 0)
# Linux's names for units with which bfloat16 is faster: Intel's AMX, and AVX512-BF16 in processors of AMD. On Intel's,
# AVX512-BF16 alone was measured to be slower than float32, and TensorFlow's fast operations in bfloat16 are for x86
# only: docs/measurements/precision.md.
_AMX, _AVX512_BFLOAT16 = "amx_bf16", "avx512_bf16"
_AMD = "AuthenticAMD"


def has_bfloat16_units(processor: Processor) -> bool:
    """Return whether the processor trains large networks faster in bfloat16 than in float32."""
    return _AMX in processor.flags or (processor.vendor == _AMD and _AVX512_BFLOAT16 in processor.flags)


def limit_precision(
    requested: Literal["auto", "float32", "mixed"],
    device: Device,
    capability: tuple[int, int] | None,
    *,
    has_bfloat16: bool,
) -> Precision | Literal["auto"]:
    """Resolve `auto` for the device; it only remains on processors whose units speed up large networks.

    Args:
        capability: CUDA's compute capability (major, minor) of the least of the job's GPUs; None on a processor.
        has_bfloat16: whether the processor has units for bfloat16.
    """
    if requested != "auto":
        return requested
    if device == "cpu":
        return "auto" if has_bfloat16 else "float32"
    return "mixed" if capability is not None and capability >= MIN_FLOAT16_CAPABILITY else "float32"


def get_policy(precision: Precision, device: Device) -> Policy:
    """Return Keras' name for it.

    A processor uses bfloat16, which has the range of float32 and needs no loss scaling.
    """
    if precision == "float32":
        return "float32"
    return "mixed_float16" if device == "gpu" else "mixed_bfloat16"
