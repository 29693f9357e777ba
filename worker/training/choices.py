"""How a job computes on its machine: towers, threads and precision. Bits depend on them, so only facts decide."""

from typing import Literal

from analysis.scheduling.cost import Precision, choose_auto_precision, choose_auto_towers, takes_parts
from heldout.spec.backbone import Backbone
from heldout.spec.job import JobSpec, OwnNetworkSpec
from heldout.spec.layers import plan_network
from worker.messages import AssignedMachine


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
    wanted: Precision | Literal["auto"], spec: JobSpec, image: tuple[int, int, int], classes: int, towers: int
) -> Precision:
    """Return the precision of a job.

    `auto` remains if the processor has units for bfloat16: the network's size decides.
    """
    if isinstance(spec.network, OwnNetworkSpec):
        return "float32" if wanted == "auto" else wanted
    if spec.network.backbone is not None:  # it computes in float32
        return "float32"
    return (
        choose_auto_precision(spec, plan_network(spec.network, image, classes), towers) if wanted == "auto" else wanted
    )
