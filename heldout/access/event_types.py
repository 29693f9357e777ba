"""Every type of event, what it is about and what it tells; the reference is made from this."""

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
    "job.queued": "The job waits for a worker.",
    "job.started": "An attempt has begun.",
    "job.epoch": "An epoch was measured; `data` has its figures.",
    "job.checkpoint": "Its state was stored.",
    "job.overfitting": "`training.on_overfit` has seen overfitting; `data` has `epoch` and `best_epoch`.",
    "job.warning": "Something to know, which the message says.",
    "job.requeued": "An attempt ended before the job did, and it waits again; `data.reason`, `data.error` say why.",
    "job.pausing": "A pause was asked for.",
    "job.paused": "It is paused.",
    "job.resumed": "It waits again.",
    "job.cancelling": "A cancel was asked for.",
    "job.cancelled": "It is cancelled. Whole epochs are kept.",
    "job.succeeded": "It has ended with a result; `data.stop_reason` says what ended it.",
    "job.failed": "It has ended without one; `data.error` says why.",
    "dataset.uploading": "It was announced and waits for its content.",
    "dataset.checking": "Its content has come and is checked.",
    "dataset.ready": "Jobs can train on it; `data.same_as` names an earlier version with the same content, else null.",
    "dataset.rejected": (
        "Its content was not taken, did not come, or its ingest was cancelled; `data.error` says why."
    ),
    "dataset.deleted": "It was deleted.",
    "study.waiting": "It begins once its data are there; `data.waits_for` says what is being done.",
    "study.started": "Its first trainings are queued.",
    "study.arm_dropped": "A remedy goes on no further; `data.why` says why.",
    "study.cancelling": "A cancel was asked for.",
    "study.cancelled": "None of its jobs runs any more.",
    "study.succeeded": "It has its answer, which is the message.",
    "study.failed": "It has no answer; the message says why.",
    "study.finished": "It has ended, whichever way. A webhook's alone: lists and streams have the three above.",
    "model.checking": "Its file has come and is read.",
    "model.ready": "It can be evaluated, and trainings can start from it.",
    "model.rejected": "Its file was not taken, or its check was cancelled; `data.error` says why.",
    "model.deleted": "It was deleted.",
    "evaluation.queued": "It waits for a worker.",
    "evaluation.started": "An attempt has begun.",
    "evaluation.warning": "Something to know, which the message says.",
    "evaluation.requeued": "An attempt ended before it was done, and it waits again; `data` says why.",
    "evaluation.cancelling": "A cancel was asked for.",
    "evaluation.cancelled": "It is cancelled; nothing of it is kept.",
    "evaluation.succeeded": "The model is measured.",
    "evaluation.failed": "It has ended without figures; `data.error` says why.",
    "webhook.disabled": "Its attempts have failed for too long; the message says what to do.",
    "webhook.ping": "A test message. A webhook's alone, and sent though none asks for it.",
}
