"""The spec that a row of `jobs` holds, read back by the job's kind."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from heldout.errors import SpecUnreadable
from heldout.spec.backbone import Backbone
from heldout.spec.job import JobSpec
from heldout.spec.json_pointer import make_pointer
from heldout.spec.layers import NetworkPlan, plan_network
from heldout.work.kinds import KINDS, WorkSpec
from models.tables import DatasetRow, JobRow

Spec = TypeVar("Spec", bound=BaseModel)


def read_spec(job: JobRow) -> WorkSpec:
    """What the job is asked to do. Raises SpecUnreadable."""
    return _read(job, KINDS[job.kind].spec)


def read_training_spec(job: JobRow) -> JobSpec:
    """What a training is asked to do. Raises SpecUnreadable."""
    return _read(job, JobSpec)


def _read(job: JobRow, kind: type[Spec]) -> Spec:
    try:
        return kind.model_validate(job.spec)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SpecUnreadable(job.id, f"{make_pointer(first['loc'])}: {first['msg']}") from error


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
