"""The flat methods that clients had up to 0.1, and the method of a resource that takes the place of each.

They go with the release after 0.2. Each still returns what it always did: views, not handles.
"""

import warnings
from collections.abc import AsyncIterator, Coroutine
from inspect import isasyncgen, iscoroutine, isgenerator
from typing import Any

SUCCESSORS = {
    # Jobs
    "cancel": "jobs.cancel",
    "cancel_jobs": "jobs.cancel_many",
    "change": "jobs.update",
    "confused_images": "jobs.confused_images",
    "confusion": "jobs.confusion",
    "delete": "jobs.delete",
    "diagnosis": "jobs.diagnosis",
    "download_model": "jobs.download_model",
    "download_predictions": "jobs.download_predictions",
    "estimate": "jobs.estimate",
    "events": "jobs.events",
    "export_report": "jobs.export_report",
    "exports": "jobs.exports",
    "follow_events": "jobs.follow_events",
    "get": "jobs.get",
    "job": "jobs.get",
    "job_splits": "jobs.split_indices",
    "jobs": "jobs.list",
    "memorized": "jobs.memorized",
    "metrics": "jobs.metrics",
    "model_card": "jobs.model_card",
    "order_export": "jobs.export",
    "pause": "jobs.pause",
    "predict": "jobs.predict",
    "queue": "jobs.queue",
    "resume": "jobs.resume",
    "retry": "jobs.retry",
    "submit": "jobs.create",
    "wait": "jobs.poll",
    "watch": "jobs.watch",
    # Studies
    "cancel_study": "studies.cancel",
    "delete_study": "studies.delete",
    "estimate_study": "studies.estimate",
    "follow_study_events": "studies.follow_events",
    "open_study": "studies.get",
    "order_study": "studies.create",
    "studies": "studies.list",
    "study": "studies.get",
    "study_events": "studies.events",
    "study_report": "studies.report",
    "study_report_text": "studies.report_text",
    "wait_study": "studies.poll",
    "watch_study": "studies.watch",
    # Datasets
    "create_dataset": "datasets.create",
    "dataset": "datasets.get",
    "dataset_audit": "datasets.audit",
    "dataset_effect": "datasets.preview_fix",
    "dataset_image": "datasets.image",
    "dataset_images": "datasets.images",
    "dataset_ledger": "datasets.ledger",
    "dataset_preview": "datasets.contact_sheet",
    "dataset_splits": "datasets.split_indices",
    "dataset_suspects": "datasets.suspects",
    "datasets": "datasets.list",
    "delete_dataset": "datasets.delete",
    "list_datasets": "datasets.list",
    "mend_dataset": "datasets.fix",
    "picture": "datasets.picture",
    "tell_apart": "datasets.mark_different",
    "upload": "datasets.upload",
    # Models and evaluations
    "cancel_evaluation": "evaluations.cancel",
    "delete_evaluation": "evaluations.delete",
    "delete_uploaded_model": "models.delete",
    "evaluate": "evaluations.create",
    "evaluation": "evaluations.get",
    "evaluation_confusion": "evaluations.confusion",
    "evaluation_diagnosis": "evaluations.diagnosis",
    "evaluations": "evaluations.list",
    "upload_model": "models.create",
    "uploaded_model": "models.get",
    "uploaded_models": "models.list",
    # Diagnoses of other trainings
    "diagnose": "diagnoses.create",
    "diagnose_predictions": "diagnoses.create_from_predictions",
    # Keys, webhooks, events, the account and the service
    "all_events": "events.list",
    "audit_log": "account.activity",
    "change_webhook": "webhooks.update",
    "check_live": "service.check_live",
    "check_ready": "service.check_ready",
    "create_key": "keys.create",
    "create_webhook": "webhooks.create",
    "delete_webhook": "webhooks.delete",
    "deliveries": "webhooks.deliveries",
    "follow_all_events": "events.follow",
    "keys": "keys.list",
    "ping_webhook": "webhooks.ping",
    "redeliver": "webhooks.redeliver",
    "revoke_key": "keys.delete",
    "roll_key": "keys.roll",
    "rotate_webhook": "webhooks.rotate",
    "service_metrics": "service.metrics",
    "usage": "account.usage",
    "webhook": "webhooks.get",
    "webhooks": "webhooks.list",
    "whoami": "account.whoami",
}
RETURN_HANDLES = {"job", "open_study"}
RETURN_LISTS = {"keys", "webhooks"}


def call_flat(client: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call the successor of a flat method, after a warning that names it."""
    if name not in SUCCESSORS:
        raise TypeError(f"client.{name} is not callable; it has methods, such as client.{name}.create.")
    successor = SUCCESSORS[name]
    warnings.warn(f"client.{name}() is deprecated; use client.{successor}().", DeprecationWarning, stacklevel=3)
    resource, method = successor.split(".")
    found = getattr(getattr(client, resource), method)(*args, **kwargs)
    if name in RETURN_HANDLES:
        return found
    if isasyncgen(found):
        views = _unwrap_each(found)
        return _collect(views) if name in RETURN_LISTS else views
    if isgenerator(found):
        return [_unwrap(item) for item in found] if name in RETURN_LISTS else map(_unwrap, found)
    return _unwrap_awaited(found) if iscoroutine(found) else _unwrap(found)


def _unwrap(found: Any) -> Any:
    return getattr(found, "view", found)


async def _unwrap_awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return _unwrap(await coroutine)


async def _unwrap_each(found: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for item in found:
        yield _unwrap(item)


async def _collect(found: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in found]
