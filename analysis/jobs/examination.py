"""Checks whether a spec can be trained on a dataset's images. Pure: decided before anything is stored."""

from collections.abc import Sequence

from heldout.errors import FieldError, InvalidSpec, TooManyParameters
from heldout.spec.backbone import Backbone
from heldout.spec.documents import make_pointer
from heldout.spec.job import JobSpec, OwnNetworkSpec
from heldout.spec.layers import Image, NetworkPlan, plan_network

SHOWN_CLASSES = 20


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
