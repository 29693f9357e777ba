"""Tests whether train and a held-out split show the same kind of images, and whether a known mistake explains why not.

The test uses the energy distance (Székely and Rizzo 2013, JSPI 143) between two splits, with equal weight for each
class. It compares it with the distance after the images of each class, or their groups, were assigned to the splits at
random. A random split is mistaken for a shifted one twice in ten thousand times. In a large split even the smallest
difference is certain, so anything above `info` also needs an effect that matters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.image_quality import MAX_IMAGES, Degradation, find_degradation
from heldout.fixes.changes import NamedPixelChange
from heldout.stored.audit import AuditFinding, Severity
from heldout.words import join_with_and, rough_percent
from heldout.words.changed_images import QUALITIES
from worker.ingest.audit.dataset import ADJECTIVES, MAX_EXAMPLES, IngestedDataset
from worker.ingest.audit.samples import Sample, compute_features, standardize, take_sample
from worker.ingest.images.pixels import change_pixels

SAMPLE_IMAGES = 600  # of each split
MIN_IMAGES = 20
# Random assignments per round; and in total, if the first round does not decide whether the split is random.
PERMUTATIONS_PER_ROUND = 999
MAX_PERMUTATIONS = 9990
MAX_P_VALUE = 0.0002
CERTAIN_SIGMAS = 20.0  # beyond the mean of random assignments: no number of them would reach that
# Shares of the energy that lies between the splits. For test digits of mnist5k it is 0.002 as they are,
# 0.006 darkened by 5% or moved by a pixel, 0.03 turned by 10 degrees, 0.5 inverted.
WARNING_EFFECT = 0.005
CRITICAL_EFFECT = 0.05
MIN_SCALE_FACTOR = 10.0  # between the brightest pixels of two splits
MAX_EFFECT_LEFT = 0.25  # share of the effect that is left once a mistake is undone
# Differences of means that a person sees in the examples, in standard deviations of the training images.
CLEAR_DIFFERENCE = 0.3
DIFFERENCES = {
    "brightness": ("are darker", "are brighter"),
    "contrast": ("have less contrast", "have more contrast"),
    "edges": ("are smoother", "have sharper edges"),
}


@dataclass(frozen=True)
class PreparationMistake:
    """A known mistake in preparing a split, and the change of pixels that undoes it.

    change: by name; or factor and offset, on images in [0, 1].
    """

    code: str
    kind: str
    change: NamedPixelChange | tuple[float, float]

    def undo(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo the mistake on images in [0, 1]."""
        if isinstance(self.change, str):
            return change_pixels(images, self.change, (0, 1))
        factor, offset = self.change
        return images * np.float32(factor) + np.float32(offset)

    def make_cure(self, value_range: tuple[float, float]) -> str | dict[str, float]:
        """Make the change that undoes it in a new version of the dataset, in pixel values."""
        if isinstance(self.change, str):
            return self.change
        (factor, offset), (low, high) = self.change, value_range
        shift = low * (1 - factor) + offset * (high - low)
        return {"factor": factor, **({"offset": shift} if shift else {})}


MISTAKES = (
    PreparationMistake("scale_mismatch", "pixel values are 255 times smaller than in training", (255.0, 0.0)),
    PreparationMistake("scale_mismatch", "pixel values are 255 times larger than in training", (1 / 255, 0.0)),
    PreparationMistake("scale_mismatch", "pixel values are from 0 to 1, in training from -1 to 1", (2.0, -1.0)),
    PreparationMistake("scale_mismatch", "pixel values are from -1 to 1, in training from 0 to 1", (0.5, 0.5)),
    PreparationMistake("inverted_values", "light and dark are swapped", "invert"),
    PreparationMistake("channel_order_mismatch", "red and blue are swapped", "swap_channels"),
    PreparationMistake("orientation_mismatch", "rows and columns are swapped", "transpose"),
    PreparationMistake("orientation_mismatch", "images are turned by 90° to the left", "turn_right"),
    PreparationMistake("orientation_mismatch", "images are turned by 90° to the right", "turn_left"),
    PreparationMistake("orientation_mismatch", "images are upside down", "upside_down"),
    PreparationMistake("orientation_mismatch", "top and bottom are swapped", "flip_vertical"),
    PreparationMistake("orientation_mismatch", "left and right are swapped", "flip_horizontal"),
)
WHAT_TO_DO = {
    "split_shift": "Look at the examples: another camera, source, time, or step of preparation? Mix the sources, or "
    "upload again and merge the splits if that is how the network will be used.",
}
NOTHING_TO_DO = "No action is needed. If results on this split surprise you, look at the examples."
PREPARE_ALIKE = "Prepare all splits with the same code."


@dataclass(frozen=True)
class SplitComparison:
    """How far apart two splits are: the share of energy between them, less the part due to chance, and its p-value."""

    effect: float
    p_value: float  # the share of random assignments that lie as far apart, no smaller than their number allows
    score: float  # standard deviations of random assignments that it lies beyond their mean
    by_chance: float  # mean energy distance of random assignments
    apart: NDArray[np.float32]  # (held-out images,) how much closer each is to its own split than to train


def find_shift(dataset: IngestedDataset) -> tuple[list[AuditFinding], dict[str, Any]]:
    """Compare test and validation with train; return findings, and the figures of each comparison."""
    train = take_sample(dataset, "train", SAMPLE_IMAGES)
    found: dict[str, AuditFinding] = {}
    checks: dict[str, Any] = {}
    for split in ("test", "validation"):
        held = take_sample(dataset, split, SAMPLE_IMAGES)
        figures: dict[str, Any] = {"train": len(train.rows), split: len(held.rows)}
        checks[f"shift_{split}"] = figures
        if min(len(train.rows), len(held.rows)) < MIN_IMAGES:
            figures["skipped"] = f"fewer than {MIN_IMAGES} images"
            continue
        compared = compare(train, held)
        figures |= {"effect": round(compared.effect, 6), "p_value": compared.p_value, "score": round(compared.score, 2)}
        if compared.p_value > MAX_P_VALUE and compared.score < CERTAIN_SIGMAS:
            continue
        finding = _make_finding(dataset, split, train, held, compared)
        # A mistake in train shows in both held-out splits. It is reported once, and fixed in both.
        first = found.setdefault(finding.code, finding)
        if {"undone_by"} <= first.numbers.keys() & finding.numbers.keys():
            first.numbers["undone_by"] |= finding.numbers["undone_by"]
    return list(found.values()), checks


def compare(train: Sample, held: Sample, undo: Callable[[Any], Any] | None = None) -> SplitComparison:
    """Compute the energy distance of two samples.

    With `undo` the held-out images are changed first, and there is no p-value.
    """
    images = held.images if undo is None else undo(held.images)
    points = standardize([compute_features(train.images), compute_features(np.ascontiguousarray(images))])
    is_held = np.arange(len(points)) >= len(train.rows)
    labels = np.concatenate([train.labels, held.labels])
    distances = _compute_distances(points)
    weights = _compute_weights(is_held, labels)
    energy = float(-weights @ distances @ weights)
    between = float(2 * np.maximum(weights, 0) @ distances @ np.maximum(-weights, 0))
    if undo is not None:
        return SplitComparison(energy / max(between, 1e-12), 1.0, 0.0, 0.0, np.empty(0, np.float32))
    units = np.concatenate([train.units, held.units])
    chance = np.empty(0)
    while len(chance) < MAX_PERMUTATIONS:
        deals = _permute_weights(is_held, labels, units, seed=len(chance))
        chance = np.append(chance, -np.einsum("di,di->d", deals @ distances, deals))
        score = (energy - float(chance.mean())) / max(float(chance.std()), 1e-12)
        if score >= CERTAIN_SIGMAS or (chance >= energy).sum() > 1:
            break  # more rounds would change nothing
    return SplitComparison(
        effect=max(0.0, energy - float(chance.mean())) / max(between, 1e-12),
        p_value=round((1 + int((chance >= energy).sum())) / (len(chance) + 1), 6),
        score=score,
        by_chance=float(chance.mean()) / max(between, 1e-12),
        apart=-(distances @ weights)[is_held],
    )


def _make_finding(
    dataset: IngestedDataset, split: str, train: Sample, held: Sample, compared: SplitComparison
) -> AuditFinding:
    severity: Severity = (
        "info" if compared.effect < WARNING_EFFECT else "warning" if compared.effect < CRITICAL_EFFECT else "critical"
    )
    numbers: dict[str, Any] = {
        "split": split,
        "effect": round(compared.effect, 6),
        "p_value": compared.p_value,
        "score": round(compared.score, 2),
        "compared": {"train": len(train.rows), split: len(held.rows)},
        "differences": _measure_differences(train, held),
    }
    code = "split_shift"
    if severity != "info":
        times = _compute_times_darker(train, held)
        mistake, left = _find_best_mistake(train, held, compared)
        if mistake is not None:
            code, severity = mistake.code, "critical"
            numbers |= {
                "slip": f"In the {split} split, {mistake.kind}.",
                "effect_once_undone": round(left, 6),
                "undone_by": {split: mistake.make_cure(dataset.value_range)},
            }
        elif times >= MIN_SCALE_FACTOR or times <= 1 / MIN_SCALE_FACTOR:
            # Whole numbers that were scaled down are lost and cannot be restored.
            code, severity = "scale_mismatch", "critical"
            how = f"{times:.0f} times smaller" if times > 1 else f"{1 / times:.0f} times larger"
            numbers["slip"] = f"In the {split} split, pixel values are about {how} than in training."
        elif (lost := _find_lost_quality(dataset, split)) is not None:
            numbers["quality"] = {"kind": lost.kind, "strength": round(lost.strength, 2)}
    order = np.argsort(-compared.apart, kind="stable")[:MAX_EXAMPLES]
    return AuditFinding(
        code=code,
        severity=severity,
        numbers=numbers,
        explanation=_explain_shift(split, compared.effect, numbers) + _explain_quality(split, numbers),
        what_to_do=NOTHING_TO_DO if severity == "info" else WHAT_TO_DO.get(code, PREPARE_ALIKE),
        examples=dataset.examples(held.rows[order]),
    )


def _find_lost_quality(dataset: IngestedDataset, split: str) -> Degradation | None:
    """Find out whether the images of a split are blurred, noisy or otherwise worse than those of training."""
    low, high = dataset.value_range
    parts = []
    for rows in (dataset.splits["train"], dataset.splits[split]):
        some = rows[np.linspace(0, len(rows) - 1, min(len(rows), MAX_IMAGES)).round().astype(np.int64)]
        levels = (dataset.pixels.take(some).astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
        parts.append(np.rint(levels).clip(0, 255).astype(np.uint8))
    return find_degradation(*parts)


def _explain_quality(split: str, numbers: Mapping[str, Any]) -> str:
    """Say what the images have lost, and that copies among them are not known."""
    if "quality" not in numbers:
        return ""
    return (
        f" The {split} images are {QUALITIES[numbers['quality']['kind']].name}. Copies of training images among them "
        "are hard to recognize, so how many there are is not known."
    )


def _explain_shift(split: str, effect: float, numbers: Mapping[str, Any]) -> str:
    size = (
        f"The split accounts for {rough_percent(effect)} of the differences between images; a random split would "
        "account for about 0%."
    )
    mistake, left = numbers.get("slip"), numbers.get("effect_once_undone")
    if mistake is None:
        degree, end = "", "Results on one say less about the other."
        if effect < WARNING_EFFECT:
            degree, end = "a little ", "A difference this small hardly changes a result."
        how = _describe_differences(numbers["differences"])
        return f"The {ADJECTIVES[split]} images look {degree}different from the training images{how}. {size} {end}"
    if left is None:
        return f"{mistake} {size}"
    alike = "they look like" if left < WARNING_EFFECT else "they look more like"
    return f"{mistake} With that undone, {alike} the training images."


def _describe_differences(differences: Mapping[str, float]) -> str:
    """Say in words which means differ clearly, such as ": they are darker". Empty if none does."""
    clear = [
        more if differences[name] > 0 else less
        for name, (less, more) in DIFFERENCES.items()
        if abs(differences[name]) >= CLEAR_DIFFERENCE
    ]
    return f": they {join_with_and(clear)}" if clear else ""


def _compute_times_darker(train: Sample, held: Sample) -> float:
    """Compute how many times brighter the brightest pixel of a typical image is in train."""
    of_train, of_held = (float(np.median(sample.images.max(axis=(1, 2, 3)))) for sample in (train, held))
    return of_train / of_held if of_train > 0 and of_held > 0 else 1.0


def _find_best_mistake(
    train: Sample, held: Sample, compared: SplitComparison
) -> tuple[PreparationMistake | None, float]:
    _, height, width, channels = held.images.shape
    best, least = None, MAX_EFFECT_LEFT * compared.effect
    for mistake in MISTAKES:
        if channels == 1 and mistake.code == "channel_order_mismatch":
            continue
        if mistake.undo(held.images[:1]).shape[1:] != (height, width, channels):
            continue
        left = max(0.0, compare(train, held, mistake.undo).effect - compared.by_chance)
        if left < least:
            best, least = mistake, left
    return best, least


def _measure_differences(train: Sample, held: Sample) -> dict[str, float]:
    """Measure how far the means of statistics differ, in standard deviations of train."""
    found = {}
    for name, statistic in {
        "brightness": lambda x: x.mean(axis=(1, 2, 3)),
        "contrast": lambda x: x.std(axis=(1, 2, 3)),
        "edges": lambda x: np.abs(np.diff(x, axis=2)).mean(axis=(1, 2, 3)),
    }.items():
        of_train, of_held = statistic(train.images), statistic(held.images)
        found[name] = round(float((of_held.mean() - of_train.mean()) / max(float(of_train.std()), 1e-6)), 4)
    return found


def _compute_distances(points: NDArray[np.float32]) -> NDArray[np.float32]:
    squares = (points * points).sum(axis=1)
    between = squares[:, None] + squares[None] - 2 * points @ points.T
    found: NDArray[np.float32] = np.sqrt(np.maximum(between, 0))
    np.fill_diagonal(found, 0)
    return found


def _compute_weights(is_held: NDArray[np.bool_], labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return weights that sum to 1 over one split and to -1 over the other, the same for each class that both have."""
    size = int(np.max(labels)) + 1
    held, train = (np.bincount(labels[chosen], minlength=size) for chosen in (is_held, ~is_held))
    both = (held > 0) & (train > 0)
    counts = np.where(is_held, held[labels], -train[labels])
    weights = np.where(both[labels], 1 / counts, 0)
    return (weights / max(1, int(both.sum()))).astype(np.float32)


def _permute_weights(
    is_held: NDArray[np.bool_], labels: NDArray[np.int32], units: NDArray[np.int64], seed: int
) -> NDArray[np.float32]:
    """Return (PERMUTATIONS_PER_ROUND, images) weights, with each class's units assigned to splits at random."""
    _, first, unit_of = np.unique(units, return_index=True, return_inverse=True)
    if len(first) == len(units) or not np.array_equal(is_held, is_held[first][unit_of]):
        # Images are assigned one by one, as are those of groups that cross splits; a class then keeps its weights.
        return _shuffle(_compute_weights(is_held, labels), labels, seed)
    dealt = _shuffle(is_held[first], labels[first], seed)
    return np.stack([_compute_weights(of_units[unit_of], labels) for of_units in dealt])


def _shuffle(values: NDArray[Any], labels: NDArray[np.int32], seed: int) -> NDArray[Any]:
    """Return (PERMUTATIONS_PER_ROUND, count) values, shuffled within each label."""
    order = np.argsort(labels, kind="stable")
    # Adding random fractions to the labels and sorting them shuffles the images of each label.
    keys = labels[order] + np.random.default_rng(seed).random((PERMUTATIONS_PER_ROUND, len(labels)))
    dealt = np.empty((PERMUTATIONS_PER_ROUND, len(values)), values.dtype)
    dealt[:, order] = values[order][np.argsort(keys, axis=1)]
    return dealt
