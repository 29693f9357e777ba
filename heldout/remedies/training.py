"""Remedies that change how the network is trained."""

from typing import Any, Literal

from heldout.metrics import METRICS, Measure
from heldout.remedies.change import MAX_EPOCHS, MAX_PATIENCE_EPOCHS, Change, NoChange, Outcome, Remedies, RemedyBase
from heldout.remedies.network import freeze_own
from heldout.spec.job import trains_on_all
from heldout.spec.objective import MonitoredFigure, get_followed
from heldout.words import percent

LABEL_SMOOTHING = 0.1
PATIENCE_EPOCHS = 5
# For adamw: with a learning rate of 0.001, it removes 1% of a weight in 1,000 steps, and a third in 40,000. Amounts
# that removed more than half in trainings of 200 to 300 steps cost 1.5 to 5 points of accuracy there.
WEIGHT_DECAY = 0.01
# The moving average of the weights looks back over this share of a training's steps.
EMA_SHARE = 0.1
LEAST_EMA_DECAY = 0.9
MOST_EMA_DECAY = 0.9999
USUAL_EMA_DECAY = 0.99

MOMENTUM = 0.9
# Averages with Keras' momentum of 0.99 lag hundreds of steps behind, with this one some dozens.
BATCH_NORM_MOMENTUM = 0.9
_NOT_NORMALIZED = "The network has no batch normalization."
CLIP_NORM = 1.0
FOCAL_GAMMA = 2.0  # (Lin et al. 2017)

# The learning rate of a diverged training is divided by this.
LEARNING_RATE_DIVISOR = 10
# `retune` multiplies the learning rate by these; the base's own rate is tried with another weight decay.
TUNED_LEARNING_RATES = (0.3, 3.0)
# For optimizers without weight decay.
TUNED_LEARNING_RATES_ALONE = (0.1, 0.3, 3.0, 10.0)

Monitor = Literal["validation_loss", "validation_accuracy"]

REMEDIES = Remedies()


@REMEDIES.add(
    "label_smoothing",
    "Label smoothing rewards answers that are a little less than certain, which keeps the network modest.",
)
def add_label_smoothing(base: RemedyBase) -> Outcome:
    if base.training.get("label_smoothing"):
        return NoChange("The spec already has label smoothing.")
    message = f"Trains on labels with {percent(1 - LABEL_SMOOTHING, 0)} certainty instead of 100%."
    return Change({"training": {"label_smoothing": LABEL_SMOOTHING}}, message)


@REMEDIES.add("class_weights", "Class weights make rare classes count as much as frequent ones.")
def add_class_weights(base: RemedyBase) -> Outcome:
    if base.training.get("class_weights") or base.training.get("sampling") == "balanced":
        return NoChange("The spec already weights classes.")
    message = "Weights images so that every class counts the same in training."
    return Change({"training": {"class_weights": "balanced"}}, message)


@REMEDIES.add("balanced_sampling", "An epoch with as many images of each class shows rare ones more often.")
def balance_sampling(base: RemedyBase) -> Outcome:
    if base.training.get("sampling") == "balanced" or base.training.get("class_weights"):
        return NoChange("The spec already lets rare classes count more.")
    message = "Takes as many images of each class in each epoch; those of rare classes come again."
    return Change({"training": {"sampling": "balanced"}}, message)


@REMEDIES.add("weight_decay", "Weights that shrink in each step only stay large where many images need them.")
def use_weight_decay(base: RemedyBase) -> Outcome:
    """Use AdamW, whose decay has little effect in a short training and a large one in a long training."""
    optimizer = base.training["optimizer"]
    if optimizer["name"] not in {"adam", "adamw"}:
        return NoChange(f"Weight decay belongs to adamw; with {optimizer['name']}, `l2` has the same effect.")
    if optimizer.get("weight_decay"):
        return NoChange(f"The optimizer already has a weight decay of {optimizer['weight_decay']}.")
    return Change(
        _make_optimizer(name="adamw", weight_decay=WEIGHT_DECAY),
        f"Shrinks all weights a little in each step (adamw with a weight decay of {WEIGHT_DECAY}).",
    )


@REMEDIES.add("lower_learning_rate", "The training steps were too large: use a tenth of the learning rate.")
def lower_learning_rate(base: RemedyBase) -> Outcome:
    rate = base.training["optimizer"]["learning_rate"] / LEARNING_RATE_DIVISOR
    return Change(_make_optimizer(learning_rate=rate), f"Divides the learning rate by ten, to {rate:g}.")


@REMEDIES.add(
    "retune", "Searches for a good learning rate and weight decay: a badly tuned network makes every remedy look good."
)
def retune(base: RemedyBase) -> Outcome:
    """Search over learning rate and weight decay; the base itself is not a candidate."""
    optimizer = base.training["optimizer"]
    rate, over = optimizer["learning_rate"], "learning rate"
    factors: tuple[float, ...] = TUNED_LEARNING_RATES_ALONE
    decaying: list[dict[str, Any]] = []
    if optimizer["name"] in {"adam", "adamw"}:
        over, factors = "learning rate and weight decay", TUNED_LEARNING_RATES
        # If the spec has weight decay, the search also tries training without it.
        decay = 0.0 if optimizer.get("weight_decay") else WEIGHT_DECAY
        tried = (rate, *(_scale_rate(rate, factor) for factor in factors))
        decaying = [_make_optimizer(name="adamw", learning_rate=each, weight_decay=decay) for each in tried]
    plain = [_make_optimizer(learning_rate=_scale_rate(rate, factor)) for factor in factors]
    # The learning rate has an upper bound, so two candidates may be equal, or equal to the base.
    seen = [_make_optimizer(learning_rate=rate)]
    for candidate in (*plain, *decaying):
        if candidate not in seen:
            seen.append(candidate)
    return Change({}, f"Searches for the best {over} among {len(seen) - 1} candidates.", tuple(seen[1:]))


@REMEDIES.add("early_stopping", "Epochs after the best one only memorize, so the weights of the best epoch are kept.")
def add_early_stopping(base: RemedyBase, monitor: Monitor | None = None, patience: int = PATIENCE_EPOCHS) -> Outcome:
    """Keep the best epoch by `monitor`, by default the `objective`; stop after `patience` epochs without a better."""
    if trains_on_all(base.spec):
        return NoChange("No images are left to show which epoch is best: the job also trains on validation images.")
    followed = get_followed(base.spec.get("objective"))
    figure = monitor or followed
    training, by_loss = base.training, figure == "validation_loss"
    stops = training.get("early_stopping")
    kept = f"Keeps the epoch with the {_name_best(figure, base.spec.get('objective'))}"
    nothing = NoChange(f"The spec already {kept[0].lower()}{kept[1:]}.")
    if stops is None and by_loss and training.get("on_overfit") == "stop_and_restore":
        return nothing
    patch: dict[str, Any] = {}
    did = f"{kept}."
    if stops is None:
        patience = min(MAX_PATIENCE_EPOCHS, max(PATIENCE_EPOCHS, patience))
        patch["early_stopping"] = {**_monitor(figure), "patience": patience}
        did = f"{kept}, and stops after {patience} epochs without a better one."
    elif not stops.get("restore_best") or (stops.get("monitor") or followed) != figure:
        patch["early_stopping"] = {"monitor": None, **_monitor(figure), "restore_best": True}
    if not by_loss and training.get("on_overfit") in {"stop", "stop_and_restore"}:
        # The guard stops by the loss, which would conflict.
        patch["on_overfit"] = "warn"
    return Change({"training": patch}, did) if patch else nothing


def _name_best(figure: MonitoredFigure, objective: Measure | None) -> str:
    if figure != "validation_objective" or objective is None:
        return "lowest validation loss" if figure == "validation_loss" else "best validation accuracy"
    return f"{'highest' if METRICS[objective].is_share else 'lowest'} {METRICS[objective].name} in validation"


def _monitor(figure: MonitoredFigure) -> dict[str, str]:
    """Return the field of early stopping that names a figure; a metric of the job's own is followed without one."""
    return {} if figure == "validation_objective" else {"monitor": figure}


@REMEDIES.add("more_patience", "Validation may improve again after a pause.")
def double_patience(base: RemedyBase) -> Outcome:
    """Double the patience of early stopping."""
    stops = base.training.get("early_stopping")
    if not stops:
        return NoChange("The spec has no early stopping that could wait longer.")
    if stops["patience"] >= MAX_PATIENCE_EPOCHS:
        return NoChange(f"Early stopping already waits for {MAX_PATIENCE_EPOCHS} epochs, the maximum.")
    patience = min(MAX_PATIENCE_EPOCHS, 2 * stops["patience"])
    return Change(
        {"training": {"early_stopping": {"patience": patience}}},
        f"Stops after {patience} epochs without a better one instead of {stops['patience']}.",
    )


@REMEDIES.add("more_epochs", "The network may not have finished learning.")
def double_epochs(base: RemedyBase) -> Outcome:
    """Double the epochs, and keep the best of them."""
    planned = base.training["epochs"]
    wanted = min(MAX_EPOCHS, 2 * planned)
    if wanted <= planned:
        return NoChange(f"The spec already has {MAX_EPOCHS:,} epochs, the maximum.")
    patch = {"epochs": wanted, **_keep_best_of(base, patience=planned)}
    kept = "." if trains_on_all(base.spec) else ", and keeps the best of them."
    did = f"Trains for {wanted:,} epochs instead of {planned:,}{kept}"
    return Change({"training": patch}, did)


@REMEDIES.add("longer_cosine", "Small steps at the end of a longer training let the weights settle.")
def lengthen_cosine(base: RemedyBase) -> Outcome:
    """Double the epochs, with a learning rate that falls to zero along a cosine; the training must reach the end."""
    planned, is_cosine = base.training["epochs"], _get_schedule(base).get("name") == "cosine"
    wanted = min(MAX_EPOCHS, 2 * planned)
    if wanted <= planned and is_cosine:
        return NoChange(f"The spec already has a cosine schedule over {MAX_EPOCHS:,} epochs, the maximum.")
    schedule = {} if is_cosine else {"schedule": _make_schedule(base, name="cosine", warmup_epochs=0)}
    patch = {"epochs": wanted, **schedule, **_reach_the_end(base, wanted)}
    still = "still " if is_cosine else ""
    did = f"Trains for {wanted:,} epochs instead of {planned:,}, with the learning rate {still}falling along a cosine."
    return Change({"training": patch}, did)


@REMEDIES.add("one_cycle", "Large steps in the middle find a good place, and small steps at the end settle there.")
def use_one_cycle(base: RemedyBase) -> Outcome:
    did = "Lets the learning rate rise in the first 30% of the steps, and fall almost to zero in the rest."
    return _use_schedule(base, "one_cycle", did)


@REMEDIES.add("step_decay", "Smaller steps in the last part of a training let the weights settle.")
def use_steps(base: RemedyBase) -> Outcome:
    did = "Divides the learning rate by ten after half of the epochs, and again after three quarters of them."
    return _use_schedule(base, "step", did)


def _use_schedule(base: RemedyBase, name: str, did: str) -> Outcome:
    """Use another schedule with its defaults; the training must reach its end."""
    if _get_schedule(base).get("name") == name:
        return NoChange(f"The spec already has the schedule `{name}`.")
    patch = {"schedule": _make_schedule(base, name=name), **_reach_the_end(base, base.training["epochs"])}
    return Change({"training": patch}, did)


@REMEDIES.add("focal_loss", "Images that are hard to tell count more, and the network becomes less certain.")
def use_focal_loss(base: RemedyBase) -> Outcome:
    if (base.training.get("loss") or {}).get("name") == "focal":
        return NoChange("The spec already has a focal loss.")
    did = f"Trains on the focal loss (gamma {FOCAL_GAMMA:g}), in which images that are surely right hardly count."
    return Change({"training": {"loss": {"name": "focal", "gamma": FOCAL_GAMMA}}}, did)


@REMEDIES.add("nesterov", "Momentum that looks ahead overshoots less, so training is steadier.")
def use_nesterov(base: RemedyBase) -> Outcome:
    """Look ahead along the momentum of sgd, which is added if there is none."""
    optimizer = base.training["optimizer"]
    if optimizer["name"] != "sgd":
        return NoChange(f"Nesterov's momentum belongs to sgd; {optimizer['name']} has none.")
    if optimizer.get("nesterov"):
        return NoChange("The optimizer already has Nesterov's momentum.")
    momentum = optimizer.get("momentum") or MOMENTUM
    did = f"Takes gradients where the momentum of {momentum:g} leads, not where the weights are (Nesterov)."
    return Change(_make_optimizer(nesterov=True, momentum=momentum), did)


@REMEDIES.add("clip_norm", "A limit for gradients keeps a few unusual images from throwing the training off.")
def clip_gradients(base: RemedyBase) -> Outcome:
    if base.training["optimizer"].get("clip_norm"):
        return NoChange("The optimizer already clips gradients.")
    did = f"Scales gradients of all weights down to a length of {CLIP_NORM:g} if they are longer."
    return Change(_make_optimizer(clip_norm=CLIP_NORM), did)


@REMEDIES.add(
    "recount_batch_norm",
    "Averages of batch normalization that lag behind spoil every evaluation: recompute them over the training images.",
)
def recount_batch_norm(base: RemedyBase) -> Outcome:
    if not base.normalizes:
        return NoChange(_NOT_NORMALIZED)
    if (base.spec.get("evaluation") or {}).get("recount_batch_norm"):
        return NoChange("The spec already recomputes the averages of batch normalization.")
    did = "Recomputes the averages of batch normalization over all training images, before each evaluation."
    return Change({"evaluation": {"recount_batch_norm": True}}, did)


@REMEDIES.add(
    "batch_norm_momentum", "With a lower momentum, the averages of batch normalization follow a short training."
)
def lower_batch_norm_momentum(base: RemedyBase) -> Outcome:
    if not base.normalizes:
        return NoChange(_NOT_NORMALIZED)
    given = (base.training.get("batch_norm") or {}).get("momentum")
    if given is not None and given <= BATCH_NORM_MOMENTUM:
        return NoChange(f"The momentum of batch normalization is already {given:g}.")
    did = f"Averages the mean and the variance of batch normalization with a momentum of {BATCH_NORM_MOMENTUM:g}."
    return Change({"training": {"batch_norm": {"momentum": BATCH_NORM_MOMENTUM}}}, did)


@REMEDIES.add("ema", "An average over many steps is steadier than the weights of the last one.")
def add_ema(base: RemedyBase) -> Outcome:
    """Keep a moving average of the weights over a tenth of the steps."""
    if base.training.get("ema_decay") is not None:
        return NoChange("The spec already keeps a moving average of the weights.")
    decay = USUAL_EMA_DECAY
    if base.steps is not None:
        decay = round(min(MOST_EMA_DECAY, max(LEAST_EMA_DECAY, 1 - 1 / (EMA_SHARE * base.steps))), 4)
    return Change(
        {"training": {"ema_decay": decay}}, f"Keeps a moving average of the weights (decay {decay} per step)."
    )


@REMEDIES.add(
    "transfer", "Layers that learned from other images do not have to be learned again from only a few images."
)
def transfer(base: RemedyBase) -> Outcome:
    """Freeze what starts from other weights: layers of an uploaded model, or all blocks except the last."""
    if base.own is not None:
        return freeze_own(base, base.own)
    initial, backbone = base.spec.get("initial"), base.spec["network"].get("backbone")
    if backbone is not None:
        if not backbone.get("trainable"):
            return NoChange("The backbone is already frozen.")
        patch = {"network": {"backbone": {"trainable": False}}}
        return Change(patch, "Leaves the backbone as uploaded, and trains the rest.")
    if initial is None:
        return NoChange(
            "The spec has no `initial` to start from. To try one, send your own remedy: "
            '{"name": "transfer", "patch": {"initial": {"job": "job_…"}}}.'
        )
    if initial.get("freeze_blocks"):
        return NoChange("The spec already freezes blocks of `initial`.")
    if not base.blocks:
        return NoChange("The network has no block to freeze.")
    frozen = max(1, len(base.blocks) - 1)
    what = "block" if frozen == 1 else f"{frozen} blocks"
    return Change(
        {"initial": {"freeze_blocks": frozen}}, f"Leaves the first {what} as in `initial`, and trains the rest."
    )


def _keep_best_of(base: RemedyBase, patience: int) -> dict[str, Any]:
    """Return the fields of `training` that keep the best epoch of a longer training; empty if the spec already does."""
    stops = base.training.get("early_stopping")
    keeps_it = stops is None and base.training.get("on_overfit") == "stop_and_restore"
    if keeps_it or trains_on_all(base.spec):
        return {}
    if stops is None:
        patience = max(PATIENCE_EPOCHS, min(MAX_PATIENCE_EPOCHS, patience))
        figure = get_followed(base.spec.get("objective"))
        return {"early_stopping": {**_monitor(figure), "patience": patience}}
    return {} if stops.get("restore_best") else {"early_stopping": {"restore_best": True}}


def _get_schedule(base: RemedyBase) -> dict[str, Any]:
    return base.training.get("schedule") or {}


def _make_schedule(base: RemedyBase, **fields: Any) -> dict[str, Any]:
    """Make the patch to another schedule. It removes the other one's fields, because a merge would keep them."""
    return {name: None for name in _get_schedule(base) if name != "name"} | fields


def _reach_the_end(base: RemedyBase, epochs: int) -> dict[str, Any]:
    """Return the fields of `training` with which nothing ends it before its learning rate is low."""
    patch: dict[str, Any] = {}
    if base.training.get("early_stopping") is not None:
        patch["early_stopping"] = {"patience": min(MAX_PATIENCE_EPOCHS, epochs), "restore_best": True}
    if base.training.get("on_overfit") in {"stop", "stop_and_restore"}:
        patch["on_overfit"] = "warn"
    return patch


def _make_optimizer(**fields: Any) -> dict[str, Any]:
    return {"training": {"optimizer": fields}}


def _scale_rate(rate: float, factor: float) -> float:
    """Scale a learning rate within its bound, to two significant digits, which keeps specs readable."""
    return float(f"{min(1.0, rate * factor):.2g}")
