"""From which choices the zoo's trainings are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ABLE = ("plain", "wide", "double", "dense", "norm", "average")


@dataclass(frozen=True)
class Regime:
    """Choices of each field. images: shares of what the set has, or numbers of images.

    counts: how many trainings a set gets, with and without a referee.
    """

    counts: tuple[int, int]
    choices: Mapping[str, tuple[Any, ...]]


# Only sets with a referee tell which fault of training is true, so they get most of the clean trainings.
REGIMES: Mapping[str, Regime] = {
    "short": Regime(
        (2, 1), {"network": ABLE, "images": (0.5, 1000), "epochs": (4, 5, 6), "rate": (0.0001, 0.0002, 0.0005)}
    ),
    "weak": Regime(
        (2, 1),
        {
            "network": ("one", "two", "narrow"),
            "images": (300, 600, 1000),
            "epochs": (12, 16, 20),
            "rate": (0.01, 0.02),
            "schedule": ("constant", "cosine"),
        },
    ),
    "long": Regime(
        (2, 1),
        {
            "network": ("plain", "wide", "double", "dense", "norm"),
            "images": (100, 200, 300),
            "epochs": (30, 40),
            "batch": (16,),
            "rate": (0.002, 0.004),
        },
    ),
    "settled": Regime((3, 1), {"network": ABLE, "images": (0.5, 400, 800), "epochs": (12, 16), "rate": (0.002, 0.003)}),
    # Two whose networks know no training image better than others: copies cannot matter. Only the sixth lot has them.
    "hardly": Regime((0, 0), {"network": ABLE, "images": (0.5, 600), "epochs": (3, 4), "rate": (0.00005, 0.0001)}),
    "broken": Regime((0, 0), {"network": ABLE, "images": (0.5, 600), "epochs": (8, 10), "rate": (0.05, 0.1, 0.3)}),
    "sound": Regime(
        (3, 1),
        {
            "network": ("plain", "dense", "norm", "average"),
            "images": (1.0,),
            "epochs": (12, 16),
            "rate": (0.002, 0.004),
            "schedule": ("cosine", "constant"),
            "dropout": (0.0, 0.25, 0.4),
            "augmentation": ("none", "mild"),
        },
    ),
    # Only `unlearned.py` draws these: rates that are too high.
    "hasty": Regime(
        (0, 0),
        {
            "network": (*ABLE, "one", "two"),
            "images": (300, 600, 1000),
            "epochs": (5, 8, 10),
            "rate": (0.02, 0.05, 0.1, 0.3),
        },
    ),
}
# The training that faults are planted in.
BASE = Regime(
    (0, 0),
    {
        "network": ABLE,
        "images": (0.5, 600, 1000),
        "epochs": (10, 12, 14),
        "rate": (0.002, 0.003),
        "dropout": (0.0, 0.0, 0.25),
    },
)
