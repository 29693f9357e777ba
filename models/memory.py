"""How much memory a training needs, by its spec and its dataset."""

from math import prod

from heldout.layers import NetworkPlan, plan_network
from heldout.memory import MARGIN, RESIDENT_SHARE, training_bytes
from heldout.spec import JobSpec
from models.split_counts import counts_of
from models.tables import DatasetRow

PIXEL_BYTES = {"uint8": 1, "float32": 4}


def needed_bytes(dataset: DatasetRow, spec: JobSpec, plan: NetworkPlan | None = None) -> int | None:
    """What a training on a processor takes at most; None where the dataset is not known well enough."""
    plan, images = plan or _plan_of(dataset, spec), _images_of(dataset, spec)
    if plan is None or images is None:
        return None
    return training_bytes(spec, plan, images, _pixel_bytes(dataset))


def needed_without_images(dataset: DatasetRow, spec: JobSpec, plan: NetworkPlan) -> int:
    """The same where the images are read from their file, as a worker does whose memory they would fill."""
    return training_bytes(spec, plan, 0, _pixel_bytes(dataset))


def reserved_bytes(
    dataset: DatasetRow, spec: JobSpec, largest_bytes: int | None, plan: NetworkPlan | None = None
) -> int | None:
    """What a worker must have free for the training: never more than the largest worker could hold.

    None for a job for GPUs, since its network is in their memory, and where the dataset is not known well enough.

    Args:
        largest_bytes: what the largest worker has; None where none is known of.
    """
    plan, images = plan or _plan_of(dataset, spec), _images_of(dataset, spec)
    if spec.resources.required_gpus or plan is None or images is None:
        return None
    pixel_bytes = _pixel_bytes(dataset)
    if largest_bytes is None:
        return training_bytes(spec, plan, images, pixel_bytes)
    is_resident = images * prod(plan.image) * pixel_bytes <= RESIDENT_SHARE * largest_bytes
    needed = training_bytes(spec, plan, images if is_resident else 0, pixel_bytes)
    return min(needed, int(MARGIN * largest_bytes))


def _plan_of(dataset: DatasetRow, spec: JobSpec) -> NetworkPlan | None:
    if dataset.shape is None or dataset.classes is None:
        return None
    height, width, channels = dataset.shape
    return plan_network(spec.network, (height, width, channels), len(dataset.classes))


def _images_of(dataset: DatasetRow, spec: JobSpec) -> int | None:
    counts = counts_of(dataset, spec)
    if counts is None:
        return None
    return counts["train"] + counts["validation"] + (0 if spec.evaluation.test == "never" else counts["test"])


def _pixel_bytes(dataset: DatasetRow) -> int:
    return PIXEL_BYTES.get(dataset.dtype or "", 4)
