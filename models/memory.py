"""Estimates the memory of a job from its spec and its dataset."""

from math import prod

from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan
from heldout.spec.model_facts import ModelFacts
from heldout.work.memory import (
    FLOAT_BYTES,
    WorkerMemory,
    estimate_evaluation_bytes,
    estimate_gpu_training_bytes,
    estimate_training_bytes,
    estimate_uploaded_model_bytes,
)
from models.specs import count_splits
from models.tables import DatasetRow

PIXEL_BYTES = {"uint8": 1, "float32": 4}


def estimate_needed_bytes(dataset: DatasetRow, spec: JobSpec, plan: NetworkPlan) -> int | None:
    """Estimate the peak memory of a training on CPUs. None if too little is known about the dataset."""
    images = _count_images(dataset, spec)
    if images is None:
        return None
    return estimate_training_bytes(spec, plan, images, _count_pixel_bytes(dataset))


def estimate_without_images(dataset: DatasetRow, spec: JobSpec, plan: NetworkPlan) -> int:
    """Estimate the peak memory if images are read from their file, as workers do that cannot hold them in memory."""
    return estimate_training_bytes(spec, plan, 0, _count_pixel_bytes(dataset))


def compute_reserved_bytes(
    dataset: DatasetRow, spec: JobSpec, largest: WorkerMemory | None, plan: NetworkPlan | None
) -> int | None:
    """Compute the memory that a worker must have free for the training, capped by the largest worker's memory.

    None if too little is known about the dataset.

    Args:
        largest: the worker with the most memory. None if no worker is known.
        plan: the plan of the network, from `models/specs.py`.
    """
    images = _count_images(dataset, spec)
    if plan is None or images is None:
        return None
    pixel_bytes = _count_pixel_bytes(dataset)
    if largest is not None and images * prod(plan.image) * pixel_bytes > largest.most_resident_bytes:
        images = 0
    needed = (estimate_gpu_training_bytes if spec.resources.required_gpus else estimate_training_bytes)(
        spec, plan, images, pixel_bytes
    )
    return needed if largest is None else largest.cap(needed)


def add_uploaded_weights(reserved: int | None, file_bytes: int, largest: WorkerMemory | None) -> int | None:
    """Add the memory of the process that extracts weights or a backbone from an uploaded model before the training.

    Args:
        reserved: the memory of the training alone.
    """
    needed = estimate_uploaded_model_bytes(file_bytes)
    return None if reserved is None else max(reserved, needed if largest is None else largest.cap(needed))


def estimate_measuring_bytes(
    file_bytes: int, facts: ModelFacts, dataset: DatasetRow, largest: WorkerMemory | None
) -> int:
    """Estimate the memory that a worker must have free to measure an uploaded model on a whole dataset."""
    layers = [FLOAT_BYTES * sum(prod(shape) for shape in layer.weights) for layer in facts.layers]
    largest_layer = max(layers, default=None)  # an ONNX file has no layers
    count = sum(about["count"] for about in (dataset.splits or {}).values())
    image = tuple(dataset.shape or ())
    images_bytes = count * prod(image) * _count_pixel_bytes(dataset)
    if largest is None:
        return estimate_evaluation_bytes(file_bytes, largest_layer, image, images_bytes)
    resident_bytes = min(images_bytes, largest.most_resident_bytes)
    return largest.cap(estimate_evaluation_bytes(file_bytes, largest_layer, image, resident_bytes))


def _count_images(dataset: DatasetRow, spec: JobSpec) -> int | None:
    counts = count_splits(dataset, spec)
    if counts is None:
        return None
    return counts["train"] + counts["validation"] + (0 if spec.evaluation.test == "never" else counts["test"])


def _count_pixel_bytes(dataset: DatasetRow) -> int:
    return PIXEL_BYTES.get(dataset.dtype or "", 4)
