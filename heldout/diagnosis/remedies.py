"""Changes of a spec that should help, as merge patches."""

from collections.abc import Mapping
from typing import Any

from heldout.diagnosis.findings import Remedy

Spec = Mapping[str, Any]

AUGMENTATION = {"rotation_degrees": 10, "width_shift": 0.1, "height_shift": 0.1, "zoom": 0.1}
DROPOUT, L2 = 0.25, 0.001
MAX_EPOCHS, MAX_FILTERS = 1000, 1024


def against_overfitting(spec: Spec | None, best_epoch: int) -> tuple[Remedy, ...]:
    """Early stopping first, which costs nothing; then what the spec does not have yet."""
    stop = Remedy(
        "early_stopping",
        f"Keep the weights of the best epoch ({best_epoch}) and spend no epochs after it.",
        _patch(spec, {"training": {"early_stopping": {"monitor": "validation_loss", "patience": 5}}}),
    )
    if spec is None:
        return (stop, *_named_only())
    blocks = spec["network"]["blocks"]
    training = spec["training"]
    stops = training.get("early_stopping") or training.get("on_overfit") == "stop_and_restore"
    found = [] if stops else [stop]
    if not any(block.get("dropout") for block in blocks):
        reason = "No unit can rely on one other unit: the usual first cure."
        found.append(Remedy("dropout", reason, _blocks(spec, dropout=DROPOUT)))
    if spec.get("augmentation") is None:
        reason = "More pictures than there are, where small turns and shifts do not change what a picture shows."
        found.append(Remedy("augmentation", reason, {"augmentation": AUGMENTATION}))
    if not spec["network"].get("l2"):
        reason = "Small weights make smoother decisions."
        found.append(Remedy("l2", reason, {"network": {"l2": L2}}))
    if max(block["filters"] for block in blocks) > 8:
        smaller = [{**block, "filters": max(1, block["filters"] // 2)} for block in blocks]
        reason = "Half the filters can remember less."
        found.append(Remedy("smaller_network", reason, {"network": {"blocks": smaller}}))
    return tuple(found)


def more_epochs(spec: Spec | None, done: int) -> Remedy:
    wanted = min(MAX_EPOCHS, 2 * done)
    reason = f"The losses were still falling after {done} epochs; train {wanted}."
    return Remedy("more_epochs", reason, _patch(spec, {"training": {"epochs": wanted}}))


def larger_network(spec: Spec | None) -> Remedy:
    patch = None
    if spec is not None:
        blocks = spec["network"]["blocks"]
        larger = [{**block, "filters": min(MAX_FILTERS, 2 * block["filters"])} for block in blocks]
        patch = {"network": {"blocks": larger}}
    return Remedy("larger_network", "Twice the filters can tell more apart.", patch)


def less_regularisation(spec: Spec | None) -> Remedy:
    reason = "Dropout, L2 and augmentation make training harder, and this network has not yet learned enough."
    patch = None
    if spec is not None:
        patch = {"augmentation": None, "network": {"l2": 0, **_blocks(spec, dropout=0, l2=None)["network"]}}
    return Remedy("less_regularisation", reason, patch)


def lower_learning_rate(spec: Spec | None) -> Remedy:
    patch = None
    if spec is not None:
        rate = spec["training"]["optimizer"]["learning_rate"] / 10
        patch = {"training": {"optimizer": {"learning_rate": rate}}}
    return Remedy("lower_learning_rate", "Steps that are too long leave the valley: take a tenth.", patch)


def balanced_weights(spec: Spec | None) -> Remedy:
    reason = "Rare classes then count as much as frequent ones."
    return Remedy("class_weights", reason, _patch(spec, {"training": {"class_weights": "balanced"}}))


def mend_data(what: str) -> Remedy:
    """Something that no change of a spec cures."""
    return Remedy("mend_data", what)


def _named_only() -> tuple[Remedy, ...]:
    return (
        Remedy("dropout", "No unit can rely on one other unit: the usual first cure."),
        Remedy("augmentation", "More pictures than there are, where small changes do not change what they show."),
        Remedy("smaller_network", "Fewer weights can remember less."),
    )


def _patch(spec: Spec | None, patch: dict[str, Any]) -> dict[str, Any] | None:
    return None if spec is None else patch


def _blocks(spec: Spec, **changes: Any) -> dict[str, Any]:
    return {"network": {"blocks": [{**block, **changes} for block in spec["network"]["blocks"]]}}
