"""The client's method for predictions: images from files, bytes or arrays."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heldout.client.connection import TIMEOUT_S, Connection
from heldout.client.dual import dual
from heldout.client.typed_answers import TypedAnswers, segment_of
from heldout.errors import JobNotFound
from heldout.views.prediction import PredictionsView

EXPORT_S = 60


class PredictionMethods:
    """A part of `heldout.Client`, which makes the connection."""

    _connection: Connection
    _answers: TypedAnswers

    @dual
    async def predict(
        self,
        job_id: str,
        images: Any,
        *,
        top_k: int = 5,
        threshold: float | None = None,
        calibrated: bool = False,
    ) -> PredictionsView:
        """What a job's model says of images. The first request has the model exported, and waits for that.

        Args:
            images: a path, or the bytes of a file: a PNG, JPEG, WebP, BMP or `.npy`; a sequence of these; or an array
                (images, height, width, channels), or one image, of the dataset's own type and range.
            top_k: how many classes of each image are named, the surest first.
            threshold: below this probability the answer is `uncertain`.
            calibrated: probabilities under the temperature that was fitted on validation.
        Raises:
            OSError: if a file cannot be read.
        """
        params = {"top_k": str(top_k), "calibrated": str(calibrated).lower(), "wait": str(EXPORT_S)}
        if threshold is not None:
            params["threshold"] = str(threshold)
        path = f"/v1/jobs/{segment_of(job_id, JobNotFound(job_id))}/predict"
        return await self._answers.read(
            PredictionsView,
            "POST",
            path,
            params=params,
            form={"images": _files(images)},
            timeout_s=TIMEOUT_S + EXPORT_S,
            repeatable=True,
        )


def _files(images: Any) -> list[tuple[str, bytes]]:
    """Names and contents; what has no name of its own has an empty one."""
    if isinstance(images, str | Path | bytes) or hasattr(images, "__array__"):
        return [_file(images)]
    if isinstance(images, Sequence):
        return [_file(one) for one in images]
    raise TypeError(f"Received {type(images).__name__}; expected a path, bytes, an array, or a sequence of these.")


def _file(image: Any) -> tuple[str, bytes]:
    if isinstance(image, bytes):
        return ("image", image)
    if hasattr(image, "__array__"):
        import numpy as np

        written = io.BytesIO()
        np.save(written, np.ascontiguousarray(image), allow_pickle=False)
        return ("array.npy", written.getvalue())
    return (Path(image).name, Path(image).read_bytes())
