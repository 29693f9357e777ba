"""Every type of event and its meaning; the reference is generated from this."""

from enum import StrEnum


class SubjectObject(StrEnum):
    """What an event can be about."""

    JOB = "job"
    DATASET = "dataset"
    STUDY = "study"
    MODEL = "model"
    EVALUATION = "evaluation"
    WEBHOOK = "webhook"


EVENT_TYPES: dict[str, str] = {
    "job.queued": "The job is waiting for a worker.",
    "job.started": "An attempt has started.",
    "job.epoch": "An epoch was measured; `data` has its figures.",
    "job.checkpoint": "The job's state was stored.",
    "job.overfitting": "`training.on_overfit` detected overfitting; `data` has `epoch` and `best_epoch`.",
    "job.warning": "A warning; the message has the details.",
    "job.requeued": "An attempt ended early and the job is waiting again; `data.reason` and `data.error` say why.",
    "job.pausing": "A pause was requested.",
    "job.paused": "The job is paused.",
    "job.resumed": "The job is waiting for a worker again.",
    "job.cancelling": "A cancellation was requested.",
    "job.cancelled": "The job is cancelled. Completed epochs are kept.",
    "job.succeeded": "The job ended with a result; `data.stop_reason` says why it stopped.",
    "job.failed": "The job ended without a result; `data.error` says why.",
    "dataset.uploading": "The dataset was announced and is waiting for its content.",
    "dataset.checking": "The content has arrived and is being checked.",
    "dataset.ready": "Jobs can train on it; `data.same_as` is an earlier version with the same content, or null.",
    "dataset.rejected": (
        "The content was rejected or did not arrive, or the ingest was cancelled; `data.error` says why."
    ),
    "dataset.deleted": "The dataset was deleted.",
    "study.waiting": "The study starts once its data are ready; `data.waits_for` says what is being done.",
    "study.started": "The first trainings are queued.",
    "study.arm_dropped": "A remedy was dropped; `data.why` says why.",
    "study.cancelling": "A cancellation was requested.",
    "study.cancelled": "None of the study's jobs is running any longer.",
    "study.succeeded": "The study has an answer, which is the message.",
    "study.failed": "The study has no answer; the message says why.",
    "study.finished": "The study ended in any way. Webhooks only: lists and streams have the three events above.",
    "model.checking": "The file has arrived and is being read.",
    "model.ready": "The model can be evaluated, and trainings can start from it.",
    "model.rejected": "The file was rejected, or its check was cancelled; `data.error` says why.",
    "model.deleted": "The model was deleted.",
    "evaluation.queued": "The evaluation is waiting for a worker.",
    "evaluation.started": "An attempt has started.",
    "evaluation.warning": "A warning; the message has the details.",
    "evaluation.requeued": "An attempt ended early and the evaluation is waiting again; `data` says why.",
    "evaluation.cancelling": "A cancellation was requested.",
    "evaluation.cancelled": "The evaluation is cancelled; none of its results are kept.",
    "evaluation.succeeded": "The model was measured.",
    "evaluation.failed": "The evaluation ended without figures; `data.error` says why.",
    "webhook.disabled": "Attempts failed for too long, so the webhook is disabled; the message says what to do.",
    "webhook.ping": "A test message. Webhooks only, and sent without subscribing to it.",
}
