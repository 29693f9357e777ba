"""Which devices this worker has, found without TensorFlow, and which one a job gets."""

import platform
import socket
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pynvml

Device = Literal["cpu", "gpu"]


def count_gpus() -> int:
    """NVIDIA GPUs that the driver reports; 0 where there is no driver."""
    try:
        pynvml.nvmlInit()
        try:
            return int(pynvml.nvmlDeviceGetCount())
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return 0


def claimable_devices(gpus: int) -> tuple[str, ...]:
    """The values of a job's `device` that a worker with so many GPUs may claim."""
    return ("auto", "cpu", "gpu") if gpus else ("auto", "cpu")


def chosen_device(asked: str, gpus: int) -> Device:
    """What `auto` becomes: a GPU when there is one."""
    return "gpu" if asked == "gpu" or (asked == "auto" and gpus) else "cpu"


def host_name() -> str:
    return socket.gethostname()


def processor() -> str:
    """The processor's model: another one may have other vector instructions, which change last digits and speed."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
