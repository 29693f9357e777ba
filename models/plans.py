"""The plan of a network that was submitted before, as the rows of its job and its dataset know it."""

from collections.abc import Mapping
from typing import Any

from heldout.spec.backbone import Backbone
from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan, plan_network
from models.tables import DatasetRow


def plan_of(dataset: DatasetRow, spec: JobSpec, backbone: Mapping[str, Any] | None) -> NetworkPlan | None:
    """The plan of a spec's network; None where the dataset, or the spec's backbone, is not known well enough.

    Args:
        backbone: as the row of a job keeps it; None where the spec has none.
    """
    if dataset.shape is None or dataset.classes is None:
        return None
    if spec.network.backbone is not None and backbone is None:  # an earlier release was there in between
        return None
    height, width, channels = dataset.shape
    known = None if backbone is None else Backbone.from_json(backbone)
    return plan_network(spec.network, (height, width, channels), len(dataset.classes), known)
