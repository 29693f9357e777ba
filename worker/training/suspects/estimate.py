"""Decides whether a search can distinguish wrong labels from hard images, and estimates the number of wrong labels.

Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heldout.stored.audit import ClassLabels, PlantedLabels, SplitLabels, Verdict, WrongLabels
from worker.training.suspects.noise import WrongShare, estimate_shares
from worker.training.suspects.planting import SUSPECTED, Judged, check, judge, plant

# Conditions for a conclusive search, fitted on the open sets of the zoo (docs/measurements/suspects.md). The networks
# must get this share of the right labels right and find this share of planted labels. The range of the share of wrong
# labels must not be wider than this.
MIN_RIGHT = 0.7
MIN_FOUND = 0.5
MAX_WIDTH = 0.15
PLANTING = 7


@dataclass(frozen=True)
class LabelEstimate:
    """The estimate for a dataset's labels.

    counts, splits: for all images and for each split, whatever the verdict.
    """

    verdict: Verdict
    judged: Judged
    counts: WrongLabels
    splits: dict[str, SplitLabels]
    planted: PlantedLabels
    classes: tuple[ClassLabels, ...]


def estimate(
    said: NDArray[np.floating], labels: NDArray[np.int32], splits: Mapping[str, NDArray[np.integer]], seed: int
) -> LabelEstimate:
    """Judge all labels, and how reliable that is.

    Args:
        said: (images, classes) probabilities by networks that were trained without the image.
        labels: (images,) the given classes.
        splits: positions of each split's images.
    """
    estimated = estimate_shares(said, labels, splits)
    whole = estimated.whole
    planted = plant(said, labels, np.random.default_rng([seed, PLANTING]))
    judged = judge(said, labels, planted, whole.share, estimated.errors)
    agrees = said.argmax(axis=1) == labels
    checked = check(said, labels, planted, whole.share, estimated.errors)
    known = PlantedLabels(
        planted=len(planted.rows),
        found=float(checked.found.mean()),
        right_class=float(checked.suggests_right.mean()),
        accused=checked.accused,
    )
    return LabelEstimate(
        verdict="can_tell" if _can_tell(float(agrees.mean()), whole, known) else "too_hard",
        judged=judged,
        counts=_estimate_counts(whole, len(labels)),
        splits={
            split: SplitLabels(images=len(splits[split]), **_estimate_counts(share, len(splits[split])).model_dump())
            for split, share in estimated.parts.items()
        },
        planted=known,
        classes=_describe_classes(labels, agrees, labels[planted.rows], checked.found),
    )


def is_trusted(said: NDArray[np.floating], labels: NDArray[np.int32], seed: int) -> NDArray[np.bool_]:
    """Return (images,) whether an image may be trained on after networks have judged its label."""
    estimated = estimate_shares(said, labels, {})
    planted = plant(said, labels, np.random.default_rng([seed, PLANTING]))
    return judge(said, labels, planted, estimated.whole.share, estimated.errors).wrong < SUSPECTED


def _can_tell(agreement: float, whole: WrongShare, known: PlantedLabels) -> bool:
    right = agreement / (1 - whole.low)
    return right >= MIN_RIGHT and whole.high - whole.low <= MAX_WIDTH and known.found >= MIN_FOUND


def _estimate_counts(share: WrongShare, images: int) -> WrongLabels:
    return WrongLabels(
        count=round(share.share * images),
        low=int(np.floor(share.low * images)),
        high=int(np.ceil(share.high * images)),
    )


def _describe_classes(
    labels: NDArray[np.int32], agrees: NDArray[np.bool_], planted: NDArray[np.int32], is_found: NDArray[np.bool_]
) -> tuple[ClassLabels, ...]:
    return tuple(
        ClassLabels(
            label=int(label),
            images=int((labels == label).sum()),
            agreement=float(agrees[labels == label].mean()),
            found=float(is_found[planted == label].mean()),
        )
        for label in np.unique(labels)
    )
