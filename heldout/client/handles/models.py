"""An uploaded model of a client, and its evaluations."""

from __future__ import annotations

from typing import Any

from heldout.client.dual import Awaiting, Blocking, dual_self
from heldout.client.models import EvaluationResource, ModelResource
from heldout.client.resource import Handle, by_id, renew
from heldout.client.typed_answers import LONG_POLL_S
from heldout.views.model import EvaluationView, ModelView


class ModelHandle(Handle[ModelView]):
    """An uploaded model."""

    refresh = renew(ModelResource.get)
    delete = by_id(ModelResource.delete)

    @dual_self
    async def wait(self) -> Any:
        """Wait until the service has read the file: then it is `ready` or `rejected`."""
        while not self.view.has_ended:
            await ModelHandle.refresh(self, wait_s=LONG_POLL_S)
        return self


class EvaluationHandle(Handle[EvaluationView]):
    """The measurement of a model on a dataset."""

    refresh = renew(EvaluationResource.get)
    cancel = renew(EvaluationResource.cancel)
    delete = by_id(EvaluationResource.delete)
    confusion = by_id(EvaluationResource.confusion)
    diagnosis = by_id(EvaluationResource.diagnosis)

    @dual_self
    async def wait(self) -> Any:
        """Wait until the evaluation has ended."""
        while not self.view.has_ended:
            await EvaluationHandle.refresh(self, wait_s=LONG_POLL_S)
        return self


class Model(ModelHandle, Blocking): ...


class AsyncModel(ModelHandle, Awaiting): ...


class Evaluation(EvaluationHandle, Blocking): ...


class AsyncEvaluation(EvaluationHandle, Awaiting): ...


class Models(ModelResource[Model], Blocking):
    _handle = Model


class AsyncModels(ModelResource[AsyncModel], Awaiting):
    _handle = AsyncModel


class Evaluations(EvaluationResource[Evaluation], Blocking):
    _handle = Evaluation


class AsyncEvaluations(EvaluationResource[AsyncEvaluation], Awaiting):
    _handle = AsyncEvaluation
