"""What a `keras.Model` was compiled with, as the `training` of a spec. Pure.

Nothing here imports Keras: a program that has a model has imported it.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from heldout.spec.optimization import MAX_MILESTONES, OPTIMIZERS

# Arguments of optimizers that a spec has, by the name of the spec's field.
_TAKEN_OVER = {"momentum": "momentum", "weight_decay": "weight_decay", "global_clipnorm": "clip_norm"}
# Keras defaults for optimizer arguments that a spec cannot set.
_DEFAULTS: Mapping[str, Any] = {
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-7,
    "amsgrad": False,
    "rho": 0.9,
    "centered": False,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}
# Learning rates of optimizers that a program names by text.
_KERAS_RATES = {"SGD": 0.01}
_DEFAULT_RATE = 0.001
# The arguments that every optimizer has without an effect on what is computed, or that are read apart.
_READ_APART = {"name", "learning_rate", "use_ema", "ema_momentum", "is_legacy_optimizer", "jit_compile"}
_FOCAL = "categoricalfocalcrossentropy"
_LOSSES = {"sparsecategoricalcrossentropy", "categoricalcrossentropy", _FOCAL}
_OWN = "the program's own "
_METRICS = {"accuracy", "acc", "sparsecategoricalaccuracy", "categoricalaccuracy"}


class Untranslatable(ValueError):
    """A part of a compiled model has no counterpart in a spec; the message names it and says what to do."""


def translate(compiled: Mapping[str, Any] | None, optimizer: Any, steps_of_epoch: int, epochs: int) -> dict[str, Any]:
    """Convert what a model was compiled with to fields of `training`.

    Args:
        compiled: of `model.get_compile_config()`, or with the objects that it describes; None if the model was not
            compiled.
        optimizer: one to use in its place: an optimizer of Keras, its name, or an optimizer as in a spec.
            None keeps the compiled one.
        steps_of_epoch: batches in an epoch; 0 if it is unknown.
    Raises:
        Untranslatable: with everything that a spec does not have.
    """
    compiled = compiled or {}
    problems: list[str] = []
    training: dict[str, Any] = {}
    for part, value in (
        (_translate_loss, compiled.get("loss")),
        (_check_metrics, [*_iterate(compiled.get("metrics")), *_iterate(compiled.get("weighted_metrics"))]),
        (_check_loss_weights, compiled.get("loss_weights")),
        (lambda given: _translate_optimizer(given, steps_of_epoch, epochs), optimizer or compiled.get("optimizer")),
    ):
        try:
            training |= part(value) if value else {}
        except Untranslatable as problem:
            problems.append(str(problem))
    if problems:
        raise Untranslatable(" ".join(problems))
    return training


def describe(part: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the class of an object of Keras and its configuration. Text is a name without a configuration."""
    if isinstance(part, str):
        return part, {}
    if isinstance(part, Mapping) and "class_name" in part:
        config = part.get("config")
        is_builtin = str(part.get("module", "keras")).partition(".")[0] == "keras" and not part.get("registered_name")
        if is_builtin:
            return str(part["class_name"]), config if isinstance(config, Mapping) else {}
        return _OWN + (config if isinstance(config, str) else str(part["class_name"])), {}
    kind = part if hasattr(part, "__name__") else type(part)  # a function has its own name
    if str(kind.__module__).partition(".")[0] != "keras":
        return _OWN + kind.__name__, {}
    return kind.__name__, part.get_config() if hasattr(part, "get_config") else {}


def _translate_optimizer(given: Any, steps_of_epoch: int, epochs: int) -> dict[str, Any]:
    if isinstance(given, Mapping) and "class_name" not in given:
        return {"optimizer": dict(given)}  # as in a spec
    kind, config = describe(given)
    known = {name.lower(): (name, class_name) for name, class_name in OPTIMIZERS.items()}
    if kind.lower() not in known:
        raise Untranslatable(f"Optimizer {kind} is not supported; use one of {', '.join(OPTIMIZERS.values())}.")
    name, class_name = known[kind.lower()]
    rate, training = _translate_rate(
        config.get("learning_rate", _KERAS_RATES.get(class_name, _DEFAULT_RATE)), steps_of_epoch, epochs
    )
    if name == "adam" and config.get("weight_decay"):
        name = "adamw"  # the same class in Keras, but for the default
    optimizer: dict[str, Any] = {"name": name, "learning_rate": rate}
    owned = {"sgd": {"momentum"}, "adamw": {"weight_decay"}}.get(name, set())
    if config.get("global_clipnorm"):
        owned = owned | {"global_clipnorm"}
    if name == "sgd" and config.get("nesterov"):
        if config.get("momentum"):  # without one it changes nothing
            optimizer["nesterov"] = True
        config = {**config, "nesterov": False}
    for argument, value in config.items():
        if argument in owned:
            optimizer[_TAKEN_OVER[argument]] = value or 0.0
        elif argument not in _READ_APART and (value or None) != (_DEFAULTS.get(argument) or None):
            raise Untranslatable(
                f"{class_name} has {argument}={value!r}, which a spec does not have; leave it at "
                f"{_DEFAULTS.get(argument)!r}."
            )
    if config.get("use_ema"):
        training["ema_decay"] = config["ema_momentum"]
    return {"optimizer": optimizer, **training}


def _translate_rate(given: Any, steps_of_epoch: int, epochs: int) -> tuple[float, dict[str, Any]]:
    """Return the highest rate, and `schedule` if there is one."""
    if isinstance(given, int | float):
        return shorten(given), {}
    kind, config = describe(given)
    translate_schedule = {
        "CosineDecay": _translate_cosine,
        "ExponentialDecay": _translate_staircase,
        "PiecewiseConstantDecay": _translate_pieces,
    }.get(kind)
    if translate_schedule is None:
        raise Untranslatable(
            f"Learning rate schedule {kind} is not supported; use a number as learning rate, and `schedule=…` as in a "
            "spec."
        )
    if not steps_of_epoch:
        raise Untranslatable(
            f"Only the service knows how many steps an epoch has with `validation`, so {kind} cannot be converted. Use "
            "a number as learning rate, and `schedule=…` as in a spec."
        )
    rate, schedule = translate_schedule(config, steps_of_epoch, epochs)
    return shorten(rate), {"schedule": schedule}


def _translate_cosine(config: Mapping[str, Any], steps: int, epochs: int) -> tuple[float, dict[str, Any]]:
    if config.get("alpha"):
        raise Untranslatable(f"CosineDecay has alpha={config['alpha']}; a spec's cosine ends at 0.")
    peak, warmup_steps = config["initial_learning_rate"], 0
    if config.get("warmup_target") is not None:
        if peak:
            raise Untranslatable(f"CosineDecay warms up from {peak}; a spec's warm-up starts at 0.")
        peak, warmup_steps = config["warmup_target"], config["warmup_steps"]
    warmup_epochs, rest = divmod(warmup_steps, steps)
    decay_steps = epochs * steps - warmup_steps
    if rest or config["decay_steps"] != decay_steps:
        raise Untranslatable(
            f"CosineDecay has warmup_steps={warmup_steps} and decay_steps={config['decay_steps']}. A spec's cosine "
            f"ends with the last step, and its warm-up takes whole epochs. {epochs} epochs have {steps} steps each, so "
            f"decay_steps should be {decay_steps}."
        )
    return peak, {"name": "cosine", "warmup_epochs": warmup_epochs}


def _translate_staircase(config: Mapping[str, Any], steps: int, epochs: int) -> tuple[float, dict[str, Any]]:
    if not config.get("staircase"):
        raise Untranslatable("ExponentialDecay falls in every step, which a spec does not have; use staircase=True.")
    _require_whole_epochs("ExponentialDecay", "decay_steps", [config["decay_steps"]], steps, 0)
    milestones = list(range(config["decay_steps"] // steps, epochs, config["decay_steps"] // steps))
    return config["initial_learning_rate"], _make_step_schedule(config["decay_rate"], milestones)


def _translate_pieces(config: Mapping[str, Any], steps: int, epochs: int) -> tuple[float, dict[str, Any]]:
    values, boundaries = config["values"], config["boundaries"]
    factors = {float(f"{after / before:.6g}") for before, after in pairwise(values)}
    if len(factors) != 1:
        raise Untranslatable(
            f"PiecewiseConstantDecay has values={values}; in a spec, each rate is the same fraction of the one before."
        )
    # Keras keeps a rate up to and including the boundary.
    _require_whole_epochs("PiecewiseConstantDecay", "boundaries", boundaries, steps, 1)
    milestones = [(boundary + 1) // steps for boundary in boundaries]
    return values[0], _make_step_schedule(factors.pop(), milestones)


def _require_whole_epochs(kind: str, argument: str, counts: Sequence[int], steps: int, off: int) -> None:
    if any((count + off) % steps or count + off < steps for count in counts):
        fitting = [max(1, round((count + off) / steps)) * steps - off for count in counts]
        raise Untranslatable(
            f"{kind} has {argument}={', '.join(map(str, counts))}. A spec lowers the rate between epochs, which have "
            f"{steps} steps each, so {argument} should be such as {', '.join(map(str, fitting))}."
        )


def _make_step_schedule(factor: float, milestones: Sequence[int]) -> dict[str, Any]:
    if not 0 < factor < 1 or len(milestones) > MAX_MILESTONES:
        raise Untranslatable(
            f"The rate is multiplied by {factor} {len(milestones)} times; in a spec, it falls at most "
            f"{MAX_MILESTONES} times."
        )
    return {"name": "step", "factor": factor, "milestones": list(milestones)} if milestones else {"name": "constant"}


def _translate_loss(given: Any) -> dict[str, Any]:
    if (isinstance(given, Mapping) and "class_name" not in given) or isinstance(given, list | tuple):
        raise Untranslatable("The model has a loss for each of several outputs; a spec has one output.")
    kind, config = describe(given)
    if kind.lower().replace("_", "") not in _LOSSES:
        raise Untranslatable(f"Loss {kind} is not supported; use SparseCategoricalCrossentropy.")
    for argument, usual in (("ignore_class", None), ("reduction", "sum_over_batch_size"), ("axis", -1)):
        if config.get(argument, usual) != usual:
            raise Untranslatable(f"{kind} has {argument}={config[argument]!r}, which a spec does not have.")
    smoothing = config.get("label_smoothing")
    training: dict[str, Any] = {"label_smoothing": smoothing} if smoothing else {}
    if kind.lower().replace("_", "") == _FOCAL:
        training["loss"] = {"name": "focal", **{name: config[name] for name in ("gamma", "alpha") if name in config}}
    return training


def _check_metrics(given: Iterable[Any]) -> dict[str, Any]:
    names = [describe(metric)[0].removeprefix(_OWN) for metric in given]  # Keras does not say whose a function is
    if others := [name for name in names if name.lower().replace("_", "") not in _METRICS]:
        raise Untranslatable(
            f"Metrics {', '.join(others)} are not measured: Heldout measures loss and accuracy, and the confusion "
            "matrix has the scores of each class. Compile the model with metrics=['accuracy']."
        )
    return {}


def _check_loss_weights(given: Any) -> dict[str, Any]:
    raise Untranslatable(f"loss_weights={given!r} are for several outputs; a spec has one. Leave them out.")


def _iterate(given: Any) -> list[Any]:
    """Return metrics one by one; Keras also accepts a single one, and lists in lists for each output."""
    if given is None or (isinstance(given, str | Mapping) and not given):
        return []
    if isinstance(given, Mapping) and "class_name" not in given:
        given = list(given.values())
    if not isinstance(given, list | tuple):
        return [given]
    return [metric for part in given for metric in _iterate(part)]


def shorten(number: float) -> float:
    """Return the shortest decimal number that is the same in float32: Keras holds 0.001 as 0.0010000000474974513."""
    same = struct.pack("f", number)
    return next(short for digits in range(1, 10) if struct.pack("f", short := float(f"{number:.{digits}g}")) == same)
