"""Which two causes each training has: drawn once, by fixed rules, from lists of choices."""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.diagnosis.conditions import NETWORKS
from benchmarks.diagnosis.sets import SHUFFLE
from heldout.spec.job import JobSpec

# Images of train, validation, test and referee.
CUTS = {
    "fashion_mnist": (5000, 1000, 1500, 10_000),
    "mnist5k": (1200, 500, 700, 2600),
}
# Epochs of a training without a fault of training.
BASE_EPOCHS = {"fashion_mnist": 12, "mnist5k": 12}
BASE_RATE = 0.003
# What is trained: fashion_mnist more often, since its referee is larger.
BASES = (
    ("fashion_mnist", "plain"),
    ("fashion_mnist", "dense"),
    ("fashion_mnist", "double"),
    ("mnist5k", "dense"),
)
BASE_SEEDS = (1, 2, 3, 4, 5)

# Causes that change what is measured with the same weights. Each has amounts that matter much and little; copies never
# matter much. validation_copies, test_copies: share of the split. renamed: classes that are. pixels, shift: see
# `faults.py`.
MEASURING: Mapping[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "validation_copies": ((), (0.2, 0.4, 0.6)),
    "test_copies": ((), (0.2, 0.4)),
    "renamed": ((10, 5, 3), (2,)),
    "pixels": (("inverted", "unit", "dimmed 0.3"), ("dimmed 0.6", "brightened 40")),
    "shift": (
        ("blurred 2.5", "rotated 35", "rotated 60", "noisy 90"),
        ("blurred 1.0", "rotated 15", "noisy 45"),
    ),
}
# Causes that change what is learned. few_images: of training. long: times the epochs, at a higher rate. wrong_labels:
# share of the training labels. small_network: its name.
TRAINING: Mapping[str, tuple[Any, ...]] = {
    "few_images": (100, 200, 400),
    "wrong_labels": (0.3, 0.5),
    "small_network": ("one", "two"),
    "long": (4,),
}
FEW_EPOCHS = 50  # of a training with few images, which takes no more steps than its base
LONG_RATE = 0.006
# A small network learns slowly.
SMALL_EPOCHS, SMALL_RATE = 40, 0.01

ATTEMPTS = 22

Pair = tuple[tuple[str, bool], tuple[str, bool]]  # two causes, and whether each matters much

# One of each in turn.
MEASURING_PAIRS: tuple[Pair, ...] = (
    (("renamed", True), ("pixels", False)),
    (("pixels", True), ("shift", False)),
    (("shift", True), ("validation_copies", False)),
    (("renamed", False), ("pixels", True)),
    (("renamed", True), ("test_copies", False)),
    (("shift", True), ("renamed", False)),
    (("pixels", True), ("validation_copies", False)),
    (("pixels", False), ("shift", True)),
    (("renamed", True), ("validation_copies", False)),
    (("renamed", True), ("shift", False)),
    (("pixels", True), ("test_copies", False)),
    (("shift", True), ("test_copies", False)),
)
TRAINING_PAIRS: tuple[Pair, ...] = (
    (("few_images", True), ("validation_copies", False)),
    (("few_images", True), ("shift", False)),
    (("long", False), ("renamed", False)),
    (("few_images", True), ("test_copies", False)),
    (("small_network", True), ("test_copies", False)),
    (("few_images", False), ("renamed", True)),
    (("few_images", True), ("pixels", False)),
    (("wrong_labels", True), ("renamed", True)),
    (("few_images", False), ("pixels", True)),
    (("small_network", True), ("validation_copies", False)),
    (("wrong_labels", True), ("test_copies", False)),
    (("few_images", False), ("shift", True)),
    (("long", False), ("shift", True)),
    (("small_network", True), ("pixels", False)),
)


@dataclass(frozen=True)
class Draw:
    """How many trainings with two faults of measuring, and with one of training and one of measuring."""

    seed: str
    measuring: int
    training: int


# The last one is sealed: scored once, after the rules were fixed. The others are for design; the second one was sealed
# until the rules changed by what it showed.
DRAWS: Mapping[int, Draw] = {
    1: Draw("two/design/", 12, 10),
    2: Draw("two/sealed/", 60, 42),
    3: Draw("two/sealed2/", 60, 42),
}
# From this draw on each training has a shuffle of the images of its own. The same validation images in all trainings
# make the same error in all of them, and tell nothing of how often an interval holds the truth.
FIRST_DRAW_OF_OWN_SHUFFLES = 3


@dataclass(frozen=True)
class TwoCauses:
    """One training. causes: the amount of each planted cause; none in a training that others are compared with."""

    dataset: str
    network: str
    causes: Mapping[str, Any]
    seed: int
    draw: int

    @property
    def key(self) -> str:
        fields = json.dumps([self.dataset, self.network, self.causes, self.seed], sort_keys=True)
        return f"{self.dataset}-{'-'.join(self.causes) or 'base'}-{hashlib.sha256(fields.encode()).hexdigest()[:10]}"

    @property
    def base(self) -> tuple[str, str]:
        """Dataset and network of the same training without a fault of training."""
        return self.dataset, self.network

    @property
    def shuffle(self) -> int:
        """Which shuffle of the dataset its images come from."""
        return self.seed if self.draw >= FIRST_DRAW_OF_OWN_SHUFFLES else SHUFFLE

    @property
    def training_cause(self) -> str | None:
        return next((cause for cause in self.causes if cause in TRAINING), None)

    @property
    def measuring_causes(self) -> list[str]:
        return [cause for cause in self.causes if cause in MEASURING]

    @property
    def spec(self) -> JobSpec:
        """The job that this training is, complete."""
        epochs, rate = BASE_EPOCHS[self.dataset], BASE_RATE
        if "few_images" in self.causes:
            epochs = FEW_EPOCHS
        if "small_network" in self.causes:
            epochs, rate = SMALL_EPOCHS, SMALL_RATE
        if "long" in self.causes:
            epochs, rate = epochs * self.causes["long"], LONG_RATE
        return JobSpec.model_validate(
            {
                "name": self.key,
                "dataset": self.dataset,
                "network": NETWORKS[self.causes.get("small_network", self.network)],
                "training": {
                    "epochs": epochs,
                    "batch_size": 32,
                    "optimizer": {"name": "adam", "learning_rate": rate},
                    "train_limit": self.causes.get("few_images", CUTS[self.dataset][0]),
                    "seed": self.seed,
                },
                "resources": {"device": "cpu", "towers": 1},
            }
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def bases() -> list[TwoCauses]:
    """What a training with a fault of training is compared with: the same without it, five seeds each."""
    return [TwoCauses(dataset, network, {}, seed, 0) for dataset, network in BASES for seed in BASE_SEEDS]


def all_conditions() -> list[TwoCauses]:
    """Every condition once, in an order in which any beginning of a draw holds both kinds in their shares."""
    return [condition for number in DRAWS for condition in _of_draw(number)]


def _of_draw(number: int) -> list[TwoCauses]:
    drawn = DRAWS[number]
    found = []
    for kind, pairs, wanted in (("m", MEASURING_PAIRS, drawn.measuring), ("t", TRAINING_PAIRS, drawn.training)):
        known = set[str]()
        for turn in range(wanted):
            condition = _drawn(f"{drawn.seed}{kind}/{turn}", pairs[turn % len(pairs)], number, known)
            found.append(((turn + 0.5) / wanted, condition))
    return [condition for _, condition in sorted(found, key=lambda pair: pair[0])]


def _drawn(seed: str, pair: Pair, number: int, known: set[str]) -> TwoCauses:
    """A condition that no earlier one of its kind has on the same base, if few attempts give one."""
    for attempt in range(ATTEMPTS):
        draw = random.Random(f"{seed}/{attempt}")
        causes = {cause: draw.choice(_amounts(cause, much)) for cause, much in pair}
        dataset, network = draw.choice(BASES)
        condition = TwoCauses(dataset, network, causes, draw.randrange(2**31), number)
        same = json.dumps([dataset, network, causes], sort_keys=True)
        if same not in known:
            break
    known.add(same)
    return condition


def _amounts(cause: str, much: bool) -> tuple[Any, ...]:
    return TRAINING[cause] if cause in TRAINING else MEASURING[cause][0 if much else 1]
