"""The client's methods for jobs, their results, and the events of everything."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from heldout.access.routes import get_model_route
from heldout.client.connection import TIMEOUT_S, Connection
from heldout.client.dual import dual, dual_iterator
from heldout.client.typed_answers import LONG_POLL_S, PAGE, TypedAnswers, make_idempotency_header, quote_segment
from heldout.errors import JobNotFound
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ExportFormatName, ModelFormatName, PredictionsFormat
from heldout.stored.evaluation import SplitName
from heldout.views.base import dump_json
from heldout.views.confusion import CellView, ConfusionView, MemorizedPage
from heldout.views.dataset import IndicesView
from heldout.views.diagnosis import DiagnosisView
from heldout.views.estimate import EstimateView
from heldout.views.event import EventPage, EventView, OwnerEventPage, OwnerEventView
from heldout.views.export import ExportList, ExportReportView, ExportView, ListedExportView
from heldout.views.job import CancellationView, JobPage, JobView, ListedJobView, QueueView
from heldout.views.metrics import MetricsView

Sort = Literal["created", "name", "best", "gap"]
Spec = Mapping[str, Any] | JobSpec


class JobMethods:
    """A part of `heldout.Client`, which makes the connection."""

    _connection: Connection
    _answers: TypedAnswers

    # --- jobs --------------------------------------------------------------------------------------

    @dual
    async def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> JobView:
        """Queue a training job. A key is drawn where none is given, so that a repeat never queues a second one.

        Raises:
            ValueError: if the idempotency key is not 1 to 255 printable ASCII characters.
        """
        headers = make_idempotency_header(idempotency_key)
        return await self._answers.read(
            JobView, "POST", "/v1/jobs", body=_build_body(spec), headers=headers, repeatable=True
        )

    @dual
    async def estimate(self, spec: Spec) -> EstimateView:
        """What a spec would cost; nothing is queued."""
        return await self._answers.read(
            EstimateView, "POST", "/v1/jobs", body=_build_body(spec), params={"dry_run": "true"}, repeatable=True
        )

    @dual
    async def get(self, job_id: str) -> JobView:
        return await self._answers.read(JobView, "GET", _build_job_path(job_id))

    @dual
    async def wait(self, job_id: str, *, version: int | None = None, wait_s: int = LONG_POLL_S) -> JobView | None:
        """The job as soon as its version differs from `version`, or None if it is the same after `wait_s`.

        Without a version: the job when it has ended, or as it is after `wait_s` (0–60).
        """
        return await self._answers.once_changed(JobView, _build_job_path(job_id), version, wait_s)

    @dual_iterator
    def watch(self, job_id: str, *, wait_s: int = LONG_POLL_S) -> AsyncIterator[JobView]:
        """The job now and after each change, until it has ended."""
        return self._answers.each_change(JobView, _build_job_path(job_id), wait_s)

    @dual_iterator
    def jobs(
        self,
        *,
        statuses: Sequence[str] = (),
        dataset: str | None = None,
        metadata: Mapping[str, str] | None = None,
        study: str | None = None,
        search: str | None = None,
        sort: Sort = "created",
        curves: int | None = None,
        queue: bool = False,
        page_size: int = PAGE,
    ) -> AsyncIterator[ListedJobView]:
        """The owner's jobs, newest first; further pages are fetched as they are needed.

        Args:
            study: an id, or `none` for jobs that belong to no study.
            search: only jobs whose name has this text.
            sort: by time, name, best validation accuracy or gap.
            curves: at most so many epochs (2 to 100) of each job as its `curve`.
            queue: whether queued jobs have their `queue_position`.
        """
        params = _build_filters(statuses, dataset, metadata, study, search)
        if sort != "created":
            params.append(("sort", sort))
        if curves is not None:
            params.append(("curves", str(curves)))
        if queue:
            params.append(("queue", "true"))
        return self._answers.pages(JobPage, "/v1/jobs", params, page_size=page_size)

    @dual
    async def cancel_jobs(
        self,
        *,
        statuses: Sequence[str] = (),
        dataset: str | None = None,
        metadata: Mapping[str, str] | None = None,
        study: str | None = None,
        ids: Sequence[str] = (),
    ) -> CancellationView:
        """Cancel all jobs that the filters name, up to 1,000; `has_more` says whether to do it again.

        Args:
            ids: instead of filters, up to 200 jobs; `jobs` of the answer says what has become of each.
        """
        return await self._answers.read(
            CancellationView,
            "POST",
            "/v1/jobs/cancel",
            params=_build_filters(statuses, dataset, metadata, study),
            body={"ids": list(ids)} if ids else None,
            repeatable=True,
        )

    @dual
    async def cancel(self, job_id: str) -> JobView:
        return await self._answers.read(JobView, "POST", _build_job_path(job_id, "cancel"))

    @dual
    async def pause(self, job_id: str) -> JobView:
        return await self._answers.read(JobView, "POST", _build_job_path(job_id, "pause"))

    @dual
    async def resume(self, job_id: str) -> JobView:
        return await self._answers.read(JobView, "POST", _build_job_path(job_id, "resume"))

    @dual
    async def retry(
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
        headers = make_idempotency_header(idempotency_key)
        return await self._answers.read(
            JobView, "POST", _build_job_path(job_id, "retry"), body=body or None, headers=headers, repeatable=True
        )

    @dual
    async def job_splits(self, job_id: str) -> IndicesView:
        """Which images of its dataset a job trains on and is measured on."""
        return await self._answers.read(IndicesView, "GET", _build_job_path(job_id, "splits"))

    @dual
    async def delete(self, job_id: str) -> None:
        await self._connection.send("DELETE", _build_job_path(job_id))

    @dual
    async def change(
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
        return await self._answers.read(
            JobView, "PATCH", _build_job_path(job_id), body=body, headers=headers, repeatable=is_repeatable
        )

    @dual
    async def metrics(self, job_id: str, *, points: int | None = None) -> MetricsView:
        """Figures epoch by epoch, and those of the kept weights.

        Args:
            points: at most so many epochs of a long history, with all its peaks and dips.
        """
        params = {} if points is None else {"points": points}
        return await self._answers.read(MetricsView, "GET", _build_job_path(job_id, "metrics"), params=params)

    @dual_iterator
    def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[EventView]:
        """What has happened to a job, oldest first, after the event with the number `after`."""
        return self._answers.pages(EventPage, _build_job_path(job_id, "events"), after=after)

    @dual_iterator
    def follow_events(self, job_id: str, *, after: int | None = None) -> AsyncIterator[EventView]:
        """What happens to a job, as it happens, until the job has ended; without `after` from now on."""
        return self._answers.follow(EventView, _build_job_path(job_id, "events"), after)

    @dual
    async def queue(self, job_id: str) -> QueueView:
        return await self._answers.read(QueueView, "GET", _build_job_path(job_id, "queue"))

    @dual
    async def download_model(self, source_id: str, to: Path | str, format: ModelFormatName = "keras") -> int:
        """Write the model to a path, whole or not at all; gives back its size in bytes.

        The first request for another format than `keras` orders it, and for any format of a study's ensemble; the
        client then waits for it as long as its patience lasts.

        Args:
            source_id: a job's, or that of a study with an ensemble.
            format: `keras`, `saved_model` (a .zip), `onnx`, `litert` (a `.tflite` file), or of a job `python`: a
                script that trains it once more.
        Raises:
            OSError: if the file cannot be written.
        """
        return await self._connection.download(f"{_build_model_path(source_id)}?format={format}", Path(to))

    @dual
    async def order_export(self, source_id: str, format: ExportFormatName) -> ExportView:
        """Have a job's model, or a study's ensemble, written in a format ahead, or once more after a failed export."""
        return await self._answers.read(
            ExportView, "POST", _build_model_path(source_id), params={"format": format}, repeatable=True
        )

    @dual
    async def exports(self, job_id: str) -> list[ListedExportView]:
        """How far the job's model is in each format, with the report of its proof. Orders nothing."""
        return (await self._answers.read(ExportList, "GET", _build_job_path(job_id, "exports"))).data

    @dual
    async def export_report(
        self, source_id: str, format: ExportFormatName = "keras", *, wait_s: int = 0
    ) -> ExportReportView:
        """How a job's model, or a study's ensemble, answers the same images in its own runtime.

        The first request orders the export.

        Args:
            wait_s: how long the service may wait for the end of the export (0–60).
        """
        params = {"format": format, "wait": wait_s}
        route = f"{_build_model_path(source_id)}/report"
        return await self._answers.read(ExportReportView, "GET", route, params=params, timeout_s=wait_s + TIMEOUT_S)

    @dual
    async def model_card(self, job_id: str) -> str:
        """What the model is for, how well it does, on what data, and how it is made again; in Markdown."""
        return (await self._connection.send("GET", _build_job_path(job_id, "card"))).text

    @dual
    async def download_predictions(self, job_id: str, to: Path | str, format: PredictionsFormat = "npz") -> int:
        """Write the predictions to a path, as arrays or as a table, whole or not at all; gives back the size in bytes.

        Raises:
            OSError: if the file cannot be written.
        """
        return await self._connection.download(f"{_build_job_path(job_id, 'predictions')}?format={format}", Path(to))

    @dual
    async def diagnosis(self, job_id: str) -> DiagnosisView:
        """Why a job's test results are worse than its training results, as far as can be told by now."""
        return await self._answers.read(DiagnosisView, "GET", _build_job_path(job_id, "diagnosis"))

    @dual
    async def confusion(self, job_id: str) -> ConfusionView:
        """Confusion matrices, scores by class, calibration and the most confident mistakes, by split."""
        return await self._answers.read(ConfusionView, "GET", _build_job_path(job_id, "confusion"))

    @dual
    async def confused_images(
        self, job_id: str, *, label: str, answer: str, split: SplitName = "test", limit: int = 60
    ) -> CellView:
        """The images behind a cell of a confusion matrix, the surest answers first."""
        params = {"label": label, "answer": answer, "split": split, "limit": limit}
        return await self._answers.read(CellView, "GET", _build_job_path(job_id, "confusion/images"), params=params)

    @dual
    async def memorized(
        self, job_id: str, *, class_: str | None = None, limit: int = PAGE, after: int = 0
    ) -> MemorizedPage:
        """Training images by the sum of their losses over all epochs, the hardest to learn first, from `after` on."""
        params = {"limit": limit, "after": after} | ({} if class_ is None else {"class": class_})
        return await self._answers.read(MemorizedPage, "GET", _build_job_path(job_id, "memorized"), params=params)

    # --- events of all that the owner has ----------------------------------------------------------

    @dual_iterator
    def all_events(self, *, after: int = 0) -> AsyncIterator[OwnerEventView]:
        """What has happened to all that the owner has, in one order with numbers of its own."""
        return self._answers.pages(OwnerEventPage, "/v1/events", after=after)

    @dual_iterator
    def follow_all_events(self, *, after: int | None = None) -> AsyncIterator[OwnerEventView]:
        """What happens to all of them, as it happens, without an end; without `after` from now on.

        After a failure of the connection it continues where it was: no event is left out, and none comes twice.
        """
        return self._answers.follow(OwnerEventView, "/v1/events", after)


def _build_filters(
    statuses: Sequence[str],
    dataset: str | None,
    metadata: Mapping[str, str] | None,
    study: str | None,
    search: str | None = None,
) -> list[tuple[str, str]]:
    named = {"dataset": dataset, "study": study, "search": search}
    return [
        *(("status", status) for status in statuses),
        *((name, value) for name, value in named.items() if value is not None),
        *((f"metadata[{key}]", value) for key, value in (metadata or {}).items()),
    ]


def _build_body(spec: Spec) -> Mapping[str, Any]:
    return dump_json(spec) if isinstance(spec, JobSpec) else spec


def _build_job_path(job_id: str, part: str = "") -> str:
    return f"/v1/jobs/{quote_segment(job_id, JobNotFound(job_id))}" + (f"/{part}" if part else "")


def _build_model_path(source_id: str) -> str:
    return get_model_route(quote_segment(source_id, JobNotFound(source_id)))
