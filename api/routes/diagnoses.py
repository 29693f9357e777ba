"""Diagnoses trainings recorded by other programs, from curves, predictions, or both."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from analysis.answers.diagnosis import diagnose_answers
from analysis.answers.file import read_predictions
from analysis.answers.refusal import PredictionsRefused
from api.http.app_context import FILES_AT_ONCE
from api.http.auth import CallerDep
from api.http.body import parse_json
from api.http.deps import AppContextDep
from api.http.problems import JSON_BODY, NO_ROOM, document_errors
from api.http.routing import make_router
from api.http.upload_body import get_form_file
from api.routes.foreign_training import ForeignCurves, ForeignTraining, make_sentence
from heldout.errors import (
    BodyTooLarge,
    FieldError,
    InvalidForm,
    InvalidJson,
    InvalidSpec,
    StorageUnavailable,
    TooManyUploads,
    UploadTooSlow,
)
from heldout.spec.field_errors import make_values_refusal
from heldout.spec.json_pointer import make_pointer
from heldout.views.diagnosis import DiagnosisView

router = make_router("/v1/diagnoses", "diagnoses", scope="read")

# Dedicated threads: the allocator keeps the peak memory of every thread that has ever diagnosed a file.
_THREADS = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="diagnose")
_PREDICTIONS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "An `.npz` with arrays such as `test_labels` and `test_probabilities` (or "
                            "`test_answers`, `test_hashes`), or a CSV with the columns `split`, `label`, and either "
                            "`answer` or one `p_<class>` per class. A job's `predictions.npz` is such a file.",
                        },
                        "training": {
                            "type": "string",
                            "description": "The curves of the same training, as JSON text: the body of `POST "
                            '/v1/diagnoses` without `predictions`, or only `{"classes": […]}`.',
                        },
                    },
                }
            }
        },
    }
}


@router.post("", responses=document_errors(*JSON_BODY))
def diagnose_history(training: ForeignTraining, caller: CallerDep) -> DiagnosisView:
    """Diagnose a training recorded elsewhere, from curves, predictions for labeled images, or both. Stores nothing."""
    return DiagnosisView.of(diagnose_answers(training.answers(), training.curves(), training.class_count))


@router.post(
    "/predictions",
    response_model=DiagnosisView,
    openapi_extra=_PREDICTIONS,
    responses=document_errors(
        *(InvalidForm, InvalidJson, BodyTooLarge, InvalidSpec),
        *(StorageUnavailable, TooManyUploads, UploadTooSlow),
        *NO_ROOM,
    ),
)
async def diagnose_predictions(request: Request, caller: CallerDep, app: AppContextDep) -> DiagnosisView:
    """Diagnose a file of predictions for labeled images, which may be larger than a JSON body. Stores nothing."""
    limit_bytes = app.settings.max_predictions_bytes
    async with app.uploads.form(request, caller.owner, limit_bytes) as form:
        file, training = get_form_file(form), _get_form_text(form)
        async with app.diagnosing.taken(caller.owner):
            return await asyncio.get_running_loop().run_in_executor(
                _THREADS, _diagnose_file, file, training, limit_bytes
            )


def _get_form_text(form: FormData) -> str | None:
    """Get the field `training`. Raises InvalidForm for unknown and repeated fields."""
    names = [name for name, _ in form.multi_items()]
    for name in names:
        if name not in ("file", "training"):
            raise InvalidForm(f"There is no field {name[:64]!r}. The form accepts `file` and `training`.")
        if names.count(name) > 1:
            raise InvalidForm(f"The field {name!r} occurs twice.")
    training = form.get("training")
    if isinstance(training, UploadFile):
        raise InvalidForm(
            "The field `training` was sent as a file. Send it as text (`curl -F 'training=<history.json'`)."
        )
    return training


def _diagnose_file(file: UploadFile, training: str | None, limit_bytes: int) -> DiagnosisView:
    recorded = None if training is None else _parse_training(training)
    try:
        answers = read_predictions(file.file, limit_bytes, None if recorded is None else recorded.classes)
    except PredictionsRefused as error:
        where = "".join(f"{part}, " if isinstance(part, str) else f"image {part + 1:,}, " for part in error.path)
        detail = f"{where.removesuffix(', ').capitalize()}: {error}." if where else f"{make_sentence(error)}."
        raise InvalidSpec(detail, errors=[FieldError(make_pointer(("file", *error.path)), detail)]) from None
    return DiagnosisView.of(diagnose_answers(answers, None if recorded is None else recorded.curves()))


def _parse_training(text: str) -> "TrainingOfFile":
    content = parse_json(text.encode("utf-8", "surrogatepass"))
    try:
        return TrainingOfFile.model_validate(content)
    except ValidationError as error:
        raise make_values_refusal(error.errors(include_url=False), content, TrainingOfFile) from None


class TrainingOfFile(ForeignCurves):
    """Curves sent with a file of predictions. They may be absent."""

    @property
    def _may_have_no_curves(self) -> bool:
        return True
