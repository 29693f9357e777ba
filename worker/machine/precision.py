"""In which floats a network computes: decided by what was requested and by the device, without TensorFlow. Pure."""

from typing import Literal

from worker.machine.devices import Device

Precision = Literal["float32", "mixed"]
Policy = Literal["float32", "mixed_float16", "mixed_bfloat16"]

# NVIDIA's GPUs of this compute capability and later have units for products of float16 (tensor cores).
MIN_FLOAT16_CAPABILITY = (7, 0)


def chosen_precision(
    requested: Literal["auto", "float32", "mixed"], device: Device, capability: tuple[int, int] | None
) -> Precision:
    """What `auto` becomes: mixed where the device multiplies float16 faster, which processors do not.

    Args:
        capability: CUDA's compute capability (major, minor) of the least of the job's GPUs; None on a processor.
    """
    if requested != "auto":
        return requested
    return "mixed" if device == "gpu" and capability is not None and capability >= MIN_FLOAT16_CAPABILITY else "float32"


def policy_of(precision: Precision, device: Device) -> Policy:
    """Keras' name for it. A processor takes bfloat16, which has the range of float32 and so needs no scaled loss."""
    if precision == "float32":
        return "float32"
    return "mixed_float16" if device == "gpu" else "mixed_bfloat16"
