"""The client's methods for jobs, their results, and their models."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from heldout.client.dual import Mode, dual, dual_iterator
from heldout.client.external_values import list_image_files
from heldout.client.models import Models, ModelSources
from heldout.client.own_networks import KerasModel, dump_spec, is_model
from heldout.client.resource import LONG_POLL_S, PAGE, OneHandle, leave_out_none, make_idempotency_header
from heldout.errors import JobNotFound
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import PredictionsFormat
from heldout.stored.evaluation import SplitName
from heldout.views.account import EventPage, EventView
from heldout.views.dataset import IndicesView
from heldout.views.diagnosis import DiagnosisView
from heldout.views.job import CancellationView, EstimateView, JobPage, JobView, QueueView
from heldout.views.model import ExportList, ListedExportView
from heldout.views.proof import ProofView
from heldout.views.results import CellView, ConfusionView, MemorizedPage, MetricsView, PredictionsView

Sort = Literal["created", "name", "best", "gap"]
Spec = Mapping[str, Any] | JobSpec
# How long the service may take to export a model before its first prediction.
EXPORT_S = 60


class JobResource(ModelSources[OneHandle, Mode]):
    """Training jobs."""

    _route, _missing = "/v1/jobs", JobNotFound

    @dual
    async def create(
        self,
        /,
        spec: Spec | KerasModel,
        dataset: str | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> OneHandle:
        """Queue a training job. Without a key the client generates one, so a retry never queues a second job.

        Args:
            spec: a spec, or a `keras.Model`, which is uploaded and trained with what it was compiled with.
            dataset, options: for a model, as for `models.make_spec`.
        Raises:
            TypeError: if `spec` is neither.
            ValueError: if the idempotency key is not 1 to 255 printable ASCII characters.
            ModelRejected, TypeError, ValueError: for a model, as from `models.make_spec`.
        """
        headers = make_idempotency_header(idempotency_key)
        body = await self._build_body(spec, dataset, options)
        return await self._receive(JobView, "POST", "/v1/jobs", body=body, headers=headers, repeatable=True)

    @dual
    async def estimate(self, /, spec: Spec | KerasModel, dataset: str | None = None, **options: Any) -> EstimateView:
        """Estimate what a spec would cost, or a `keras.Model`, which is uploaded; nothing is queued."""
        body = await self._build_body(spec, dataset, options)
        return await self._read(
            EstimateView, "POST", "/v1/jobs", body=body, params={"dry_run": "true"}, repeatable=True
        )

    async def _build_body(
        self, spec: Spec | KerasModel, dataset: str | None, options: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        if is_model(spec):
            return await Models.make_spec(self._client.models, spec, dataset, **options)
        return dump_spec(spec, dataset, options)

    @dual
    async def get(self, job_id: str) -> OneHandle:
        return await self._receive(JobView, "GET", self._path(job_id))

    @dual
    async def poll(self, job_id: str, *, version: int | None = None, wait_s: int = LONG_POLL_S) -> JobView | None:
        """Wait until the job's version differs from `version`; returns None if it does not within `wait_s`.

        Without a version: wait until the job has ended, at most `wait_s` (0–60), and return it as it is then.
        """
        return await self._once_changed(JobView, self._path(job_id), version, wait_s)

    @dual_iterator
    def watch(self, job_id: str, *, wait_s: int = LONG_POLL_S) -> AsyncIterator[JobView]:
        """Yield the job now and after each change, until it has ended."""
        return self._each_change(JobView, self._path(job_id), wait_s)

    @dual_iterator
    def list(
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
    ) -> AsyncIterator[OneHandle]:
        """Yield your jobs, newest first; further pages are fetched as they are needed.

        Args:
            study: a study's id, or `none` for jobs that belong to no study.
            search: text that the job's name must contain, or that its id must begin with.
            sort: by time, name, best validation accuracy or gap.
            curves: include up to this many epochs (2 to 100) of each job as its `curve`.
            queue: include `queue_position` for queued jobs.
        """
        more = {"search": search, "sort": sort, "curves": curves, "queue": queue or None}
        params = _build_filters(statuses, dataset, metadata, study) | more
        return self._wrap_each(self._pages(JobPage, "/v1/jobs", params, page_size=page_size))

    @dual
    async def cancel_many(
        self,
        *,
        statuses: Sequence[str] = (),
        dataset: str | None = None,
        metadata: Mapping[str, str] | None = None,
        study: str | None = None,
        ids: Sequence[str] = (),
    ) -> CancellationView:
        """Cancel up to 1,000 jobs that match all filters. If `has_more` is true, call it again.

        Args:
            ids: up to 200 jobs in place of filters; `jobs` in the answer reports each of them.
        """
        return await self._read(
            CancellationView,
            "POST",
            "/v1/jobs/cancel",
            params=_build_filters(statuses, dataset, metadata, study),
            body={"ids": list(ids)} if ids else None,
            repeatable=True,
        )

    @dual
    async def cancel(self, job_id: str) -> OneHandle:
        return await self._control(job_id, "cancel")

    @dual
    async def pause(self, job_id: str) -> OneHandle:
        return await self._control(job_id, "pause")

    @dual
    async def resume(self, job_id: str) -> OneHandle:
        return await self._control(job_id, "resume")

    async def _control(self, job_id: str, action: str) -> OneHandle:
        return await self._receive(JobView, "POST", self._path(job_id, action))

    @dual
    async def retry(
        self,
        job_id: str,
        *,
        epochs: int | None = None,
        remedy: str | None = None,
        patch: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> OneHandle:
        """Queue a new job with the spec of a job that has ended, unchanged or with one change.

        Args:
            epochs: continue from the last state, up to this many epochs in total.
            remedy: a remedy's name. If the job's diagnosis suggests it, its values are used.
            patch: a merge patch (RFC 7396) of the spec.
            idempotency_key: as for `create`.
        """
        body = leave_out_none(epochs=epochs, remedy=remedy, patch=patch)
        return await self._create(JobView, self._path(job_id, "retry"), body or None, idempotency_key)

    @dual
    async def split_indices(self, job_id: str) -> IndicesView:
        """List which images of the dataset the job trains on and is measured on."""
        return await self._get(IndicesView, job_id, "splits")

    @dual
    async def delete(self, job_id: str) -> None:
        await self._connection.send("DELETE", self._path(job_id))

    @dual
    async def update(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        name: str | None = None,
        metadata: Mapping[str, str | None] | None = None,
        version: int | None = None,
    ) -> OneHandle:
        """Change the name or metadata at any time, or the priority while the job is queued. None keeps a value.

        Args:
            metadata: merged with the job's own; a key whose value is None is removed.
            version: refuse the change with `changed_meanwhile` unless this is still the job's `version`.
        """
        body = leave_out_none(priority=priority, name=name, metadata=metadata)
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        # With a version, repeating the request would be refused because the first attempt has succeeded.
        is_repeatable = version is None
        return await self._receive(
            JobView, "PATCH", self._path(job_id), body=body, headers=headers, repeatable=is_repeatable
        )

    @dual
    async def metrics(self, job_id: str, *, points: int | None = None) -> MetricsView:
        """Get the figures of each epoch and of the kept weights; `.to_pandas()` makes a frame of them.

        Args:
            points: thin out a long history to this many epochs, keeping its peaks and dips.
        """
        return await self._get(MetricsView, job_id, "metrics", params={"points": points})

    @dual_iterator
    def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[EventView]:
        """Yield the job's events, oldest first, starting after the event with the number `after`."""
        return self._pages(EventPage, self._path(job_id, "events"), after=after)

    @dual_iterator
    def follow_events(self, job_id: str, *, after: int | None = None) -> AsyncIterator[EventView]:
        """Yield events as they happen, until the job has ended; without `after`, only new ones."""
        return self._follow(EventView, self._path(job_id, "events"), after)

    @dual
    async def queue(self, job_id: str) -> QueueView:
        return await self._get(QueueView, job_id, "queue")

    @dual
    async def exports(self, job_id: str) -> Sequence[ListedExportView]:
        """List the model's state in each export format, with its report. Orders no export."""
        return (await self._get(ExportList, job_id, "exports")).data

    @dual
    async def model_card(self, job_id: str) -> str:
        """Get the model card in Markdown: purpose, quality, data, and how to reproduce the model."""
        return (await self._connection.send("GET", self._path(job_id, "card"))).text

    @dual
    async def download_predictions(self, job_id: str, to: Path | str, format: PredictionsFormat = "npz") -> int:
        """Write the predictions to a file as arrays or a table, whole or not at all; returns its size in bytes.

        Raises:
            OSError: if the file cannot be written.
        """
        return await self._connection.download(f"{self._path(job_id, 'predictions')}?format={format}", Path(to))

    @dual
    async def diagnosis(self, job_id: str) -> DiagnosisView:
        """Explain why test results are worse than training results, with what is known so far."""
        return await self._get(DiagnosisView, job_id, "diagnosis")

    @dual
    async def proof(self, job_id: str) -> ProofView:
        """Say how the proof of the job's verdict stands, or what it would try and cost."""
        return await self._get(ProofView, job_id, "proof")

    @dual
    async def prove(self, job_id: str, *, trainings: int | None = None, seconds: float | None = None) -> ProofView:
        """Make sure of the job's verdict by short trainings; returns at once. `proof` says how it stands.

        Args:
            trainings, seconds: the budget; None takes the service's.
        """
        body = {"budget": leave_out_none(trainings=trainings, seconds=seconds)}
        return await self._read(ProofView, "POST", self._path(job_id, "proof"), body=body, repeatable=True)

    @dual
    async def cancel_proof(self, job_id: str) -> None:
        """Cancel the proof and its experiments. What they have shown so far is kept."""
        await self._connection.send("DELETE", self._path(job_id, "proof"))

    @dual
    async def confusion(self, job_id: str) -> ConfusionView:
        """Get confusion matrices, scores by class, calibration and the most confident mistakes of each split."""
        return await self._get(ConfusionView, job_id, "confusion")

    @dual
    async def confused_images(
        self, job_id: str, *, label: str, answer: str, split: SplitName = "test", limit: int = 60
    ) -> CellView:
        """List the images behind a cell of a confusion matrix, most confident answers first."""
        params = {"label": label, "answer": answer, "split": split, "limit": limit}
        return await self._get(CellView, job_id, "confusion/images", params=params)

    @dual
    async def memorized(
        self, job_id: str, *, class_: str | None = None, limit: int = PAGE, after: int = 0
    ) -> MemorizedPage:
        """List training images by the sum of their losses over all epochs, hardest first, starting at `after`."""
        params = {"limit": limit, "after": after, "class": class_}
        return await self._get(MemorizedPage, job_id, "memorized", params=params)

    @dual
    async def heatmap(
        self, job_id: str, index: int, *, of: Literal["answer", "label", "both"] = "both", again: bool = False
    ) -> bytes:
        """Get a PNG of an image with the places that speak for the answer and for the label. Waits until it is made.

        Args:
            index: the image's position in the dataset. The job must have answered it.
            of: `both` is side by side, the answer first; a right answer has only one picture.
            again: compute it again if that failed.
        """
        path = self._path(job_id, f"images/{index}/heatmap")
        while True:
            params = {"of": of, "wait": LONG_POLL_S, "again": again or None}
            answer = await self._connection.send("GET", path, params=params)
            if answer.status_code != 202:
                return answer.content
            again = False

    @dual
    async def predict(
        self, job_id: str, images: Any, *, top_k: int = 5, threshold: float | None = None, calibrated: bool = False
    ) -> PredictionsView:
        """Classify images with the job's model. The first request exports the model and waits for that.

        Args:
            images: a path, or the bytes of a file: PNG, JPEG, WebP, BMP or `.npy`; a sequence of these; or an array
                (images, height, width, channels), or a single image, of the dataset's own type and range.
            top_k: how many classes to return for each image, most likely first.
            threshold: below this probability the answer is `uncertain`.
            calibrated: use the temperature fitted on validation.
        Raises:
            OSError: if a file cannot be read.
        """
        params = {"top_k": top_k, "calibrated": calibrated, "wait": EXPORT_S, "threshold": threshold}
        return await self._read(
            PredictionsView,
            "POST",
            self._path(job_id, "predict"),
            params=params,
            form={"images": list_image_files(images)},
            repeatable=True,
        )


def _build_filters(
    statuses: Sequence[str], dataset: str | None, metadata: Mapping[str, str] | None, study: str | None
) -> dict[str, Any]:
    pairs = {f"metadata[{key}]": value for key, value in (metadata or {}).items()}
    return {"status": [*statuses], "dataset": dataset, "study": study, **pairs}
