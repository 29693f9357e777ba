"""The processor of this machine, and the float type in which a network computes there. Without TensorFlow."""

import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analysis.scheduling.cost import Precision
from worker.machine.devices import Device


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
    """The processor on which this process runs."""
    cpuinfo = ""
    with suppress(OSError):
        cpuinfo = Path("/proc/cpuinfo").read_text()
    return parse_processor(cpuinfo)


def parse_processor(cpuinfo: str) -> Processor:
    """The first processor in the text of Linux's /proc/cpuinfo. Its flags are `flags` on x86 and `Features` on ARM."""
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
    """Whether the processor trains large networks faster in bfloat16 than in float32."""
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
