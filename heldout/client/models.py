"""The client's methods for uploaded models and their evaluations, and for the models of jobs and studies."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from heldout.access.rights import get_model_route
from heldout.client.datasets import Datasets
from heldout.client.dual import Awaiting, Mode, dual, dual_iterator, dual_self
from heldout.client.failures import ModelRejected
from heldout.client.own_networks import KerasModel, Weights, build_spec, write_model
from heldout.client.resource import (
    LONG_POLL_S,
    PAGE,
    Handle,
    OneHandle,
    Resource,
    by_id,
    make_idempotency_header,
    quote_segment,
    renew,
)
from heldout.errors import EvaluationNotFound, JobNotFound, ModelNotFound
from heldout.lifecycle.resources import ModelStatus
from heldout.stored.artifacts import ExportFormatName, ModelFormatName
from heldout.views.diagnosis import DiagnosisView
from heldout.views.model import EvaluationPage, EvaluationView, ExportReportView, ExportView, ModelPage, ModelView
from heldout.views.results import ConfusionView


class ModelSources(Resource[OneHandle, Mode]):
    """Methods for the model that a job or a study has made."""

    @dual
    async def download_model(self, source_id: str, to: Path | str, format: ModelFormatName = "keras") -> int:
        """Write the model to a file, whole or not at all; returns its size in bytes.

        The first request for a format other than `keras` orders an export, as does any request for a study's
        ensemble. The client then waits for the file as long as its patience lasts.

        Args:
            source_id: the id of a job, or of a study with an ensemble.
            format: `keras`, `saved_model` (a .zip), `onnx`, `litert` (a `.tflite` file), or for jobs `python`: a
                script that repeats the training, and `keras_config`: the layers of an uploaded model with the changes
                that it was trained with, as JSON.
        Raises:
            OSError: if the file cannot be written.
        """
        return await self._connection.download(f"{_build_source_path(source_id)}?format={format}", Path(to))

    @dual
    async def export(self, source_id: str, format: ExportFormatName) -> ExportView:
        """Order an export of the model before it is needed, or again after a failed export."""
        return await self._read(
            ExportView, "POST", _build_source_path(source_id), params={"format": format}, repeatable=True
        )

    @dual
    async def export_report(
        self, source_id: str, format: ExportFormatName = "keras", *, wait_s: int = 0
    ) -> ExportReportView:
        """Compare the exported model's answers with the original's. The first request orders the export.

        Args:
            wait_s: how long the service may wait for the export to end (0–60).
        """
        params = {"format": format, "wait": wait_s}
        return await self._read(ExportReportView, "GET", f"{_build_source_path(source_id)}/report", params=params)


def _build_source_path(source_id: str) -> str:
    return get_model_route(quote_segment(source_id, JobNotFound(source_id)))


MAX_NAME_CHARACTERS = 128


class Models(Resource["Model[Mode]", Mode]):
    """Uploaded models. `ModelSources` is about those that jobs have made."""

    _route, _missing = "/v1/models", ModelNotFound

    @dual
    async def create(
        self,
        content: Path | str | bytes | Iterable[bytes],
        *,
        name: str | None = None,
        wrap_chunks: Callable[[Iterable[bytes]], Iterable[bytes]] = iter,
        idempotency_key: str | None = None,
    ) -> Model[Mode]:
        """Upload a model: `.keras`, ONNX, or the JSON of `model.to_json()`. Its status is `checking` at first.

        A file is sent with its SHA-256, and sent again from the beginning if the connection fails.

        Args:
            name: by default the name of the file.
            wrap_chunks: receives the chunks and yields them again, for example to count them.
        Raises:
            OSError: if the file cannot be read.
        """
        headers = make_idempotency_header(idempotency_key)
        name = name or (Path(content).name if isinstance(content, Path | str) else None)
        params = None if name is None else {"name": name}
        sent = await self._connection.upload(
            "/v1/models", content, wrap_chunks, method="POST", params=params, headers=headers
        )
        return self._wrap(self._parse(ModelView, sent.content))

    @dual
    async def push(
        self, model: KerasModel | Path | str, *, weights: Weights = "fresh", name: str | None = None
    ) -> Model[Mode]:
        """Upload a model and wait until the service has read it. A model that it has already is used again.

        Args:
            model: a `keras.Model`, or a file: `.keras`, ONNX, or the JSON of `model.to_json()`.
            weights: of a `keras.Model`, `fresh` uploads the architecture alone, and `uploaded` also the weights.
            name: by default the name of the file or of the model.
        Raises:
            ModelRejected: if the service could not use it.
            OSError: if the file cannot be read.
            ValueError: if Keras cannot save the model.
        """
        if isinstance(model, Path | str):
            file = Path(model)
            return await self._push_file(file, name or file.name)
        with tempfile.TemporaryDirectory() as folder:
            return await self._push_file(write_model(model, weights, Path(folder)), name or model.name)

    async def _push_file(self, file: Path, name: str) -> Model[Mode]:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        found: Any
        known: Any
        async for known in Models.list(self):
            if known.sha256 == digest and known.status != ModelStatus.REJECTED:
                found = known
                break
        else:
            found = await Models.create(self, file, name=name[:MAX_NAME_CHARACTERS])
        while not found.has_ended:
            found = await Models.get(self, found.id, wait_s=LONG_POLL_S)
        if found.error is not None:
            raise ModelRejected(found.view)
        return found  # type: ignore[no-any-return]

    @dual
    async def make_spec(
        self, /, model: KerasModel, dataset: str | None, *, weights: Weights = "fresh", **options: Any
    ) -> dict[str, Any]:
        """Upload a `keras.Model`, and make the spec of a job that trains it, with what it was compiled with.

        Args:
            dataset: a name, name@version, or an id.
            weights: where the training starts: `fresh` ones for the job's seed, or those of the model (`uploaded`).
            options: fields of the spec, of its `training` and of its `network`, such as `epochs=20`, `seed=7`,
                `augmentation={…}` or `head="replace"`. `optimizer` may be an optimizer of Keras.
        Raises:
            ModelRejected: if the service cannot train the model.
            TypeError: if an option is unknown.
            ValueError: if a spec does not have what the model was compiled with, or if Keras cannot save it.
        """
        if dataset is None:
            raise TypeError('A model needs a dataset: train(model, dataset="pets").')
        images: Any = await Datasets.get(self._client.datasets, dataset)
        build = partial(build_spec, model, weights, images.view, options)
        build("")  # refuses before anything is uploaded
        pushed: Any = await Models.push(self, model, weights=weights)
        return build(pushed.id)

    @dual_iterator
    def list(self, *, page_size: int = PAGE) -> AsyncIterator[Model[Mode]]:
        """Yield your models, newest first."""
        return self._wrap_each(self._pages(ModelPage, "/v1/models", page_size=page_size))

    @dual
    async def get(self, model_id: str, *, wait_s: int = 0) -> Model[Mode]:
        """Get a model.

        Args:
            model_id: its id, or the name of a shared model.
            wait_s: how long the service may wait for the file to be read (0–60).
        """
        return await self._receive(ModelView, "GET", self._path(model_id), params={"wait": wait_s})

    @dual
    async def delete(self, model_id: str) -> None:
        await self._connection.send("DELETE", self._path(model_id))


class Evaluations(Resource["Evaluation[Mode]", Mode]):
    """Measurements of uploaded models on datasets."""

    _route, _missing = "/v1/evaluations", EvaluationNotFound

    @dual
    async def create(self, model: str, dataset: str, *, idempotency_key: str | None = None) -> Evaluation[Mode]:
        """Order an evaluation of a model on every split of a dataset.

        Args:
            model: `mod_…`. dataset: a name, name@version, or an id.
        """
        body = {"model": model, "dataset": dataset}
        return await self._create(EvaluationView, "/v1/evaluations", body, idempotency_key)

    @dual_iterator
    def list(self, *, model: str | None = None, page_size: int = PAGE) -> AsyncIterator[Evaluation[Mode]]:
        """Yield your evaluations, newest first; only those of `model` if it is given."""
        params = {"model": model}
        return self._wrap_each(self._pages(EvaluationPage, "/v1/evaluations", params, page_size=page_size))

    @dual
    async def get(self, evaluation_id: str, *, wait_s: int = 0) -> Evaluation[Mode]:
        """Get an evaluation.

        Args:
            wait_s: how long the service may wait for it to end (0–60).
        """
        return await self._receive(EvaluationView, "GET", self._path(evaluation_id), params={"wait": wait_s})

    @dual
    async def confusion(self, evaluation_id: str) -> ConfusionView:
        return await self._get(ConfusionView, evaluation_id, "confusion")

    @dual
    async def diagnosis(self, evaluation_id: str) -> DiagnosisView:
        return await self._get(DiagnosisView, evaluation_id, "diagnosis")

    @dual
    async def cancel(self, evaluation_id: str) -> Evaluation[Mode]:
        return await self._receive(EvaluationView, "POST", self._path(evaluation_id, "cancel"), repeatable=True)

    @dual
    async def delete(self, evaluation_id: str) -> None:
        await self._connection.send("DELETE", self._path(evaluation_id))


class Model(Handle[ModelView, Mode], of=Models):
    """An uploaded model."""

    refresh = renew(Models.get)
    delete = by_id(Models.delete)

    @dual_self
    async def wait(self) -> Any:
        """Wait until the service has read the file: then it is `ready` or `rejected`."""
        while not self.view.has_ended:
            await Model.refresh(self, wait_s=LONG_POLL_S)
        return self


class Evaluation(Handle[EvaluationView, Mode], of=Evaluations):
    """The measurement of a model on a dataset."""

    refresh = renew(Evaluations.get)
    cancel = renew(Evaluations.cancel)
    delete = by_id(Evaluations.delete)
    confusion = by_id(Evaluations.confusion)
    diagnosis = by_id(Evaluations.diagnosis)

    @dual_self
    async def wait(self) -> Any:
        """Wait until the evaluation has ended."""
        while not self.view.has_ended:
            await Evaluation.refresh(self, wait_s=LONG_POLL_S)
        return self


AsyncModel = Model[Awaiting]
AsyncEvaluation = Evaluation[Awaiting]
