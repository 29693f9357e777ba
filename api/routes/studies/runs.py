"""The trainings of a study that run elsewhere: asked for, renewed, and told."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import FormData, UploadFile

from analysis.answers.diagnosis import diagnose_answers
from analysis.studies.told import ToldRun, drop_test, read_told
from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.context import get_current_context
from api.http.deps import AppContextDep, ReadSessionDep, StudyId
from api.http.problems import JSON_BODY, NO_ROOM, document_errors
from api.http.routing import make_router
from api.routes.foreign_files import ANSWERS, FOREIGN_THREADS, TRAINING, ForeignFile, read_foreign_file
from heldout.errors import (
    BodyTooLarge,
    FieldError,
    InvalidForm,
    InvalidJson,
    InvalidSpec,
    RunNotFound,
    RunNotTold,
    RunReplaced,
    RunsDisagree,
    SpecUnreadable,
    StorageUnavailable,
    StudyNotFound,
    TooManyUploads,
    UploadTooSlow,
)
from heldout.lifecycle.study import StudyStatus
from heldout.views.diagnosis import DiagnosisView
from heldout.views.study_run import AskView, RunList, RunView
from models.store import external_runs, studies
from models.views.study import build_study_view
from models.views.study_run import build_ask_view, build_run_view, has_opened_test

router = make_router("/v1/studies", "studies")

RunId = Annotated[str, Path(max_length=40, description="A run's id, `run_…`.")]
LEASE_S, MOST_WAIT_S = 60.0, 10.0
_FIELDS = ("token", "seconds", "failed", "training")


class AskSpec(BaseModel):
    """Who asks for a training, and how long it may be silent."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    runner: str = Field("runner", min_length=1, max_length=128, description="A name for the runner, shown in lists.")
    lease_s: float = Field(LEASE_S, ge=5, le=86_400, description="After this time without a heartbeat, others get it.")


class HeartbeatSpec(BaseModel):
    """Who renews a lease."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    token: str = Field(max_length=20)
    lease_s: float = Field(LEASE_S, ge=5, le=86_400)


@router.post(
    "/{study_id}/ask",
    response_description="A training to run, a time to wait, or the study's conclusion.",
    responses=document_errors(StudyNotFound, SpecUnreadable, *JSON_BODY),
)
def ask_for_run(study_id: StudyId, asked: AskSpec, caller: CallerDep, app: AppContextDep) -> AskView:
    """Ask which training to run next. Writes only if it leases one; any number of runners may ask at once.

    Run the training with its `parameters`, `seed` and `fold`, renew the lease with `POST …/runs/{run}/heartbeat`, and
    tell the answers with `POST …/runs/{run}/result`. A training whose lease has ended is given to the next who asks.
    """
    with app.database.read() as session:
        study, dataset = studies.find(session, caller.owner, study_id)
        is_open = study.status is StudyStatus.RUNNING and study.kind == "external"
        if not is_open:
            view = build_study_view(study, dataset)
            return build_ask_view(study, None, view, lease_s=asked.lease_s, wait_s=None)
        wait_s = external_runs.find_seconds_until_next(session, study_id, MOST_WAIT_S)
        if not external_runs.has_open(session, study_id):
            return build_ask_view(study, None, None, lease_s=asked.lease_s, wait_s=wait_s)
    with app.database.write() as session:
        leased = external_runs.ask(session, study_id, asked.runner, asked.lease_s)
        if leased is not None:
            get_current_context().note_change(session, None)
        wait = None if leased is not None else wait_s
        return build_ask_view(study, leased, None, lease_s=asked.lease_s, wait_s=wait)


@router.post(
    "/{study_id}/runs/{run_id}/heartbeat",
    status_code=204,
    responses=document_errors(StudyNotFound, RunNotFound, RunReplaced, *JSON_BODY),
)
def renew_lease(study_id: StudyId, run_id: RunId, spec: HeartbeatSpec, caller: CallerDep, app: AppContextDep) -> None:
    """Renew a runner's lease. `run_replaced` means: stop, another runner has it or has told its result."""
    with app.database.write() as session:
        studies.find(session, caller.owner, study_id)
        external_runs.renew(session, study_id, run_id, spec.token, spec.lease_s)


_RESULT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["token"],
                    "additionalProperties": False,
                    "properties": {
                        "token": {"type": "string", "description": "From `ask`; `0` for a recorded run."},
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "The answers: an `.npz` with `validation_labels` and "
                            "`validation_probabilities`, and those of `train` and `test` if there are any; or a "
                            "CSV, as for `POST /v1/diagnoses/predictions`. `<split>_hashes` (any ids) pair images "
                            "that come in another order.",
                        },
                        "training": {
                            "type": "string",
                            "description": "The curves, as JSON text, as for `POST /v1/diagnoses/predictions`.",
                        },
                        "seconds": {"type": "string", "description": "How long the training took."},
                        "failed": {"type": "string", "description": "Instead of a file: why there is no result."},
                    },
                }
            }
        },
    }
}


@router.post(
    "/{study_id}/runs/{run_id}/result",
    openapi_extra=_RESULT,
    response_model=RunView,
    response_description="The training as told. `accepted` is false if another result was there first.",
    responses=document_errors(
        *(StudyNotFound, RunNotFound, RunReplaced, RunsDisagree, InvalidForm, InvalidJson, InvalidSpec),
        *(BodyTooLarge, StorageUnavailable, TooManyUploads, UploadTooSlow),
        *NO_ROOM,
    ),
)
async def tell_result(
    study_id: StudyId, run_id: RunId, request: Request, caller: CallerDep, app: AppContextDep
) -> RunView:
    """Tell the result of a training, or that it failed. The first result for an arm and seed counts.

    Answers to test images are sealed: nothing shows or uses them until the base and the winner are compared on them,
    once, at the end. The author of the script could still have looked at them.
    """
    await run_sync(_require_run, app, caller.owner, study_id, run_id)
    async with app.uploads.form(request, caller.owner, app.settings.max_predictions_bytes) as form:
        asked = _read_form(form)
        told: ToldRun | str | None = asked.failed
        foreign: ForeignFile | None = None
        if asked.file is not None:
            async with app.diagnosing.taken(caller.owner):
                foreign = await asyncio.get_running_loop().run_in_executor(
                    FOREIGN_THREADS, read_foreign_file, asked.file, asked.training, app.settings.max_predictions_bytes
                )
            told = foreign.read(read_told)
        assert told is not None
        # A name of its own, so that no later result replaces the file of the one that counts.
        key = None if foreign is None else f"jobs/{run_id}/told/{secrets.token_hex(8)}"
        if key is not None:
            await run_sync(_store, app, key, asked)
        counts = False
        try:
            view = await run_sync(_tell, app, caller.owner, study_id, run_id, asked, told, key)
            counts = bool(view.accepted)
            return view
        finally:
            if key is not None and not counts:
                await run_sync(app.blobs.delete_all, key)


@router.get("/{study_id}/runs", responses=document_errors(StudyNotFound))
def list_runs(study_id: StudyId, caller: CallerDep, session: ReadSessionDep) -> RunList:
    """List the trainings of a study that run elsewhere, by seed."""
    study, _ = studies.find(session, caller.owner, study_id)
    rows = external_runs.list_all(session, study_id)
    return RunList(object="list", data=[build_run_view(study, *row) for row in rows])


@router.get("/{study_id}/runs/{run_id}", responses=document_errors(StudyNotFound, RunNotFound))
def get_run(study_id: StudyId, run_id: RunId, caller: CallerDep, session: ReadSessionDep) -> RunView:
    """Get a training of a study that runs elsewhere."""
    study, _ = studies.find(session, caller.owner, study_id)
    return build_run_view(study, *external_runs.find(session, study_id, run_id))


@router.get(
    "/{study_id}/runs/{run_id}/diagnosis",
    responses=document_errors(StudyNotFound, RunNotFound, RunNotTold, StorageUnavailable),
)
def diagnose_run(study_id: StudyId, run_id: RunId, caller: CallerDep, app: AppContextDep) -> DiagnosisView:
    """Diagnose a training from its answers and curves: without test images, unless the study compared it on them."""
    with app.database.read() as session:
        study, _ = studies.find(session, caller.owner, study_id)
        _, run = external_runs.find(session, study_id, run_id)
    if run.told is None:
        raise RunNotTold(run_id)
    limit_bytes, has_training = app.settings.max_predictions_bytes, run.told["has_training"]
    foreign = ForeignFile.load(app.blobs, run.told["file"], limit_bytes, has_training=has_training)
    answers = foreign.answers if has_opened_test(study, run) else drop_test(foreign.answers)
    return DiagnosisView.of(diagnose_answers(answers, foreign.curves))


@dataclass(frozen=True)
class _Told:
    """The fields of a result's form."""

    token: str
    file: UploadFile | None
    training: str | None
    seconds: float | None
    failed: str | None


def _read_form(form: FormData) -> _Told:
    texts: dict[str, str] = {}
    for name, value in form.multi_items():
        if name == "file" and isinstance(value, UploadFile):
            continue
        if name not in _FIELDS:
            raise InvalidForm(f"There is no field {name[:64]!r}. The form accepts `file`, {', '.join(_FIELDS)}.")
        if not isinstance(value, str) or name in texts:
            raise InvalidForm(f"The field {name!r} was sent as a file, or twice. Send it once, as text.")
        texts[name] = value
    file = form.get("file")
    if "token" not in texts:
        raise InvalidForm("The field `token` is missing. `POST …/ask` returned it with the run.")
    if (file is None) == ("failed" not in texts):
        raise InvalidForm("Send either `file`, with the answers, or `failed`, with the reason.")
    try:
        seconds = None if "seconds" not in texts else float(texts["seconds"])
    except ValueError:
        seconds = -1.0
    if seconds is not None and not 0 <= seconds < 1e9:
        detail = f"Received {texts['seconds'][:40]!r}; expected a number of seconds."
        raise InvalidSpec(f"/seconds: {detail}", errors=[FieldError("/seconds", detail)])
    failed = texts.get("failed")
    return _Told(
        texts["token"][:20],
        file if isinstance(file, UploadFile) else None,
        texts.get("training"),
        seconds,
        None if failed is None else failed[:2000] or "The script gave no reason.",
    )


def _require_run(app: AppContext, owner: str, study_id: str, run_id: str) -> None:
    with app.database.read() as session:
        studies.find(session, owner, study_id)
        external_runs.find(session, study_id, run_id)


def _store(app: AppContext, key: str, asked: _Told) -> None:
    assert asked.file is not None
    asked.file.file.seek(0)
    app.blobs.put(f"{key}/{ANSWERS}", asked.file.file.read())
    if asked.training is not None:
        app.blobs.put(f"{key}/{TRAINING}", asked.training.encode("utf-8", "surrogatepass"))


def _tell(
    app: AppContext, owner: str, study_id: str, run_id: str, asked: _Told, told: ToldRun | str, key: str | None
) -> RunView:
    about = {"seconds": asked.seconds, "file": key, "has_training": asked.training is not None}
    with app.database.write() as session:
        accepted = external_runs.tell(session, study_id, run_id, asked.token, told, about)
        if accepted:
            get_current_context().note_change(session, None)
    with app.database.read() as session:
        study, _ = studies.find(session, owner, study_id)
        return build_run_view(study, *external_runs.find(session, study_id, run_id), accepted=accepted)
