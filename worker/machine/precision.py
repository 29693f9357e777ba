"""In which floats a network computes: decided by what was asked and by the device, without TensorFlow. Pure."""

from typing import Literal

from worker.machine.devices import Device

Precision = Literal["float32", "mixed"]
Policy = Literal["float32", "mixed_float16", "mixed_bfloat16"]

# From here on NVIDIA's GPUs have units for products of float16 (tensor cores).
FLOAT16_PAYS_FROM = (7, 0)


def chosen_precision(
    asked: Literal["auto", "float32", "mixed"], device: Device, capability: tuple[int, int] | None
) -> Precision:
    """What `auto` becomes: mixed where the device multiplies float16 faster, which processors do not.

    Args:
        capability: CUDA's compute capability (major, minor) of the least of the job's GPUs; None on a processor.
    """
    if asked != "auto":
        return asked
    return "mixed" if device == "gpu" and capability is not None and capability >= FLOAT16_PAYS_FROM else "float32"


def policy_of(precision: Precision, device: Device) -> Policy:
    """Keras' name for it. A processor takes bfloat16, which has the range of float32 and so needs no scaled loss."""
    if precision == "float32":
        return "float32"
    return "mixed_float16" if device == "gpu" else "mixed_bfloat16"
