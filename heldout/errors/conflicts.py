"""Valid requests that the present state of a job, dataset or webhook does not allow."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from heldout.errors.base import FieldError, HeldoutError


class IdempotencyKeyInFlight(HeldoutError):
    """The first request with this key is being answered."""

    code, status, title = "idempotency_key_in_flight", 409, "The first request with this key is still running"

    def __init__(self) -> None:
        super().__init__(
            "Another request with this Idempotency-Key is being answered. Repeat this one in a second.",
            headers={"Retry-After": "1"},
        )


class JobFinished(HeldoutError):
    """The job has ended."""

    code, status, title = "job_finished", 409, "The job has ended"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status}; that is final. POST /v1/jobs/{job_id}/retry makes a new one.")


class JobNotFinished(HeldoutError):
    """The job has not ended."""

    code, status, title = "job_not_finished", 409, "The job has not ended"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status}. Cancel it or wait until it ends.")


class PartOfStudy(HeldoutError):
    """A training of a study is deleted with its study, not alone."""

    code, status, title = "part_of_study", 409, "The job belongs to a study"

    def __init__(self, job_id: str, study_id: str) -> None:
        super().__init__(
            f"Job {job_id} is one of the trainings that study {study_id} compares, and cannot be deleted alone. "
            f"DELETE /v1/studies/{study_id} deletes the study with all of its jobs."
        )


class StudyFinished(HeldoutError):
    """A study that has ended cannot be cancelled."""

    code, status, title = "study_finished", 409, "The study has ended"

    def __init__(self, study_id: str, status: str) -> None:
        super().__init__(f"Study {study_id} is {status}; that is final. POST /v1/studies orders a new one.")


class StudyNotFinished(HeldoutError):
    """Only a study that has ended, its refit included, can be deleted."""

    code, status, title = "study_not_finished", 409, "The study has not ended"

    def __init__(self, study_id: str, status: str) -> None:
        refit = "" if status == "running" else ", but the training of its winner on all images has not ended"
        super().__init__(f"Study {study_id} is {status}{refit}. Cancel that, or wait until it ends.")


class JobNotQueued(HeldoutError):
    """Priority changes only while a job is queued."""

    code, status, title = "job_not_queued", 409, "The job is not queued"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(
            f"Job {job_id} is {status}; its priority changes only while it is queued. Its name and metadata change at "
            "any time."
        )


class ChangedMeanwhile(HeldoutError):
    """The job no longer has the version of `If-Match`; nothing was changed."""

    code, status, title = "changed_meanwhile", 412, "The job has changed since it was read"

    def __init__(self, job_id: str, if_match: str, etag: str) -> None:
        super().__init__(
            f"Job {job_id} has the ETag {etag} now, and `If-Match` is {if_match[:100]}. Nothing was changed. GET the "
            "job again; if the change still fits, send it with the new ETag.",
            headers={"ETag": etag},
        )


class JobNotPaused(HeldoutError):
    """Only a paused job can be resumed."""

    code, status, title = "not_paused", 409, "The job is not paused"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status}; only a paused job can be resumed.")


class NotReady(HeldoutError):
    """The job's model, predictions or confusion matrix are not there yet."""

    code, status, title = "not_ready", 409, "Not there yet"

    def __init__(self, job_id: str, what: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status} and has no {what} yet. It is written when the job ends.")


class NoModel(HeldoutError):
    """The job has ended without a model, predictions or a confusion matrix: they will never come."""

    code, status, title = "no_model", 409, "The job has left no model"

    def __init__(self, job_id: str, what: str, status: str) -> None:
        why = "It was not kept"
        if status == "failed":
            why = "A job that fails leaves none"
        elif status == "cancelled" and what == "model":
            why = "It was cancelled before one epoch was whole, or while it waited for a worker"
        elif status == "cancelled":
            why = "It was cancelled before its weights were measured"
        anew = f"POST /v1/jobs/{job_id}/retry trains anew"
        super().__init__(f"Job {job_id} is {status} and has no {what}. {why}; {anew}.")


class StateGone(HeldoutError):
    """A retry with `epochs` has no state to go on from: no epoch was stored, or `HELDOUT_KEEP_STATE_S` has passed."""

    code, status, title = "state_gone", 409, "The job's last state is not there"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Job {job_id} cannot go on. No epoch of it was ever stored, or its last state was deleted: they are kept "
            "for HELDOUT_KEEP_STATE_S seconds after a job's end. To train anew for more epochs, retry with "
            '{"patch": {"training": {"epochs": …}}}.'
        )


class DatasetNotReady(HeldoutError):
    """The dataset's splits, audit or previews are not there yet."""

    code, status, title = "not_ready", 409, "Not there yet"

    def __init__(self, name: str, status: str, what: str = "splits", why: str = "") -> None:
        super().__init__(f"Dataset {name!r} is {status}: only a dataset that is ready has {what}. {why}".rstrip())


class CopiesNotKnown(HeldoutError):
    """Folds were asked for while the dataset's copies are still being looked for."""

    code, status, title = "not_ready", 409, "Not there yet"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Copies in dataset {name!r} are still being looked for; folds keep them together. Try again in a moment.",
            headers={"Retry-After": "5"},
        )


class NoAudit(HeldoutError):
    """A bundled dataset has no audit."""

    code, status, title = "not_ready", 409, "Not there yet"

    def __init__(self, name: str) -> None:
        super().__init__(f"Dataset {name!r} comes with the service: it was not uploaded, so it has no audit.")


class UploadFinished(HeldoutError):
    """The dataset has its content already, and it is other content."""

    code, status, title = "upload_finished", 409, "The dataset has its content"

    def __init__(self, name: str, version: int, status: str, *, came: bool) -> None:
        why = "was uploaded with other content" if came else "this content comes too late for it"
        super().__init__(
            f"Dataset {name}@{version} is {status} and {why}. Datasets do not change; "
            "POST /v1/datasets makes the next version."
        )


class DatasetIsBundled(HeldoutError):
    """The dataset comes with the service: nobody changes or deletes it."""

    code, status, title = "dataset_is_bundled", 409, "The dataset comes with the service"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is a bundled dataset: nobody can change or delete it. Name one of your own.")


class DatasetInUse(HeldoutError):
    """Jobs or studies that have not ended need the dataset; the detail says which."""

    code, status, title = "dataset_in_use", 409, "Jobs or studies need the dataset"

    def __init__(self, name: str, version: int, ids: Sequence[str], *, more: bool) -> None:
        listed = ", ".join(ids) + (" and more" if more else "")
        super().__init__(f"Dataset {name}@{version} is needed by what has not ended: {listed}. Cancel it or wait.")


class ModelInUse(HeldoutError):
    """Jobs or evaluations that have not ended need the uploaded model; the detail says which."""

    code, status, title = "model_in_use", 409, "Evaluations need the model"

    def __init__(self, model_id: str, ids: Sequence[str]) -> None:
        super().__init__(
            f"Model {model_id} is needed by what has not ended: {', '.join(ids)}. Cancel it with POST "
            f"/v1/evaluations/{ids[0]}/cancel, or wait."
        )


class EvaluationFinished(HeldoutError):
    """An evaluation that has ended cannot be cancelled."""

    code, status, title = "evaluation_finished", 409, "The evaluation has ended"

    def __init__(self, evaluation_id: str, status: str) -> None:
        super().__init__(
            f"Evaluation {evaluation_id} is {status}; that is final. POST /v1/evaluations orders a new one."
        )


class EvaluationNotFinished(HeldoutError):
    """Only an evaluation that has ended can be deleted."""

    code, status, title = "evaluation_not_finished", 409, "The evaluation has not ended"

    def __init__(self, evaluation_id: str, status: str) -> None:
        super().__init__(f"Evaluation {evaluation_id} is {status}. Cancel it or wait until it ends.")


class EvaluationNotReady(HeldoutError):
    """The evaluation has not measured anything yet."""

    code, status, title = "not_ready", 409, "Not there yet"

    def __init__(self, evaluation_id: str, status: str, what: str) -> None:
        has_ended = status in {"failed", "cancelled"}
        then = "POST /v1/evaluations measures anew" if has_ended else "It is written at the end of the evaluation"
        super().__init__(f"Evaluation {evaluation_id} is {status} and has no {what}. {then}.")


class WebhookDisabled(HeldoutError):
    """Nothing is sent to a disabled webhook; enable it first."""

    code, status, title = "webhook_disabled", 409, "The webhook is disabled"

    def __init__(self, webhook_id: str) -> None:
        super().__init__(
            f'Webhook {webhook_id} is disabled; nothing is sent to it. PATCH it with {{"enabled": true}} first.'
        )


class DataFirst(HeldoutError):
    """A study would begin with data that have copies across splits, another order of labels or other pixel values.

    `errors` says which, and `request` what to send to fix them.
    """

    code, status, title = "data_first", 409, "The data have to be fixed first"

    def __init__(
        self,
        job_id: str,
        dataset_id: str,
        faults: Sequence[tuple[str, str]],
        body: Mapping[str, Any] | None,
        order: Mapping[str, Any] | None = None,
    ) -> None:
        """faults: code and explanation of each. body: what makes a changed version; None where the service cannot.

        order: the body of the refused request.
        """
        path, order = f"/v1/datasets/{dataset_id}/versions", {"job": job_id} if order is None else order
        if body is None:
            cure = f"GET /v1/jobs/{job_id}/diagnosis says what to fix; then train on the new version."
        else:
            cure = (
                f"POST {path} with {json.dumps(body)} makes a fixed version; `data: fix` makes it and orders the study "
                "on it."
            )
        codes = ", ".join(dict.fromkeys(code for code, _ in faults))
        in_audit = {code for code, _ in faults} & {"leakage", "label_conflicts"}
        images = "audit" if in_audit else "images?split=test"
        choices = [_make_choice("show_images", "Show the images", "GET", f"/v1/datasets/{dataset_id}/{images}", {})]
        if body is not None:
            choices.append(
                _make_choice("fix", "Fix the data and go on", "POST", "/v1/studies", {**order, "data": "fix"})
            )
        as_they_are = {**order, "data": "as_they_are"}
        choices.append(
            _make_choice("as_they_are", "Compare on the data as they are", "POST", "/v1/studies", as_they_are)
        )
        super().__init__(
            f"No change of a spec cures what is wrong with the data of {job_id} ({codes}), so no training was started. "
            f"{cure} `data: as_they_are` compares remedies on the data as they are.",
            errors=[FieldError("/job", f"{code}: {explanation}") for code, explanation in faults],
            request=None if body is None else {"method": "POST", "path": path, "body": dict(body)},
            choices=choices,
        )


def _make_choice(name: str, title: str, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "title": title, "request": {"method": method, "path": path, "body": body}}


class LeaseLost(HeldoutError):
    """Another attempt owns the job, or it has ended; what this worker writes no longer counts."""

    code, status, title = "lease_lost", 409, "The job belongs to another attempt"

    def __init__(self, job_id: str, attempt: int) -> None:
        super().__init__(f"Attempt {attempt} of job {job_id} no longer holds it.")
