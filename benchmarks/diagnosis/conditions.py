"""The conditions of the collection's trainings: drawn once, by fixed rules, from lists of choices."""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from heldout.spec.job import JobSpec

DATASETS = ("digits", "mnist5k", "fashion_mnist")

# What the test split can be instead of plain. The training does not see it.
TESTS = ("blurred", "inverted", "rescaled", "renamed", "leaked", "few")


@dataclass(frozen=True)
class Condition:
    """One training. `regime` says what it was drawn for; it is not a label: those come from `truth.py`.

    images: of the training split that are used. wrong: share of the training labels that are redrawn from the other
    classes; wrong_everywhere: of validation, test and referee too. rare: one class keeps a fiftieth of its training
    images. conflicts: training images that occur a second time under another label, as a share. draw: its number in
    `DRAWS`.
    """

    dataset: str
    regime: str
    network: str
    images: int
    epochs: int
    batch: int = 32
    optimizer: str = "adam"
    rate: float = 0.001
    schedule: str = "constant"
    dropout: float = 0.0
    l2: float = 0.0
    augmentation: str = "none"
    smoothing: float = 0.0
    wrong: float = 0.0
    wrong_everywhere: bool = False
    rare: bool = False
    conflicts: float = 0.0
    test: str = "plain"
    seed: int = 0
    draw: int = 1

    @property
    def key(self) -> str:
        fields = asdict(self)
        del fields["draw"]
        return f"{self.dataset}-{self.regime}-{_digest(fields)[:10]}"

    @property
    def trained(self) -> "Condition":
        """What is trained on what data, whatever the seed and the test split. No two draws share it."""
        return replace(self, seed=0, test="plain", draw=1)

    @property
    def spec(self) -> JobSpec:
        """The complete job of this training."""
        blocks = [dict(block) for block in _network(self)["blocks"]]
        if self.dropout:
            blocks = [block | {"dropout": self.dropout} for block in blocks]
        optimizer: dict[str, Any] = {"name": self.optimizer, "learning_rate": self.rate}
        if self.optimizer == "sgd":
            optimizer["momentum"] = 0.9
        return JobSpec.model_validate(
            {
                "name": self.key,
                "dataset": self.dataset,
                "network": _network(self) | {"blocks": blocks, "l2": self.l2},
                "augmentation": AUGMENTATIONS[self.augmentation],
                "training": {
                    "epochs": self.epochs,
                    "batch_size": self.batch,
                    "optimizer": optimizer,
                    "schedule": SCHEDULES[self.schedule],
                    "label_smoothing": self.smoothing,
                    "train_limit": self.images,
                    "seed": self.seed,
                },
                "resources": {"device": "cpu", "towers": 1},
            }
        )


def _network(condition: Condition) -> dict[str, Any]:
    small = condition.dataset == "digits"  # 8×8: what has no padding would shrink to nothing
    shape: dict[str, Any] = {"padding": "same"} if small else {}
    found = NETWORKS[condition.network]
    return {**found, "blocks": [{**block, **shape} for block in found["blocks"]]}


NETWORKS: Mapping[str, dict[str, Any]] = {
    "plain": {"blocks": [{"filters": 8}, {"filters": 16}]},
    "wide": {"blocks": [{"filters": 24}]},
    "double": {"blocks": [{"filters": 8}, {"filters": 12, "repeat": 2}]},
    "dense": {"blocks": [{"filters": 8}, {"filters": 8}], "dense": [{"units": 64}]},
    "norm": {"blocks": [{"filters": 8, "batch_norm": True}, {"filters": 16, "batch_norm": True}]},
    "average": {"blocks": [{"filters": 12}, {"filters": 24}], "head": "global_average"},
    "tanh": {"blocks": [{"filters": 8, "activation": "tanh"}, {"filters": 16, "activation": "tanh"}]},
    "one": {"blocks": [{"filters": 1, "pool": 4}], "head": "global_average"},
    "two": {"blocks": [{"filters": 2, "pool": 4}], "head": "global_average"},
    "narrow": {"blocks": [{"filters": 1}, {"filters": 1}]},
}
ABLE = ("plain", "wide", "double", "dense", "norm", "average", "tanh")
SCHEDULES: Mapping[str, dict[str, Any]] = {
    "constant": {"name": "constant"},
    "cosine": {"name": "cosine"},
    "plateau": {"name": "reduce_on_plateau", "factor": 0.3, "patience": 3},
}
AUGMENTATIONS: Mapping[str, dict[str, Any] | None] = {
    "none": None,
    "mild": {"rotation_degrees": 8, "width_shift": 0.05, "height_shift": 0.05},
    "strong": {"rotation_degrees": 40, "width_shift": 0.25, "height_shift": 0.25, "zoom": 0.3},
}


@dataclass(frozen=True)
class Draw:
    """seed: of its random numbers. divisor: of each regime's count."""

    seed: str
    divisor: int


# The last one is sealed: scored once, after the rules were fixed on the earlier ones. To adjust a rule by what it shows
# takes another draw.
DRAWS: Mapping[int, Draw] = {
    1: Draw("", 1),
    2: Draw("sealed/", 2),
    3: Draw("3/", 1),
    4: Draw("4/", 2),
    5: Draw("5/", 2),
    6: Draw("6/", 1),
    7: Draw("7/", 1),
    8: Draw("8/", 1),
}


@dataclass(frozen=True)
class Regime:
    """Choices for each field, and the number of trainings for each dataset; every draw takes one choice of each."""

    count: int
    choices: Mapping[str, tuple[Any, ...]]
    tests: bool = True  # whether half of them have another test than the plain one


REGIMES: Mapping[str, Regime] = {
    "small": Regime(
        14,
        {
            "batch": (16, 32, 32),
            "network": ("plain", "wide", "double", "dense", "norm", "tanh"),
            "images": (60, 100, 200, 300, 500),
            "epochs": (20, 30, 40, 60),
            "rate": (0.001, 0.003),
            "optimizer": ("adam", "adam", "rmsprop", "adamw"),
            "wrong": (0.0, 0.0, 0.0, 0.05),
        },
    ),
    "settled": Regime(
        10,
        {
            "network": ABLE,
            "images": (500, 1000, 2000),
            "epochs": (12, 16, 24, 32, 40),
            "batch": (16, 32),
            "rate": (0.001, 0.002, 0.004),
            "schedule": ("constant", "cosine", "plateau"),
            "dropout": (0.0, 0.0, 0.25),
            "l2": (0.0, 0.001, 0.003),
            "augmentation": ("none", "none", "mild"),
            "smoothing": (0.0, 0.0, 0.1),
        },
    ),
    "long": Regime(
        18,
        {
            "network": ("plain", "wide", "double", "dense", "norm", "tanh"),
            "images": (60, 100, 200, 300, 500, 1000),
            "epochs": (30, 40, 60),
            "batch": (8, 16),
            "rate": (0.002, 0.004, 0.008),
            "optimizer": ("adam", "adamw"),
            "dropout": (0.0, 0.0, 0.25),
        },
    ),
    "finished": Regime(
        14,
        {
            "network": ABLE,
            "images": (300, 500, 1000, 2000),
            "epochs": (12, 16, 20),
            "batch": (8, 16),
            "rate": (0.002, 0.004),
            "schedule": ("cosine", "cosine", "plateau"),
            "dropout": (0.0, 0.25),
            "l2": (0.0, 0.001),
            "augmentation": ("none", "mild"),
        },
    ),
    "short": Regime(
        8,
        {
            "network": ABLE,
            "images": (300, 1000, 2000),
            "epochs": (3, 4, 5, 6, 8, 12),
            "rate": (0.00003, 0.0001, 0.0003),
            "optimizer": ("adam", "adam", "adamw", "rmsprop"),
        },
    ),
    "weak": Regime(
        8,
        {
            "network": ("one", "two", "narrow"),
            "images": (500, 1000, 2000),
            "epochs": (12, 20, 30),
            "rate": (0.01, 0.03),
            "schedule": ("cosine", "constant", "plateau"),
        },
    ),
    "stifled": Regime(
        4,
        {
            "network": ("plain", "wide", "average"),
            "images": (500, 1000),
            "epochs": (12, 20),
            "rate": (0.001, 0.003),
            "l2": (0.3, 1.0),
            "schedule": ("cosine", "constant"),
        },
    ),
    "hot": Regime(
        8,
        {
            "network": ABLE,
            "images": (300, 1000),
            "epochs": (6, 12, 20),
            "optimizer": ("adam", "sgd", "rmsprop"),
            "rate": (0.03, 0.1, 0.3, 1.0),
        },
        tests=False,
    ),
    "runaway": Regime(
        4,
        {
            "network": ("plain", "wide", "double", "dense"),
            "images": (300, 1000),
            "epochs": (4, 6, 10),
            "optimizer": ("sgd", "adam", "rmsprop"),
            "rate": (0.5, 1.0),
        },
        tests=False,
    ),
    "sound": Regime(
        6,
        {
            "network": ABLE,
            "images": (500, 1000, 2000),
            "epochs": (12, 20, 30),
            "batch": (16, 32),
            "rate": (0.002, 0.004),
            "schedule": ("cosine",),
            "dropout": (0.0, 0.25),
            "augmentation": ("none", "mild"),
        },
        tests=False,
    ),
    "noisy": Regime(
        12,
        {
            "network": ABLE,
            "images": (500, 1000, 2000),
            "epochs": (4, 6, 10, 16, 30),
            "rate": (0.001, 0.002),
            "wrong": (0.15, 0.3, 0.5, 0.7),
            "dropout": (0.0, 0.0, 0.4),
            "l2": (0.0, 0.001),
        },
    ),
    "shuffled": Regime(
        6,
        {
            "network": ("plain", "wide", "double", "dense", "norm"),
            "images": (100, 200, 400),
            "epochs": (30, 50),
            "rate": (0.002, 0.004),
            "wrong": (1.0,),
            "wrong_everywhere": (True, False),
        },
        tests=False,
    ),
    "masked": Regime(
        8,
        {
            "network": ("plain", "wide", "double", "dense"),
            "images": (500, 1000),
            "epochs": (8, 12, 20),
            "rate": (0.001, 0.002),
            "dropout": (0.0, 0.5, 0.7),
            "augmentation": ("none", "strong", "strong"),
            "schedule": ("constant", "cosine"),
        },
    ),
    "rare": Regime(
        4,
        {
            "network": ABLE,
            "images": (500, 1000),
            "epochs": (6, 10, 16),
            "rate": (0.001, 0.002),
            "rare": (True,),
            "l2": (0.0, 0.001),
        },
        tests=False,
    ),
    "conflicting": Regime(
        2,
        {
            "network": ABLE,
            "images": (500, 1000),
            "epochs": (6, 10),
            "conflicts": (0.05, 0.15),
        },
        tests=False,
    ),
}


def all_conditions() -> list[Condition]:
    """Every condition once, in an order in which any beginning of a draw holds each regime and dataset in its share."""
    chosen: dict[str, Condition] = {}
    known = set[Condition]()  # what earlier draws train on what: a later one has none of it
    for draw in DRAWS:
        new = [condition for condition in _of_draw(draw) if condition.trained not in known]
        chosen |= {condition.key: condition for condition in new if condition.key not in chosen}
        known |= {condition.trained for condition in new}
    return list(chosen.values())


def _of_draw(draw: int) -> list[Condition]:
    """One condition for each turn and dataset, or for as many turns as the draw's divisor leaves."""
    turns = [
        ((turn + 0.5) / count, name, turn)
        for name, count in ((name, regime.count // DRAWS[draw].divisor) for name, regime in REGIMES.items())
        for turn in range(count)
    ]
    return [_drawn(dataset, name, turn, draw) for _, name, turn in sorted(turns) for dataset in DATASETS]


def _drawn(dataset: str, name: str, turn: int, number: int) -> Condition:
    regime = REGIMES[name]
    draw = random.Random(f"{DRAWS[number].seed}{dataset}/{name}/{turn}")
    fields = {field: draw.choice(choices) for field, choices in regime.choices.items()}
    if dataset == "digits":
        fields["images"] = min(fields["images"], DIGITS_IMAGES)
    if fields.get("optimizer") == "rmsprop" and name != "hot":
        fields["rate"] = min(fields["rate"], 0.001)
    test = draw.choice(TESTS) if regime.tests and draw.random() < 0.5 else "plain"
    return Condition(dataset=dataset, regime=name, test=test, seed=draw.randrange(2**31), draw=number, **fields)


DIGITS_IMAGES = 500


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
