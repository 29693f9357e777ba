"""Published diagnosers next to Heldout, on the kept trainings: `python -m benchmarks.inside.rivals`.

Their rules were rewritten, with the thresholds of their papers and released code, and read what `planted.jsonl` has.
- AutoTrainer (Zhang et al., ICSE 2021) reads curves and gradients, of which a look at the start and one at the end are
  kept. Units that give the same for all images stand for its units without a gradient. It is asked once, at the end.
- UMLAUT (Schoop et al., CHI 2021) reads pixels, layers, settings and curves.

Both list what they find in no order. So a fault counts as named if it is anywhere in the list, while Heldout has to
name it among the first two causes.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import pairwise
from math import isfinite, nan
from statistics import fmean
from typing import Any

from benchmarks.inside.planted import (
    ALARMS,
    CLEAN,
    FAULTS,
    FURTHER,
    Config,
    Draw,
    Planted,
    draw,
    draw_further,
    judge,
    list_counting,
    plant,
)  # fmt: skip
from heldout.stored.inside import EpochInside, InsideLook

Record = Mapping[str, Any]

# AutoTrainer's thresholds, with its own letters for them.
LEAST_RATIO, LEAST_GRADIENT, MOST_RATIO = 1e-3, 1e-4, 70  # β1, β2, β3
DEAD, DIP, DIPS, GAIN, LEAST_ACCURACY = 0.7, 0.03, 0.2, 0.01, 0.6  # γ, ζ, η, δ, Θ
MOST_LOSS = 1e5
# UMLAUT's. It gives the range of rates in what it says of a loss that is no number.
PIXELS, RATES, MOST_DROPOUT = (-1, 1), (1e-5, 1e-2), 0.5


def read_curve(record: Record, name: str) -> list[float]:
    return [nan if (value := epoch.get(name)) is None else value for epoch in record["history"]]


def has_diverged(planted: Planted, record: Record) -> bool:
    """Return whether a loss was no number, after which Heldout ends a training."""
    losses = read_curve(record, "fit_loss") + read_curve(record, "validation_loss")
    return len(record["history"]) < planted.spec.training.epochs or not all(map(isfinite, losses))


def ask_autotrainer(planted: Planted, record: Record) -> set[str]:
    """Return the problems that AutoTrainer finds."""
    if has_diverged(planted, record) or max(read_curve(record, "validation_loss")) >= MOST_LOSS:
        return {"explode"}
    fitted, seen = read_curve(record, "fit_accuracy"), read_curve(record, "validation_accuracy")
    gains = ([later - earlier for earlier, later in pairwise(curve)] for curve in (fitted, seen))
    is_slow = not any(min(both) >= GAIN for both in zip(*gains, strict=True))
    if is_slow or min(max(fitted), max(seen)) < LEAST_ACCURACY:
        last = EpochInside.model_validate(list(record["looks"].values())[-1])
        looks = [last] if last.start is None else [last.start, last]
        return {problem for look in looks if (problem := judge_gradients(look))} or {"not_converge"}
    dips = [earlier - later for earlier, later in pairwise(fitted)]
    return {"unstable"} if sum(dip >= DIP for dip in dips) >= DIPS * len(fitted) else set()


def judge_gradients(look: InsideLook) -> str:
    first, last = (look.gradients[place] for place in (0, -1))
    ratio = nan if first is None or not last else first / last
    if look.dead and fmean(look.dead) >= DEAD:
        return "relu"
    if ratio > MOST_RATIO:
        return "explode"
    return "vanish" if ratio < LEAST_RATIO and (first or 0) < LEAST_GRADIENT else ""


def ask_umlaut(planted: Planted, record: Record) -> set[str]:
    """Return the errors that UMLAUT finds."""
    spec, found = planted.spec, set[str]()
    layers: list[Config] = planted.config["config"]["layers"]
    optimizer = spec.training.optimizer
    low, high = (0, 255) if spec.network.pixels == "bytes" else (0, 1)  # type: ignore[union-attr]
    if low < PIXELS[0] or high > PIXELS[1]:
        found.add("input")
    if not RATES[0] <= optimizer.learning_rate <= RATES[1]:
        found.add("rate")
    if (spec.network.dropout or 0) > MOST_DROPOUT:  # type: ignore[union-attr]
        found.add("dropout")
    if layers[-1]["config"]["activation"] not in ("softmax", "linear"):
        found.add("softmax")  # outputs without an activation count as logits that the loss expects
    if lacks_activation(layers):
        found.add("activation")
    if has_diverged(planted, record):
        return {*found, "nan"}
    losses = zip(pairwise(read_curve(record, "fit_loss")), pairwise(read_curve(record, "validation_loss")), strict=True)
    if any(after > before and later <= earlier for (earlier, later), (before, after) in losses):
        found.add("overfitting")
    return found


def lacks_activation(layers: list[Config]) -> bool:
    """Return whether some layer with weights follows another without an activation between them."""
    is_linear = False
    for layer in layers:
        if layer["class_name"] in ("Conv2D", "Dense"):
            if is_linear:
                return True
            is_linear = layer["config"]["activation"] == "linear"
        elif layer["class_name"] in ("Activation", "ReLU"):
            is_linear = layer["config"].get("activation") == "linear"
    return False


def ask_heldout(planted: Planted, record: Record) -> set[str]:
    return {cause.code for cause in judge(planted, dict(record)).causes[:2]}


Ask = Callable[[Planted, Record], set[str]]
Names = Mapping[str, frozenset[str]]


def accept(**kinds: str) -> Names:
    """Return the faults that each finding names, from names of faults that are joined by commas."""
    return {finding: frozenset(names.split(", ")) for finding, names in kinds.items()}


# What each is asked, and which faults its findings name, read in its favor. Findings that stand for no
# fault of this list, such as overfitting, do not count as false either.
RIVALS: Mapping[str, tuple[Ask, Names]] = {
    "Heldout": (
        ask_heldout,
        {
            code: frozenset(kind for kind, fault in FAULTS.items() if code in fault.codes)
            for code in {*ALARMS, *(code for fault in FAULTS.values() for code in fault.codes)}
        },
    ),
    "AutoTrainer": (
        ask_autotrainer,
        accept(
            explode="large weights, high rate",
            relu="zero weights, equal weights, large weights, high rate",
            vanish="small weights, sigmoid, zero weights",
            not_converge="low rate, plain descent, one batch, one epoch",
            unstable="high rate",
        ),
    ),
    "UMLAUT": (
        ask_umlaut,
        accept(
            input="bytes",
            rate="high rate, low rate, plain descent",
            dropout="much dropout",
            softmax="relu at the end, tanh at the end",
            activation="no activation",
            nan="large weights, high rate",
        ),
    ),
}


def tabulate(title: str, drawing: list[Draw], sealed: bool) -> None:
    """Print how many trainings of each kind of fault each names, and on how many without a fault it names one."""
    counts, named = defaultdict[str, int](int), defaultdict[tuple[str, str], int](int)
    for drawn, record in list_counting(drawing, sealed):
        planted = plant(drawn)
        counts[drawn.kind] += 1
        for rival, (ask, names) in RIVALS.items():
            found = ask(planted, record)
            is_clean = drawn.kind == CLEAN
            alarms = ALARMS if rival == "Heldout" else names
            named[rival, drawn.kind] += any(
                code in alarms if is_clean else drawn.kind in names.get(code, ()) for code in found
            )
    print(f"\n{title}\n\n| fault | trainings | {' | '.join(RIVALS)} |\n|{'---|' * (2 + len(RIVALS))}")
    faults = [kind for kind in FAULTS if counts[kind]]
    for kind in (*faults, CLEAN):
        print(f"| {kind} | {counts[kind]} | {' | '.join(str(named[rival, kind]) for rival in RIVALS)} |")
    sums = (str(sum(named[rival, kind] for kind in faults)) for rival in RIVALS)
    print(f"| all faults | {sum(counts[kind] for kind in faults)} | {' | '.join(sums)} |")


if __name__ == "__main__":
    tabulate("The first lot, sealed", draw(), True)
    for lot in FURTHER:
        tabulate(f"The {lot} lot, sealed", draw_further(lot), True)
