"""A study's external trainings: runners ask for them, renew their leases, and report their results."""

import asyncio
import secrets
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import Path, Query, Request
from pydantic import Field
from starlette.datastructures import FormData

from analysis.answers.external import diagnose_answers
from analysis.studies.reported_results import StudyObjective, drop_test
from api.http.auth import CallerContext
from api.http.body import Body
from api.http.context import RequestContext
from api.http.deps import ReadContext, StudyId
from api.http.problems import JSON_BODY, raises
from api.http.routing import make_router
from api.http.upload_body import describe_body, describe_file
from api.routes.datasets.upload import COMPONENT
from api.routes.external_files import READING_THREADS, ExternalFile
from api.routes.studies.reported_results import (
    ReportedResultSpec,
    Result,
    read_result_body,
    read_result_file,
    read_result_form,
)
from heldout import errors
from heldout.lifecycle.resources import StudyStatus
from heldout.views.diagnosis import DiagnosisView
from heldout.views.study_run import AskView, RunList, RunView
from models import external_studies
from models.store import external_runs, studies
from models.views.study import build_study_view
from models.views.study_run import build_ask_view, build_run_view, has_opened_test

router = make_router("/v1/studies", "studies")

RunId = Annotated[str, Path(max_length=40, description="A run's id, `run_…`.")]
LEASE_S, MOST_WAIT_S = 60.0, 10.0


class AskSpec(Body):
    """The runner that asks for a training, and how long it may be silent."""

    runner: str = Field("runner", min_length=1, max_length=128, description="A name for the runner, shown in lists.")
    lease_s: float = Field(LEASE_S, ge=5, le=86_400, description="After this time without a heartbeat, others get it.")


class HeartbeatSpec(Body):
    """The lease to renew, and for how long."""

    token: str = Field(max_length=20)
    lease_s: float = Field(LEASE_S, ge=5, le=86_400)


@router.post("/{study_id}/ask", response_description="A training to run, a time to wait, or the study's conclusion.")
@raises(errors.SpecUnreadable)
def ask_for_run(study_id: StudyId, asked: AskSpec, context: CallerContext) -> AskView:
    """Ask which training to run next. Writes only if it leases one; any number of runners may ask at once.

    Run the training with its `parameters`, `seed` and `fold`, renew the lease with `POST …/runs/{run}/heartbeat`, and
    report the answers with `POST …/runs/{run}/result`. The next runner that asks gets a training whose lease has ended.
    """
    with context.read() as session:
        study, dataset = studies.find(session, context.owner, study_id)
        is_open = study.status is StudyStatus.RUNNING and study.kind == "external"
        if not is_open:
            view = build_study_view(study, dataset)
            return build_ask_view(study, None, view, lease_s=asked.lease_s, wait_s=None)
        if study.cancel_requested or not external_runs.has_open(session, study_id):
            wait_s = external_runs.find_seconds_until_next(session, study_id, MOST_WAIT_S)
            return build_ask_view(study, None, None, lease_s=asked.lease_s, wait_s=wait_s)
    with context.write() as session:
        leased = external_runs.ask(session, study_id, asked.runner, asked.lease_s)
        if leased is not None:
            context.note_change(session, None)
            return build_ask_view(study, leased, None, lease_s=asked.lease_s, wait_s=None)
        wait_s = external_runs.find_seconds_until_next(session, study_id, MOST_WAIT_S)
        return build_ask_view(study, None, None, lease_s=asked.lease_s, wait_s=wait_s)


@router.post("/{study_id}/runs/{run_id}/heartbeat", status_code=204)
@raises(errors.RunNotFound, errors.RunReplaced)
def renew_lease(study_id: StudyId, run_id: RunId, spec: HeartbeatSpec, context: CallerContext) -> None:
    """Renew a runner's lease. `run_replaced` means: stop, because another runner has it or has reported its result."""
    with context.write() as session:
        external_runs.renew(session, context.owner, study_id, run_id, spec.token, spec.lease_s)


@router.delete("/{study_id}/runs/{run_id}/lease", status_code=204)
@raises(errors.RunNotFound, errors.RunReplaced)
def give_back_lease(
    study_id: StudyId,
    run_id: RunId,
    token: Annotated[str, Query(max_length=20, description="From `ask`.")],
    context: CallerContext,
) -> None:
    """Give back a training that will not be finished. The next runner that asks gets it."""
    with context.write() as session:
        external_runs.give_back(session, context.owner, study_id, run_id, token)


# Its parts are among the components, as parts of `ExternalTraining`.
_RESULT_BODY = {
    name: part for name, part in ReportedResultSpec.model_json_schema(ref_template=COMPONENT).items() if name != "$defs"
}
_RESULT = describe_body(
    ["token"],
    {
        "token": {"type": "string", "description": "From `ask`; `0` for a recorded run."},
        "file": describe_file(
            "The answers: an `.npz` with `validation_labels` and `validation_probabilities`, and optionally those of "
            "`train` and `test`; or a CSV, as for `POST /v1/diagnoses/predictions`. `<split>_hashes` (any ids, "
            "different for each image of `validation` and `test`) pair images that are in a different order."
        ),
        "training": {
            "type": "string",
            "description": "The curves, as JSON text, as for `POST /v1/diagnoses/predictions`.",
        },
        "seconds": {"type": "string", "description": "How long the training took."},
        "failed": {"type": "string", "description": "Instead of a file: why there is no result."},
    },
    {"application/json": _RESULT_BODY},
)


@router.post(
    "/{study_id}/runs/{run_id}/result",
    openapi_extra=_RESULT,
    response_description="The training with its result. `accepted` is false if another result came first.",
)
@raises(
    errors.RunNotFound,
    errors.RunReplaced,
    errors.RunsDisagree,
    errors.InvalidForm,
    errors.StorageUnavailable,
    errors.UploadTooSlow,
    *JSON_BODY,
)
async def tell_result(study_id: StudyId, run_id: RunId, request: Request, context: CallerContext) -> RunView:
    """Report the result of a training that was asked for, or that it failed. The first result for a run counts.

    Answers in a JSON body must be small. Send larger ones as a file, in a form. Answers to test images are sealed:
    nothing shows or uses them until the base and the winner are compared on them, once, at the end. This cannot keep
    the author of the script from looking at them.
    """
    objective = await run_sync(_require_run, context, study_id, run_id)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        async with context.app.uploads.form(
            request, context.owner, context.app.settings.max_predictions_bytes, is_result=True
        ) as form:
            return await _tell(context, study_id, run_id, await _read_form(context, form, objective))
    async with context.app.large_bodies.received(request, context.app.settings.max_body_bytes, context.owner) as raw:
        result = await run_sync(read_result_body, raw, objective, limiter=context.app.large_bodies.get_parser(raw))
    return await _tell(context, study_id, run_id, result)


async def _read_form(context: RequestContext, form: FormData, objective: StudyObjective) -> Result:
    fields = read_result_form(form)
    if fields.file is None:
        return Result(fields.token, fields.seconds, fields.failed or "")
    async with context.app.diagnosing.taken(context.owner):
        return await asyncio.get_running_loop().run_in_executor(
            READING_THREADS, read_result_file, fields, context.app.settings.max_predictions_bytes, objective
        )


@router.get("/{study_id}/runs")
def list_runs(study_id: StudyId, context: ReadContext) -> RunList:
    """List the external trainings of a study, by seed."""
    study, _ = studies.find(context.session, context.owner, study_id)
    rows = external_runs.list_all(context.session, study_id)
    return RunList(object="list", data=[build_run_view(study, *row) for row in rows])


@router.get("/{study_id}/runs/{run_id}")
@raises(errors.RunNotFound)
def get_run(study_id: StudyId, run_id: RunId, context: ReadContext) -> RunView:
    """Get an external training of a study."""
    return build_run_view(*external_runs.find(context.session, context.owner, study_id, run_id))


@router.get("/{study_id}/runs/{run_id}/diagnosis")
@raises(errors.RunNotFound, errors.RunNotReported, errors.StorageUnavailable)
def diagnose_run(study_id: StudyId, run_id: RunId, context: CallerContext) -> DiagnosisView:
    """Diagnose a training from its answers and curves: without test images, unless the study compared it on them."""
    with context.read() as session:
        study, _, run = external_runs.find(session, context.owner, study_id, run_id)
    if run.result is None:
        raise errors.RunNotReported(run_id)
    limit_bytes = context.app.settings.max_predictions_bytes
    external = ExternalFile.load(context.blobs, run.result["file"], run.result["parts"], limit_bytes)
    answers = external.answers if has_opened_test(study, run) else drop_test(external.answers)
    return DiagnosisView.of(diagnose_answers(answers, external.curves))


def _require_run(context: RequestContext, study_id: str, run_id: str) -> StudyObjective:
    """Return what the study of a training compares, if the owner has both."""
    with context.read() as session:
        external_runs.require(session, context.owner, study_id, run_id)
        return studies.get_objective(session, study_id)


async def _tell(context: RequestContext, study_id: str, run_id: str, result: Result) -> RunView:
    async with context.app.result_turns.taken(study_id):
        return await run_sync(_store, context, study_id, run_id, result)


def _store(context: RequestContext, study_id: str, run_id: str, result: Result) -> RunView:
    # Each result has its own name, so that a later one cannot replace the content of the first, which counts.
    key = f"jobs/{run_id}/results/{secrets.token_hex(8)}" if result.parts else None
    about = {"seconds": result.seconds, "file": key, "parts": list(result.parts)}
    counts = False
    try:
        for name, content in result.parts.items():
            context.blobs.put(f"{key}/{name}", content)
        with context.write() as session:
            counts = external_runs.tell(session, study_id, run_id, result.token, result.outcome, about)
            if counts:
                context.note_change(session, None)
    finally:
        if key is not None and not counts:
            context.blobs.delete_all(key)
    # Also after a repeated result, because the first request may have been interrupted at this point.
    external_studies.continue_study(context.app.database, study_id, has_failed=isinstance(result.outcome, str))
    with context.read() as session:
        return build_run_view(*external_runs.find(session, context.owner, study_id, run_id), accepted=counts)
