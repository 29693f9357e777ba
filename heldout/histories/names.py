"""Recognizes curves by the words in their names, and numbers as programs write them in cells."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

# Training figures of other programs are treated like those of Keras' `fit`: averages over each epoch.
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
# Plain (top-1) accuracy, as timm and Ultralytics name it.
_WORDS_OF_ACCURACY = frozenset({"acc", "accuracy", "top1", "acc1"})
# Losses named only by their formula.
_WORDS_OF_LOSSES = frozenset({"loss", "crossentropy", "logloss", "nll", "xent"})
_SINGULAR = {"losses": "loss", "accuracies": "accuracy", "accs": "acc", "epochs": "epoch", "steps": "step"}
# Words that do not distinguish curves.
_WORDS_WITHOUT_MEANING = (
    WORDS_OF_VALIDATION
    | WORDS_OF_TRAINING
    | _WORDS_OF_ACCURACY
    | {"loss", "epoch", "sparse", "categorical", "binary", "metrics", ""}
)
_WORDS_OF_OTHER_CURVES = {
    # Figures of single batches, and other kinds of accuracy.
    *("batch", "step", "iteration", "iterations", "vs", "top", "top3", "top5", "top10", "acc3", "acc5", "acc10"),
    # Parts of a loss.
    *("l1", "l2", "reg", "regularization", "regularisation", "regularizer", "regulariser", "penalty", "decay", "kl"),
    *("aux", "auxiliary"),
}
EXPECTED = "a history needs a training and a validation curve of the loss or of the accuracy (`loss` and `val_loss`)"
# Characters of a curve's name that a message shows.
_MAX_SHOWN_NAME = 100


class SeveralCurvesError(ValueError):
    """Several curves fit, and nothing says which one to use."""


def choose_curves(names: Sequence[str], without_values: Sequence[str] = ()) -> dict[str, str]:
    """Choose the curve for each field of a history; of several, the one with the plainest name.

    Args:
        without_values: names of curves that contain only NaN, mentioned only in the error.

    Raises:
        SeveralCurvesError: if several curves fit equally well.
        ValueError: if there is no pair of curves.
    """
    found: dict[str, str] = {}
    roles = assign_roles(names)
    for role, field in _FIELDS.items():
        fitting = [name for name in names if roles[name] == role]
        ranked = sorted(
            (sum(word not in _WORDS_WITHOUT_MEANING for word in split_words(name)), name) for name in fitting
        )
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            same = list_first(name for rank, name in ranked if rank == ranked[0][0])
            raise SeveralCurvesError(f"several curves could be the {FIELD_NAMES[field]}: {same}")
        if ranked:
            found[field] = ranked[0][1]
    if not any(training in found and heldout in found for training, heldout in PAIRS):
        message = f"{EXPECTED}; its curves are: {list_first(sorted(names)) or 'none'}"
        if without_values:
            message += f"; these contain only NaN, like a mean over no images: {list_first(without_values)}"
        raise ValueError(message)
    return found


def assign_roles(names: Iterable[str]) -> Mapping[str, tuple[str, str] | None]:
    """Return the split (`training`, `heldout`) and figure of each curve; None if it is not a curve of either."""
    words = {name: set(split_words(name)) for name in names}
    losses = {name for name, own in words.items() if own & _WORDS_OF_LOSSES or {"cross", "entropy"} <= own}
    figures = {
        name: "loss" if name in losses else "accuracy" if of_name & _WORDS_OF_ACCURACY else None
        for name, of_name in words.items()
    }
    folders = {name: set(split_words(name.rpartition("/")[0])) for name in words if figures[name]}
    # A folder shared by all curves, such as `l2_0.01/`, does not distinguish them.
    shared = set.intersection(*folders.values()) if folders else set()
    unnamed = _guess_split_of_unnamed_accuracies(words, figures)
    own = {name: folders[name] - shared | set(split_words(name.rpartition("/")[2])) for name in folders}
    # Without a validation split, the test split takes its place.
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


def _guess_split_of_unnamed_accuracies(words: Mapping[str, set[str]], figures: Mapping[str, str | None]) -> str | None:
    """Guess the split of an accuracy that names none: training, as in Keras, unless both losses name their splits.

    It is validation next to `train_loss` and `valid_loss` (fastai) or `Training Loss` and `Validation Loss` (the table
    of a Hugging Face notebook), or as `metrics/…` (Ultralytics). Next to other such losses it is unknown.
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


def make_test_note(names: Iterable[str]) -> tuple[str, ...]:
    """Make a note for the user if chosen curves come from a test split because there is no other."""
    of_test = [
        name
        for name in names
        if set(split_words(name)) & _WORDS_OF_TEST and not set(split_words(name)) & WORDS_OF_VALIDATION
    ]
    if not of_test:
        return ()
    return (
        f"There is no validation curve, so the test split was used instead ({list_first(of_test)}). If you choose "
        "epochs or settings by it, only other images can show how well the network does.",
    )


def split_words(name: str) -> list[str]:
    """Split a name into lowercase words, with plurals in the singular; `valLoss` has two."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return [_SINGULAR.get(word, word) for word in re.split(r"[^a-z0-9]+", parted)]


def list_first(names: Iterable[str]) -> str:
    """List the first names."""
    return ", ".join(repr(name[:_MAX_SHOWN_NAME]) for name in islice(names, 12))


_DECIMAL_COMMA = re.compile(r"[-+]?(\d{1,3}(\.\d{3})+|\d+),\d+([eE][-+]?\d+)?")
_GROUPS = re.compile(r"\.(?=\d{3})")


def parse_number(cell: object) -> float | None:
    """Parse a cell's number, which may be NaN or infinite; None if it is not a number.

    Decimal commas (`0,35`, `1.234,5`) and percent signs are understood. `null` in a record means NaN, because JSON
    cannot represent NaN.
    """
    if cell is None:
        return float("nan")
    if isinstance(cell, bool):
        return None
    if isinstance(cell, int | float):
        try:
            return float(cell)
        except OverflowError:
            return float("inf")
    if not isinstance(cell, str):
        return None
    text = cell.strip().removesuffix("%").strip()
    if _DECIMAL_COMMA.fullmatch(text):
        text = _GROUPS.sub("", text.partition(",")[0]) + "." + text.partition(",")[2]
    try:
        return float(text)
    except ValueError:
        return None
