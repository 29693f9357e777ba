"""A job of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from heldout.client.dual import Awaiting, Blocking, dual, dual_iterator, run
from heldout.client.handles.base import Handle
from heldout.client.handles.progress import show_bar
from heldout.client.handles.studies import AsyncStudy, Study, order
from heldout.client.methods import Methods

if TYPE_CHECKING:
    from heldout.pictures.picture import Picture
    from heldout.views.confusion import ConfusionView, MemorizedPage
    from heldout.views.diagnosis import DiagnosisView
    from heldout.views.event import EventView
    from heldout.views.job import JobView
    from heldout.views.metrics import EpochView, MetricsView
    from heldout.views.prediction import PredictionsView


class JobFailed(Exception):
    """A job that was waited for has failed; the message says why. `job` is its view."""

    def __init__(self, job: JobView) -> None:
        error = job.error
        super().__init__(f"{job.id} failed" + (f": {error.code}: {error.detail}" if error else "."))
        self.job = job


class JobHandle(Handle["JobView"]):
    """What jobs of both clients have."""

    def __repr__(self) -> str:
        done = self.view.progress
        return f"<Job {self.id} {self.name!r} {self.status}, epoch {done.epoch} of {done.epochs}>"

    def _repr_html_(self) -> str:
        from heldout.pictures.tables import build_job_table

        return build_job_table(self.view)

    @dual
    async def refresh(self) -> JobView:
        """The job as it is now."""
        self.view = await Methods.get(self._client, self.id)
        return self.view

    @dual
    async def wait(self, *, progress: bool = False, check: bool = True) -> JobView:
        """Wait until the job has ended.

        Args:
            progress: show a bar meanwhile.
            check: raise JobFailed if it failed.
        """
        with show_bar(self.name, progress) as show:
            async for view in Methods.watch(self._client, self.id):
                self.view = view
                show(self.view.progress.epoch, self.view.progress.epochs)
        if check and self.view.status == "failed":
            raise JobFailed(self.view)
        return self.view

    @dual_iterator
    async def follow(self, *, progress: bool = False) -> AsyncIterator[EpochView]:
        """Each epoch once as soon as it is measured, from the first one, until the job has ended."""
        shown = 0
        with show_bar(self.name, progress) as show:
            async for view in Methods.watch(self._client, self.id):
                self.view = view
                show(self.view.progress.epoch, self.view.progress.epochs)
                if self.view.progress.epoch > shown:
                    for epoch in (await Methods.metrics(self._client, self.id)).epochs:
                        if epoch.epoch > shown:
                            shown = epoch.epoch
                            yield epoch

    @dual
    async def metrics(self) -> MetricsView:
        """Its figures epoch by epoch and of the kept weights; `.to_pandas()` makes a frame of them."""
        return await Methods.metrics(self._client, self.id)

    @dual
    async def diagnosis(self) -> DiagnosisView:
        """Why its test results are worse than its training results, as far as can be told by now."""
        return await Methods.diagnosis(self._client, self.id)

    @dual
    async def predict(
        self, images: Any, *, top_k: int = 5, threshold: float | None = None, calibrated: bool = False
    ) -> PredictionsView:
        """What its model says of images: files, bytes or an array; see `Client.predict`."""
        return await Methods.predict(
            self._client, self.id, images, top_k=top_k, threshold=threshold, calibrated=calibrated
        )

    @dual
    async def confusion(self) -> ConfusionView:
        return await Methods.confusion(self._client, self.id)

    @dual
    async def memorized(self, *, class_: str | None = None, limit: int = 20, after: int = 0) -> MemorizedPage:
        """Training images, the hardest to learn first; see `Client.memorized`."""
        return await Methods.memorized(self._client, self.id, class_=class_, limit=limit, after=after)

    @dual_iterator
    def events(self) -> AsyncIterator[EventView]:
        return Methods.events(self._client, self.id)

    @dual
    async def plot(
        self,
        what: Literal["history", "gap", "confusion"] = "history",
        *,
        split: Literal["train", "validation", "test"] | None = None,
    ) -> Picture:
        """A picture: notebooks show it, `print` draws it with characters, `save` writes SVG, HTML or PNG.

        Args:
            what: `history`, the curves of training and validation; `gap`, what lies between training and test;
                `confusion`, which labels got which answers.
            split: whose confusion; without it that of test, if it was measured.
        Raises:
            NotMeasured: if there is no confusion of this split.
        """
        from heldout.pictures.confusion import draw_confusion
        from heldout.pictures.gap import draw_gap
        from heldout.pictures.history import draw_history

        if what == "confusion":
            return draw_confusion(await Methods.confusion(self._client, self.id), self.name, split)
        diagnosis = await Methods.diagnosis(self._client, self.id)
        if what == "gap":
            return draw_gap(diagnosis, self.name)
        return draw_history((await Methods.metrics(self._client, self.id)).epochs, diagnosis, self.name)

    @dual
    async def cancel(self) -> JobView:
        self.view = await Methods.cancel(self._client, self.id)
        return self.view

    @dual
    async def pause(self) -> JobView:
        self.view = await Methods.pause(self._client, self.id)
        return self.view

    @dual
    async def resume(self) -> JobView:
        self.view = await Methods.resume(self._client, self.id)
        return self.view

    @dual
    async def delete(self) -> None:
        await Methods.delete(self._client, self.id)


class Job(JobHandle, Blocking):
    """A training job: `for epoch in job.follow()`, `job.wait()`, `job.diagnosis()`."""

    def try_remedy(self, remedy: str) -> Job:
        """A new job with the same spec and one remedy, such as `dropout`. The job must have ended."""
        return self.retry(remedy=remedy)

    def retry(
        self, *, epochs: int | None = None, remedy: str | None = None, patch: Mapping[str, Any] | None = None
    ) -> Job:
        """A new job with the same spec, as it was or with one change; see `Client.retry`."""
        retried = Methods.retry(self._client, self.id, epochs=epochs, remedy=remedy, patch=patch)
        return Job(self._client, run(retried))

    def cure(
        self, remedies: str | Sequence[Any] = "auto", *, wait: bool = True, progress: bool = False, **body: Any
    ) -> Study:
        """Measure what cures the job: each remedy and the job's own spec over several seeds, compared.

        Args:
            remedies: names, or own ones as `{"name": …, "patch": …}`; `auto` chooses what suits the job.
            wait: until the study has its answer; otherwise it is given back at once.
            progress: show a bar meanwhile.
            body: what else `POST /v1/studies` takes, such as `seeds=5` or `budget={"jobs": 20}`.
        """
        study = Study(self._client, run(order(self._client, self.id, remedies, body)))
        if wait:
            study.wait(progress=progress)
        return study


class AsyncJob(JobHandle, Awaiting):
    """A training job: `async for epoch in job.follow()`, `await job.wait()`, `await job.diagnosis()`."""

    async def try_remedy(self, remedy: str) -> AsyncJob:
        """A new job with the same spec and one remedy, such as `dropout`. The job must have ended."""
        return await self.retry(remedy=remedy)

    async def retry(
        self, *, epochs: int | None = None, remedy: str | None = None, patch: Mapping[str, Any] | None = None
    ) -> AsyncJob:
        """A new job with the same spec, as it was or with one change; see `Client.retry`."""
        retried = Methods.retry(self._client, self.id, epochs=epochs, remedy=remedy, patch=patch)
        return AsyncJob(self._client, await retried)

    async def cure(
        self, remedies: str | Sequence[Any] = "auto", *, wait: bool = True, progress: bool = False, **body: Any
    ) -> AsyncStudy:
        """Measure what cures the job, as `Job.cure` does."""
        study = AsyncStudy(self._client, await order(self._client, self.id, remedies, body))
        if wait:
            await study.wait(progress=progress)
        return study
