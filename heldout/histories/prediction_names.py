"""Recognizes arrays and columns of predictions by name: their split and content."""

import re
from collections.abc import Sequence
from typing import Literal

from heldout.stored.evaluation import SplitName

What = Literal["labels", "probabilities", "answers", "hashes", "logits", "classes", "split"]

SPLITS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_WHATS: dict[str, What] = {
    **dict.fromkeys(
        (
            "labels",
            "label",
            "class",
            "true",
            "true label",
            "y",
            "y true",
            "targets",
            "target",
            "actual",
            "ground truth",
        ),
        "labels",
    ),
    **dict.fromkeys(
        ("probabilities", "probability", "probs", "prob", "proba", "y prob", "y proba", "y probs", "softmax"),
        "probabilities",
    ),
    **dict.fromkeys(
        ("answers", "answer", "y pred", "preds", "pred", "predicted", "predicted label", "predictions", "prediction"),
        "answers",
    ),
    **dict.fromkeys(("hashes", "hash"), "hashes"),
    **dict.fromkeys(("logits", "logit", "scores", "outputs"), "logits"),
    **dict.fromkeys(("classes", "class names", "names"), "classes"),
    **dict.fromkeys(("split", "splits", "subset", "set"), "split"),
}
# Prefix of the class name in a column of probabilities.
_OF_CLASS = re.compile(r"(?:p|prob|proba|probs|probability|probabilities)[ _.:/-](?P<name>.+)", re.IGNORECASE)


def split_and_what(name: str) -> tuple[SplitName | None, What | None]:
    """The split and content that a name implies: for `test_y_prob`, test and probabilities; None if not implied."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    named = [word for word in words if word in SPLITS]
    rest = " ".join(word for word in words if word not in SPLITS)
    return SPLITS[named[0]] if len(named) == 1 else None, _WHATS.get(rest)


def get_column_class(name: str) -> str | None:
    """The class whose probabilities a column contains: `cat` for `p_cat`."""
    found = _OF_CLASS.fullmatch(name)
    return None if found is None or split_and_what(name)[1] is not None else found["name"].strip()


def split_of(value: object) -> SplitName | None:
    """The split that a cell names."""
    return SPLITS.get(str(value).strip().lower())


def is_table_of_predictions(names: Sequence[str]) -> bool:
    """Whether columns with these names contain labels and answers of images rather than curves."""
    whats = {split_and_what(name)[1] for name in names}
    return {"split", "labels"} <= whats and (
        bool({"answers", "probabilities"} & whats) or any(get_column_class(name) for name in names)
    )


def list_first(names: Sequence[str]) -> str:
    """List the first names."""
    return ", ".join(f"`{name[:60]}`" for name in names[:12]) + (", …" if len(names) > 12 else "")
