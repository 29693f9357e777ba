"""Whether a spec can be run on its dataset, and what it would cost: decided before anything is stored."""

from dataclasses import dataclass

from api.http.pointers import pointer_to
from heldout.dataset_lifecycle import DatasetStatus
from heldout.errors import (
    DatasetUnavailable,
    FieldError,
    InvalidSpec,
    SpecDatasetNotFound,
    TooManyParameters,
)
from heldout.layers import Layer, plan_layers
from heldout.spec import JobSpec
from models.bundled import BUNDLED
from models.database import Session
from models.store import datasets
from models.tables import DatasetRow

NAME_CHARACTERS = 128


@dataclass(frozen=True)
class Plan:
    """The network of a spec that was accepted, for images of its dataset's shape (height, width, channels)."""

    image: tuple[int, int, int]
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)


def dataset_for(session: Session, owner: str, reference: str) -> DatasetRow:
    """The dataset that a spec names.

    Raises:
        SpecDatasetNotFound: this owner has none of that name.
        DatasetUnavailable: it is a bundled one whose files this service lacks.
    """
    row = datasets.find(session, owner, reference)
    if row is not None:
        return row
    name = reference.partition("@")[0]
    if name in BUNDLED and datasets.find(session, owner, name) is None:
        raise DatasetUnavailable(name, BUNDLED[name].remedy)
    raise SpecDatasetNotFound(reference)


def examine(spec: JobSpec, dataset: DatasetRow, max_parameters: int) -> Plan:
    """Refuse what cannot be trained on this dataset.

    Raises:
        DatasetUnavailable, NetworkTooDeep, TooManyParameters, InvalidSpec.
    """
    if dataset.deleted_at is not None:
        raise DatasetUnavailable(dataset.name, "It was deleted; name another dataset.")
    if dataset.status is not DatasetStatus.READY or dataset.shape is None or dataset.classes is None:
        raise DatasetUnavailable(dataset.name, f"It is {dataset.status}; wait until it is ready or name another one.")
    height, width, channels = dataset.shape
    image = (height, width, channels)
    plan = Plan(image, plan_layers(spec.network, image, len(dataset.classes)))
    if plan.parameters > max_parameters:
        raise TooManyParameters(plan.parameters, max_parameters)
    _require_known_labels(spec, dataset.classes)
    _require_whole_batches(spec)
    return plan


def generated_name(spec: JobSpec, dataset: DatasetRow, job_id: str) -> str:
    """For example `mnist5k 32-64-128 · 4tz9qk`: the dataset, the filters of the blocks, the end of the id."""
    tail = f" {'-'.join(str(block.filters) for block in spec.network.blocks)} · {job_id[-6:]}"
    return dataset.name[: NAME_CHARACTERS - len(tail)] + tail


def _require_known_labels(spec: JobSpec, classes: list[str]) -> None:
    weights = spec.training.class_weights
    if not isinstance(weights, dict):
        return
    unknown = [label for label in weights if label not in classes]
    if unknown:
        shown = ", ".join(map(repr, classes[:20])) + (", …" if len(classes) > 20 else "")
        detail = f"The dataset has no such class; it has {shown}."
        errors = [FieldError(pointer_to(("training", "class_weights", label)), detail) for label in unknown]
        raise InvalidSpec(f"{errors[0].pointer}: {detail}", errors=errors)


def _require_whole_batches(spec: JobSpec) -> None:
    """Refuse what would split a batch that must stay whole, or split it over what is not there."""
    resources = spec.resources
    normalised = any(block.batch_norm for block in spec.network.blocks)
    if resources.towers == 2 and normalised:
        raise _refused(
            "/resources/towers",
            "Two towers see half a batch each, which batch normalisation cannot have; use 1 or `auto`.",
        )
    if resources.gpus > 1 and normalised:
        raise _refused(
            "/resources/gpus", "Each GPU sees a part of a batch, which batch normalisation cannot have; use 1."
        )
    if resources.gpus > 1 and resources.device == "cpu":
        raise _refused("/resources/gpus", "Several GPUs were asked for on `device: cpu`; use `gpu`, `auto`, or 1.")


def _refused(pointer: str, detail: str) -> InvalidSpec:
    return InvalidSpec(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])
