"""Remedies that change the network, the user's own included."""

from collections.abc import Mapping, Sequence
from typing import Any

from heldout.remedies.change import Change, NoChange, Outcome, Remedies, RemedyBase
from heldout.spec.network import MAX_LISTED_BLOCKS
from heldout.spec.pretrained import PRETRAINED_MODEL, START_FOR_PHOTOGRAPHS

# Also in dense layers: 0.5 there cost 1 to 5 more points of accuracy under four of five conditions with few images.
DROPOUT = 0.25
L2 = 0.001
# Filters of the widest block. Narrower networks are not advised to shrink.
MIN_FILTERS_TO_HALVE = 9
MIN_UNITS_TO_HALVE = 16
# The largest values that a spec may have.
MAX_FILTERS = 1024
MAX_UNITS = 4096

# Changed copies of each image, so that the features of augmented images are computed once, too.
VIEWS = 4

# As measured (docs/measurements/pretrained.md): epoch 6 of 20, before early stopping can have ended a training.
FINE_TUNED_FROM, FINE_TUNED_AFTER = 6, 0.3
FINE_TUNED_LAYERS, FINE_TUNING_RATE = 30, 0.0001

_WOULD_NOT_FIT = "Layers of another size cannot start from the weights that `initial` names."

Own = Mapping[str, Any]

REMEDIES = Remedies()


@REMEDIES.add("smaller_network", "Half the filters leave less room for memorizing the training images.")
def shrink_network(base: RemedyBase) -> Outcome:
    """Halve the filters, and the units of dense layers."""
    if base.spec.get("initial") is not None:
        return NoChange(_WOULD_NOT_FIT)
    if base.own is not None:
        return shrink(base, base.own)
    has_units = any(layer["units"] >= MIN_UNITS_TO_HALVE for layer in base.dense)
    if not base.blocks and not has_units:
        return NoChange(f"The network has no block, and no dense layer of {MIN_UNITS_TO_HALVE} units or more.")
    if base.blocks and max(block["filters"] for block in base.blocks) < MIN_FILTERS_TO_HALVE:
        return NoChange(f"The network is already small: no block has {MIN_FILTERS_TO_HALVE} filters or more.")
    changes = {"blocks": [{**block, "filters": max(1, block["filters"] // 2)} for block in base.blocks]}
    if has_units:
        changes["dense"] = [
            {**layer, "units": layer["units"] // 2 if layer["units"] >= MIN_UNITS_TO_HALVE else layer["units"]}
            for layer in base.dense
        ]
    did = f"Halves the network: {_describe_sizes(base.blocks, base.dense)} become {_describe_sizes(**changes)}."
    return Change({"network": changes}, did)


@REMEDIES.add("larger_network", "Twice the filters let the network learn more patterns.")
def enlarge_network(base: RemedyBase) -> Outcome:
    """Double the filters, and the units of dense layers."""
    if base.spec.get("initial") is not None:
        return NoChange(_WOULD_NOT_FIT)
    if base.own is not None:
        if base.own.get("width", 1) == 1:
            return NoChange("An uploaded model cannot be made larger. Upload one with more filters or units.")
        return Change({"network": {"width": 1}}, "Uses the whole width of the uploaded model instead of half.")
    changes = {"blocks": [{**block, "filters": min(MAX_FILTERS, 2 * block["filters"])} for block in base.blocks]}
    if base.dense:
        changes["dense"] = [{**layer, "units": min(MAX_UNITS, 2 * layer["units"])} for layer in base.dense]
    if not base.layers:
        return NoChange("The network has no block or dense layer to enlarge.")
    if all(changes[name] == list(base.spec["network"][name]) for name in changes):
        return NoChange("Every block and every dense layer already has the largest size allowed.")
    did = f"Doubles the network: {_describe_sizes(base.blocks, base.dense)} become {_describe_sizes(**changes)}."
    return Change({"network": changes}, did)


@REMEDIES.add(
    "pretrained",
    "A network that has seen a million photographs already knows edges, textures and shapes, so fewer images teach it.",
    suits=lambda base: base.has_photographs,
)
def use_pretrained(base: RemedyBase) -> Outcome:
    """Replace the blocks by frozen features of the service's pretrained network, as the preset `photos` does."""
    if base.own is not None:
        return NoChange("The network is an uploaded model, which has no blocks to replace.")
    if base.spec["network"].get("backbone") is not None:
        return NoChange("The network already has a backbone.")
    if base.spec.get("initial") is not None:
        return NoChange(_WOULD_NOT_FIT)
    patch: dict[str, Any] = {"network": {**START_FOR_PHOTOGRAPHS, "blocks": [], "l2": 0.0}}
    did = f"Replaces the blocks by features of {PRETRAINED_MODEL}, which was trained on photographs."
    if base.augmentation and base.augmentation.get("views") is None:
        patch["augmentation"] = {"views": VIEWS}
        did += f" Augmentation draws {VIEWS} copies of each image, whose features are computed once."
    if base.training.get("precision") == "mixed":
        patch["training"] = {"precision": "float32"}
    return Change(patch, did)


@REMEDIES.add(
    "fine_tuning",
    "Once the new layers know the classes, the last layers of a pretrained network can learn from these images, too.",
    suits=lambda base: base.has_photographs,
)
def fine_tune(base: RemedyBase) -> Outcome:
    """Train the last of the frozen layers from a later epoch on; without any, start from pretrained features first."""
    backbone = base.spec["network"].get("backbone")
    start = Change({}, "")
    if base.own is None and backbone is None:
        pretrained = use_pretrained(base)
        if isinstance(pretrained, NoChange):
            return pretrained
        start = pretrained
    network = base.own or backbone or {}
    if network.get("unfreeze_at") is not None:
        return NoChange("The spec already trains frozen layers from a later epoch on.")
    if network.get("trainable", base.own is not None) and network.get("freeze") is None:
        return NoChange("No layers of the uploaded model are frozen, so all are trained from the first epoch on.")
    epochs = base.training["epochs"]
    if epochs < 2:
        return NoChange("With a single epoch, there is no later one in which more layers can be trained.")
    patience = (base.training.get("early_stopping") or {}).get("patience", epochs)
    first = max(2, min(FINE_TUNED_FROM, int(FINE_TUNED_AFTER * epochs), patience + 1))
    how = {"epoch": first, "learning_rate": FINE_TUNING_RATE, "layers": FINE_TUNED_LAYERS}
    did = f"Trains the last {FINE_TUNED_LAYERS} layers of the pretrained network, too, from epoch {first} on."
    if base.own is not None:
        return Change({"network": {"unfreeze_at": how}}, did)
    patch = start.patch
    changed = patch.get("network", {})
    changed = {**changed, "backbone": {**changed.get("backbone", {}), "unfreeze_at": how}}
    return Change({**patch, "network": changed}, f"{start.did} {did}".strip())


@REMEDIES.add("dropout", "Randomly switching units off during training stops them from relying on each other.")
def add_dropout(base: RemedyBase) -> Outcome:
    """Add dropout after each block that shrinks the image, and in dense layers."""
    if base.own is not None:
        return _add_own_dropout(base, base.own)
    if any(layer.get("dropout") for layer in base.layers):
        return NoChange("The network already has dropout.")
    if not base.layers:
        return NoChange("The network has no block or dense layer to add dropout to.")
    shrinks = [block.get("pool", 2) > 1 or block.get("strides", 1) > 1 for block in base.blocks]
    changes: dict[str, Any] = {}
    places = []
    if base.blocks:
        changes["blocks"] = [
            {**block, "dropout": DROPOUT} if here or not any(shrinks) else dict(block)
            for block, here in zip(base.blocks, shrinks, strict=True)
        ]
        pools = any(block.get("pool", 2) > 1 for block in base.blocks)
        strides = any(block.get("strides", 1) > 1 for block in base.blocks)
        where = [what for what, is_used in (("pool", pools), ("block with strides", strides)) if is_used]
        places.append(f"after each {' and '.join(where) or 'block'}")
    if base.dense:
        changes["dense"] = [{**layer, "dropout": DROPOUT} for layer in base.dense]
        places.append("in each dense layer")
    return Change({"network": changes}, f"Adds dropout of {DROPOUT} {' and '.join(places)}.")


@REMEDIES.add("l2", "A penalty on large weights stops the network from fitting single training images too closely.")
def add_l2(base: RemedyBase) -> Outcome:
    """Add a penalty on the kernels of convolutions."""
    if base.own is not None:
        return _add_own_l2(base, base.own)
    if base.spec["network"].get("l2") or any(layer.get("l2") for layer in base.layers):
        return NoChange("The network already has an L2 penalty.")
    if all(block.get("l2") is not None for block in base.blocks):
        return NoChange("The network has no block, or every block sets its L2 penalty to 0 itself.")
    return Change({"network": {"l2": L2}}, f"Adds an L2 penalty of {L2} on the kernels of the convolutions.")


@REMEDIES.add("batch_norm", "Normalized activations speed up training and add a little helpful noise.")
def add_batch_norm(base: RemedyBase) -> Outcome:
    """Add batch normalization after each convolution."""
    if base.own is not None:
        return NoChange("Where an uploaded model normalizes is up to its layers. Upload one with batch normalization.")
    is_plain = [not block.get("batch_norm") and block.get("norm") is None for block in base.blocks]
    if not any(is_plain):
        has_none = "The network has no block to add batch normalization to."
        return NoChange("Every block already has a normalization." if base.blocks else has_none)
    if (base.spec.get("resources") or {}).get("gpus", 1) > 1:
        return NoChange("Batch normalization needs whole batches, but the spec requests several GPUs.")
    blocks = [
        {**block, "batch_norm": True} if plain else dict(block)
        for block, plain in zip(base.blocks, is_plain, strict=True)
    ]
    return Change({"network": {"blocks": blocks}}, "Adds batch normalization after each convolution.")


@REMEDIES.add(
    "less_regularisation",
    "Dropout, penalties, augmentation and mixed images make training harder, and this network has not learned enough "
    "yet.",
)
def reduce_regularization(base: RemedyBase) -> Outcome:
    """Remove dropout, penalties, weight decay, augmentation and mixed images."""
    network, patch = base.spec["network"], dict[str, Any]()
    gone = []
    if base.augmentation:
        patch["augmentation"] = None
        gone.append("augmentation")
    changes: dict[str, Any] = {name: 0 for name in ("l2", "dropout") if network.get(name)}
    for name in ("blocks", "dense"):
        layers = network.get(name) or ()
        if any(layer.get("dropout") or layer.get("l2") for layer in layers):
            changes[name] = [{**layer, "dropout": 0, "l2": None} for layer in layers]
    if network.get("dropout") or any(layer.get("dropout") for layer in base.layers):
        gone.append("dropout")
    if network.get("l2") or any(layer.get("l2") for layer in base.layers):
        gone.append("L2 penalties")
    if changes:
        patch["network"] = changes
    training: dict[str, Any] = {way: 0 for way in ("mixup", "cutmix") if base.training.get(way)}
    gone += training
    if base.training["optimizer"].get("weight_decay"):
        training["optimizer"] = {"weight_decay": 0}
        gone.append("weight decay")
    if training:
        patch["training"] = training
    if not patch:
        return NoChange("The spec has no dropout, penalty, weight decay, augmentation or mixed images to remove.")
    return Change(patch, f"Removes {', '.join(gone)}.")


def _describe_sizes(blocks: Sequence[Mapping[str, Any]], dense: Sequence[Mapping[str, Any]] = ()) -> str:
    """The filters of the blocks or, if there are none after a backbone, the units of the dense layers."""
    if not blocks:
        return "-".join(str(layer["units"]) for layer in dense) + " units"
    filters = [block["filters"] for block in blocks]
    if len(filters) > MAX_LISTED_BLOCKS:
        return f"{len(filters)} blocks of {min(filters)} to {max(filters)} filters"
    return "-".join(map(str, filters)) + " filters"


def shrink(base: RemedyBase, own: Own) -> Outcome:
    """Halve all filters and units except those of the last layer."""
    if own.get("width", 1) != 1:
        return NoChange("The network already has half the width of the uploaded model.")
    if own.get("weights") == "uploaded":
        return NoChange("Layers of another size cannot start from the uploaded weights.")
    if base.facts is not None and base.facts.half is None:
        return NoChange(f"The uploaded model cannot be halved. {base.facts.half_refusal}")
    return Change(
        {"network": {"width": 0.5}}, "Halves the network: all filters and units except those of the last layer."
    )


def _add_own_dropout(base: RemedyBase, own: Own) -> Outcome:
    """Add dropout after pooling layers and before the output."""
    if own.get("dropout"):
        return NoChange("The network already has dropout.")
    if base.facts is not None and base.facts.drops_out:
        return NoChange("The uploaded model has dropout layers of its own.")
    did = f"Adds dropout of {DROPOUT} after pooling layers and before the output."
    return Change({"network": {"dropout": DROPOUT}}, did)


def _add_own_l2(base: RemedyBase, own: Own) -> Outcome:
    """Add a penalty on the kernels of convolutions and dense layers."""
    if own.get("l2"):
        return NoChange("The network already has an L2 penalty.")
    if base.facts is not None and base.facts.penalizes:
        return NoChange("Layers of the uploaded model have penalties of their own.")
    did = f"Adds an L2 penalty of {L2} on the kernels of convolutions and dense layers."
    return Change({"network": {"l2": L2}}, did)


def freeze_own(base: RemedyBase, own: Own) -> Outcome:
    """Leave layers as uploaded: all before a new output, or else the first half."""
    if own.get("weights") != "uploaded":
        return NoChange("Fresh weights have learned nothing yet. With `weights` `uploaded`, layers can be frozen.")
    if not own.get("trainable", True) or own.get("freeze") is not None:
        return NoChange("The spec already freezes layers of the uploaded model.")
    if own.get("head") == "replace":
        return Change({"network": {"trainable": False}}, "Leaves all layers as uploaded, and trains the new output.")
    layers = 0 if base.facts is None else len(base.facts.layers)
    if layers < 2:
        return NoChange("The uploaded model has no second layer that would still be trained.")
    return Change(
        {"network": {"freeze": layers // 2}},
        f"Leaves the first {layers // 2:,} of {layers:,} layers as uploaded, and trains the rest.",
    )
