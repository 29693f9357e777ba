"""How often validation curves that neither improve nor worsen are mistaken for overfitting."""

from collections.abc import Iterable, Iterator
from itertools import product
from math import log, sqrt

import numpy as np

from benchmarks.diagnosis.score import codes_of
from heldout.diagnosis import History, diagnose

CURVES = 500
LENGTHS = (30, 60)
NOISES = (0.01, 0.03, 0.1)  # standard deviation of the validation loss, whose level is 1
HALVINGS = (5, 20)  # epochs in which the training loss becomes half of itself
UNTRAINED = log(10)
MEMORY = 0.5  # what is left of an epoch's noise in the next one


def tables() -> Iterator[str]:
    """Count false alarms: every overfitting that is reported although validation stays flat while training falls."""
    yield f"Of {CURVES} flat validation curves each, whose noise training does not share, taken for overfitting:"
    yield ""
    yield f"| epochs | noise | training loss halves in | independent noise | autocorrelated noise ({MEMORY}) |"
    yield "|---|---|---|---|---|"
    for length in LENGTHS:
        every = []
        for noise, halving in product(NOISES, HALVINGS):
            every.append([_alarms(length, noise, halving, memory) for memory in (0.0, MEMORY)])
            yield f"| {length} | {100 * noise:.0f}% | {halving} epochs | {_percent(every[-1])} |"
        yield f"| {length} | all | | {_percent(np.mean(every, axis=0))} |"


def _percent(shares: Iterable[float]) -> str:
    return " | ".join(f"{100 * share:.1f}%" for share in shares)


def _alarms(length: int, noise: float, halving: int, memory: float) -> float:
    """The share of flat curves that are mistaken for overfitting."""
    training = tuple((UNTRAINED * 0.5 ** (np.arange(length) / halving)).tolist())
    draw = np.random.default_rng([length, round(1000 * noise), halving]).normal(size=(CURVES, length))
    for epoch in range(1, length):
        draw[:, epoch] = memory * draw[:, epoch - 1] + sqrt(1 - memory**2) * draw[:, epoch]
    curves = (1 + noise * draw).tolist()
    found = [diagnose(History(train_loss=training, validation_loss=tuple(curve))) for curve in curves]
    return float(np.mean(["loss_rises" in codes_of(diagnosis) for diagnosis in found]))
