"""Remedies that change how the network is trained."""

from typing import Any, Literal

from heldout.remedies.change import Change, NoChange, Outcome, RemedyBase, round_to_two_digits
from heldout.remedies.values import (
    EMA_SHARE,
    LABEL_SMOOTHING,
    LEARNING_RATE_DIVISOR,
    LEAST_EMA_DECAY,
    MAX_EPOCHS,
    MAX_PATIENCE_EPOCHS,
    MOST_EMA_DECAY,
    PATIENCE_EPOCHS,
    TUNED_LEARNING_RATES,
    TUNED_LEARNING_RATES_ALONE,
    USUAL_EMA_DECAY,
    WEIGHT_DECAY,
)
from heldout.spec.validation import trains_on_all
from heldout.words import percent

Monitor = Literal["validation_loss", "validation_accuracy"]


def add_label_smoothing(base: RemedyBase) -> Outcome:
    if base.training.get("label_smoothing"):
        return NoChange("The spec has label smoothing already.")
    said = f"Trains on labels that are {percent(1 - LABEL_SMOOTHING, 0)} sure instead of certain."
    return Change({"training": {"label_smoothing": LABEL_SMOOTHING}}, said)


def add_class_weights(base: RemedyBase) -> Outcome:
    if base.training.get("class_weights"):
        return NoChange("The spec weighs classes already.")
    said = "Weighs images so that each class counts the same in training."
    return Change({"training": {"class_weights": "balanced"}}, said)


def use_weight_decay(base: RemedyBase) -> Outcome:
    """AdamW, whose decay is small in a short training and large in a long one."""
    optimizer = base.training["optimizer"]
    if optimizer["name"] not in {"adam", "adamw"}:
        return NoChange(f"Weight decay belongs to adamw; with {optimizer['name']}, `l2` acts alike.")
    if optimizer.get("weight_decay"):
        return NoChange(f"The optimizer has a weight decay of {optimizer['weight_decay']} already.")
    return Change(
        _make_optimizer(name="adamw", weight_decay=WEIGHT_DECAY),
        f"Shrinks all weights a little in each step (adamw with a weight decay of {WEIGHT_DECAY}).",
    )


def lower_learning_rate(base: RemedyBase) -> Outcome:
    rate = base.training["optimizer"]["learning_rate"] / LEARNING_RATE_DIVISOR
    return Change(_make_optimizer(learning_rate=rate), f"Divides the learning rate by ten, to {rate:g}.")


def retune(base: RemedyBase) -> Outcome:
    """A search over learning rate and weight decay; the base itself is no candidate."""
    optimizer = base.training["optimizer"]
    rate = optimizer["learning_rate"]
    if optimizer["name"] in {"adam", "adamw"}:
        plain = [_make_optimizer(learning_rate=_scale_rate(rate, factor)) for factor in TUNED_LEARNING_RATES]
        # Where the spec has weight decay, the search also looks at training without it.
        has = bool(optimizer.get("weight_decay"))
        decaying = []
        for tried in (rate, *(_scale_rate(rate, factor) for factor in TUNED_LEARNING_RATES)):
            decaying.append(
                _make_optimizer(name="adamw", learning_rate=tried, weight_decay=0.0 if has else WEIGHT_DECAY)
            )
        candidates, over = [*plain, *decaying], "learning rate and weight decay"
    else:
        candidates = [_make_optimizer(learning_rate=_scale_rate(rate, factor)) for factor in TUNED_LEARNING_RATES_ALONE]
        over = "learning rate"
    # The learning rate has an upper bound, so that two candidates may be the same one, or the base.
    seen = [_make_optimizer(learning_rate=rate)]
    for candidate in candidates:
        if candidate not in seen:
            seen.append(candidate)
    return Change({}, f"Searches the best {over} among {len(seen) - 1} candidates.", tuple(seen[1:]))


def add_early_stopping(
    base: RemedyBase, monitor: Monitor = "validation_loss", patience: int = PATIENCE_EPOCHS
) -> Outcome:
    """Keeps the best epoch by `monitor`, and stops after `patience` epochs without a better one."""
    if trains_on_all(base.spec):
        return NoChange("No images are left that tell which epoch is best: the job trains on those of validation too.")
    training, by_loss = base.training, monitor == "validation_loss"
    stops = training.get("early_stopping")
    kept = f"Keeps the epoch with the {'lowest validation loss' if by_loss else 'best validation accuracy'}"
    nothing = NoChange(f"The spec {kept[0].lower()}{kept[1:]} already.")
    if stops is None and by_loss and training.get("on_overfit") == "stop_and_restore":
        return nothing
    patch: dict[str, Any] = {}
    did = f"{kept}."
    if stops is None:
        patience = min(MAX_PATIENCE_EPOCHS, max(PATIENCE_EPOCHS, patience))
        patch["early_stopping"] = {"monitor": monitor, "patience": patience}
        did = f"{kept}, and stops after {patience} epochs without a better one."
    elif not stops.get("restore_best") or stops.get("monitor") != monitor:
        patch["early_stopping"] = {"monitor": monitor, "restore_best": True}
    if not by_loss and training.get("on_overfit") in {"stop", "stop_and_restore"}:
        # That stops by the loss.
        patch["on_overfit"] = "warn"
    return Change({"training": patch}, did) if patch else nothing


def double_patience(base: RemedyBase) -> Outcome:
    """Twice the patience of early stopping."""
    stops = base.training.get("early_stopping")
    if not stops:
        return NoChange("The spec has no early stopping that could wait longer.")
    if stops["patience"] >= MAX_PATIENCE_EPOCHS:
        return NoChange(f"Early stopping waits for {MAX_PATIENCE_EPOCHS} epochs, the most that a spec may ask for.")
    patience = min(MAX_PATIENCE_EPOCHS, 2 * stops["patience"])
    return Change(
        {"training": {"early_stopping": {"patience": patience}}},
        f"Stops after {patience} epochs without a better one, not {stops['patience']}.",
    )


def double_epochs(base: RemedyBase) -> Outcome:
    """Twice as many, of which the best is kept."""
    planned = base.training["epochs"]
    wanted = min(MAX_EPOCHS, 2 * planned)
    if wanted <= planned:
        return NoChange(f"The spec asks for {MAX_EPOCHS:,} epochs, the most that it may.")
    patch = {"epochs": wanted, **_keep_best_of(base, patience=planned)}
    kept = "." if trains_on_all(base.spec) else ", and keeps the best of them."
    did = f"Trains for {wanted:,} epochs instead of {planned:,}{kept}"
    return Change({"training": patch}, did)


def lengthen_cosine(base: RemedyBase) -> Outcome:
    """Twice the epochs, while the learning rate falls to zero along a cosine: it must reach the end."""
    training = base.training
    planned, is_cosine = training["epochs"], (training.get("schedule") or {}).get("name") == "cosine"
    wanted = min(MAX_EPOCHS, 2 * planned)
    if wanted <= planned and is_cosine:
        return NoChange(f"The spec has a cosine schedule over {MAX_EPOCHS:,} epochs, the most that it may ask for.")
    patch: dict[str, Any] = {"epochs": wanted}
    if not is_cosine:
        # Nothing of another schedule may stay: a merge would keep its fields.
        stays = {name: None for name in (training.get("schedule") or {}) if name != "name"}
        patch["schedule"] = {**stays, "name": "cosine", "warmup_epochs": 0}
    if training.get("early_stopping") is not None:
        patch["early_stopping"] = {"patience": min(MAX_PATIENCE_EPOCHS, wanted), "restore_best": True}
    if training.get("on_overfit") in {"stop", "stop_and_restore"}:
        patch["on_overfit"] = "warn"
    still = "still " if is_cosine else ""
    did = f"Trains for {wanted:,} epochs instead of {planned:,}, the learning rate {still}falling along a cosine."
    return Change({"training": patch}, did)


def add_ema(base: RemedyBase) -> Outcome:
    """A moving average of the weights that looks back over a tenth of the steps."""
    if base.training.get("ema_decay") is not None:
        return NoChange("The spec keeps a moving average of the weights already.")
    decay = USUAL_EMA_DECAY
    if base.steps is not None:
        decay = round(min(MOST_EMA_DECAY, max(LEAST_EMA_DECAY, 1 - 1 / (EMA_SHARE * base.steps))), 4)
    return Change({"training": {"ema_decay": decay}}, f"Keeps a moving average of the weights (decay {decay} a step).")


def transfer(base: RemedyBase) -> Outcome:
    """Freezes what starts from other weights: the backbone, or all blocks except the last."""
    initial, backbone = base.spec.get("initial"), base.spec["network"].get("backbone")
    if backbone is not None:
        if not backbone.get("trainable"):
            return NoChange("The backbone is frozen already.")
        patch = {"network": {"backbone": {"trainable": False}}}
        return Change(patch, "Leaves the backbone as it was uploaded, and trains the rest.")
    if initial is None:
        return NoChange(
            "The spec has no `initial` to start from. To try one, give a remedy of your own: "
            '{"name": "transfer", "patch": {"initial": {"job": "job_…"}}}.'
        )
    if initial.get("freeze_blocks"):
        return NoChange("The spec freezes blocks of `initial` already.")
    if not base.blocks:
        return NoChange("The network has no block that could be frozen.")
    frozen = max(1, len(base.blocks) - 1)
    what = "block" if frozen == 1 else f"{frozen} blocks"
    return Change(
        {"initial": {"freeze_blocks": frozen}}, f"Leaves the first {what} as `initial` has them, and trains the rest."
    )


def _keep_best_of(base: RemedyBase, patience: int) -> dict[str, Any]:
    """What of `training` keeps the best epoch of a longer training; nothing where the spec keeps it already."""
    stops = base.training.get("early_stopping")
    keeps_it = stops is None and base.training.get("on_overfit") == "stop_and_restore"
    if keeps_it or trains_on_all(base.spec):
        return {}
    if stops is None:
        patience = max(PATIENCE_EPOCHS, min(MAX_PATIENCE_EPOCHS, patience))
        return {"early_stopping": {"monitor": "validation_loss", "patience": patience}}
    return {} if stops.get("restore_best") else {"early_stopping": {"restore_best": True}}


def _make_optimizer(**fields: Any) -> dict[str, Any]:
    return {"training": {"optimizer": fields}}


def _scale_rate(rate: float, factor: float) -> float:
    return round_to_two_digits(min(1.0, rate * factor))
