"""How a job computes on its machine: towers, threads and precision. Bits depend on them, so only facts decide."""

import platform
import socket
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from analysis.scheduling.cost import Precision, choose_auto_precision, choose_auto_towers, takes_parts
from heldout.errors import HeldoutError
from heldout.lifecycle.job import FailureCode
from heldout.spec.backbone import Backbone
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network
from worker.machine.devices import get_processor
from worker.messages import AssignedMachine


class GpuUnavailable(HeldoutError):
    """The driver shows GPUs that TensorFlow cannot use."""

    code, title = FailureCode.GPU_UNAVAILABLE, "TensorFlow does not find the job's GPUs"

    def __init__(self, found: int, given: int) -> None:
        super().__init__(
            f"The job was given {given} of its worker's GPUs, of which TensorFlow finds {found}. The worker's CUDA "
            "libraries may not fit its driver; with resources.device: cpu the job needs none."
        )


def choose_towers(
    wanted: int | Literal["auto"],
    cores: int,
    spec: JobSpec,
    image: tuple[int, int, int],
    classes: int,
    known: Backbone | None = None,
) -> int:
    """Return how many towers a job gets on a machine with this many cores; `auto` chooses the fastest number.

    Args:
        known: what is known about the uploaded model of the job's network, if it has one.
    """
    if not takes_parts(spec, known):
        return 1
    if wanted != "auto":
        return wanted
    return choose_auto_towers(spec, plan_network(spec.network, image, classes, known), cores)


def choose_threads(spec: JobSpec, machine: AssignedMachine, towers: int) -> int:
    """Return how many threads share one operation.

    Towers keep the cores busy. A network that an uploaded model is part of may have fewer towers than there are cores;
    its operations then use the rest.
    """
    is_whole = spec.network.uploaded_model is not None and not spec.network.has_frozen_part
    if machine.device == "gpu" or not is_whole:
        return machine.threads
    return max(1, machine.cores // towers)


def choose_precision(
    wanted: Precision | Literal["auto"],
    spec: JobSpec,
    image: tuple[int, int, int],
    classes: int,
    towers: int,
    known: Backbone | None = None,
) -> Precision:
    """Return the precision of a job.

    `auto` remains if the processor has units for bfloat16: the network's operations decide.
    """
    if spec.network.backbone is not None:  # it computes in float32
        return "float32"
    if wanted != "auto":
        return wanted
    return choose_auto_precision(spec, plan_network(spec.network, image, classes, known), towers)


def configure(machine: AssignedMachine, towers: int) -> tuple[str, ...]:
    """Set threads and devices before TensorFlow runs anything; return the names of the job's GPUs.

    Raises:
        GpuUnavailable: if TensorFlow does not find the GPUs that the job was given.
    """
    tf.config.threading.set_intra_op_parallelism_threads(machine.threads)
    # Towers run in parallel; with several threads, so do the two gradients of a convolution. Replicas wait for each
    # other's gradients, so none may wait for another's thread.
    side_by_side = max(towers, 2 if machine.threads > 1 or machine.gpus else 1)
    tf.config.threading.set_inter_op_parallelism_threads(side_by_side * max(1, len(machine.gpus)))
    if machine.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return ()
    found = tf.config.list_physical_devices("GPU")
    if len(found) != len(machine.gpus):
        raise GpuUnavailable(len(found), len(machine.gpus))
    for gpu in found:
        tf.config.experimental.set_memory_growth(gpu, True)
    # Newer GPUs would round float32 to 10 bits, and the model's figures elsewhere would differ from those served.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return tuple(f"GPU:{number}" for number in range(len(found)))


def collect_engine_facts(machine: AssignedMachine, towers: int, precision: Precision) -> dict[str, Any]:
    return {
        "device": machine.device,
        "threads": machine.threads,
        "towers": towers,
        "precision": precision,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "host": socket.gethostname(),
    }


def collect_bit_facts(engine: dict[str, Any]) -> dict[str, Any]:
    """Return what decides the last digits of a training, besides its spec, seed and dataset."""
    shared = {name: engine[name] for name in ("device", "threads", "towers", "tensorflow", "keras")}
    return shared | {"numpy": np.__version__, "processor": get_processor().model}
