"""Valid requests that the current state of a job, dataset or webhook does not allow."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from heldout.errors.base import FieldError, HeldoutError


class IdempotencyKeyInFlight(
    HeldoutError, code="idempotency_key_in_flight", status=409, title="The first request with this key is still running"
):
    """The first request with this key is still being answered."""

    def __init__(self) -> None:
        super().__init__(
            "Another request with this Idempotency-Key is still being answered. Repeat this request in a second.",
            headers={"Retry-After": "1"},
        )


class JobFinished(HeldoutError, code="job_finished", status=409, title="The job has ended"):
    """The job has ended."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status}; that is final. POST /v1/jobs/{job_id}/retry makes a new one.")


class JobNotFinished(HeldoutError, code="job_not_finished", status=409, title="The job has not ended"):
    """The job has not ended."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status}. Cancel it or wait until it ends.")


class NothingToProve(HeldoutError, code="nothing_to_prove", status=409, title="The job has no figures to prove"):
    """The job ended before its first epoch was measured."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Job {job_id} ended before one epoch was measured, so it has no verdict to prove. Train it again."
        )


class ProofNotRunning(HeldoutError, code="proof_not_running", status=409, title="No proof is running"):
    """The job has no proof, or its proof has ended."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"No proof of job {job_id} is running, so there is nothing to cancel. "
            f"Start one: POST /v1/jobs/{job_id}/proof."
        )


class PartOfStudy(HeldoutError, code="part_of_study", status=409, title="The job belongs to a study"):
    """The job is a training of a study and can only be deleted with that study."""

    def __init__(self, job_id: str, study_id: str) -> None:
        super().__init__(
            f"Job {job_id} is one of the trainings that study {study_id} compares, so it cannot be deleted alone. "
            f"DELETE /v1/studies/{study_id} deletes the study with all of its jobs."
        )


class StudyFinished(HeldoutError, code="study_finished", status=409, title="The study has ended"):
    """A study that has ended cannot be cancelled."""

    def __init__(self, study_id: str, status: str, what_next: str = "POST /v1/studies starts a new one.") -> None:
        super().__init__(f"Study {study_id} has ended ({status}). {what_next}")


class StudyNotFinished(HeldoutError, code="study_not_finished", status=409, title="The study has not ended"):
    """Only a study that has ended, including its refit, can be deleted."""

    def __init__(self, study_id: str, status: str) -> None:
        refit = "" if status == "running" else ", but its winner is still being trained on all images"
        super().__init__(f"Study {study_id} is {status}{refit}. Cancel that, or wait until it ends.")


class StudyNotContinuable(
    HeldoutError, code="study_not_continuable", status=409, title="The study cannot be continued"
):
    """Only a study that gave a first answer without a cure can be continued, and only while something is left."""

    def __init__(self, study_id: str, why: str) -> None:
        super().__init__(f"{study_id} cannot be continued: {why} POST /v1/studies starts a new one.")


class RunReplaced(HeldoutError, code="run_replaced", status=409, title="The training belongs to another runner"):
    """Another runner has this training of a study, its result is already there, or no one has asked for it yet."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"This token does not hold {run_id}. Stop this training, and ask for the next one.")


class RunNotReported(HeldoutError, code="run_not_reported", status=409, title="The training has no result yet"):
    """The training has no result yet."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"{run_id} has no result yet, so it has no diagnosis. Wait for its result.")


class RunsDisagree(HeldoutError, code="runs_disagree", status=409, title="Two trainings cannot be compared"):
    """A training of a study answers other images or classes than another, or two seeds give the same answers."""

    def __init__(self, run_id: str, other: str, why: str) -> None:
        super().__init__(f"{run_id} cannot be compared with {other}. {why}")


class JobNotQueued(HeldoutError, code="job_not_queued", status=409, title="The job is not queued"):
    """The priority of a job can only change while it is queued."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(
            f"Job {job_id} is {status}; its priority can only change while it is queued. Its name and metadata can "
            "change at any time."
        )


class ChangedMeanwhile(
    HeldoutError, code="changed_meanwhile", status=412, title="The job has changed since it was read"
):
    """The job no longer has the version named in `If-Match`; nothing was changed."""

    def __init__(self, job_id: str, if_match: str, etag: str) -> None:
        super().__init__(
            f"Job {job_id} now has the ETag {etag}, but `If-Match` is {if_match[:100]}. Nothing was changed. GET the "
            "job again; if the change is still right, send it with the new ETag.",
            headers={"ETag": etag},
        )


class JobNotPaused(HeldoutError, code="not_paused", status=409, title="The job is not paused"):
    """Only a paused job can be resumed."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status}; only a paused job can be resumed.")


class NotReady(HeldoutError, code="not_ready", status=409, title="Not available yet"):
    """The job's model, predictions or confusion matrix are not available yet."""

    def __init__(self, job_id: str, what: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status} and has no {what} yet. It is written when the job ends.")


class NoModel(HeldoutError, code="no_model", status=409, title="The job has no model"):
    """The job ended without a model, predictions or a confusion matrix, so there will never be any."""

    def __init__(self, job_id: str, what: str, status: str) -> None:
        why = "It was not kept"
        if status == "failed":
            why = "A job that fails leaves none"
        elif status == "cancelled" and what == "model":
            why = "It was cancelled before its first epoch was complete, or while it was waiting for a worker"
        elif status == "cancelled":
            why = "It was cancelled before its weights were measured"
        retry = f"POST /v1/jobs/{job_id}/retry trains it again"
        super().__init__(f"Job {job_id} is {status} and has no {what}. {why}; {retry}.")


class StateGone(HeldoutError, code="state_gone", status=409, title="The job's last state is gone"):
    """A retry with `epochs` has no state to continue from: none was stored, or `HELDOUT_KEEP_STATE_S` has passed."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Job {job_id} cannot continue. None of its epochs was stored, or its last state was deleted: states are "
            "kept for HELDOUT_KEEP_STATE_S seconds after a job ends. To train from scratch for more epochs, retry with "
            '{"patch": {"training": {"epochs": …}}}.'
        )


class DatasetNotReady(HeldoutError, code="not_ready", status=409, title="Not available yet"):
    """The dataset's splits, audit or previews are not available yet."""

    def __init__(self, name: str, status: str, what: str = "splits", why: str = "") -> None:
        super().__init__(f"Dataset {name!r} is {status}: only a dataset that is ready has {what}. {why}".rstrip())


class CopiesNotKnown(HeldoutError, code="not_ready", status=409, title="Not available yet"):
    """The job asks for folds, but the search for copies in the dataset has not ended."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The search for copies in dataset {name!r} has not ended, and folds keep copies together. Try again in a "
            "moment.",
            headers={"Retry-After": "5"},
        )


class NoAudit(HeldoutError, code="not_ready", status=409, title="Not available yet"):
    """A bundled dataset has no audit."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Dataset {name!r} is bundled with the service. It was not uploaded, so it has no audit.")


class UploadFinished(HeldoutError, code="upload_finished", status=409, title="The dataset already has content"):
    """The dataset already has different content."""

    def __init__(self, name: str, version: int, status: str, *, has_other_content: bool) -> None:
        self.has_other_content = has_other_content
        why = "it was uploaded with different content" if has_other_content else "this content arrived too late"
        super().__init__(
            f"Dataset {name}@{version} is {status}: {why}. Datasets never change; POST /v1/datasets creates the next "
            "version."
        )


class UploadNotKept(HeldoutError, code="upload_not_kept", status=409, title="No upload to read again"):
    """The dataset was not refused for the sizes of its images, or its upload is no longer kept."""

    def __init__(self, name: str, version: int, status: str) -> None:
        super().__init__(
            f"Dataset {name}@{version} is {status}, and no upload of it is kept. Only uploads that were refused for "
            "the sizes of their images are, for 24 hours. Upload it again as a new version, with `resize`."
        )


class DatasetIsBundled(
    HeldoutError, code="dataset_is_bundled", status=409, title="The dataset is bundled with the service"
):
    """The dataset is bundled with the service and cannot be changed or deleted."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is a bundled dataset, which cannot be changed or deleted. Name one of your own.")


class DatasetInUse(HeldoutError, code="dataset_in_use", status=409, title="Jobs or studies need the dataset"):
    """Jobs or studies that have not ended need the dataset; the detail lists them."""

    def __init__(self, name: str, version: int, ids: Sequence[str], *, more: bool) -> None:
        listed = ", ".join(ids) + (" and more" if more else "")
        super().__init__(f"Dataset {name}@{version} is still needed by {listed}. Cancel these or wait until they end.")


class ModelInUse(HeldoutError, code="model_in_use", status=409, title="Evaluations need the model"):
    """Jobs or evaluations that have not ended need the uploaded model; the detail lists them."""

    def __init__(self, model_id: str, ids: Sequence[str]) -> None:
        super().__init__(
            f"Model {model_id} is still needed by {', '.join(ids)}. Cancel these, for example with POST "
            f"/v1/evaluations/{ids[0]}/cancel, or wait until they end."
        )


class ModelIsShared(HeldoutError, code="model_is_shared", status=409, title="The model is shared with all owners"):
    """The model is the operator's, who shares it with all owners. It can be used, but not deleted."""

    def __init__(self, model_id: str) -> None:
        super().__init__(
            f"Model {model_id} is shared with all owners, so you cannot delete it. The operator withdraws it with "
            "`heldout models withdraw`."
        )


class EvaluationFinished(HeldoutError, code="evaluation_finished", status=409, title="The evaluation has ended"):
    """An evaluation that has ended cannot be cancelled."""

    def __init__(self, evaluation_id: str, status: str) -> None:
        super().__init__(
            f"Evaluation {evaluation_id} is {status}; that is final. POST /v1/evaluations starts a new one."
        )


class EvaluationNotFinished(
    HeldoutError, code="evaluation_not_finished", status=409, title="The evaluation has not ended"
):
    """Only an evaluation that has ended can be deleted."""

    def __init__(self, evaluation_id: str, status: str) -> None:
        super().__init__(f"Evaluation {evaluation_id} is {status}. Cancel it or wait until it ends.")


class EvaluationNotReady(HeldoutError, code="not_ready", status=409, title="Not available yet"):
    """The evaluation has not measured anything yet."""

    def __init__(self, evaluation_id: str, status: str, what: str) -> None:
        has_ended = status in {"failed", "cancelled"}
        then = "POST /v1/evaluations measures again" if has_ended else "It is written when the evaluation ends"
        super().__init__(f"Evaluation {evaluation_id} is {status} and has no {what}. {then}.")


class WebhookDisabled(HeldoutError, code="webhook_disabled", status=409, title="The webhook is disabled"):
    """The webhook is disabled, so nothing is sent to it; enable it first."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(
            f'Webhook {webhook_id} is disabled, so nothing is sent to it. PATCH it with {{"enabled": true}} first.'
        )


class DataFirst(HeldoutError, code="data_first", status=409, title="The data have to be fixed first"):
    """The study's data have copies across splits, labels in another order, or other pixel values in one split.

    `errors` lists the faults, and `request` is what to send to fix them.
    """

    def __init__(
        self,
        job_id: str,
        dataset_id: str,
        faults: Sequence[tuple[str, str]],
        body: Mapping[str, Any] | None,
        order: Mapping[str, Any] | None = None,
    ) -> None:
        """faults: code and explanation of each. body: makes a fixed version; None if the service cannot fix the data.

        order: the body of the refused request.
        """
        path, order = f"/v1/datasets/{dataset_id}/versions", {"job": job_id} if order is None else order
        if body is None:
            cure = f"GET /v1/jobs/{job_id}/diagnosis says what to fix; then train on the new version."
        else:
            cure = (
                f"POST {path} with {json.dumps(body)} makes a fixed version; `data: fix` makes it and starts the study "
                "on it."
            )
        codes = ", ".join(dict.fromkeys(code for code, _ in faults))
        in_audit = {code for code, _ in faults} & {"leakage", "label_conflicts"}
        images = "audit" if in_audit else "images?split=test"
        choices = [_make_choice("show_images", "Show the images", "GET", f"/v1/datasets/{dataset_id}/{images}", {})]
        if body is not None:
            choices.append(
                _make_choice("fix", "Fix the data and continue", "POST", "/v1/studies", {**order, "data": "fix"})
            )
        as_they_are = {**order, "data": "as_they_are"}
        choices.append(
            _make_choice("as_they_are", "Compare on the data as they are", "POST", "/v1/studies", as_they_are)
        )
        super().__init__(
            f"No change of the spec can cure what is wrong with the data of {job_id} ({codes}), so no training was "
            f"started. {cure} `data: as_they_are` compares remedies on the data as they are.",
            errors=[FieldError("/job", f"{code}: {explanation}") for code, explanation in faults],
            request=None if body is None else {"method": "POST", "path": path, "body": dict(body)},
            choices=choices,
        )


def _make_choice(name: str, title: str, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "title": title, "request": {"method": method, "path": path, "body": body}}


class LeaseLost(HeldoutError, code="lease_lost", status=409, title="The job belongs to another attempt"):
    """Another attempt holds the job, or it has ended, so what this worker writes no longer counts."""

    def __init__(self, job_id: str, attempt: int) -> None:
        super().__init__(f"Attempt {attempt} of job {job_id} no longer holds it.")
