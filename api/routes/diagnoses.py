"""Diagnoses trainings recorded by other programs, and keeps diagnoses, each under an address of its own."""

import asyncio
import json
from typing import Annotated, Any

from fastapi import Path, Request, Response
from pydantic import ConfigDict, ValidationError, model_validator
from starlette.datastructures import UploadFile

from analysis.answers.external import diagnose_answers
from api.http.auth import CallerContext
from api.http.deps import ReadContext, WriteContext, check_id_form
from api.http.forms import IN_BLOCKS, answer_in_form
from api.http.parameters import AskedPage, make_page_dependency
from api.http.problems import NO_ROOM, UPLOADED, raises
from api.http.routing import make_router
from api.http.upload_body import describe_body, describe_file, get_form_file, read_form_texts
from api.live.streams import Accept
from api.routes.external_files import READING_THREADS, read_external_file
from api.routes.external_training import ExternalTraining
from heldout import errors
from heldout.documents.blocks import Document
from heldout.documents.diagnosis import build_diagnosis
from heldout.spec.field_errors import make_values_refusal
from heldout.views.diagnosis import DiagnosisPage, DiagnosisView, KeptDiagnosisView
from models.store import diagnoses

router = make_router("/v1/diagnoses", "diagnoses", scope="read")

_PREDICTIONS = describe_body(
    ["file"],
    {
        "file": describe_file(
            "An `.npz` with arrays such as `test_labels` and `test_probabilities` (or `test_answers`, `test_hashes`, "
            "`test_column_camera`), "
            "or a CSV with the columns `split`, `label`, and either `answer` or one `p_<class>` per class. A job's "
            "`predictions.npz` is such a file."
        ),
        "training": {
            "type": "string",
            "description": "The curves of the same training, as JSON text: the body of `POST /v1/diagnoses` without "
            '`predictions`, or only `{"classes": […]}`.',
        },
    },
)


@router.post("")
def diagnose_history(training: ExternalTraining, context: CallerContext) -> DiagnosisView:
    """Diagnose a training recorded elsewhere, from curves, predictions for labeled images, or both. Stores nothing."""
    return DiagnosisView.of(diagnose_answers(training.answers(), training.curves(), training.class_count))


@router.post("/predictions", openapi_extra=_PREDICTIONS)
@raises(*UPLOADED, errors.InvalidJson, errors.BodyTooLarge, errors.InvalidSpec, *NO_ROOM)
async def diagnose_predictions(request: Request, context: CallerContext) -> DiagnosisView:
    """Diagnose a file of predictions for labeled images, which may be larger than a JSON body. Stores nothing."""
    limit_bytes = context.app.settings.max_predictions_bytes
    async with context.app.uploads.form(request, context.owner, limit_bytes) as form:
        file, training = get_form_file(form), read_form_texts(form, ["training"]).get("training")
        async with context.app.diagnosing.taken(context.owner):
            return await asyncio.get_running_loop().run_in_executor(
                READING_THREADS, _diagnose_file, file, training, limit_bytes
            )


def _diagnose_file(file: UploadFile, training: str | None, limit_bytes: int) -> DiagnosisView:
    read = read_external_file(file.file, training, limit_bytes)
    return DiagnosisView.of(diagnose_answers(read.answers, read.curves))


kept_router = make_router("/v1/diagnoses", "diagnoses")


DiagnosisId = Annotated[
    str, Path(description="The id of one, `dgn_…`."), check_id_form("dgn", errors.DiagnosisNotFound)
]


class GivenDiagnosis(DiagnosisView):
    """A diagnosis as the service answers it."""

    model_config = ConfigDict(defer_build=False, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def refuse_other_types(cls, value: Any) -> Any:
        """Refuse values that a view would convert, such as `false` for a number, anywhere inside."""
        if not isinstance(value, dict):
            return value
        try:
            DiagnosisView.model_validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            raise make_values_refusal(error.errors(include_url=False), value, cls) from None
        return value


@kept_router.post("/kept", status_code=201, response_description="Kept.")
def keep_diagnosis(diagnosis: GivenDiagnosis, context: WriteContext) -> KeptDiagnosisView:
    """Keep a diagnosis that this service or `heldout.keras` has made, to show it at `/diagnoses/{id}`.

    The newest 200 of each owner are kept.
    """
    return diagnoses.keep(context.session, context.owner, diagnosis)


@kept_router.get("")
def list_kept_diagnoses(
    context: ReadContext, asked: Annotated[AskedPage, make_page_dependency("dgn")]
) -> DiagnosisPage:
    """List the diagnoses that you keep, newest first."""
    ids = diagnoses.list_page(context.session, context.owner, after=asked.after, limit=asked.limit)
    return asked.fill(DiagnosisPage, ids, lambda block: diagnoses.get_listed(context.session, block))


@kept_router.get("/{diagnosis_id}", response_model=KeptDiagnosisView, responses=IN_BLOCKS)
def get_kept_diagnosis(
    diagnosis_id: DiagnosisId, context: ReadContext, response: Response, accept: Accept = ""
) -> Response | KeptDiagnosisView:
    """Get a diagnosis that was kept."""
    kept = diagnoses.find(context.session, context.owner, diagnosis_id)
    return answer_in_form(
        accept, response, kept, lambda: Document(f"Kept on {kept.created_at:%Y-%m-%d %H:%M} UTC", build_diagnosis(kept))
    )


@kept_router.delete("/{diagnosis_id}", status_code=204)
def delete_kept_diagnosis(diagnosis_id: DiagnosisId, context: WriteContext) -> None:
    """Delete a diagnosis that was kept."""
    diagnoses.remove(context.session, context.owner, diagnosis_id)
