"""The flat methods that clients had up to 0.1, and the method of a resource that takes the place of each.

They go with the release after 0.2. Each still returns what it always did: views, not handles.
"""

import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from inspect import isasyncgen, iscoroutine, isgenerator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import deprecated as deprecated
else:

    def deprecated(_message: str) -> Any:
        """Leave functions unchanged: `call_flat` warns, and only type checkers need the mark."""
        return lambda function: function


class FlatMethod:
    """A flat method, which is called as its successor is."""

    def __init__(self, successor: str) -> None:
        self.successor = successor

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @deprecated("use a method of client.jobs, client.datasets and so on; the reference of the client names it")
    def __get__(self, client: Any, owner: type | None = None) -> Callable[..., Any]:
        return lambda *args, **kwargs: call_flat(client, self._name, *args, **kwargs)


class FlatMethods:
    """A base of clients. Names that are also resources are in `_CALLED_RESOURCES`."""

    # Jobs
    cancel = FlatMethod("jobs.cancel")
    cancel_jobs = FlatMethod("jobs.cancel_many")
    change = FlatMethod("jobs.update")
    confused_images = FlatMethod("jobs.confused_images")
    confusion = FlatMethod("jobs.confusion")
    delete = FlatMethod("jobs.delete")
    diagnosis = FlatMethod("jobs.diagnosis")
    download_model = FlatMethod("jobs.download_model")
    download_predictions = FlatMethod("jobs.download_predictions")
    estimate = FlatMethod("jobs.estimate")
    export_report = FlatMethod("jobs.export_report")
    exports = FlatMethod("jobs.exports")
    follow_events = FlatMethod("jobs.follow_events")
    get = FlatMethod("jobs.get")
    job = FlatMethod("jobs.get")
    job_splits = FlatMethod("jobs.split_indices")
    memorized = FlatMethod("jobs.memorized")
    metrics = FlatMethod("jobs.metrics")
    model_card = FlatMethod("jobs.model_card")
    order_export = FlatMethod("jobs.export")
    pause = FlatMethod("jobs.pause")
    predict = FlatMethod("jobs.predict")
    queue = FlatMethod("jobs.queue")
    resume = FlatMethod("jobs.resume")
    retry = FlatMethod("jobs.retry")
    submit = FlatMethod("jobs.create")
    wait = FlatMethod("jobs.poll")
    watch = FlatMethod("jobs.watch")
    # Studies
    cancel_study = FlatMethod("studies.cancel")
    delete_study = FlatMethod("studies.delete")
    estimate_study = FlatMethod("studies.estimate")
    follow_study_events = FlatMethod("studies.follow_events")
    open_study = FlatMethod("studies.get")
    order_study = FlatMethod("studies.create")
    study = FlatMethod("studies.get")
    study_events = FlatMethod("studies.events")
    study_report = FlatMethod("studies.report")
    study_report_text = FlatMethod("studies.report_text")
    wait_study = FlatMethod("studies.poll")
    watch_study = FlatMethod("studies.watch")
    # Datasets
    create_dataset = FlatMethod("datasets.create")
    dataset = FlatMethod("datasets.get")
    dataset_audit = FlatMethod("datasets.audit")
    dataset_effect = FlatMethod("datasets.preview_fix")
    dataset_image = FlatMethod("datasets.image")
    dataset_images = FlatMethod("datasets.images")
    dataset_ledger = FlatMethod("datasets.ledger")
    dataset_preview = FlatMethod("datasets.contact_sheet")
    dataset_splits = FlatMethod("datasets.split_indices")
    dataset_suspects = FlatMethod("datasets.suspects")
    delete_dataset = FlatMethod("datasets.delete")
    list_datasets = FlatMethod("datasets.list")
    mend_dataset = FlatMethod("datasets.fix")
    picture = FlatMethod("datasets.picture")
    tell_apart = FlatMethod("datasets.mark_different")
    upload = FlatMethod("datasets.upload")
    # Models and evaluations
    cancel_evaluation = FlatMethod("evaluations.cancel")
    delete_evaluation = FlatMethod("evaluations.delete")
    delete_uploaded_model = FlatMethod("models.delete")
    evaluate = FlatMethod("evaluations.create")
    evaluation = FlatMethod("evaluations.get")
    evaluation_confusion = FlatMethod("evaluations.confusion")
    evaluation_diagnosis = FlatMethod("evaluations.diagnosis")
    upload_model = FlatMethod("models.create")
    uploaded_model = FlatMethod("models.get")
    uploaded_models = FlatMethod("models.list")
    # Diagnoses of other trainings
    diagnose = FlatMethod("diagnoses.create")
    diagnose_predictions = FlatMethod("diagnoses.create_from_predictions")
    # Keys, webhooks, events, the account and the service
    all_events = FlatMethod("events.list")
    audit_log = FlatMethod("account.activity")
    change_webhook = FlatMethod("webhooks.update")
    check_live = FlatMethod("service.check_live")
    check_ready = FlatMethod("service.check_ready")
    create_key = FlatMethod("keys.create")
    create_webhook = FlatMethod("webhooks.create")
    delete_webhook = FlatMethod("webhooks.delete")
    deliveries = FlatMethod("webhooks.deliveries")
    follow_all_events = FlatMethod("events.follow")
    ping_webhook = FlatMethod("webhooks.ping")
    redeliver = FlatMethod("webhooks.redeliver")
    revoke_key = FlatMethod("keys.delete")
    roll_key = FlatMethod("keys.roll")
    rotate_webhook = FlatMethod("webhooks.rotate")
    service_metrics = FlatMethod("service.metrics")
    usage = FlatMethod("account.usage")
    webhook = FlatMethod("webhooks.get")
    whoami = FlatMethod("account.whoami")


_CALLED_RESOURCES = {
    "datasets": "datasets.list",
    "evaluations": "evaluations.list",
    "events": "jobs.events",
    "jobs": "jobs.list",
    "keys": "keys.list",
    "studies": "studies.list",
    "webhooks": "webhooks.list",
}
SUCCESSORS = _CALLED_RESOURCES | {
    name: method.successor for name, method in vars(FlatMethods).items() if isinstance(method, FlatMethod)
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
