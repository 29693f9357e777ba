"""Images with labels as Keras' `fit` takes them: arrays, or batches such as those of `tf.data`.

TensorFlow is not imported: a `tf.data.Dataset` is recognized by its attributes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from heldout.words.labels import MEASURED_VALUES, SEVERAL_LABELS

BATCH = 256
EXPECTED = "expected (images, labels), or batches of them such as a tf.data.Dataset"
INFINITE = -1  # tf.data.INFINITE_CARDINALITY


def check_classes(classes: object) -> tuple[str, ...] | None:
    """Return the names of the classes.

    Raises:
        TypeError, ValueError: if `classes` is neither a number of classes nor their names.
    """
    if classes is None:
        return None
    if isinstance(classes, int) and not isinstance(classes, bool):
        names = tuple(map(str, range(classes)))
    elif isinstance(classes, Sequence) and not isinstance(classes, str):
        names = tuple(map(str, classes))
    else:
        raise TypeError(f"Received classes={classes!r}; expected how many classes there are, or a list of their names.")
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"Received classes={classes!r}; expected at least two different classes.")
    return names


def check_split(name: str, split: Any) -> None:
    """Check before a training what is already known about its images and labels.

    Raises:
        TypeError, ValueError: which say what was received and what was expected.
    """
    if _is_pair(split):
        _check_arrays(name, *split)
        return
    if isinstance(split, tuple) or hasattr(split, "__array__") or not isinstance(split, Iterable):
        raise TypeError(f"Received {name}={_describe(split)}; {EXPECTED}.")
    if isinstance(split, Iterator):
        raise TypeError(f"Received {name}={_describe(split)}, which can be read only once; {EXPECTED}.")
    if hasattr(split, "element_spec"):
        _check_dataset(name, split)


def _check_dataset(name: str, split: Any) -> None:
    spec = split.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2:
        raise ValueError(f"Received for {name} a dataset of {spec!r}; expected one of (images, labels).")
    if int(split.cardinality()) == INFINITE:
        raise ValueError(f"Received for {name} a dataset without end; expected a finite one, before `.repeat()`.")
    if getattr(spec[1], "shape", None) is not None and spec[1].shape.rank == 0:
        raise ValueError(f"Received for {name} a dataset of single images; expected batches: `.batch({BATCH})`.")


def check_outputs(shape: object, names: Sequence[str] | None) -> None:
    """Check the outputs of a network that is built.

    Raises:
        ValueError: if they are not one probability, or logit, for each class.
    """
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] is None:
        raise ValueError(f"Received a network with outputs {shape}; expected (batch, classes).")
    if shape[1] == 1 and names is not None and len(names) != 2:
        raise ValueError(
            f"Received {len(names)} classes and a network with one output, which can only tell two classes apart; "
            f"expected one output for each class. {MEASURED_VALUES}"
        )
    count = max(shape[1], 2)
    if names is not None and count != len(names):
        raise ValueError(f"Received {len(names)} classes and a network with outputs {shape}; expected {count} classes.")


def collect_answers(split: Any, model: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Labels as positions of classes, (n,), and the probabilities that a Keras model gives, (n, classes)."""
    labels, outputs = [], []
    if _is_pair(split):
        outputs.append(model.predict(split[0], batch_size=BATCH, verbose=0))
        labels.append(find_positions(split[1]))
    else:
        # In one pass: a dataset that shuffles has another order the next time.
        for images, known, *_ in split:
            outputs.append(model.predict_on_batch(images))
            labels.append(find_positions(known))
    probabilities = find_probabilities(np.concatenate(outputs).astype(np.float64))
    return {"labels": np.concatenate(labels), "probabilities": probabilities}


def find_positions(labels: Any) -> np.ndarray[Any, Any]:
    """Return labels as positions of classes, (n,). Raises ValueError for anything else."""
    known = np.asarray(labels)
    if known.ndim == 2 and known.shape[1] > 1 and not np.allclose(known.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"Received labels of the shape {known.shape}. {SEVERAL_LABELS}")
    if known.dtype.kind == "f" and (known.ndim == 1 or known.shape[-1] == 1) and (known % 1 != 0).any():
        raise ValueError(f"Received labels such as {known[known % 1 != 0][0]}. {MEASURED_VALUES}")
    known = known.argmax(-1) if known.ndim == 2 and known.shape[1] > 1 else known.reshape(-1)
    return known.astype(np.int64)


def find_probabilities(outputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the probability of each class, (n, classes), from a network's probabilities or logits."""
    if outputs.shape[-1] == 1:  # one output for two classes
        if outputs.min() < 0 or outputs.max() > 1:
            outputs = 1 / (1 + np.exp(-outputs))
        return np.concatenate([1 - outputs, outputs], axis=-1)
    if outputs.min() < 0 or not np.allclose(outputs.sum(-1), 1, atol=1e-3):
        outputs = np.exp(outputs - outputs.max(-1, keepdims=True))
        outputs /= outputs.sum(-1, keepdims=True)
    return outputs


def _is_pair(split: Any) -> bool:
    return isinstance(split, tuple | list) and len(split) == 2


def _check_arrays(name: str, images: Any, labels: Any) -> None:
    if not hasattr(images, "__len__") or not hasattr(labels, "__len__"):
        raise TypeError(f"Received {name}=({_describe(images)}, {_describe(labels)}); {EXPECTED}.")
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(f"Received for {name} {len(images)} images and {len(labels)} labels; expected a label each.")
    kind = np.asarray(labels[:1]).dtype.kind
    if kind not in "iufb":
        raise TypeError(f"Received for {name} labels such as {labels[0]!r}; expected positions of classes, or one-hot.")


def _describe(value: Any) -> str:
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list) else type(value).__name__


def number_copies(digests: Iterable[str]) -> list[str]:
    """Make digests of images different for equal images: `…`, `…#2`, `…#3`. Studies need an id for each image."""
    copies: Counter[str] = Counter()
    found = []
    for digest in digests:
        copies[digest] += 1
        found.append(digest if copies[digest] == 1 else f"{digest}#{copies[digest]}")
    return found
