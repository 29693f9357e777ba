"""Trainings that learn little, with copies and without: by a rate that is too high, too few epochs or a weak network.

Copies among images of which a network knows little change no figure. All that the lots were dealt hurt, so these are
kept apart and only tell how sure a verdict is.
"""

import random
import time
from collections.abc import Iterator

from benchmarks.zoo.cuts import NotApplicable
from benchmarks.zoo.draw import SEALED_LOT, sets_of_lot
from benchmarks.zoo.faults import HELD_OUT
from benchmarks.zoo.record import UNLEARNED, append, keys_of
from benchmarks.zoo.trained import train
from benchmarks.zoo.trainings import Training, draw_training

FIRST_NUMBER, TURNS = 200, 3
COPIES = tuple(f"{kind}_train_{split}" for kind in ("exact", "recompressed", "scaled", "cropped") for split in HELD_OUT)


def list_trainings() -> Iterator[Training]:
    """Three of each open set: at too high a rate, the same with copies, and too short or too weak with copies."""
    for turn in range(TURNS):
        for name in sorted(name for lot in range(1, SEALED_LOT) for name in sets_of_lot(lot)):
            draw = random.Random(f"zoo unlearned {name} {turn}")
            planting = () if turn == 0 else ((draw.choice(COPIES), draw.choice((0, 1, 2))),)
            regime = "hasty" if turn < 2 else draw.choice(("short", "weak"))
            yield draw_training(name, FIRST_NUMBER + turn, regime, planting)


def train_unlearned(names: frozenset[str]) -> None:
    """Train what is lacking of these sets."""
    for training in list_trainings():
        if training.dataset not in names or training.key in keys_of(training.dataset, UNLEARNED):
            continue
        began = time.monotonic()
        try:
            append(train(training), UNLEARNED)
        except NotApplicable as error:
            print(f"{training.key} cannot be: {error}", flush=True)
        print(f"{training.key} {time.monotonic() - began:.0f} s", flush=True)
