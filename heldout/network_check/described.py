"""The layers of a network that a spec describes, and the notes about any job's network."""

from collections.abc import Mapping
from typing import Any

from heldout.network_check.catalogue import check_network
from heldout.network_check.checked import Checked, Image, Note
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network
from heldout.spec.model_facts import NetworkFacts
from heldout.spec.network import BlockSpec, NetworkSpec, OwnNetworkSpec
from heldout.spec.outline import NetworkStep, Outline

KERAS_MOMENTUM = 0.99
_NORMALIZATIONS = {"batch": "BatchNormalization", "layer": "LayerNormalization", "group": "GroupNormalization"}


def check_job(
    spec: JobSpec, facts: NetworkFacts | None, image: Image, classes: int, train_images: int | None
) -> list[Note] | None:
    """List what looks wrong in the network of a job; None if its layers are not known, such as those of a backbone.

    Args:
        facts: about the uploaded model that is its network. image: (height, width, channels) of what the network takes.
    """
    network, body = spec.network, spec.model_dump(mode="json")
    if isinstance(network, OwnNetworkSpec):
        steps = () if facts is None else facts.outline
        if facts is not None and network.pixels is None:
            body["network"]["pixels"] = "bytes" if facts.scales_pixels else "unit"
    else:
        steps = () if network.backbone is not None else outline_spec(network, image, classes)
    return check_network(Checked(steps, facts, image, classes, train_images, body)) if steps else None


def check_trained(spec: Mapping[str, Any], facts: NetworkFacts | None, classes: int | None) -> list[Note]:
    """List what looks wrong in the network of a job that has begun. Checks of maps need a size, so they say nothing.

    Args:
        spec: complete, as JSON. facts: about the uploaded model that is its network; for others nothing is listed.
    """
    if facts is None or not facts.outline:
        return []
    return check_network(Checked(facts.outline, facts, None, classes, None, spec))


def outline_spec(network: NetworkSpec, image: Image, classes: int) -> Outline:
    """Describe the layers of blocks, dense layers and output."""
    steps = list[NetworkStep]()
    block_begins = last = shortcut = -1
    for layer in plan_network(network, image, classes).layers:
        prefix, _, kind = layer.name.partition("_")
        is_beside = kind.startswith("shortcut")
        if kind == "conv1":
            block_begins = shortcut = last
        about = _describe_after_blocks(prefix, kind, network)
        if prefix.startswith("block"):
            name = kind.removeprefix("shortcut_").rstrip("0123456789")
            about = _describe_in_block(name, layer.find_block(network), network)
        if kind == "shortcut_conv":
            about |= {"kernel": 1}
        elif kind.startswith("conv") and kind != "conv1":
            about |= {"strides": 1}
        source = shortcut if is_beside else last
        if kind == "shortcut_conv":
            source = block_begins
        sources = (last, shortcut) if kind == "add" else (source,)
        weights = layer.weights[0] if layer.weights and len(layer.weights[0]) > 1 else ()
        place = len(steps)
        steps.append(
            NetworkStep(
                name=layer.name,
                sources=tuple(source for source in sources if source >= 0),
                is_map=len(layer.shape) == 3,
                weights=weights,
                **about,
            )
        )
        shortcut, last = (place, last) if is_beside else (shortcut, place)
    return tuple(steps)


def _describe_after_blocks(prefix: str, kind: str, network: NetworkSpec) -> dict[str, Any]:
    """Describe the head, a dense layer or the output."""
    types = {"flatten": "Flatten", "global": "GlobalAveragePooling2D", "output": "Dense"}
    if not prefix.startswith("dense"):
        return {"type": types.get(prefix, "")}
    dense = network.dense[int(prefix.removeprefix("dense")) - 1]
    if kind == "dropout":
        return {"type": "Dropout", "rate": dense.dropout}
    return {"type": "Dense", "activation": dense.activation, "l2": dense.l2 or 0.0}


def _describe_in_block(kind: str, block: BlockSpec, network: NetworkSpec) -> dict[str, Any]:
    """Describe one step of a block by what it is."""
    if kind == "conv":
        return {
            "type": "Conv2D",
            "kernel": block.kernel_size,
            "strides": block.strides,
            "l2": network.get_penalty(block),
        }
    if kind == "norm":
        momentum = KERAS_MOMENTUM if block.normalization == "batch" else None
        return {"type": _NORMALIZATIONS[block.normalization], "momentum": momentum}
    others: dict[str, dict[str, Any]] = {
        "add": {"type": "Add"},
        "activation": {"type": "Activation", "activation": block.activation},
        "pool": {"type": "MaxPooling2D", "kernel": block.pool, "strides": block.pool},
        "dropout": {"type": "Dropout", "rate": block.dropout},
    }
    return others[kind]
