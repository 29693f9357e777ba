"""The Python client: a method for each route of jobs, events and datasets, which gives typed views.

with Client("http://127.0.0.1:8000", "ho_…") as client:
    job = client.submit(spec)
    for job in client.watch(job.id):
        print(job.status, job.progress)
    print(client.metrics(job.id).final)
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx2

from heldout.connection import TIMEOUT_S, ApiProblem, Connection, NoService
from heldout.dataset_client import DatasetMethods
from heldout.errors import JobNotFound
from heldout.spec import JobSpec
from heldout.stored.artifacts import PredictionsFormat
from heldout.study_client import StudyMethods
from heldout.typed_answers import PAGE, TypedAnswers, idempotent, segment_of
from heldout.views.base import as_json
from heldout.views.confusion import ConfusionView
from heldout.views.dataset import IndicesView
from heldout.views.diagnosis import DiagnosisView
from heldout.views.estimate import EstimateView
from heldout.views.event import EventPage, EventView, OwnerEventPage, OwnerEventView
from heldout.views.job import JobPage, JobView
from heldout.views.metrics import MetricsView
from heldout.views.queue import QueueView

__all__ = ["ApiProblem", "Client", "NoService"]

LONG_POLL_S = 60
PATIENCE_S = 30.0
# Large files of predictions take some seconds, one after another.
DIAGNOSIS_TIMEOUT_S = 300.0

Spec = Mapping[str, Any] | JobSpec


class Client(DatasetMethods, StudyMethods):
    """One service and one key. Use it as a context manager; it may be shared by threads.

    Args:
        url: the service's address, such as `http://127.0.0.1:8000`.
        api_key: `ho_<id>_<secret>`.
        patience_s: how long requests that can safely be repeated are repeated while a service that has answered
            before does not answer now, or answers 429 or 503.
        transport: how requests travel; for tests.
    Raises:
        NoService: from every method, if nothing answers.
        ApiProblem: from every method, if the service answers with a problem.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        patience_s: float = PATIENCE_S,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._connection = Connection(url, api_key, patience_s, transport)
        self._answers = TypedAnswers(self._connection)

    @property
    def url(self) -> str:
        return self._connection.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    # --- jobs --------------------------------------------------------------------------------------

    def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> JobView:
        """Queue a training job. A key is drawn where none is given, so that a repeat never queues a second one.

        Raises:
            ValueError: if the idempotency key is not 1 to 255 printable ASCII characters.
        """
        headers = idempotent(idempotency_key)
        return self._answers.read(JobView, "POST", "/v1/jobs", body=_body(spec), headers=headers, repeatable=True)

    def estimate(self, spec: Spec) -> EstimateView:
        """What a spec would cost; nothing is queued."""
        return self._answers.read(
            EstimateView, "POST", "/v1/jobs", body=_body(spec), params={"dry_run": "true"}, repeatable=True
        )

    def get(self, job_id: str) -> JobView:
        return self._answers.read(JobView, "GET", _job(job_id))

    def wait(self, job_id: str, *, version: int | None = None, wait_s: int = LONG_POLL_S) -> JobView | None:
        """The job as soon as its version differs from `version`, or None if it is the same after `wait_s`.

        Without a version: the job when it has ended, or as it is after `wait_s` (0–60).
        """
        headers = {} if version is None else {"If-None-Match": f'"{version}"'}
        response = self._connection.send(
            "GET", _job(job_id), params={"wait": wait_s}, headers=headers, timeout_s=wait_s + TIMEOUT_S
        )
        return None if response.status_code == 304 else self._answers.parsed(JobView, response.content)

    def watch(self, job_id: str, *, wait_s: int = LONG_POLL_S) -> Iterator[JobView]:
        """The job now and after each change, until it has ended."""
        job = self.get(job_id)
        yield job
        while not job.has_ended:
            changed = self.wait(job_id, version=job.version, wait_s=wait_s)
            if changed is not None:
                job = changed
                yield job

    def jobs(
        self,
        *,
        statuses: Sequence[str] = (),
        dataset: str | None = None,
        metadata: Mapping[str, str] | None = None,
        study: str | None = None,
        page_size: int = PAGE,
    ) -> Iterator[JobView]:
        """The owner's jobs, newest first; further pages are fetched as they are needed."""
        params: list[tuple[str, str]] = [("status", status) for status in statuses]
        if dataset is not None:
            params.append(("dataset", dataset))
        if study is not None:
            params.append(("study", study))
        params += [(f"metadata[{key}]", value) for key, value in (metadata or {}).items()]
        return self._answers.pages(JobPage, "/v1/jobs", params, page_size=page_size)

    def cancel(self, job_id: str) -> JobView:
        return self._answers.read(JobView, "POST", _job(job_id, "cancel"))

    def pause(self, job_id: str) -> JobView:
        return self._answers.read(JobView, "POST", _job(job_id, "pause"))

    def resume(self, job_id: str) -> JobView:
        return self._answers.read(JobView, "POST", _job(job_id, "resume"))

    def retry(
        self,
        job_id: str,
        *,
        epochs: int | None = None,
        remedy: str | None = None,
        patch: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> JobView:
        """A new job with the spec of one that has ended, as it was or with one change; the key is as for `submit`.

        Args:
            epochs: go on from its last state, up to so many epochs in all.
            remedy: the name of a remedy; as the job's diagnosis offers it, where it does.
            patch: a merge patch (RFC 7396) of its spec.
        """
        changes = {"epochs": epochs, "remedy": remedy, "patch": patch}
        body = {name: value for name, value in changes.items() if value is not None}
        headers = idempotent(idempotency_key)
        return self._answers.read(
            JobView, "POST", _job(job_id, "retry"), body=body or None, headers=headers, repeatable=True
        )

    def job_splits(self, job_id: str) -> IndicesView:
        """Which images of its dataset a job trains on and is measured on."""
        return self._answers.read(IndicesView, "GET", _job(job_id, "splits"))

    def delete(self, job_id: str) -> None:
        self._connection.send("DELETE", _job(job_id))

    def change(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        name: str | None = None,
        metadata: Mapping[str, str | None] | None = None,
        version: int | None = None,
    ) -> JobView:
        """Change a job: its name and metadata at any time, its priority while it is queued. What is None stays.

        Args:
            metadata: merged with the job's own; a key whose value is None is removed.
            version: change the job only if this is still its `version`; otherwise ApiProblem `changed_meanwhile`.
        """
        wanted = {"priority": priority, "name": name, "metadata": metadata}
        body = {field: value for field, value in wanted.items() if value is not None}
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        # With a version, the second of two equal requests would be refused because the first one has succeeded.
        is_repeatable = version is None
        return self._answers.read(JobView, "PATCH", _job(job_id), body=body, headers=headers, repeatable=is_repeatable)

    def metrics(self, job_id: str) -> MetricsView:
        return self._answers.read(MetricsView, "GET", _job(job_id, "metrics"))

    def events(self, job_id: str, *, after: int = 0) -> Iterator[EventView]:
        """What has happened to a job, oldest first, after the event with the number `after`."""
        return self._answers.pages(EventPage, _job(job_id, "events"), after=after)

    def follow_events(self, job_id: str, *, after: int | None = None) -> Iterator[EventView]:
        """What happens to a job, as it happens, until the job has ended; without `after` from now on."""
        return self._answers.follow(EventView, _job(job_id, "events"), after)

    def queue(self, job_id: str) -> QueueView:
        return self._answers.read(QueueView, "GET", _job(job_id, "queue"))

    def download_model(self, job_id: str, to: Path) -> int:
        """Write the `.keras` file to a path, whole or not at all; gives back its size in bytes.

        Raises:
            OSError: if the file cannot be written.
        """
        return self._connection.download(_job(job_id, "model"), to)

    def download_predictions(self, job_id: str, to: Path, format: PredictionsFormat = "npz") -> int:
        """Write the predictions to a path, as arrays or as a table, whole or not at all; gives back the size in bytes.

        Raises:
            OSError: if the file cannot be written.
        """
        return self._connection.download(f"{_job(job_id, 'predictions')}?format={format}", to)

    def diagnosis(self, job_id: str) -> DiagnosisView:
        """Why a job's test results are worse than its training results, as far as can be told by now."""
        return self._answers.read(DiagnosisView, "GET", _job(job_id, "diagnosis"))

    def confusion(self, job_id: str) -> ConfusionView:
        """Confusion matrices, scores by class, calibration and the most confident mistakes, by split."""
        return self._answers.read(ConfusionView, "GET", _job(job_id, "confusion"))

    def diagnose(
        self,
        history: Mapping[str, object] | Sequence[Mapping[str, object]],
        *,
        run: int | None = None,
        classes: int | Sequence[str] | None = None,
    ) -> DiagnosisView:
        """Judge a history from anywhere: Keras' dictionary, records, Hugging Face's log, or curves by split.

        Args:
            run: which one is meant, counted from 1, if several were written one after the other.
            classes: how many there are, or their names.
        """
        body = {"history": history, "run": run, "classes": _classes(classes)}
        return self._answers.read(DiagnosisView, "POST", "/v1/diagnoses", body=body, repeatable=True)

    def diagnose_predictions(
        self,
        predictions: Path | Mapping[str, object],
        *,
        history: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None,
        run: int | None = None,
        classes: int | Sequence[str] | None = None,
    ) -> DiagnosisView:
        """Judge what a network that was trained anywhere says of labelled images.

        Args:
            predictions: an `.npz` or a CSV, of up to 64 MiB; or for each of train, validation and test `labels` with
                `probabilities` or `answers`, and `hashes`, as lists of at most 1 MiB of JSON in all.
            history: of the same training, if there is one.
            run, classes: as for `diagnose`; names of classes in the order of the columns of probabilities.
        Raises:
            OSError: if the file cannot be read.
        """
        training = {"history": history, "run": run, "classes": _classes(classes)}
        if not isinstance(predictions, Path):
            body = {"predictions": predictions, **training}
            return self._answers.read(DiagnosisView, "POST", "/v1/diagnoses", body=body, repeatable=True)
        form = {"file": (predictions.name, predictions.read_bytes()), "training": json.dumps(training)}
        return self._answers.read(
            DiagnosisView,
            "POST",
            "/v1/diagnoses/predictions",
            form=form,
            timeout_s=DIAGNOSIS_TIMEOUT_S,
            repeatable=True,
        )

    # --- events of all jobs and datasets -----------------------------------------------------------

    def all_events(self, *, after: int = 0) -> Iterator[OwnerEventView]:
        """What has happened to all jobs and datasets of the owner, in one order with numbers of its own."""
        return self._answers.pages(OwnerEventPage, "/v1/events", after=after)

    def follow_all_events(self, *, after: int | None = None) -> Iterator[OwnerEventView]:
        """What happens to all of them, as it happens, without an end; without `after` from now on.

        After a failure of the connection it continues where it was: no event is left out, and none comes twice.
        """
        return self._answers.follow(OwnerEventView, "/v1/events", after)


def _classes(classes: int | Sequence[str] | None) -> int | list[str] | None:
    return classes if classes is None or isinstance(classes, int) else list(classes)


def _body(spec: Spec) -> Mapping[str, Any]:
    return as_json(spec) if isinstance(spec, JobSpec) else spec


def _job(job_id: str, part: str = "") -> str:
    return f"/v1/jobs/{segment_of(job_id, JobNotFound(job_id))}" + (f"/{part}" if part else "")
