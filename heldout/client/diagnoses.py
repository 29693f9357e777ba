"""The client's methods for judging trainings of other programs by their curves and answers."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from heldout.client.dual import Mode, dual, dual_iterator
from heldout.client.external_values import has_arrays, pack_predictions, simplify_history
from heldout.client.resource import PAGE, PREDICTIONS_TIMEOUT_S, ResourceBase
from heldout.errors import DiagnosisNotFound
from heldout.views.base import dump_json
from heldout.views.diagnosis import DiagnosisPage, DiagnosisView, KeptDiagnosisView


class Diagnoses(ResourceBase[Mode]):
    """Diagnoses of trainings that this service did not run. Only those that `keep` is called for are stored."""

    _route, _missing = "/v1/diagnoses", DiagnosisNotFound

    @dual
    async def create(
        self, history: object, *, run: int | None = None, classes: int | Sequence[str] | None = None
    ) -> DiagnosisView:
        """Judge a training history from anywhere.

        Args:
            history: what Keras' `fit` returns or its dictionary, records, Hugging Face's log, curves by split, or a
                pandas frame with a row for each epoch. Curves may be numpy arrays.
            run: the number of the run, counted from 1, if the history holds several.
            classes: the number of classes, or their names.
        """
        body = {"history": simplify_history(history), "run": run, "classes": _list_classes(classes)}
        return await self._read(DiagnosisView, "POST", "/v1/diagnoses", body=body, repeatable=True)

    @dual
    async def create_from_predictions(
        self,
        predictions: Path | str | Mapping[str, object],
        *,
        history: object = None,
        run: int | None = None,
        classes: int | Sequence[str] | None = None,
    ) -> DiagnosisView:
        """Judge what a network trained anywhere answers for labelled images.

        Args:
            predictions: the path of an `.npz` or CSV file of up to 64 MiB; or for each of train, validation and test,
                `labels` with `probabilities` or `answers`, and optionally `hashes`: numpy arrays, or lists that take
                up to 1 MiB as JSON.
            history: the history of the same training, if there is one, as for `create`.
            run, classes: as for `create`; class names are in the order of the columns of `probabilities`.
        Raises:
            OSError: if the file cannot be read.
        """
        training = {
            "history": None if history is None else simplify_history(history),
            "run": run,
            "classes": _list_classes(classes),
        }
        if isinstance(predictions, Mapping) and not has_arrays(predictions):
            body = {"predictions": predictions, **training}
            return await self._read(DiagnosisView, "POST", "/v1/diagnoses", body=body, repeatable=True)
        return await self._read(
            DiagnosisView,
            "POST",
            "/v1/diagnoses/predictions",
            form={"file": pack_predictions(predictions), "training": json.dumps(training)},
            timeout_s=PREDICTIONS_TIMEOUT_S,
            repeatable=True,
        )

    @dual
    async def keep(self, diagnosis: DiagnosisView) -> KeptDiagnosisView:
        """Store a diagnosis, so that the page `/diagnoses/{id}` of the service shows it. The newest 200 are kept."""
        return await self._read(KeptDiagnosisView, "POST", "/v1/diagnoses/kept", body=dump_json(diagnosis))

    @dual_iterator
    def list(self, *, page_size: int = PAGE) -> AsyncIterator[KeptDiagnosisView]:
        """Yield the diagnoses that you keep, newest first."""
        return self._pages(DiagnosisPage, "/v1/diagnoses", page_size=page_size)

    @dual
    async def get(self, diagnosis_id: str) -> KeptDiagnosisView:
        """Get a diagnosis that was kept."""
        return await self._get(KeptDiagnosisView, diagnosis_id)

    @dual
    async def delete(self, diagnosis_id: str) -> None:
        """Delete a diagnosis that was kept."""
        await self._connection.send("DELETE", self._path(diagnosis_id))


def _list_classes(classes: int | Sequence[str] | None) -> int | list[str] | None:
    return classes if classes is None or isinstance(classes, int) else list(classes)
