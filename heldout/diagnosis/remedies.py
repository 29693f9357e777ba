"""Changes of a spec that should help, as merge patches. A change that changes nothing is not offered."""

from collections.abc import Mapping
from typing import Any

from heldout.diagnosis.findings import Remedy
from heldout.diagnosis.thresholds import (
    ADVISED_DROPOUT,
    ADVISED_L2,
    ADVISED_LEARNING_RATE_DIVISOR,
    ADVISED_PATIENCE_EPOCHS,
    ADVISED_ROTATION_DEGREES,
    ADVISED_SHIFT,
    ADVISED_ZOOM,
    MAX_EPOCHS,
    MAX_FILTERS,
    MIN_FILTERS_TO_HALVE,
)
from heldout.diagnosis.words import counted

Spec = Mapping[str, Any]

AUGMENTATION = {
    "rotation_degrees": ADVISED_ROTATION_DEGREES,
    "width_shift": ADVISED_SHIFT,
    "height_shift": ADVISED_SHIFT,
    "zoom": ADVISED_ZOOM,
}

_DROPOUT_REASON = "Randomly switching units off during training stops them from relying on each other."
_AUGMENTATION_REASON = (
    "Slightly turned, shifted and zoomed copies give the network more varied images. Use them only if they still "
    "show the same thing."
)


def against_overfitting(spec: Spec | None, best_epoch: int) -> tuple[Remedy, ...]:
    """Keeping the best epoch first, which costs nothing; then what the spec does not have yet."""
    if spec is None:
        return (Remedy("early_stopping", _stop_reason(best_epoch)), *_named_only())
    blocks = spec["network"]["blocks"]
    found = _keep_best(spec, best_epoch)
    if not any(layer.get("dropout") for layer in _layers(spec)):
        found.append(Remedy("dropout", _DROPOUT_REASON, _blocks(spec, dropout=ADVISED_DROPOUT)))
    if spec.get("augmentation") is None:
        found.append(Remedy("augmentation", _AUGMENTATION_REASON, {"augmentation": AUGMENTATION}))
    if not spec["network"].get("l2") and not any(layer.get("l2") for layer in _layers(spec)):
        reason = "A penalty on large weights stops the network from fitting single training images too closely."
        found.append(Remedy("l2", reason, {"network": {"l2": ADVISED_L2}}))
    if max(block["filters"] for block in blocks) >= MIN_FILTERS_TO_HALVE:
        smaller = [{**block, "filters": max(1, block["filters"] // 2)} for block in blocks]
        reason = "Half the filters leave less room for memorising the training images."
        found.append(Remedy("smaller_network", reason, {"network": {"blocks": smaller}}))
    return tuple(found)


def more_epochs(spec: Spec | None, done: int, still_falls: bool) -> tuple[Remedy, ...]:
    """Twice as many, where the spec's are used up; nothing at the limit of what a spec may ask for."""
    planned = done if spec is None else spec["training"]["epochs"]
    if planned > done:
        reason = (
            f"{done:,} of {planned:,} epochs {'is' if done == 1 else 'are'} done. Let the training go on, or give it "
            "more patience or time if early stopping or a deadline ended it."
        )
        return (Remedy("more_epochs", reason),)
    wanted = min(MAX_EPOCHS, 2 * planned)
    if wanted <= planned:
        return ()
    seen = "The losses were still falling" if still_falls else "It is too early to judge the network"
    reason = f"{seen} after {counted(done, 'epoch')}: train for {wanted:,} epochs."
    return (Remedy("more_epochs", reason, _patch(spec, {"training": {"epochs": wanted}})),)


def against_underfitting(spec: Spec | None) -> tuple[Remedy, ...]:
    """A larger network, and less of what holds it back."""
    reason = "Twice the filters let the network learn more patterns."
    if spec is None:
        return (Remedy("larger_network", reason),)
    found = []
    larger = [{**block, "filters": min(MAX_FILTERS, 2 * block["filters"])} for block in spec["network"]["blocks"]]
    if larger != spec["network"]["blocks"]:
        found.append(Remedy("larger_network", reason, {"network": {"blocks": larger}}))
    if freed := _without_regularisation(spec):
        reason = (
            "Dropout, penalties and augmentation make training harder, and this network has not learned enough yet."
        )
        found.append(Remedy("less_regularisation", reason, freed))
    return tuple(found)


def lower_learning_rate(spec: Spec | None) -> Remedy:
    patch = None
    if spec is not None:
        rate = spec["training"]["optimizer"]["learning_rate"] / ADVISED_LEARNING_RATE_DIVISOR
        patch = {"training": {"optimizer": {"learning_rate": rate}}}
    return Remedy("lower_learning_rate", "The training steps were too large: use a tenth of the learning rate.", patch)


def balanced_weights(spec: Spec | None) -> tuple[Remedy, ...]:
    """None where the spec weighs classes already."""
    if weighs_classes(spec):
        return ()
    reason = "Class weights make rare classes count as much as frequent ones."
    return (Remedy("class_weights", reason, _patch(spec, {"training": {"class_weights": "balanced"}})),)


def weighs_classes(spec: Spec | None) -> bool:
    return spec is not None and bool(spec["training"].get("class_weights"))


def mend_data(what: str) -> Remedy:
    """Something that no change of a spec cures."""
    return Remedy("mend_data", what)


def _keep_best(spec: Spec, best_epoch: int) -> list[Remedy]:
    training = spec["training"]
    stops = training.get("early_stopping")
    if training.get("on_overfit") == "stop_and_restore":
        return []
    if stops is None:
        stop = {"monitor": "validation_loss", "patience": ADVISED_PATIENCE_EPOCHS}
    elif not stops.get("restore_best") or stops.get("monitor") != "validation_loss":
        stop = {"monitor": "validation_loss", "restore_best": True}
    else:
        return []
    return [Remedy("early_stopping", _stop_reason(best_epoch), {"training": {"early_stopping": stop}})]


def _stop_reason(best_epoch: int) -> str:
    return f"Keep the weights of the best epoch ({best_epoch}), and stop once validation no longer improves."


def _without_regularisation(spec: Spec) -> dict[str, Any]:
    """The patch that takes dropout, penalties, weight decay and augmentation away; empty where there are none."""
    network, found = spec["network"], dict[str, Any]()
    if spec.get("augmentation") is not None:
        found["augmentation"] = None
    changes: dict[str, Any] = {"l2": 0} if network.get("l2") else {}
    for name in ("blocks", "dense"):
        layers = network.get(name) or ()
        if any(layer.get("dropout") or layer.get("l2") for layer in layers):
            changes[name] = [{**layer, "dropout": 0, "l2": None} for layer in layers]
    if changes:
        found["network"] = changes
    if spec["training"]["optimizer"].get("weight_decay"):
        found["training"] = {"optimizer": {"weight_decay": 0}}
    return found


def _named_only() -> tuple[Remedy, ...]:
    return (
        Remedy("dropout", _DROPOUT_REASON),
        Remedy("augmentation", _AUGMENTATION_REASON),
        Remedy("smaller_network", "A smaller network has less room for memorising the training images."),
    )


def _layers(spec: Spec) -> list[Mapping[str, Any]]:
    network = spec["network"]
    return [*network["blocks"], *(network.get("dense") or ())]


def _patch(spec: Spec | None, patch: dict[str, Any]) -> dict[str, Any] | None:
    return None if spec is None else patch


def _blocks(spec: Spec, **changes: Any) -> dict[str, Any]:
    return {"network": {"blocks": [{**block, **changes} for block in spec["network"]["blocks"]]}}
