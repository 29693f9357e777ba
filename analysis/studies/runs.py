"""The spec of each of a study's trainings: the base, its arm's patch, and the seed and fold of its key. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from analysis.studies.state import Purpose, RunKey
from heldout.spec.documents import merge
from heldout.spec.job import MAX_NAME_CHARACTERS, JobSpec, ValidationSpec
from heldout.spec.part import MAX_SEED

# Below this many validation images, each seed gets its own fold unless the client requests otherwise.
FEW_VALIDATION_IMAGES = 1000
MIN_FOLDS, MAX_FOLDS = 2, 20
# A learning curve has this many sizes, each larger than the previous one by the same factor, up to all images. It
# begins with this share of them, but with a few images of each class; its end has at least this many times the images.
CURVE_SIZES = 5
CURVE_SHARE = 1 / 16
MIN_OF_A_CLASS = 4
MIN_RANGE = 4


def pin_spec(spec: JobSpec) -> JobSpec:
    """Return the spec with the settings that all trainings of a study share, so that they can be compared.

    Nothing may be chosen by the test split, and the same seed gives the same bits on workers of any size.
    """
    return spec.model_copy(
        update={
            "evaluation": spec.evaluation.model_copy(update={"test": "never"}),
            "resources": spec.resources.model_copy(update={"towers": 1}),
            "training": spec.training.model_copy(update={"precision": "float32"}),
        }
    )


def apply_patch(base: JobSpec, patch: Mapping[str, Any]) -> JobSpec:
    """Return the base under an arm's merge patch. Raises pydantic's ValidationError."""
    return JobSpec.model_validate(merge(base.model_dump(mode="json"), patch))


def make_spec(base: JobSpec, patch: Mapping[str, Any], key: RunKey, *, folds: int | None, study_name: str) -> JobSpec:
    """Return the spec of the training with this key.

    Args:
        base: pinned, with a seed.
        patch: of its arm, or of a candidate.
        folds: into how many parts training and validation images are divided; None for the base's own validation.
    """
    spec = apply_patch(base, patch)
    assert base.training.seed is not None, "a study completes the spec of its base"
    training: dict[str, Any] = {"seed": derive_training_seed(base.training.seed, key.seed)}
    if key.variant and key.purpose is Purpose.RACE:
        training["train_limit"] = key.variant  # a point of a learning curve
    changes: dict[str, Any] = {
        "name": name_run(study_name, key),
        "training": spec.training.model_copy(update=training),
    }
    if key.fold is not None and folds is not None:
        changes["validation"] = ValidationSpec(folds=folds, fold=key.fold, seed=key.fold_seed)
    return spec.model_copy(update=changes)


def derive_training_seed(base_seed: int, number: int) -> int:
    """Return the `training.seed` of the seed with this number, from 0. All arms share it; the base's own never occurs.

    The base was looked at with its own seed before the study, perhaps because its results were poor by chance.
    """
    drawn: list[int] = []
    words = iter(np.random.SeedSequence(base_seed).generate_state(number + 16, np.uint64).tolist())
    while len(drawn) <= number:
        seed = next(words) % (MAX_SEED + 1)
        if seed != base_seed and seed not in drawn:
            drawn.append(seed)
    return drawn[number]


def name_run(study_name: str, key: RunKey) -> str:
    """Name a run `dropout · seed 2 · digits study`: what tells jobs apart comes first, for narrow lists."""
    what = {Purpose.RACE: f"seed {key.seed}", Purpose.TUNE: f"try {key.variant}, seed {key.seed}"}
    head = f"{key.arm} · {what.get(key.purpose, key.purpose.value)} · "
    if key.variant and key.purpose is Purpose.RACE:
        head = f"{key.variant} images · seed {key.seed} · "
    return (head + study_name)[:MAX_NAME_CHARACTERS]


def choose_splits(validation_images: int, *, has_folds: bool) -> Literal["fixed", "resampled"]:
    """Return `resampled` if there are few validation images, or the base already has folds; else `fixed`."""
    return "resampled" if has_folds or validation_images < FEW_VALIDATION_IMAGES else "fixed"


def choose_folds(train_images: int, validation_images: int) -> int:
    """Return into how many parts to divide both together, so that a part is about as large as the validation split."""
    if not validation_images:
        return MAX_FOLDS
    return max(MIN_FOLDS, min(MAX_FOLDS, round((train_images + validation_images) / validation_images)))


def choose_sizes(train_images: int, classes: int) -> tuple[int, ...]:
    """Return the numbers of training images of a learning curve, ascending; empty if there are too few images."""
    smallest = max(MIN_OF_A_CLASS * classes, round(train_images * CURVE_SHARE), 1)
    if train_images < MIN_RANGE * smallest:
        return ()
    factor = (train_images / smallest) ** (1 / (CURVE_SIZES - 1))
    return tuple(round(smallest * factor**number) for number in range(CURVE_SIZES))
