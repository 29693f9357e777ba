"""Creates studies, and continues them."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Body, Depends, Query
from starlette.responses import JSONResponse, Response

from api.http.auth import CallerContext
from api.http.deps import StudyId, WriteContext
from api.http.idempotency import IdempotentRequestDep
from api.http.problems import NO_ROOM, REFUSED_SPEC, raises
from api.http.routing import make_router
from heldout import errors
from heldout.studies.external import AnyStudySpec, ExternalStudySpec
from heldout.studies.judge import JudgeSpec
from heldout.studies.recorded import RecordedStudySpec
from heldout.studies.spec import ContinueSpec
from heldout.views.study import StudyEstimateView, StudyView
from models import continued_studies, external_studies, judges, waiting_studies
from models.store import quotas
from models.views.study import build_study_view

router = make_router("/v1/studies", "studies")


async def take_turn(context: CallerContext) -> AsyncIterator[None]:
    """Wait until no other study is being created. Owners take turns."""
    async with context.app.study_turns.taken(context.owner):
        yield


@router.post(
    "",
    dependencies=[Depends(take_turn, scope="function")],
    status_code=201,
    response_model=StudyView,
    response_description="The running study. Its first trainings are queued, or it waits for its data (`waits_for`).",
    responses={
        200: {
            "model": StudyEstimateView,
            "description": "With `dry_run`: the cost of the accepted study. Nothing is stored.",
        },
    },
)
@raises(
    errors.JobNotFound,
    errors.DataFirst,
    errors.FileOfLaterRelease,
    errors.SpecUnreadable,
    errors.TunerTrials,
    *NO_ROOM,
    *REFUSED_SPEC,
)
def order_study(
    spec: Annotated[AnyStudySpec, Body()],
    context: WriteContext,
    idempotent: IdempotentRequestDep,
    dry_run: Annotated[bool, Query(description="Estimate the number of trainings without starting the study.")] = False,
) -> Response | StudyView:
    """Measure what cures a job or a spec: its remedies and the base, over several seeds, side by side.

    The body has either `job` or `spec`. Every training gets the same dataset version, seeds, folds,
    `training.precision: float32`, `resources.towers: 1` and `evaluation.test: never`, and no remedy may change these.
    The test split is used once, at the end, for the base and the winner.

    The trainings are ordinary jobs with a `study_id`. If one is paused, the study waits for it. If one is cancelled or
    fails, its arm is out and the rest of that arm is cancelled; without its base a study fails. A retry makes a
    new job, which the study does not count. No training can be deleted alone (`part_of_study`). The job that the base
    came from may be deleted while the study runs, a dataset may not. A study survives restarts and lost workers,
    as jobs do.

    A `learning_curve` takes no `remedies` and never looks at the test split. It trains five sizes
    (`training.train_limit`) with each seed. The smallest is 1/16 of the training images, or 4 of each class if that is
    more. Each is larger than the one before by the same factor, up to all images. It is refused if all images are fewer
    than 4 times the smallest size.

    For each size, `sizes` has `images`, `error` (1 − validation accuracy, mean over the seeds), its 95% `interval`,
    `loss` and `jobs`. A size with a failed training is left out. The `forecast` has `images` (twice the largest size),
    `error`, its 90% `interval`, `method` (`power_law` or `local`) and `explanation`. It is null if the curve does not
    show how it continues, and `no_forecast` says why.

    A `judge` keeps labels that no candidate sees, and says which candidates of `POST …/arms` are surely better.

    `external` and `recorded` are studies of trainings that the service does not run: see `POST …/ask` for the former.
    `recorded` compares runs that were done before, at once if they come with final figures. Otherwise each run of
    `GET …/runs` waits for its answers, `POST …/runs/{run}/result` with the token `0`, and the last one ends the study.
    Its answer is `better`, `worse` or `cannot_tell`. It is `cure` only if half of the seeds, drawn by lot (`recorded`),
    chose an arm and the other half alone proves it. Trials of a tuner are refused (`tuner_trials`).

    A study waits without trainings, and `waits_for` says for what, while a fixed version is made or a new dataset is
    still searched for copies. It then begins automatically. It has ended when its answer is there. With a winner,
    `conclusion.gap` says how much of the gap from training to test (or validation) is closed, and what remains. The
    training of the winner on all images (`conclusion.refit`) may still be running; the study can be deleted anyway.
    """
    max_parameters = context.app.settings.max_parameters
    if isinstance(spec, ExternalStudySpec | RecordedStudySpec | JudgeSpec):
        asked = spec
        if dry_run:
            detail = f"A study of kind {spec.kind} has no estimate, because the service does not run its trainings."
            raise errors.InvalidSpec.at("/kind", detail)

        def open_elsewhere() -> StudyView:
            if isinstance(asked, JudgeSpec):
                return build_study_view(*judges.create_judge(context.session, context.blobs, context.owner, asked))
            return build_study_view(*external_studies.create_external_study(context.session, context.owner, asked))

        return idempotent.make(context.session, spec, open_elsewhere)
    if dry_run:
        estimate = waiting_studies.estimate(
            context.session, context.blobs, context.owner, spec, max_parameters=max_parameters
        )
        return JSONResponse(estimate.model_dump(mode="json"))

    def begin() -> StudyView:
        # Checked first, because examining all arms takes a while.
        quotas.require_room(context.read_session, context.owner, *quotas.OF_NEW_STUDIES)
        ordered = waiting_studies.create_waiting_study(
            context.session,
            context.blobs,
            context.owner,
            spec,
            max_parameters=max_parameters,
            max_ingest_s=context.app.settings.max_ingest_s,
            reading=context.read_session,
        )
        return build_study_view(*ordered)

    return idempotent.make(context.session, spec, begin)


@router.post(
    "/{study_id}/continue",
    dependencies=[Depends(take_turn, scope="function")],
    response_description="The study, which runs again. Its next trainings are queued.",
)
@raises(errors.StudyNotContinuable, errors.FileOfLaterRelease, errors.SpecUnreadable, *NO_ROOM, *REFUSED_SPEC)
def continue_study(
    study_id: StudyId, context: WriteContext, spec: Annotated[ContinueSpec | None, Body()] = None
) -> StudyView:
    """Continue a study whose first answer is not a cure (`can_continue`).

    Remedies that may still win get more seeds, up to 8 if the first look had 3. With `remedies: all`, those that the
    first answer left out join. The error that the study allows itself was divided in advance, so a continued study
    names no more false cures than one that was ordered with `extent: full`.
    """
    return build_study_view(
        *continued_studies.continue_study(
            context.session,
            context.blobs,
            context.owner,
            study_id,
            spec or ContinueSpec(),
            max_parameters=context.app.settings.max_parameters,
            reading=context.read_session,
        )
    )
