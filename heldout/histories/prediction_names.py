"""Recognizes arrays and columns of predictions by name: their split and content."""

import re
from collections.abc import Sequence
from typing import Literal

from heldout.stored.evaluation import SplitName

What = Literal["labels", "probabilities", "answers", "hashes", "logits", "classes", "split"]

_NAMES_OF_SPLITS: dict[SplitName, str] = {
    "train": "train, training, trn",
    "validation": "validation, valid, val, dev",
    "test": "test, testing",
}
_NAMES_OF_WHATS: dict[What, str] = {
    "labels": "labels, label, class, true, true label, y, y true, targets, target, actual, ground truth",
    "probabilities": "probabilities, probability, probs, prob, proba, y prob, y proba, y probs, softmax",
    "answers": "answers, answer, y pred, preds, pred, predicted, predicted label, predictions, prediction",
    "hashes": "hashes, hash",
    "logits": "logits, logit, scores, outputs",
    "classes": "classes, class names, names",
    "split": "split, splits, subset, set",
}
SPLITS = {name: split for split, names in _NAMES_OF_SPLITS.items() for name in names.split(", ")}
_WHATS = {name: what for what, names in _NAMES_OF_WHATS.items() for name in names.split(", ")}
# Prefix of the class name in a column of probabilities.
_OF_CLASS = re.compile(r"(?:p|prob|proba|probs|probability|probabilities)[ _.:/-](?P<name>.+)", re.IGNORECASE)

# Prefix of the name of a further value of the images.
_OF_COLUMN = re.compile(r"(?:(?P<split>[a-z]+)_)?column_(?P<name>.+)", re.IGNORECASE)


def split_and_what(name: str) -> tuple[SplitName | None, What | None]:
    """The split and content that a name implies: for `test_y_prob`, test and probabilities; None if not implied."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    named = [word for word in words if word in SPLITS]
    rest = " ".join(word for word in words if word not in SPLITS)
    return SPLITS[named[0]] if len(named) == 1 else None, _WHATS.get(rest)


def get_column_class(name: str) -> str | None:
    """Return the class whose probabilities a column contains: `cat` for `p_cat`."""
    found = _OF_CLASS.fullmatch(name)
    return None if found is None or split_and_what(name)[1] is not None else found["name"].strip()


def get_array_column(name: str) -> tuple[SplitName | None, str] | None:
    """Return the split and the column whose values an array contains: test and `camera` for `test_column_camera`."""
    found = _OF_COLUMN.fullmatch(name)
    split = None if found is None or found["split"] is None else SPLITS.get(found["split"].lower())
    return None if found is None or (found["split"] is not None and split is None) else (split, found["name"])


def split_of(value: object) -> SplitName | None:
    """Return the split that a cell names."""
    return SPLITS.get(str(value).strip().lower())


def is_table_of_predictions(names: Sequence[str]) -> bool:
    """Return whether columns with these names contain labels and answers of images rather than curves."""
    whats = {split_and_what(name)[1] for name in names}
    return {"split", "labels"} <= whats and (
        bool({"answers", "probabilities"} & whats) or any(get_column_class(name) for name in names)
    )


def list_first(names: Sequence[str]) -> str:
    """List the first names."""
    return ", ".join(f"`{name[:60]}`" for name in names[:12]) + (", …" if len(names) > 12 else "")
