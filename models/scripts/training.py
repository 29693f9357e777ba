"""The loop of a script: order, rates, steps, and which epoch's weights are kept."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from heldout.spec import CosineSchedule, JobSpec, OptimizerSpec, PlateauSchedule
from models.scripts import changes


@dataclass(frozen=True)
class Ended:
    """A training that something else has ended than the rules that the script has.

    epochs: how many whole ones there were. why: in words. by_guard: whether the guard against overfitting did it.
    """

    epochs: int
    why: str
    by_guard: bool = False


@dataclass(frozen=True)
class _Best:
    """Which epoch is the best one, and what follows.

    figure: `loss` or `accuracy`. patience: epochs without a better one that end the training; None where none do.
    """

    figure: str
    min_delta: float
    patience: int | None
    is_kept: bool


def train(spec: JobSpec, ended: Ended | None) -> str:
    """The function that trains the network and leaves the kept weights in it."""
    training, best = spec.training, _best_of(spec, ended)
    plateau = training.schedule if isinstance(training.schedule, PlateauSchedule) else None
    by_shares = bool(training.label_smoothing) or changes.mixes(spec)
    loss = "SparseCategoricalCrossentropy(from_logits=True)"
    if by_shares:
        smoothing = f", label_smoothing={training.label_smoothing!r}" if training.label_smoothing else ""
        loss = f"CategoricalCrossentropy(from_logits=True{smoothing})"
    last = "epochs + 1):" if ended is None else f"{ended.epochs + 1}):  # {ended.why}"
    lines = [
        'images, labels = splits["train"]',
        f"targets = {'np.eye(len(CLASSES), dtype=np.float32)[labels]' if by_shares else 'labels'}",
        *_weights(training.class_weights),
        *_if(_erases(spec), "fill = images.mean(axis=(0, 1, 2), dtype=np.float64).astype(np.float32)"),
        f"optimizer = {_optimizer(training.optimizer)}",
        f"loss = keras.losses.{loss}",
        "network.compile(optimizer, loss, jit_compile=False)",
        f"epochs, batch, rate = {training.epochs}, {training.batch_size}, {training.optimizer.learning_rate!r}",
        "steps = -(-len(images) // batch)",
        *_if(training.ema_decay, f"decay, average = np.float32({training.ema_decay!r}), None"),
        *_if(plateau, "lowest, waited = None, 0"),
        *(_assigned(_names_of(best, "None", "None")) if best else []),
        f"for epoch in range(1, {last}",
        "    order = np.random.default_rng([SEED, 1, epoch]).permutation(len(images))",
        *_if(spec.augmentation, "    changes = draw_changes(epoch, len(images))"),
        *_if(changes.mixes(spec), "    mixing = draw_mixing(epoch, len(images), batch)"),
        "    for step in range(steps):",
        *_indented(_step(spec), 2),
        *_indented(_end_of_epoch(spec, best, plateau), 1),
        *_if(best is not None and best.is_kept, "network.set_weights(best_weights)"),
        *_if(training.ema_decay and not (best and best.is_kept), "network.set_weights(average)"),
    ]
    body = "\n".join(_indented(lines, 1))
    return f'''
def train(network, splits):
    """As the job did: in the same order, with the same rates; leaves the weights in the network that it kept."""
{body}
'''


def _if(condition: object, *lines: str) -> list[str]:
    return list(lines) if condition else []


def _indented(lines: Iterable[str], levels: int) -> list[str]:
    return ["    " * levels + line for line in lines]


def _erases(spec: JobSpec) -> bool:
    return spec.augmentation is not None and bool(spec.augmentation.erasing)


def _best_of(spec: JobSpec, ended: Ended | None) -> _Best | None:
    """Whose weights are kept, if not those of the last epoch, and what ends the training."""
    early = spec.training.early_stopping
    restores = spec.training.on_overfit == "stop_and_restore"
    if restores and (early is None or (ended is not None and ended.by_guard)):
        return _Best("loss", 0.0, None, is_kept=True)
    if early is None:
        return None
    # Where something else has ended it, patience has not run out before.
    return _Best(early.monitor.removeprefix("validation_"), early.min_delta, early.patience, early.restore_best)


def _step(spec: JobSpec) -> list[str]:
    """One gradient step."""
    training = spec.training
    lines = ["part = slice(step * batch, (step + 1) * batch)", "rows = order[part]"]
    if isinstance(training.schedule, CosineSchedule):
        lines += [
            "done = (epoch - 1) * steps + step",
            f"warmup = {training.schedule.warmup_epochs} * steps",
            "share = (done - warmup) / (epochs * steps - warmup) if done >= warmup else None",
            "optimizer.learning_rate = (",
            "    rate * done / warmup if share is None else rate * 0.5 * (1 + np.cos(np.pi * share))",
            ")",
        ]
    else:
        lines += ["optimizer.learning_rate = rate"]
    weighted = training.class_weights is not None
    lines += [f"x, y, counts = images[rows], targets[rows], {'weights[rows]' if weighted else 'None'}"]
    if spec.augmentation is not None:
        fill = ", fill=fill" if _erases(spec) else ""
        lines += [f"x = changed(x, *(each[part] for each in changes){fill})"]
    if training.mixup:
        lines += ["partners, shares = (each[part] for each in mixing)", "x = blended(x, partners, shares)"]
    if training.cutmix:
        lines += [
            "partners, shares, rectangles = (each[part] for each in mixing)",
            "x = np.where(within(rectangles), x[partners], x)",
        ]
    if changes.mixes(spec):
        lines += ["y = blended(y, partners, shares)", *_if(weighted, "counts = blended(counts, partners, shares)")]
    lines += ["network.train_on_batch(x, y, sample_weight=counts)"]
    if training.ema_decay is not None:
        lines += [
            "now = network.get_weights()",
            "average = [decay * old + (1 - decay) * new for old, new in zip(average, now)] if average else now",
        ]
    return lines


def _end_of_epoch(spec: JobSpec, best: _Best | None, plateau: PlateauSchedule | None) -> list[str]:
    """What follows from the validation images."""
    if best is None and plateau is None:
        return ['print(f"epoch {epoch}", flush=True)']
    averages = spec.training.ema_decay is not None
    lines = [
        *_if(averages, "network.set_weights(average)"),
        'found = measure(network, *splits["validation"])',
        *_if(averages, "network.set_weights(now)"),
        "print(f\"epoch {epoch}: validation loss {found['loss']:.4f}\", flush=True)",
    ]
    if plateau is not None:
        lines += [
            'if lowest is None or found["loss"] + 1e-4 < lowest:',
            '    lowest, waited = found["loss"], 0',
            f"elif waited + 1 >= {plateau.patience}:",
            f"    rate, waited = rate * {plateau.factor!r}, 0",
            "else:",
            "    waited += 1",
        ]
    if best is not None:
        value, kept = f'found["{best.figure}"]', "average" if averages else "network.get_weights()"
        delta = best.min_delta or ""
        better = f"{value}{delta and f' + {delta}'} < best"
        if best.figure == "accuracy":
            better = f"{value}{delta and f' - {delta}'} > best"
        lines += [f"if best is None or {better}:", *_indented(_assigned(_names_of(best, value, kept)), 1)]
        if best.patience is not None:
            lines += [
                "else:",
                "    since_best += 1",
                f"    if since_best >= {best.patience}:",
                "        break",
            ]
    return lines


def _names_of(best: _Best, value: str, weights: str) -> dict[str, str]:
    """What is known of the best epoch, by the names that the script has for it."""
    return {
        "best": value,
        **({"best_weights": weights} if best.is_kept else {}),
        **({"since_best": "0"} if best.patience is not None else {}),
    }


def _assigned(values: Mapping[str, str]) -> list[str]:
    return [f"{', '.join(values)} = {', '.join(values.values())}"]


def _optimizer(spec: OptimizerSpec) -> str:
    rate = repr(spec.learning_rate)
    match spec.name:
        case "sgd":
            return f"keras.optimizers.SGD({rate}, momentum={spec.momentum!r})"
        case "adam":
            return f"keras.optimizers.Adam({rate})"
        case "adamw":
            return f"keras.optimizers.AdamW({rate}, weight_decay={spec.weight_decay!r})"
        case "rmsprop":
            return f"keras.optimizers.RMSprop({rate})"


def _weights(wanted: Mapping[str, float] | str | None) -> list[str]:
    """What each training image counts."""
    if wanted is None:
        return []
    if isinstance(wanted, str):
        return [
            "images_of = np.maximum(np.bincount(labels, minlength=len(CLASSES)), 1)",
            "weights = (len(labels) / (len(CLASSES) * images_of))[labels].astype(np.float32)",
        ]
    named = json.dumps(dict(wanted), ensure_ascii=True)
    return [f"weights = np.array([{named}.get(name, 1.0) for name in CLASSES], np.float32)[labels]"]
