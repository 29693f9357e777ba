"""What is true of a training with two causes: each term of its gap, and how large each cause is."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import hypot
from statistics import fmean, stdev
from typing import Any

from benchmarks.diagnosis.two_causes.record import TwoCausesRecord

Z = 1.96
TWICE = 2.0  # times the smaller cause: from there on the larger one must be the verdict
TERM_OF_CAUSE = {
    "validation_copies": "copies_in_validation",
    "test_copies": "copies_in_test",
    "renamed": "label_order",
    "pixels": "pixel_values",
    "shift": "split_difference",
}
# Verdicts that name a cause. What no fault was planted for, training's own gap, is `generalisation`.
VERDICTS: Mapping[str, frozenset[str]] = {
    "validation_copies": frozenset({"leakage"}),
    "test_copies": frozenset({"leakage"}),
    "renamed": frozenset({"label_order_mismatch"}),
    "pixels": frozenset({"scale_mismatch"}),
    "shift": frozenset({"split_shift"}),
    "few_images": frozenset({"too_little_data", "overfitting"}),
    "long": frozenset({"overfitting", "too_little_data"}),
    "generalisation": frozenset({"overfitting", "too_little_data"}),
    "wrong_labels": frozenset({"label_noise", "memorised_noise"}),
    # In the design draw such networks still learned at the end: they are too small, and slow.
    "small_network": frozenset({"underfitting", "not_converged"}),
}
# Another brightness makes another kind of images, too.
VERDICTS_OF_BRIGHTNESS = VERDICTS["pixels"] | VERDICTS["shift"]
WIDENS_GAP_OF_TRAINING = {"few_images", "long"}


@dataclass(frozen=True)
class TrueTerm:
    """accuracy and loss as in a diagnosis: positive where they widen the gap. Their errors are standard errors."""

    accuracy: float
    accuracy_error: float
    loss: float
    loss_error: float


@dataclass(frozen=True)
class Size:
    """Accuracy that a cause takes away, and between which bounds that surely lies."""

    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Base:
    """Accuracy of the same training without its fault of training: mean of its seeds, and its standard error."""

    accuracy: float
    error: float


def bases_of(records: Iterable[TwoCausesRecord]) -> dict[tuple[str, str], Base]:
    """Of each dataset and network, from the trainings without any cause."""
    found = defaultdict(list)
    for record in records:
        if not record.planted.causes:
            found[record.planted.base].append(record.referee["clean"]["accuracy"])
    return {base: Base(fmean(seeds), stdev(seeds) / len(seeds) ** 0.5) for base, seeds in found.items()}


def true_terms(record: TwoCausesRecord) -> dict[str, TrueTerm]:
    """Each term, as the same weights give it on any number of images like these."""
    causes, seen, clean = record.planted.causes, record.referee["seen"], record.referee["clean"]
    in_validation, in_test = (causes.get(f"{split}_copies", 0.0) for split in ("validation", "test"))
    assert record.kept is not None
    train = record.kept["final"]["train"]
    found: dict[str, TrueTerm] = {}
    accuracies = {metric: _late(record, metric, in_validation) for metric in ("accuracy", "loss")}
    late = {metric: change for metric, (change, _) in accuracies.items()}
    errors = {metric: error for metric, (_, error) in accuracies.items()}
    found["late_epochs"] = TrueTerm(late["accuracy"], errors["accuracy"], late["loss"], errors["loss"])
    validation = _mixed(clean, seen["validation"], in_validation)
    found["generalisation"] = TrueTerm(
        train["accuracy"] - validation["accuracy"] - late["accuracy"],
        hypot(validation["accuracy_error"], errors["accuracy"]),
        validation["loss"] - train["loss"] - late["loss"],
        hypot(validation["loss_error"], errors["loss"]),
    )
    found["copies_in_validation"] = _difference(validation, clean, in_validation)
    for code, step in (("split_difference", "shifted"), ("label_order", "renamed"), ("pixel_values", "test")):
        change = record.referee[step]["change"]
        found[code] = TrueTerm(-change["accuracy"], change["accuracy_error"], change["loss"], change["loss_error"])
    as_test = record.referee["test"]
    found["copies_in_test"] = _difference(as_test, _mixed(as_test, seen["test"], in_test), in_test)
    return found


def _late(record: TwoCausesRecord, metric: str, copies: float) -> tuple[float, float]:
    """What the epochs after validation's best one cost on images like validation's, and the standard error of it."""
    best = record.referee["best"].get(metric)
    if best is None:
        return 0.0, 0.0
    seen = record.referee["seen"]["validation"]
    change = (1 - copies) * best["change"][metric] + copies * (best["seen"][metric] - seen[metric])
    return (change if metric == "accuracy" else -change), (1 - copies) * best["change"][f"{metric}_error"]


def _mixed(clean: Mapping[str, float], seen: Mapping[str, float], share: float) -> dict[str, float]:
    """Of a split with this share of copies. Which training images are copied is known, so they have no error."""
    values = {name: (1 - share) * clean[name] + share * seen[name] for name in ("accuracy", "loss")}
    return values | {name: (1 - share) * clean[name] for name in ("accuracy_error", "loss_error")}


def _difference(one: Mapping[str, float], other: Mapping[str, float], share: float) -> TrueTerm:
    """From one split to the next one in the chain, which differ by this share of copies."""
    error, loss_error = (share * max(one[name], other[name]) for name in ("accuracy_error", "loss_error"))
    return TrueTerm(one["accuracy"] - other["accuracy"], error, other["loss"] - one["loss"], loss_error)


def sizes_of(record: TwoCausesRecord, bases: Mapping[tuple[str, str], Base]) -> dict[str, Size]:
    """How much accuracy each cause takes away, training's own gap included; what raises accuracy takes nothing.

    A fault of training that widens the gap lies between what it costs on clean images and that gap.
    """
    terms, planted = true_terms(record), record.planted
    found = {
        cause: _size(terms[TERM_OF_CAUSE[cause]].accuracy, terms[TERM_OF_CAUSE[cause]].accuracy_error)
        for cause in planted.measuring_causes
    }
    own = _size(
        terms["generalisation"].accuracy + terms["late_epochs"].accuracy,
        hypot(terms["generalisation"].accuracy_error, terms["late_epochs"].accuracy_error),
    )
    cause = planted.training_cause
    if cause is None:
        return found | {"generalisation": own}
    base, clean = bases[planted.base], record.referee["clean"]
    cost = _size(base.accuracy - clean["accuracy"], hypot(base.error, clean["accuracy_error"]))
    if cause in WIDENS_GAP_OF_TRAINING:
        return found | {cause: Size(cost.accuracy, min(cost.low, own.low), max(cost.high, own.high))}
    return found | {cause: cost, "generalisation": own}


def _size(value: float, error: float) -> Size:
    return Size(max(0.0, value), max(0.0, value - Z * error), max(0.0, value + Z * error))


def top_cause(sizes: Mapping[str, Size]) -> str | None:
    """The cause that is surely at least twice as large as every other one; None where none surely is."""
    for cause, size in sizes.items():
        others = [other.high for name, other in sizes.items() if name != cause]
        if size.low >= TWICE * max(others) and size.low > 0:
            return cause
    return None


def verdicts_of(cause: str, causes: Mapping[str, Any]) -> frozenset[str]:
    """The verdicts that name a cause of a training."""
    is_brightness = cause == "pixels" and str(causes["pixels"]).startswith(("dimmed", "brightened"))
    return VERDICTS_OF_BRIGHTNESS if is_brightness else VERDICTS[cause]
