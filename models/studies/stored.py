"""A study's fixed plan as JSON, and what its trainings and its evaluation have measured as bytes, and back."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.studies.state import Scores, TestScores


def pack_scores(scores: Scores) -> bytes:
    """The scores of one training as a compressed `.npz`; the same scores give the same bytes."""
    return _packed(
        {
            "images": scores.images.astype(np.int32),
            "losses": scores.losses.astype(np.float32),
            "right": np.packbits(scores.right),
            "train": np.array([scores.train_loss, scores.train_accuracy], np.float64),
            "counts": np.array([scores.train_images, scores.kept_epoch], np.int64),
        }
    )


def unpack_scores(content: bytes) -> Scores:
    """What `pack_scores` was given."""
    with np.load(io.BytesIO(content)) as stored:
        images = stored["images"]
        train_loss, train_accuracy = stored["train"].tolist()
        train_images, kept_epoch = stored["counts"].tolist()
        return Scores(
            images=images,
            losses=stored["losses"],
            right=_bits(stored["right"], len(images)),
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            train_images=train_images,
            kept_epoch=kept_epoch,
        )


def pack_tested(tested: TestScores) -> bytes:
    """What the evaluation of base and winner has found, as a compressed `.npz`."""
    arrays: dict[str, NDArray[Any]] = {}
    for job, losses in tested.losses.items():
        arrays[f"losses/{job}"] = losses.astype(np.float32)
        arrays[f"right/{job}"] = np.packbits(tested.right[job])
    return _packed(arrays)


def unpack_tested(content: bytes) -> TestScores:
    """What `pack_tested` was given."""
    with np.load(io.BytesIO(content)) as stored:
        jobs = [name.removeprefix("losses/") for name in stored.files if name.startswith("losses/")]
        losses = {job: stored[f"losses/{job}"] for job in jobs}
        return TestScores(losses, {job: _bits(stored[f"right/{job}"], len(losses[job])) for job in jobs})


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **dict(arrays))
    return file.getvalue()


def _bits(packed: NDArray[np.uint8], count: int) -> NDArray[np.bool_]:
    return np.unpackbits(packed, count=count).astype(np.bool_)
