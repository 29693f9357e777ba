"""Why test results are poor, of a training that another program has recorded: its curves, its answers, or both."""

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

# Threads of their own: of each thread that has ever judged a file the allocator keeps what it took at most.
_JUDGES = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="judge")
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
                            "`test_answers`, `test_hashes`; a job's `predictions.npz` is one), or a CSV with the "
                            "columns `split`, `label`, and `answer` or a `p_<class>` for each class.",
                        },
                        "training": {
                            "type": "string",
                            "description": "The curves of the same training, as JSON text: what `POST /v1/diagnoses` "
                            'takes, without `predictions`; or `{"classes": […]}` alone.',
                        },
                    },
                }
            }
        },
    }
}


@router.post("", responses=document_errors(*JSON_BODY))
def diagnose_history(training: ForeignTraining, caller: CallerDep) -> DiagnosisView:
    """Judge what another program has recorded: curves, or answers to labelled images, or both. Nothing is stored."""
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
    """Judge answers to labelled images in a file, which may be larger than a JSON body. Nothing is stored."""
    limit_bytes = app.settings.max_predictions_bytes
    async with app.uploads.form(request, caller.owner, limit_bytes) as form:
        file, training = get_form_file(form), _get_form_text(form)
        async with app.judging.taken(caller.owner):
            return await asyncio.get_running_loop().run_in_executor(
                _JUDGES, _diagnose_file, file, training, limit_bytes
            )


def _get_form_text(form: FormData) -> str | None:
    """The field `training`. Raises InvalidForm for other fields, and for one that comes twice."""
    names = [name for name, _ in form.multi_items()]
    for name in names:
        if name not in ("file", "training"):
            raise InvalidForm(f"There is no field {name[:64]!r}; a form has `file` and `training`.")
        if names.count(name) > 1:
            raise InvalidForm(f"The field {name!r} comes twice.")
    training = form.get("training")
    if isinstance(training, UploadFile):
        raise InvalidForm("The field `training` is a file; send it as a text (`curl -F 'training=<history.json'`).")
    return training


def _diagnose_file(file: UploadFile, training: str | None, limit_bytes: int) -> DiagnosisView:
    told = None if training is None else _parse_training(training)
    try:
        answers = read_predictions(file.file, limit_bytes, None if told is None else told.classes)
    except PredictionsRefused as error:
        where = "".join(f"{part}, " if isinstance(part, str) else f"image {part + 1:,}, " for part in error.path)
        detail = f"{where.removesuffix(', ').capitalize()}: {error}." if where else f"{make_sentence(error)}."
        raise InvalidSpec(detail, errors=[FieldError(make_pointer(("file", *error.path)), detail)]) from None
    return DiagnosisView.of(diagnose_answers(answers, None if told is None else told.curves()))


def _parse_training(text: str) -> "TrainingOfFile":
    content = parse_json(text.encode("utf-8", "surrogatepass"))
    try:
        return TrainingOfFile.model_validate(content)
    except ValidationError as error:
        raise make_values_refusal(error.errors(include_url=False), content, TrainingOfFile) from None


class TrainingOfFile(ForeignCurves):
    """Curves beside a file of predictions; they may be absent."""

    @property
    def _may_have_no_curves(self) -> bool:
        return True
