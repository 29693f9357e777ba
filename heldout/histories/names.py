"""Which curve is which, by the words in its name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

# Training figures of other programs are taken for what Keras' `fit` reports: averages over each epoch.
_FIELDS = {
    ("training", "loss"): "fit_loss",
    ("training", "accuracy"): "fit_accuracy",
    ("heldout", "loss"): "validation_loss",
    ("heldout", "accuracy"): "validation_accuracy",
}
FIELD_NAMES = {field: field.replace("fit", "training").replace("_", " ") for field in _FIELDS.values()}
PAIRS = (("fit_loss", "validation_loss"), ("fit_accuracy", "validation_accuracy"))
WORDS_OF_VALIDATION = frozenset({"val", "valid", "validation", "dev", "eval", "evaluation", "va"})
WORDS_OF_TRAINING = frozenset({"train", "training", "fit", "tr", "trn"})
_WORDS_OF_TEST = frozenset({"test", "testing"})
_WORDS_OF_SPLITS = WORDS_OF_VALIDATION | WORDS_OF_TRAINING | _WORDS_OF_TEST
# The right class is the most probable one: plain accuracy, as timm and Ultralytics name it.
_WORDS_OF_ACCURACY = frozenset({"acc", "accuracy", "top1", "acc1"})
# Losses that are called by their formula alone.
_WORDS_OF_LOSSES = frozenset({"loss", "crossentropy", "logloss", "nll", "xent"})
_SINGULAR = {"losses": "loss", "accuracies": "accuracy", "accs": "acc", "epochs": "epoch", "steps": "step"}
# Words that say nothing of which curve it is, or that every curve of a file has.
_WORDS_WITHOUT_MEANING = (
    WORDS_OF_VALIDATION
    | WORDS_OF_TRAINING
    | _WORDS_OF_ACCURACY
    | {"loss", "epoch", "sparse", "categorical", "binary", "metrics", ""}
)
_WORDS_OF_OTHER_CURVES = {
    # Figures of single batches, and accuracies of another kind.
    *("batch", "step", "iteration", "iterations", "vs", "top", "top3", "top5", "top10", "acc3", "acc5", "acc10"),
    # Parts of a loss.
    *("l1", "l2", "reg", "regularization", "regularisation", "regularizer", "regulariser", "penalty", "decay", "kl"),
    *("aux", "auxiliary"),
}
EXPECTED = "a history needs a training and a validation curve of the loss or of the accuracy (`loss` and `val_loss`)"
# Characters of a curve's name that a message shows.
_MAX_SHOWN_NAME = 100


class SeveralCurvesError(ValueError):
    """Several curves could be meant, and nothing tells which."""


def choose_curves(names: Sequence[str], without_values: Sequence[str] = ()) -> dict[str, str]:
    """For each field of a history the name of its curve: of several the plainest one.

    Args:
        without_values: names of curves that hold nothing but NaN; only the refusal names them.

    Raises:
        SeveralCurvesError: if several could be meant.
        ValueError: if there is no pair of curves.
    """
    found: dict[str, str] = {}
    roles = assign_roles(names)
    for role, field in _FIELDS.items():
        ranked = sorted((_count_extra_words(name), name) for name in names if roles[name] == role)
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            same = list_first(name for rank, name in ranked if rank == ranked[0][0])
            raise SeveralCurvesError(f"several curves could be the {FIELD_NAMES[field]}: {same}")
        if ranked:
            found[field] = ranked[0][1]
    if not any(training in found and heldout in found for training, heldout in PAIRS):
        message = f"{EXPECTED}; its curves are: {list_first(sorted(names)) or 'none'}"
        if without_values:
            message += f"; these hold nothing but NaN, as a mean over no images does: {list_first(without_values)}"
        raise ValueError(message)
    return found


def assign_roles(names: Iterable[str]) -> Mapping[str, tuple[str, str] | None]:
    """Of which split each curve is (`training`, `heldout`), and of which figure; None where it is neither's."""
    words = {name: set(split_words(name)) for name in names}
    figures = {
        name: "loss" if _is_loss(of_name) else "accuracy" if of_name & _WORDS_OF_ACCURACY else None
        for name, of_name in words.items()
    }
    folders = {name: set(split_words(name.rpartition("/")[0])) for name in words if figures[name]}
    # A folder that all of them lie in, such as `l2_0.01/`, tells none from another.
    shared = set.intersection(*folders.values()) if folders else set()
    unnamed = _split_of_unnamed_accuracies(words, figures)
    own = {name: folders[name] - shared | set(split_words(name.rpartition("/")[2])) for name in folders}
    # The test split is that of validation where there is no other.
    has_validation = any(words[name] & WORDS_OF_VALIDATION for name in own)
    heldout = WORDS_OF_VALIDATION if has_validation else _WORDS_OF_TEST
    other = _WORDS_OF_OTHER_CURVES | (_WORDS_OF_TEST if has_validation else set())
    roles: dict[str, tuple[str, str] | None] = {}
    for name, of_name in words.items():
        kind = figures[name]
        is_other = kind is None or own[name] & other
        split: str | None = (
            "heldout" if name in own and (own[name] | of_name & WORDS_OF_VALIDATION) & heldout else "training"
        )
        if kind == "accuracy" and not of_name & _WORDS_OF_SPLITS:
            split = unnamed
        roles[name] = None if kind is None or split is None or is_other else (split, kind)
    return roles


def _split_of_unnamed_accuracies(words: Mapping[str, set[str]], figures: Mapping[str, str | None]) -> str | None:
    """Whose an accuracy is that names no split: training's, as Keras has it, unless both losses name their splits.

    Beside `train_loss` and `valid_loss` (fastai), `Training Loss` and `Validation Loss` (the table of a Hugging Face
    notebook) or as `metrics/…` (Ultralytics) it is of validation. Beside other such losses it may be anything.
    """
    losses = [of_name for name, of_name in words.items() if figures[name] == "loss"]
    if any(figures[name] == "accuracy" and of_name & WORDS_OF_VALIDATION for name, of_name in words.items()):
        return "training"
    if not any(of_name & WORDS_OF_TRAINING for of_name in losses):
        return "training"
    validation = [of_name & WORDS_OF_VALIDATION for of_name in losses if of_name & WORDS_OF_VALIDATION]
    if not validation:
        return None if any(of_name & _WORDS_OF_TEST for of_name in losses) else "training"
    is_of_ultralytics = any("metrics" in of_name for of_name in words.values())
    return "heldout" if is_of_ultralytics or any(of_name & {"valid", "validation"} for of_name in validation) else None


def test_note(names: Iterable[str]) -> tuple[str, ...]:
    """What to tell the user where chosen curves are of a test split, for lack of another."""
    of_test = [
        name
        for name in names
        if set(split_words(name)) & _WORDS_OF_TEST and not set(split_words(name)) & WORDS_OF_VALIDATION
    ]
    if not of_test:
        return ()
    return (
        f"No curve is of validation, so that of the test split was taken for it ({list_first(of_test)}). If you choose "
        "epochs or settings by it, only other images can say how well the network does.",
    )


def _is_loss(words: set[str]) -> bool:
    return bool(words & _WORDS_OF_LOSSES) or {"cross", "entropy"} <= words


def split_words(name: str) -> list[str]:
    """Its words in small letters, `valLoss` as two; plurals as their singular."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return [_SINGULAR.get(word, word) for word in re.split(r"[^a-z0-9]+", parted)]


def list_first(names: Iterable[str]) -> str:
    """The first of them."""
    return ", ".join(repr(name[:_MAX_SHOWN_NAME]) for name in islice(names, 12))


def _count_extra_words(name: str) -> int:
    return sum(word not in _WORDS_WITHOUT_MEANING for word in split_words(name))
