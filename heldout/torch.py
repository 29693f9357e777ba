"""A PyTorch network's answers to labeled images, for diagnoses and studies.

client.diagnoses.create_from_predictions({"train": answers(model, train), "test": answers(model, test)})
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from heldout.client.external_values import to_array
from heldout.client.telling import tell
from heldout.integrations.labeled_splits import find_positions, find_probabilities, number_copies


def answers(model: Any, loader: Iterable[Any]) -> dict[str, NDArray[Any]]:
    """Return what a network answers to the images of a loader, in evaluation mode and without gradients.

    Args:
        model: a `torch.nn.Module` whose outputs are logits or probabilities (batch, classes), or an object that has
            them as `logits`. It is in the same mode afterwards.
        loader: batches of (images, labels), such as a `DataLoader`, in any order, without random augmentation.
    Returns:
        `labels` (n,), `probabilities` (n, classes), and `hashes` (n,) of the images, by which copies are found, and
        answers of several trainings are paired. Those of equal images are numbered: `…`, `…#2`, `…#3`.
    Raises:
        ValueError: the loader is empty, or its labels are not classes.
    """
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    labels, outputs, hashes = [], [], []
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for images, known, *_ in loader:
                predictions = model(images.to(device))
                outputs.append(to_array(getattr(predictions, "logits", predictions)).astype(np.float64))
                labels.append(find_positions(to_array(known)))
                hashes += [hashlib.sha256(image.tobytes()).hexdigest() for image in to_array(images)]
    finally:
        model.train(was_training)
    if not outputs:
        raise ValueError("Received a loader without images; expected batches of (images, labels).")
    return {
        "labels": np.concatenate(labels),
        "probabilities": find_probabilities(np.concatenate(outputs)),
        "hashes": np.array(number_copies(hashes)),
    }


def save_answers(file: str | Path, model: Any, **loaders: Iterable[Any]) -> None:
    """Write what a network answers into an `.npz`, such as `{out}` of `heldout cure --run`.

    Args:
        loaders: those of `validation` and, optionally, of `test` and `train`, as for `answers`.
    """
    tell(file, {split: answers(model, loader) for split, loader in loaders.items()}, {})
