"""How much memory a training needs, by its spec and its dataset."""

from heldout.layers import NetworkPlan, plan_network
from heldout.memory import training_bytes
from heldout.spec import JobSpec
from models.split_counts import counts_of
from models.tables import DatasetRow

PIXEL_BYTES = {"uint8": 1, "float32": 4}


def needed_bytes(dataset: DatasetRow, spec: JobSpec, plan: NetworkPlan | None = None) -> int | None:
    """What a training on a processor takes at most; None where the dataset is not known well enough."""
    counts = counts_of(dataset, spec)
    if counts is None or dataset.shape is None or dataset.classes is None:
        return None
    if plan is None:
        height, width, channels = dataset.shape
        plan = plan_network(spec.network, (height, width, channels), len(dataset.classes))
    test = 0 if spec.evaluation.test == "never" else counts["test"]
    images = counts["train"] + counts["validation"] + test
    return training_bytes(spec, plan, images, PIXEL_BYTES.get(dataset.dtype or "", 4))


def reserved_bytes(dataset: DatasetRow, spec: JobSpec, plan: NetworkPlan | None = None) -> int | None:
    """What a worker must have free for the training. None for a job for GPUs: its network is in their memory."""
    return None if spec.resources.required_gpus else needed_bytes(dataset, spec, plan)
