"""Checks whether a spec can be trained on a dataset, and extends one for a retry. Pure: before anything is stored."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator

from heldout.errors import FieldError, InvalidSpec, TooManyParameters
from heldout.lifecycle.job import StopReason
from heldout.spec.backbone import Backbone
from heldout.spec.documents import make_pointer
from heldout.spec.job import MAX_NAME_CHARACTERS, JobSpec
from heldout.spec.layers import Image, NetworkPlan, plan_network
from heldout.spec.network import OwnNetworkSpec
from heldout.spec.part import SpecPart
from heldout.words.labels import describe_remedy

SHOWN_CLASSES = 20
# Classes that `top_5` counts.
TOP = 5


def examine(
    spec: JobSpec, image: Image, classes: Sequence[str], *, max_parameters: int, backbone: Backbone | None = None
) -> NetworkPlan:
    """Plan the spec's network.

    Args:
        image: (height, width, channels) of the dataset's images.
        classes: names of the dataset's classes.
        backbone: the uploaded model that the spec's network needs.
    Raises:
        NetworkTooDeep, TooManyParameters, InvalidSpec.
    """
    _require_known_classes(spec, classes)
    _require_fitting_objective(spec, classes)
    _require_colors(spec, image)
    _require_a_whole_backbone(spec)
    _require_own_weights(spec)
    _require_unfreezing_in_time(spec)
    _require_whole_batches(spec, backbone)
    plan = plan_network(spec.network, image, len(classes), backbone)
    if plan.parameters > max_parameters:
        raise TooManyParameters(plan.parameters, max_parameters)
    return plan


def _require_known_classes(spec: JobSpec, classes: Sequence[str]) -> None:
    weights = spec.training.class_weights
    if not isinstance(weights, dict):
        return
    unknown = [name for name in weights if name not in classes]
    if unknown:
        shown = ", ".join(map(repr, classes[:SHOWN_CLASSES])) + (", …" if len(classes) > SHOWN_CLASSES else "")
        detail = f"The dataset has no such class; it has {shown}."
        places = [make_pointer(("training", "class_weights", name)) for name in unknown[:SHOWN_CLASSES]]
        errors = [FieldError(place, detail) for place in places]
        raise InvalidSpec(f"{errors[0].pointer}: {detail}", errors=errors)


def _require_fitting_objective(spec: JobSpec, classes: Sequence[str]) -> None:
    """Refuse costs of other classes, and a metric that no split of the dataset can have."""
    if spec.costs is not None and len(spec.costs) != len(classes):
        detail = f"Received {len(spec.costs)} rows; expected one for each of the dataset's {len(classes)} classes."
        raise InvalidSpec.at("/costs", detail)
    if spec.objective == "top_5" and len(classes) <= TOP:
        detail = f"The dataset has {len(classes)} classes, so every answer is among the first {TOP}. Use `accuracy`."
        raise InvalidSpec.at("/objective", detail)


def _require_colors(spec: JobSpec, image: Image) -> None:
    changes = spec.augmentation
    if changes is None or not changes.colors or image[2] == 3:
        return
    name = "hue" if changes.hue else "saturation"
    raise InvalidSpec.at(
        f"/augmentation/{name}", f"The dataset's images have one channel, so there is no {name} to change; use 0."
    )


def _require_whole_batches(spec: JobSpec, uploaded: Backbone | None) -> None:
    """Refuse to split a batch over GPUs if it must stay whole, or if the job has no GPU."""
    resources = spec.resources
    is_normalizing_own = isinstance(spec.network, OwnNetworkSpec) and uploaded is not None and uploaded.normalizes
    if resources.gpus > 1 and (is_normalizing_own or any(block.batch_norm for block in spec.network.blocks)):
        raise InvalidSpec.at(
            "/resources/gpus", "Batch normalization needs whole batches, but each GPU gets only a part; use 1."
        )
    if resources.gpus > 1 and resources.device == "cpu":
        raise InvalidSpec.at(
            "/resources/gpus", "Several GPUs were asked for on `device: cpu`; use `gpu`, `auto`, or 1."
        )


def _require_a_whole_backbone(spec: JobSpec) -> None:
    """Refuse settings that would run a backbone on parts of a batch."""
    if spec.network.backbone is None:
        return
    if spec.resources.gpus > 1:
        raise InvalidSpec.at("/resources/gpus", "A backbone needs whole batches, but each GPU gets only a part; use 1.")
    if spec.resources.towers not in ("auto", 1):
        raise InvalidSpec.at("/resources/towers", "A backbone needs whole batches; use 1, or `auto`, which is 1 here.")
    if spec.training.precision == "mixed":
        raise InvalidSpec.at(
            "/training/precision",
            "A job with a backbone computes in float32. Use `float32`, or `auto`, which is float32 here.",
        )


def _require_unfreezing_in_time(spec: JobSpec) -> None:
    """Refuse a second phase that begins after the last epoch."""
    unfreezing, epochs = spec.network.unfreezing, spec.training.epochs
    if unfreezing is not None and unfreezing.epoch > epochs:
        where = "/network" if spec.network.backbone is None else "/network/backbone"
        pointer = f"{where}/unfreeze_at/epoch"
        raise InvalidSpec.at(pointer, f"Received {unfreezing.epoch}; expected at most {epochs}, the job's last epoch.")


def _require_own_weights(spec: JobSpec) -> None:
    """Refuse to replace the weights of an uploaded model."""
    if spec.initial is not None and spec.network.uploaded_model is not None:
        which = "its uploaded model" if spec.network.backbone is None else "its backbone"
        raise InvalidSpec.at(
            "/initial", f"The network starts from {which}, so it cannot take other weights. Leave out `initial`."
        )


class RetrySpec(SpecPart):
    """At most one of three changes; without any the job is repeated unchanged."""

    epochs: int | None = Field(
        None, ge=1, le=1000, description="Continue from the last state, up to this many epochs in total."
    )
    remedy: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="The name of a remedy, such as `dropout`; as offered by the job's diagnosis, if it is.",
    )
    patch: dict[str, Any] | None = Field(None, description="A merge patch (RFC 7396) of the job's spec.")

    @model_validator(mode="after")
    def _at_most_one(self) -> "RetrySpec":
        given = [name for name in ("epochs", "remedy", "patch") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of `epochs`, `remedy` and `patch`, not {' and '.join(given)}")
        return self


def add_remedy_to_name(name: str, remedy: str) -> str:
    """Name a job that tries a remedy on the job `name`, such as `mine + dropout`. A long name is cut off."""
    tail = f" + {describe_remedy(remedy)}"
    return name[: MAX_NAME_CHARACTERS - len(tail)].rstrip() + tail


def extend_spec(spec: JobSpec, stop_reason: str | None, done: int, epochs: int) -> JobSpec:
    """Return the spec with this many epochs, if continuing gives the bits of a training that had them from the start.

    Args:
        done: complete epochs in the state from which the job would continue.
    Raises:
        InvalidSpec: there is nothing to continue with, or the learning rates so far depended on the number of epochs.
    """
    if epochs <= done:
        raise InvalidSpec.at("/epochs", f"{done:,} epochs are done already; to continue, use {done + 1:,} or more.")
    if stop_reason in {StopReason.EARLY_STOPPED, StopReason.OVERFIT_GUARD}:
        what = "early stopping" if stop_reason == StopReason.EARLY_STOPPED else "the guard against overfitting"
        raise InvalidSpec.at(
            "/epochs",
            f"The job was stopped by {what} after epoch {done:,}, and would be stopped again at once. To continue "
            'without it, retry with {"patch": {"training": {"early_stopping": null, "on_overfit": "none", '
            '"epochs": …}}}.',
        )
    if spec.training.schedule.depends_on_epochs and epochs != spec.training.epochs:
        raise InvalidSpec.at(
            "/epochs",
            f"With the {spec.training.schedule.name} schedule, every learning rate so far depended on the total of "
            f"{spec.training.epochs:,} epochs, so the job can only continue up to {spec.training.epochs:,}. To train "
            f'from scratch for {epochs:,} epochs, retry with {{"patch": {{"training": {{"epochs": {epochs}}}}}}}.',
        )
    return spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": epochs})})
