"""How much memory the process of a training takes, and whose fault it is where memory ran out. Pure.

The figures were fitted to measured peaks: `python -m benchmarks.memory` measures them again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan
from heldout.stored.artifacts import ExportFormat

# A process with TensorFlow, before it has images or a network.
BASE_BYTES = 396 * 2**20
# Copies of the images that stay in memory: TensorFlow has those that were read, and some are changed at the end to
# measure the gap.
IMAGE_COPIES = 1.22
# Copies of each parameter: weights, gradients, the optimizer's slots, the kept weights, what is being exported.
PARAMETER_COPIES = 15.5
# Values that are kept for each output of a layer while a batch is trained, with their gradients and work space; in 16
# bits they take less, but not half as much. What `auto` becomes is up to the worker, so it counts as float32.
ACTIVATION_COPIES = 0.94
MIXED_ACTIVATION_COPIES = 0.63
FLOAT_BYTES = 4
# What the graphs of a backbone take for each of its layers, which are many and small (MobileNetV2 at 96×96: 0.9 MiB).
BACKBONE_LAYER_BYTES = 2**20
# What the network's averaged twin adds to each parameter.
AVERAGE_COPIES = 2.0
# What a process takes that has CUDA's libraries, too. Not measured: what others report, rounded up.
GPU_BASE_BYTES = 3 * 2**30
# A worker reads a job's images from their file where they take more than this share of a slot's memory.
RESIDENT_SHARE = 0.5
# What the processes that look through an upload or a dataset take; the bound of each is in worker/ingest/limits.py.
CHECK_BYTES = 2**30
# What the networks of a search for wrong labels take: they see small copies of the images.
SUSPECTS_BYTES = 3 * 2**28
# What the process takes that reads an uploaded model, without what is in its file; what it may take at most is bounded
# in worker/supervision/foreign_process.py. `python -m benchmarks.memory_kinds` measures it.
FOREIGN_BASE_BYTES = 650 * 2**20
# Copies of the file: as it is read, and as the model's weights; and of its largest layer while that gets its weights.
FILE_COPIES = 2.0
LARGEST_LAYER_COPIES = 5.0
# What measuring adds: what a large model makes of each value of a batch's images, and images in memory, as they are
# read and as TensorFlow has them.
MEASURED_BATCH = 64
VALUES_OF_MEASURED = 60.0
MEASURED_IMAGE_COPIES = 2.0
# An estimate may be off by so much. What a worker could hold if it were is not refused.
MARGIN = 1.25


def estimate_training_bytes(spec: JobSpec, plan: NetworkPlan, images: int, pixel_bytes: int) -> int:
    """The most memory that a training's process is expected to have at once, on a processor.

    Args:
        images: of all splits that the job reads and keeps in memory.
        pixel_bytes: bytes of a stored value: 1 for uint8.
    """
    copies = PARAMETER_COPIES + (AVERAGE_COPIES if spec.training.ema_decay is not None else 0)
    activations = MIXED_ACTIVATION_COPIES if spec.training.precision == "mixed" else ACTIVATION_COPIES
    outputs = sum(prod(layer.shape) for layer in plan.layers) + prod(plan.image) + _count_backbone_values(spec, plan)
    return int(
        BASE_BYTES
        + BACKBONE_LAYER_BYTES * (0 if plan.backbone is None else plan.backbone.layers)
        + IMAGE_COPIES * images * prod(plan.image) * pixel_bytes
        + FLOAT_BYTES * copies * plan.parameters
        + FLOAT_BYTES * activations * spec.training.batch_size * outputs
    )


def _count_backbone_values(spec: JobSpec, plan: NetworkPlan) -> int:
    """Of one image, that are in memory at once: all for the gradients, or what two layers in a row give."""
    if plan.backbone is None or spec.network.backbone is None:
        return 0
    return plan.backbone.values if spec.network.backbone.trainable else 2 * plan.backbone.largest


def estimate_gpu_training_bytes(spec: JobSpec, plan: NetworkPlan, images: int, pixel_bytes: int) -> int:
    """The same of the worker's own memory for a training on GPUs, which have what its batches take."""
    of_images = IMAGE_COPIES * images * prod(plan.image) * pixel_bytes
    return int(GPU_BASE_BYTES + of_images + FLOAT_BYTES * PARAMETER_COPIES * plan.parameters)


def estimate_foreign_bytes(file_bytes: int, largest_layer_bytes: int | None = None) -> int:
    """The most memory that the process is expected to have which reads an uploaded model of that size.

    Args:
        largest_layer_bytes: None where nobody knows yet: then all may be in one layer.
    """
    largest = file_bytes if largest_layer_bytes is None else min(file_bytes, largest_layer_bytes)
    return int(FOREIGN_BASE_BYTES + FILE_COPIES * file_bytes + LARGEST_LAYER_COPIES * largest)


def measure_bytes(file_bytes: int, largest_layer_bytes: int | None, image: tuple[int, ...], images_bytes: int) -> int:
    """The same of the process that measures it.

    Args:
        image: height, width and channels.
        images_bytes: of the dataset, as far as they stay in memory.
    """
    of_batch = FLOAT_BYTES * VALUES_OF_MEASURED * MEASURED_BATCH * prod(image)
    return int(
        estimate_foreign_bytes(file_bytes, largest_layer_bytes) + of_batch + MEASURED_IMAGE_COPIES * images_bytes
    )


def export_bytes(format_: ExportFormat, parameters: int) -> int:
    """The most memory that the processes are expected to have which write a training's model and prove it."""
    return int(format_.facts.base_mib * 2**20 + FLOAT_BYTES * format_.facts.copies * parameters)


@dataclass(frozen=True)
class WorkerMemory:
    """What a worker has for its jobs.

    resident_bytes: images of one job that take more are read from their file; None where it has not said so.
    """

    total_bytes: int
    resident_bytes: int | None = None

    @property
    def most_resident_bytes(self) -> int:
        """The most that the images of one job may take of its memory."""
        return int(RESIDENT_SHARE * self.total_bytes) if self.resident_bytes is None else self.resident_bytes

    def cap(self, needed_bytes: int) -> int:
        """What to reserve, so that a job which may fit, the estimate being off, can be claimed at all."""
        return min(needed_bytes, int(MARGIN * self.total_bytes))


def could_hold(memory_bytes: int, needed_bytes: int) -> bool:
    """Whether so much memory may be enough, the estimate being as far off as it can be."""
    return needed_bytes <= MARGIN * memory_bytes


def find_fitting_batch_size(spec: JobSpec, needed: Callable[[JobSpec], int], memory_bytes: int) -> int | None:
    """The largest batch size with which the training would fit; None where not even a batch of 1 does."""

    def fits(batch_size: int) -> bool:
        training = spec.training.model_copy(update={"batch_size": batch_size})
        return needed(spec.model_copy(update={"training": training})) <= memory_bytes

    if not fits(1):
        return None
    low, high = 1, spec.training.batch_size
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


@dataclass(frozen=True)
class MemoryKill:
    """A process that was killed because memory ran out.

    peak_bytes: the most that it was seen to have. reserved_bytes: what it had said it would need. is_alone: no other
    job ran on its worker.
    """

    peak_bytes: int
    reserved_bytes: int
    is_alone: bool

    @property
    def is_cause(self) -> bool:
        """Whether it took more than was reserved for it, so that the next attempt would end alike.

        An estimate that is a little too low does not make a bystander the cause.
        """
        return self.is_alone or self.peak_bytes > MARGIN * self.reserved_bytes

    def compute_next_reservation(self, total_bytes: int) -> int:
        """What a bystander gets reserved next time: more each time, in the end the worker to itself.

        It may have grown faster than it was looked at; then it is alone in the end, and is found to be the cause.
        """
        return min(total_bytes, 2 * max(self.peak_bytes, self.reserved_bytes, 1))
