"""Reads the spec in a row of `jobs`, according to the job's kind, and what follows from it for its dataset."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from heldout.errors import SpecUnreadable
from heldout.spec.backbone import Backbone
from heldout.spec.documents import make_pointer
from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan, plan_network
from heldout.work.kinds import KINDS, WorkSpec
from models.tables import DatasetRow, JobRow

Spec = TypeVar("Spec", bound=BaseModel)


def read_spec(job: JobRow) -> WorkSpec:
    """Read the spec of any job. Raises SpecUnreadable."""
    return _read(job, KINDS[job.kind].spec)


def read_training_spec(job: JobRow) -> JobSpec:
    """Read the spec of a training. Raises SpecUnreadable."""
    return _read(job, JobSpec)


def _read(job: JobRow, kind: type[Spec]) -> Spec:
    try:
        return kind.model_validate(job.spec)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SpecUnreadable(job.id, f"{make_pointer(first['loc'])}: {first['msg']}") from error


def make_plan(dataset: DatasetRow, spec: JobSpec, backbone: Mapping[str, Any] | None) -> NetworkPlan | None:
    """Plan the network of a spec. None if too little is known about the dataset or the spec's uploaded model.

    Args:
        backbone: the uploaded network in the job's row. None if the spec has none.
    """
    if dataset.shape is None or dataset.classes is None:
        return None
    if spec.network.uploaded_model is not None and backbone is None:  # an earlier release ran in the meantime
        return None
    height, width, channels = dataset.shape
    known = None if backbone is None else Backbone.from_json(backbone)
    return plan_network(spec.network, (height, width, channels), len(dataset.classes), known)


def count_splits(dataset: DatasetRow, spec: JobSpec) -> dict[str, int] | None:
    """Count the images of each split before `train_limit`. None if the dataset has no splits yet.

    Approximate for folds, which balance classes and keep copies together.
    """
    if dataset.splits is None:
        return None
    counts: dict[str, int] = {name: split["count"] for name, split in dataset.splits.items()}
    if spec.validation is not None:
        pool = counts["train"] + counts["validation"]
        counts["validation"] = 0 if spec.folds is None else pool // spec.folds.folds
        counts["train"] = pool - counts["validation"]
    return counts
