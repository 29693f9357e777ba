"""Changes of a spec that should help, as merge patches. A change that changes nothing is not offered."""

from collections.abc import Mapping
from typing import Any

from heldout.diagnosis.findings import Remedy
from heldout.diagnosis.thresholds import (
    ADVISED_DROPOUT,
    ADVISED_L2,
    ADVISED_LABEL_SMOOTHING,
    ADVISED_LEARNING_RATE_DIVISOR,
    ADVISED_PATIENCE_EPOCHS,
    ADVISED_ROTATION_DEGREES,
    ADVISED_SHIFT,
    ADVISED_ZOOM,
    MAX_EPOCHS,
    MAX_FILTERS,
    MAX_PATIENCE_EPOCHS,
    MIN_FILTERS_TO_HALVE,
)
from heldout.diagnosis.words import counted
from heldout.stored.gap import Calibration
from heldout.validation_spec import trains_on_all

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


def keep_lowest_loss(spec: Spec | None, best_epoch: int, stopping: str, patience: int) -> tuple[Remedy, ...]:
    """Early stopping by the loss.

    Args:
        stopping: what keeping the best epoch would have changed in this training.
        patience: epochs without a lower loss that have to be waited for to reach that epoch.
    """
    return _keep_best(spec, "validation_loss", f"{_stop_reason(best_epoch)} {stopping}", patience)


def keep_best_accuracy(spec: Spec | None, which: str, patience: int) -> tuple[Remedy, ...]:
    """Early stopping by the accuracy. which: the best epoch in brackets, or nothing."""
    reason = f"Keep the weights of the epoch with the best validation accuracy{which}, not those with the lowest loss."
    return _keep_best(spec, "validation_accuracy", reason, patience)


def make_less_sure(spec: Spec | None, calibration: Calibration | None) -> tuple[Remedy, ...]:
    """In the next training, or after this one; a temperature only where it was not measured to make things worse."""
    found = []
    if spec is None or not spec["training"].get("label_smoothing"):
        reason = "Label smoothing rewards answers that are a little less than certain, which keeps the network modest."
        patch = {"training": {"label_smoothing": ADVISED_LABEL_SMOOTHING}}
        found.append(Remedy("label_smoothing", reason, _patch(spec, patch)))
    if calibration is not None and calibration.error_after >= calibration.error_before:
        return tuple(found)
    by = "one number, fitted on the validation images" if calibration is None else f"{calibration.temperature:.2f}"
    reason = (
        f"After training, divide the network's outputs (before the softmax) by {by}: its answers stay the same, and "
        "its probabilities become more honest. Nothing has to be trained again."
    )
    return (*found, Remedy("temperature", reason))


def against_too_little_data(spec: Spec | None, images: int | None) -> tuple[Remedy, ...]:
    """In the order in which they helped on the collection of trainings (docs/explanation/diagnosis.md)."""
    now = "" if images is None else f" (there are {images:,} now)"
    more = f"Collect more training images{now}: nothing else closes such a gap as far."
    return (mend_data(more), *regularisation(spec))


def more_patience(spec: Spec | None) -> tuple[Remedy, ...]:
    """Twice the patience of early stopping; nothing where the guard stopped, which has none."""
    stops = None if spec is None else spec["training"].get("early_stopping")
    if not stops or stops["patience"] >= MAX_PATIENCE_EPOCHS:
        return ()
    patience = min(MAX_PATIENCE_EPOCHS, 2 * stops["patience"])
    reason = f"Wait {counted(patience, 'epoch')} for a better one before the training stops, not {stops['patience']}."
    return (Remedy("more_patience", reason, {"training": {"early_stopping": {"patience": patience}}}),)


def regularisation(spec: Spec | None) -> list[Remedy]:
    """What the spec does not have yet, in the order in which it helped on the collection of trainings."""
    if spec is None:
        return [
            Remedy("augmentation", _AUGMENTATION_REASON),
            Remedy("dropout", _DROPOUT_REASON),
            Remedy("smaller_network", "A smaller network has less room for memorising the training images."),
        ]
    found, blocks = [], spec["network"]["blocks"]
    if spec.get("augmentation") is None:
        found.append(Remedy("augmentation", _AUGMENTATION_REASON, {"augmentation": AUGMENTATION}))
    if not any(layer.get("dropout") for layer in _layers(spec)):
        found.append(Remedy("dropout", _DROPOUT_REASON, _blocks(spec, dropout=ADVISED_DROPOUT)))
    if not spec["network"].get("l2") and not any(layer.get("l2") for layer in _layers(spec)):
        reason = "A penalty on large weights stops the network from fitting single training images too closely."
        found.append(Remedy("l2", reason, {"network": {"l2": ADVISED_L2}}))
    if max((block["filters"] for block in blocks), default=0) >= MIN_FILTERS_TO_HALVE:
        smaller = [{**block, "filters": max(1, block["filters"] // 2)} for block in blocks]
        reason = "Half the filters leave less room for memorising the training images."
        found.append(Remedy("smaller_network", reason, {"network": {"blocks": smaller}}))
    return found


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
    reason = f"{seen} after {counted(done, 'epoch')}: train for {wanted:,} epochs, and keep the best of them."
    patch = {"epochs": wanted, **_keep_best_of(spec, patience=planned)}
    return (Remedy("more_epochs", reason, _patch(spec, {"training": patch})),)


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
            "Dropout, penalties, augmentation and mixed images make training harder, and this network has not learned "
            "enough yet."
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


def mend_data(what: str, mend: dict[str, Any] | None = None) -> Remedy:
    """Something that no change of a spec cures. mend: the change of the dataset that does, where there is one."""
    return Remedy("mend_data", what, mend=mend)


def _keep_best(spec: Spec | None, monitor: str, reason: str, patience: int) -> tuple[Remedy, ...]:
    """Early stopping that keeps the best epoch by `monitor`; nothing where the spec has that already."""
    if spec is None:
        return (Remedy("early_stopping", reason),)
    if trains_on_all(spec):
        return ()
    training = spec["training"]
    stops, by_loss = training.get("early_stopping"), monitor == "validation_loss"
    if stops is None and by_loss and training.get("on_overfit") == "stop_and_restore":
        return ()
    patch: dict[str, Any] = {}
    if stops is None:
        patience = min(MAX_PATIENCE_EPOCHS, max(ADVISED_PATIENCE_EPOCHS, patience))
        patch["early_stopping"] = {"monitor": monitor, "patience": patience}
    elif not stops.get("restore_best") or stops.get("monitor") != monitor:
        patch["early_stopping"] = {"monitor": monitor, "restore_best": True}
    if not by_loss and training.get("on_overfit") in {"stop", "stop_and_restore"}:
        # That stops by the loss.
        patch["on_overfit"] = "warn"
    return (Remedy("early_stopping", reason, {"training": patch}),) if patch else ()


def _keep_best_of(spec: Spec | None, patience: int) -> dict[str, Any]:
    """What of `training` keeps the best epoch of a longer training; nothing where the spec keeps it already."""
    if spec is not None and trains_on_all(spec):
        return {}
    training = {} if spec is None else spec["training"]
    stops = training.get("early_stopping")
    if stops is None and training.get("on_overfit") == "stop_and_restore":
        return {}
    if stops is None:
        patience = max(ADVISED_PATIENCE_EPOCHS, min(MAX_PATIENCE_EPOCHS, patience))
        return {"early_stopping": {"monitor": "validation_loss", "patience": patience}}
    return {} if stops.get("restore_best") else {"early_stopping": {"restore_best": True}}


def _stop_reason(best_epoch: int) -> str:
    return f"Keep the weights of the best epoch ({best_epoch}), and stop once validation no longer improves."


def _without_regularisation(spec: Spec) -> dict[str, Any]:
    """The patch that takes dropout, penalties, weight decay, augmentation and mixing away; empty without any."""
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
    training: dict[str, Any] = {way: 0 for way in ("mixup", "cutmix") if spec["training"].get(way)}
    if spec["training"]["optimizer"].get("weight_decay"):
        training["optimizer"] = {"weight_decay": 0}
    if training:
        found["training"] = training
    return found


def _layers(spec: Spec) -> list[Mapping[str, Any]]:
    network = spec["network"]
    return [*network["blocks"], *(network.get("dense") or ())]


def _patch(spec: Spec | None, patch: dict[str, Any]) -> dict[str, Any] | None:
    return None if spec is None else patch


def _blocks(spec: Spec, **changes: Any) -> dict[str, Any]:
    return {"network": {"blocks": [{**block, **changes} for block in spec["network"]["blocks"]]}}
