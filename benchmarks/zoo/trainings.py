"""Which trainings the zoo gets: drawn once, by fixed rules, from lists of choices."""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.diagnosis.conditions import Condition
from benchmarks.zoo.data import entry_of, has_referee, side_of, training_images
from benchmarks.zoo.draw import drawn_sets, sets_of_lot
from benchmarks.zoo.faults import FAULTS, LATER, PAIRS, QUARTER
from benchmarks.zoo.regimes import BASE, REGIMES
from heldout.spec.job import JobSpec

# Faults are dealt to the sets of each part apart. The first lot has two parts: "drawn" are the sets that judged first.
Part = Literal["open", "drawn", "second", "third", "fourth", "fifth", "sixth"]
LATER_LOTS: Mapping[str, int] = {"second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6}
_SEEDS: Mapping[Part, str] = {"open": "False", "drawn": "True"}  # of the others, their names
SMALL_SIDE = 20  # smaller images would shrink to nothing without padding
# Images × epochs × pixels of a training, in images of 28 × 28 pixels: what a second or two of one core can do.
MOST_WORK = 14_000
# The images of the sixth lot are larger, so a training of them may take longer: it would learn nothing otherwise.
MOST_WORK_OF_LARGE = 30_000
FEWEST_EPOCHS = 3
HIGH_RATE = 0.01  # from which on a lower one is tried


@dataclass(frozen=True)
class Training:
    """One training of a set. number: its place among those of the set. images: of the training split that are used.

    faults: names of `FAULTS` with their levels.
    """

    dataset: str
    number: int
    regime: str
    network: str
    images: int
    epochs: int
    batch: int = 32
    rate: float = 0.002
    schedule: str = "constant"
    dropout: float = 0.0
    l2: float = 0.0
    augmentation: str = "none"
    faults: tuple[tuple[str, int], ...] = ()
    seed: int = 0

    @property
    def key(self) -> str:
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.dataset}-{self.number}-{self.regime}-{digest[:10]}"

    @property
    def spec(self) -> JobSpec:
        """The job that this training is, complete. Its train split holds the images that are used, and no others."""
        condition = Condition(
            self.dataset,
            self.regime,
            self.network,
            self.images,
            self.epochs,
            batch=self.batch,
            rate=self.rate,
            schedule=self.schedule,
            dropout=self.dropout,
            l2=self.l2,
            augmentation=self.augmentation,
            seed=self.seed,
        )
        spec = condition.spec.model_dump(mode="json")
        spec["name"] = self.key
        spec["training"]["train_limit"] = None
        if side_of(self.dataset) < SMALL_SIDE:
            for block in spec["network"]["blocks"]:
                block["padding"] = "same"
        return JobSpec.model_validate(spec)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Training":
        """Rebuild from `asdict` and JSON."""
        return cls(**{**fields, "faults": tuple((name, level) for name, level in fields["faults"])})


Planting = tuple[tuple[str, int], ...]
SINGLES, PAIRS_OF_SET = (8, 14), (4, 5)  # with and without a referee
# Copies with other labels come in sixteen kinds: each is planted at one strength. Faults of which few kinds
# exist are dealt more often.
TIMES: Mapping[str, int] = {"wrong_": 2, "few_training": 4, "rare_classes": 3, "other_source": 3}


def all_trainings(part: Part) -> list[Training]:
    """Every training of a part, in an order in which any beginning holds each set in its share."""
    names = sets_of(part)
    if part == "sixth":
        return _plan_sixth(names)
    seed = f"zoo faults {_SEEDS.get(part, part)}"
    # Training on the fifth lot began before all of its sets were built, so each of them is dealt its faults alone.
    deals = [_deal([name], f"{seed} {name}") for name in names] if part == "fifth" else [_deal(names, seed)]
    by_set = [
        list(_of_set(name, faults[name], pairs[name])) for faults, pairs in deals for name in names if name in faults
    ]
    turns = max(map(len, by_set), default=0)
    return [of_set[turn] for turn in range(turns) for of_set in by_set if turn < len(of_set)]


def sets_of(part: Part) -> list[str]:
    """Names, sorted."""
    match part:
        case "open":
            return sorted(set(sets_of_lot(1)) - set(drawn_sets()))
        case "drawn":
            return sorted(drawn_sets())
        case _:
            return sets_of_lot(LATER_LOTS[part])


def _deal(names: Sequence[str], seed: str) -> tuple[dict[str, list[Planting]], dict[str, list[Planting]]]:
    """Each fault at each strength, and each pair, to sets that can have it, until every set has its number."""
    draw = random.Random(seed)
    faults: dict[str, list[Planting]] = {name: [] for name in names}
    pairs: dict[str, list[Planting]] = {name: [] for name in names}
    for found, wanted, possible in ((faults, SINGLES, _singles(draw)), (pairs, PAIRS_OF_SET, _pairs(draw))):
        pack: list[Planting] = []
        while True:
            open_ = [name for name in names if len(found[name]) < wanted[not has_referee(name)]]
            if not open_:
                break
            if not pack:
                pack = possible[:]
                draw.shuffle(pack)
            planting = pack.pop()
            takers = [name for name in open_ if planting not in found[name] and _fits(name, planting)]
            if takers:
                fewest = min(len(found[name]) / wanted[not has_referee(name)] for name in takers)
                even = [name for name in takers if len(found[name]) / wanted[not has_referee(name)] <= fewest + 0.2]
                found[draw.choice(even)].append(planting)
    return faults, pairs


def _singles(draw: random.Random) -> list[Planting]:
    """What is dealt in one round."""
    found: list[Planting] = []
    for name in (name for name in FAULTS if name not in LATER):
        times = next((times for start, times in TIMES.items() if name.startswith(start)), 1)
        levels = [draw.randrange(3)] if name.startswith("conflicting_") else [0, 1, 2] * times
        found += [((name, level),) for level in levels]
    return found


def _pairs(draw: random.Random) -> list[Planting]:
    return [((first, draw.choice((1, 2))), (second, draw.choice((1, 2)))) for first, second in PAIRS]


def _fits(name: str, planting: Planting) -> bool:
    entry = entry_of(name)
    for fault, _ in planting:
        if fault.startswith("other_channels") and entry["channels"] == 1:
            return False
        # Only a referee tells what another source costs.
        if fault == "other_source" and not has_referee(name):
            return False
        # Two classes have no order besides the reversed one, and no other similar class.
        if entry["classes"] == 2 and fault.startswith(("rotated", "alphabetical")):
            return False
    return True


def _of_set(name: str, faults: Sequence[Planting], pairs: Sequence[Planting]) -> Iterator[Training]:
    """Clean trainings and planted ones in turn."""
    place = not has_referee(name)
    clean = [(regime, ()) for turn in range(3) for regime, one in REGIMES.items() if turn < one.counts[place]]
    planted = [("planted", planting) for planting in (*faults, *pairs)]
    random.Random(f"zoo order {name}").shuffle(planted)
    ordered = [
        entry
        for _, entry in sorted(
            ((place + 0.5) / len(kind), entry) for kind in (clean, planted) for place, entry in enumerate(kind)
        )
    ]
    for number, (regime, planting) in enumerate(ordered):
        yield draw_training(name, number, regime, planting)


# The sixth lot: each set gets as many of each kind, dealt in turn from a shuffled list of all of that kind.
COPIES = tuple(f"{kind}_train_test" for kind in ("exact", "recompressed", "scaled", "cropped", "recut"))
_NOISE = tuple(f"wrong_{kind}_{where}" for kind in ("random", "confusable") for where in ("training", "everywhere"))
_NOISE_BOTH = tuple(f"wrong_{kind}_training_validation" for kind in ("random", "confusable"))
_ORDERS = tuple(
    f"{kind}_{split}" for kind in ("rotated", "reversed", "alphabetical") for split in ("test", "validation")
)
_PIXELS = tuple(
    f"{kind}_{split}"
    for kind in ("inverted", "other_channels", "rescaled", "brighter", "blurred")
    for split in ("test", "validation")
)
SIXTH: Mapping[str, tuple[int, tuple[Planting, ...]]] = {
    "noise": (1, tuple(((name, level),) for name in _NOISE for level in (1, QUARTER, QUARTER, 2))),
    "noise in both": (1, tuple(((name, level),) for name in _NOISE_BOTH for level in (1, QUARTER, QUARTER, 2))),
    "copies": (1, tuple(((name, level),) for name in COPIES for level in (0, 1, 2))),
    "copies elsewhere": (
        1,
        tuple(
            ((name, level),)
            for name in ("recut_train_validation", "exact_validation_test", "conflicting_recompressed_train_test")
            for level in (0, 1)
        ),
    ),
    "harmless copies": (2, tuple(((name, level),) for name in COPIES for level in (0, 1, 2))),
    "orders": (1, tuple(((name, level),) for name in _ORDERS for level in (0, 2, 2))),
    "pixels": (1, tuple(((name, level),) for name in _PIXELS for level in (0, 1, 2))),
    "splits": (
        1,
        (
            *((("other_source", level),) for level in (0, 1, 1, 2)),
            *((("rare_classes", level),) for level in (0, 1)),
            *((("few_training", level),) for level in (1, 2)),
            *((("tiny_test", level),) for level in (1, 2)),
        ),
    ),
    "two faults": (
        2,
        (
            *(((copies, 1), (other, 2)) for copies in ("recut_train_test", "exact_train_test") for other in
              ("inverted_test", "blurred_test", "other_channels_test", "reversed_test")),
            *((("exact_train_test", 1), (noise, QUARTER)) for noise in (*_NOISE_BOTH, "wrong_random_training")),
            *(((order, 2), ("wrong_random_training", QUARTER)) for order in ("rotated_test", "inverted_test")),
            *((("rare_classes", 0), (copies, 1)) for copies in ("recompressed_train_test", "recut_train_test")),
        ),
    ),
}  # fmt: skip
PLAN_OF_SIXTH = Path(__file__).with_name("plan_sixth.txt")  # its digest and keys, from before its first training
SIXTH_CLEAN = ("sound", "settled", "long", "short", "weak", "broken")
CLEAN_OF_SIXTH = 4


def _plan_sixth(names: Sequence[str]) -> list[Training]:
    """Every training of the sixth lot, in turns of one training of each set."""
    planned: dict[str, list[tuple[str, Planting]]] = {name: [] for name in names}
    for kind, (count, possible) in SIXTH.items():
        draw, pack = random.Random(f"zoo sixth {kind}"), list[Planting]()
        for _ in range(count):
            for name in names:
                regime = draw.choice(("hardly", "broken")) if kind == "harmless copies" else "planted"
                pack = pack or draw.sample(possible, len(possible))
                # No pack is of plantings alone that a set cannot have.
                planting = next(one for one in reversed(pack) if _fits(name, one))
                pack.remove(planting)
                planned[name].append((regime, planting))
    turns = [
        [draw_training(name, number, *one) for number, one in enumerate(_shuffled(name, place, planned[name]))]
        for place, name in enumerate(names)
    ]
    return [training for turn in zip(*turns, strict=True) for training in turn]


def _shuffled(name: str, place: int, planted: Sequence[tuple[str, Planting]]) -> list[tuple[str, Planting]]:
    """The set's trainings in a random order, clean ones among them; each set leaves out others of the clean regimes."""
    clean = [SIXTH_CLEAN[(place + turn) % len(SIXTH_CLEAN)] for turn in range(CLEAN_OF_SIXTH)]
    return random.Random(f"zoo order {name}").sample(
        [*((regime, ()) for regime in clean), *planted], len(clean) + len(planted)
    )


def digest_of_plan(trainings: Sequence[Training]) -> str:
    """SHA-256 of the keys of planned trainings, in their order; a key holds the digest of all that a training is."""
    return hashlib.sha256("\n".join(training.key for training in trainings).encode()).hexdigest()


def draw_training(name: str, number: int, regime: str, planting: Planting) -> Training:
    """The training of this number: of a regime, or of the one that faults are planted in."""
    draw = random.Random(f"zoo {name} {number}")
    choices = REGIMES.get(regime, BASE).choices
    fields = {field: draw.choice(options) for field, options in choices.items()}
    whole = training_images(name)
    images = fields["images"]
    fields["images"] = min(whole, round(images * whole) if isinstance(images, float) else images)
    pixels = (side_of(name) / 28) ** 2
    most = MOST_WORK_OF_LARGE if entry_of(name)["lot"] == 6 else MOST_WORK
    affordable = int(most / (fields["images"] * pixels))
    fields["epochs"] = max(FEWEST_EPOCHS, min(fields["epochs"], affordable))
    return Training(name, number, regime, faults=planting, seed=draw.randrange(2**31), **fields)
