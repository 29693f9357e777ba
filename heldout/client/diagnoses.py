"""The client's methods for trainings that other programs have done: what their curves and answers say."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from heldout.client.dual import dual
from heldout.client.foreign_values import has_arrays, pack_npz, simplify_history
from heldout.client.typed_answers import TypedAnswers
from heldout.views.diagnosis import DiagnosisView

# Large files of predictions take some seconds, one after another.
DIAGNOSIS_TIMEOUT_S = 300.0


class DiagnosisMethods:
    """A part of `heldout.Client`, which makes the connection."""

    _answers: TypedAnswers

    @dual
    async def diagnose(
        self, history: object, *, run: int | None = None, classes: int | Sequence[str] | None = None
    ) -> DiagnosisView:
        """Judge a history from anywhere.

        Args:
            history: what Keras' `fit` gives back or its dictionary, records, Hugging Face's log, curves by split, or a
                pandas frame with a row for each epoch. Curves may be numpy arrays.
            run: which one is meant, counted from 1, if several were written one after the other.
            classes: how many there are, or their names.
        """
        body = {"history": simplify_history(history), "run": run, "classes": _list_classes(classes)}
        return await self._answers.read(DiagnosisView, "POST", "/v1/diagnoses", body=body, repeatable=True)

    @dual
    async def diagnose_predictions(
        self,
        predictions: Path | str | Mapping[str, object],
        *,
        history: object = None,
        run: int | None = None,
        classes: int | Sequence[str] | None = None,
    ) -> DiagnosisView:
        """Judge what a network that was trained anywhere says of labelled images.

        Args:
            predictions: an `.npz` or a CSV, of up to 64 MiB; or for each of train, validation and test `labels` with
                `probabilities` or `answers`, and `hashes`, as numpy arrays, or as lists of at most 1 MiB of JSON.
            history: of the same training, if there is one, as for `diagnose`.
            run, classes: as for `diagnose`; names of classes in the order of the columns of probabilities.
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
            return await self._answers.read(DiagnosisView, "POST", "/v1/diagnoses", body=body, repeatable=True)
        if isinstance(predictions, Mapping):
            file = ("predictions.npz", pack_npz(predictions))
        else:
            file = (Path(predictions).name, Path(predictions).read_bytes())
        return await self._answers.read(
            DiagnosisView,
            "POST",
            "/v1/diagnoses/predictions",
            form={"file": file, "training": json.dumps(training)},
            timeout_s=DIAGNOSIS_TIMEOUT_S,
            repeatable=True,
        )


def _list_classes(classes: int | Sequence[str] | None) -> int | list[str] | None:
    return classes if classes is None or isinstance(classes, int) else list(classes)
