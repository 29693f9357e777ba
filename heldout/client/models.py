"""The client's methods for uploaded models and their evaluations, and for predictions of any model."""

import io
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from heldout.client.connection import TIMEOUT_S, Connection
from heldout.client.dual import dual, dual_iterator
from heldout.client.typed_answers import PAGE, TypedAnswers, make_idempotency_header, quote_segment
from heldout.errors import EvaluationNotFound, JobNotFound, ModelNotFound
from heldout.views.confusion import ConfusionView
from heldout.views.diagnosis import DiagnosisView
from heldout.views.evaluation import EvaluationPage, EvaluationView
from heldout.views.model import ModelPage, ModelView
from heldout.views.prediction import PredictionsView


class ModelMethods:
    """A part of `heldout.Client`, which makes the connection."""

    _connection: Connection
    _answers: TypedAnswers

    @dual
    async def upload_model(
        self,
        content: Path | str | Iterable[bytes],
        *,
        name: str | None = None,
        wrap_chunks: Callable[[Iterable[bytes]], Iterable[bytes]] = iter,
        idempotency_key: str | None = None,
    ) -> ModelView:
        """Send a model: a `.keras` file or an ONNX one, or its bytes in pieces. It is `checking` at first.

        A file is sent with its SHA-256, and again from its beginning after a failure of the connection.

        Args:
            name: what it is called; by default as its file is.
            wrap_chunks: is given the chunks of a file and yields them again; a progress bar counts them.
        Raises:
            OSError: if the file cannot be read.
        """
        headers = make_idempotency_header(idempotency_key)
        if isinstance(content, Path | str):
            file = Path(content)
            sent = await self._connection.upload_file(
                "/v1/models", file, wrap_chunks, method="POST", params={"name": name or file.name}, headers=headers
            )
        else:
            params = {} if name is None else {"name": name}
            sent = await self._connection.upload("/v1/models", content, headers, method="POST", params=params)
        return self._answers.parsed(ModelView, sent.content)

    @dual_iterator
    def uploaded_models(self, *, page_size: int = PAGE) -> AsyncIterator[ModelView]:
        """The owner's models, newest first."""
        return self._answers.pages(ModelPage, "/v1/models", page_size=page_size)

    @dual
    async def uploaded_model(self, model_id: str, *, wait_s: int = 0) -> ModelView:
        """A model and what its file says.

        Args:
            wait_s: how long the service may wait until the file has been read (0–60).
        """
        params = {"wait": str(wait_s)}
        return await self._answers.read(
            ModelView, "GET", _build_model_path(model_id), params=params, timeout_s=wait_s + TIMEOUT_S
        )

    @dual
    async def delete_uploaded_model(self, model_id: str) -> None:
        await self._connection.send("DELETE", _build_model_path(model_id))

    @dual
    async def evaluate(self, model: str, dataset: str, *, idempotency_key: str | None = None) -> EvaluationView:
        """Order the measuring of a model on every split of a dataset.

        Args:
            model: `mod_…`. dataset: a name, name@version, or an id.
        """
        body, headers = {"model": model, "dataset": dataset}, make_idempotency_header(idempotency_key)
        return await self._answers.read(
            EvaluationView, "POST", "/v1/evaluations", body=body, headers=headers, repeatable=True
        )

    @dual_iterator
    def evaluations(self, *, model: str | None = None, page_size: int = PAGE) -> AsyncIterator[EvaluationView]:
        """The owner's evaluations, newest first, or those of one model."""
        params = [] if model is None else [("model", model)]
        return self._answers.pages(EvaluationPage, "/v1/evaluations", params, page_size=page_size)

    @dual
    async def evaluation(self, evaluation_id: str, *, wait_s: int = 0) -> EvaluationView:
        """An evaluation, now or once it has ended.

        Args:
            wait_s: how long the service may wait for its end (0–60).
        """
        params = {"wait": str(wait_s)}
        return await self._answers.read(
            EvaluationView, "GET", _build_evaluation_path(evaluation_id), params=params, timeout_s=wait_s + TIMEOUT_S
        )

    @dual
    async def evaluation_confusion(self, evaluation_id: str) -> ConfusionView:
        return await self._answers.read(ConfusionView, "GET", _build_evaluation_path(evaluation_id) + "/confusion")

    @dual
    async def evaluation_diagnosis(self, evaluation_id: str) -> DiagnosisView:
        return await self._answers.read(DiagnosisView, "GET", _build_evaluation_path(evaluation_id) + "/diagnosis")

    @dual
    async def cancel_evaluation(self, evaluation_id: str) -> EvaluationView:
        return await self._answers.read(
            EvaluationView, "POST", _build_evaluation_path(evaluation_id) + "/cancel", repeatable=True
        )

    @dual
    async def delete_evaluation(self, evaluation_id: str) -> None:
        await self._connection.send("DELETE", _build_evaluation_path(evaluation_id))


def _build_model_path(model_id: str) -> str:
    return f"/v1/models/{quote_segment(model_id, ModelNotFound(model_id))}"


def _build_evaluation_path(evaluation_id: str) -> str:
    return f"/v1/evaluations/{quote_segment(evaluation_id, EvaluationNotFound(evaluation_id))}"


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
        path = f"/v1/jobs/{quote_segment(job_id, JobNotFound(job_id))}/predict"
        return await self._answers.read(
            PredictionsView,
            "POST",
            path,
            params=params,
            form={"images": _list_files(images)},
            timeout_s=TIMEOUT_S + EXPORT_S,
            repeatable=True,
        )


def _list_files(images: Any) -> list[tuple[str, bytes]]:
    """Names and contents; what has no name of its own has an empty one."""
    if isinstance(images, str | Path | bytes) or hasattr(images, "__array__"):
        return [_read_file(images)]
    if isinstance(images, Sequence):
        return [_read_file(image) for image in images]
    raise TypeError(f"Received {type(images).__name__}; expected a path, bytes, an array, or a sequence of these.")


def _read_file(image: Any) -> tuple[str, bytes]:
    if isinstance(image, bytes):
        return ("image", image)
    if hasattr(image, "__array__"):
        import numpy as np

        written = io.BytesIO()
        np.save(written, np.ascontiguousarray(image), allow_pickle=False)
        return ("array.npy", written.getvalue())
    return (Path(image).name, Path(image).read_bytes())
