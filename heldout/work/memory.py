"""Estimates the memory of processes, and decides which job is to blame if memory runs out. Pure.

The figures were fitted to measured peaks: `python -m benchmarks.memory` measures them again.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan, count_normed_values
from heldout.spec.network import Normalization, OwnNetworkSpec
from heldout.stored.artifacts import ExportFormat

# A process with TensorFlow, before it has images or a network.
BASE_BYTES = 396 * 2**20
# Copies of the images in memory: TensorFlow keeps those that were read, and some are changed at the end to measure the
# gap.
IMAGE_COPIES = 1.22
# Copies of each parameter: weights, gradients, the optimizer's slots, the kept weights, what is being exported.
PARAMETER_COPIES = 15.5
# Values kept for each output of a layer while a batch is trained, including gradients and work space. 16 bits take
# less, but not half as much. The worker decides what `auto` becomes, so it counts as float32.
ACTIVATION_COPIES = 0.94
MIXED_ACTIVATION_COPIES = 0.63
# What some normalizations keep for each output besides it (ResNet20, batch 128).
NORM_COPIES: Mapping[Normalization, float] = {"batch": 0.0, "layer": 1.8, "group": 0.7}
FLOAT_BYTES = 4
# What graphs need for each of many small layers (MobileNetV2 at 96×96: 0.9 MiB; 64 residual blocks: 1.1 MiB). Those of
# small networks are in the base.
LAYER_BYTES = 2**20
LAYERS_IN_BASE = 40
# Features of a frozen part that take more than this are read from their file. Blocks of this many images are computed
# in parallel, if there are enough cores.
MAX_FEATURE_BYTES = 256 * 2**20
FEATURE_BLOCK, FEATURE_BLOCKS = 32, 4
# What XLA needs to compile the moves of augmentation.
COMPILER_BYTES = 64 * 2**20
# What the moving average of the weights adds to each parameter.
AVERAGE_COPIES = 2.0
# What a process with CUDA's libraries needs. Not measured: based on reports by others, rounded up.
GPU_BASE_BYTES = 3 * 2**30
# If a job's images take more than this share of a slot's memory, the worker reads them from their file.
RESIDENT_SHARE = 0.5
# What processes that check an upload or dataset need; the limit of each is in worker/ingest/rejection.py.
CHECK_BYTES = 2**30
# What they need for an upload, or a version to change, of at most this size. Checks that need less than `QUICK_BYTES`
# take a minute or two and need not wait for a slot: these, and those of models of up to some megabytes.
SMALL_UPLOAD_BYTES = 2**27
SMALL_CHECK_BYTES = 2**29
QUICK_BYTES = 3 * 2**28
# What the networks of a search for wrong labels need: they see small copies of the images.
SUSPECTS_BYTES = 3 * 2**28
# What a process that computes the features of a dataset needs, at most: they are bounded in number.
FEATURES_BYTES = 7 * 2**28
# What a process that reads an uploaded model needs besides the file's content. Its limit is set in
# worker/supervision/uploaded_model_attempts.py. `python -m benchmarks.memory_kinds` measures it.
UPLOADED_MODEL_BASE_BYTES = 650 * 2**20
# Copies of the file (as read, and as the model's weights), and of its largest layer while that gets its weights.
FILE_COPIES = 2.0
LARGEST_LAYER_COPIES = 5.0
# What measuring adds: values that a large model computes for each value of a batch's images, and copies of the images
# in memory, as read and in TensorFlow.
MEASURED_BATCH = 64
VALUES_OF_MEASURED = 60.0
MEASURED_IMAGE_COPIES = 2.0
# An estimate may be off by this factor. A job that a worker could hold with such an error is not refused.
MARGIN = 1.25


def estimate_training_bytes(spec: JobSpec, plan: NetworkPlan, images: int, pixel_bytes: int) -> int:
    """Estimate the peak memory of a training process on a CPU.

    Args:
        images: number of images, of all splits, that the job reads and keeps in memory.
        pixel_bytes: bytes of a stored value: 1 for uint8.
    """
    copies = PARAMETER_COPIES + (AVERAGE_COPIES if spec.training.ema_decay is not None else 0)
    activations = MIXED_ACTIVATION_COPIES if spec.training.precision == "mixed" else ACTIVATION_COPIES
    outputs = sum(prod(layer.shape) for layer in plan.layers) + prod(plan.image) + _count_backbone_values(spec, plan)
    kept = count_normed_values(spec.network, plan.layers, NORM_COPIES)
    return int(
        BASE_BYTES
        + COMPILER_BYTES * (spec.augmentation is not None and spec.augmentation.moves)
        + LAYER_BYTES * (0 if plan.backbone is None else plan.backbone.layers)
        + LAYER_BYTES * max(0, len(plan.layers) - LAYERS_IN_BASE)
        + IMAGE_COPIES * images * prod(plan.image) * pixel_bytes
        + FLOAT_BYTES * copies * plan.parameters
        + FLOAT_BYTES * activations * spec.training.batch_size * (outputs + kept)
        + _estimate_feature_bytes(spec, plan, images)
    )


def _estimate_feature_bytes(spec: JobSpec, plan: NetworkPlan, images: int) -> int:
    """Memory of features, and of their computation beyond that of a batch. Own networks may be divided anywhere."""
    if not spec.network.has_frozen_part or plan.backbone is None:
        return 0
    largest = plan.backbone.largest
    values = largest if isinstance(spec.network, OwnNetworkSpec) else prod(plan.backbone.gives)
    views = (spec.augmentation.views or 0) if spec.augmentation is not None else 0
    # Even if images are read from their file, features may be in memory.
    rows = [copies * (images or MAX_FEATURE_BYTES) for copies in (1, views)]
    kept = sum(min(MAX_FEATURE_BYTES, FLOAT_BYTES * values * count) for count in rows)
    more = max(0, FEATURE_BLOCKS * FEATURE_BLOCK - spec.training.batch_size)
    return int(kept + FLOAT_BYTES * ACTIVATION_COPIES * more * 2 * largest)


def _count_backbone_values(spec: JobSpec, plan: NetworkPlan) -> int:
    """Values of one image in memory at once: all of them for gradients, otherwise the outputs of two layers."""
    if plan.backbone is None:
        return 0
    network = spec.network if isinstance(spec.network, OwnNetworkSpec) else spec.network.backbone
    is_trained = network is not None and (network.trainable or network.unfreeze_at is not None)
    return plan.backbone.values if is_trained else 2 * plan.backbone.largest


def estimate_gpu_training_bytes(spec: JobSpec, plan: NetworkPlan, images: int, pixel_bytes: int) -> int:
    """Estimate the peak of main memory for a training on GPUs, whose own memory has the batches."""
    of_images = IMAGE_COPIES * images * prod(plan.image) * pixel_bytes
    return int(GPU_BASE_BYTES + of_images + FLOAT_BYTES * PARAMETER_COPIES * plan.parameters)


def estimate_check_bytes(read_bytes: int | None) -> int:
    """Estimate the peak memory of the processes that read an upload, or a version to change, of that size."""
    return SMALL_CHECK_BYTES if read_bytes is not None and read_bytes <= SMALL_UPLOAD_BYTES else CHECK_BYTES


def estimate_uploaded_model_bytes(file_bytes: int, largest_layer_bytes: int | None = None) -> int:
    """Estimate the peak memory of a process that reads an uploaded model of that size.

    Args:
        largest_layer_bytes: None if not known yet; then everything may be in one layer.
    """
    largest = file_bytes if largest_layer_bytes is None else min(file_bytes, largest_layer_bytes)
    return int(UPLOADED_MODEL_BASE_BYTES + FILE_COPIES * file_bytes + LARGEST_LAYER_COPIES * largest)


def estimate_evaluation_bytes(
    file_bytes: int, largest_layer_bytes: int | None, image: tuple[int, ...], images_bytes: int
) -> int:
    """Estimate the peak memory of a process that measures an uploaded model.

    Args:
        image: height, width and channels.
        images_bytes: bytes of the dataset's images that stay in memory.
    """
    of_batch = FLOAT_BYTES * VALUES_OF_MEASURED * MEASURED_BATCH * prod(image)
    return int(
        estimate_uploaded_model_bytes(file_bytes, largest_layer_bytes) + of_batch + MEASURED_IMAGE_COPIES * images_bytes
    )


def estimate_export_bytes(format_: ExportFormat, parameters: int) -> int:
    """Estimate the peak memory of the processes that write and verify an export."""
    return int(format_.facts.base_mib * 2**20 + FLOAT_BYTES * format_.facts.copies * parameters)


@dataclass(frozen=True)
class WorkerMemory:
    """A worker's memory for its jobs.

    resident_bytes: images of one job that take more are read from their file; None if the worker did not report it.
    """

    total_bytes: int
    resident_bytes: int | None = None

    @property
    def most_resident_bytes(self) -> int:
        """The most memory that the images of one job may take."""
        return int(RESIDENT_SHARE * self.total_bytes) if self.resident_bytes is None else self.resident_bytes

    def cap(self, needed_bytes: int) -> int:
        """Return the amount to reserve, capped so that a job that may still fit can be claimed."""
        return min(needed_bytes, int(MARGIN * self.total_bytes))


def could_hold(memory_bytes: int, needed_bytes: int) -> bool:
    """Return whether this much memory may be enough, allowing for the largest error of the estimate."""
    return needed_bytes <= MARGIN * memory_bytes


def find_fitting_batch_size(spec: JobSpec, needed: Callable[[JobSpec], int], memory_bytes: int) -> int | None:
    """Find the largest batch size with which the training would fit; None if not even a batch of 1 fits."""

    def fits(batch_size: int) -> bool:
        training = spec.training.model_copy(update={"batch_size": batch_size})
        return needed(spec.model_copy(update={"training": training})) <= memory_bytes

    return bisect_left(range(1, spec.training.batch_size + 1), True, key=lambda size: not fits(size)) or None


@dataclass(frozen=True)
class MemoryKill:
    """A process that was killed because memory ran out.

    peak_bytes: the most memory observed. reserved_bytes: the memory reserved for it. is_alone: whether no other job was
    running on its worker.
    """

    peak_bytes: int
    reserved_bytes: int
    is_alone: bool

    @property
    def is_cause(self) -> bool:
        """Whether it used more than was reserved for it, so that the next attempt would end the same way.

        An estimate that is slightly too low does not make a bystander the cause.
        """
        return self.is_alone or self.peak_bytes > MARGIN * self.reserved_bytes

    def compute_next_reservation(self, total_bytes: int) -> int:
        """Compute the reservation of a bystander next time: more each time, and finally the worker to itself.

        It may have grown faster than it was observed. Then it finally runs alone and is found to be the cause.
        """
        return min(total_bytes, 2 * max(self.peak_bytes, self.reserved_bytes, 1))
