"""A job of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from heldout.client.dual import Awaiting, Mode, dual, dual_iterator, dual_self
from heldout.client.handles.studies import Studies, Study
from heldout.client.jobs import JobResource
from heldout.client.progress import show_bar
from heldout.client.resource import NamedHandle, by_id, each_by_id, renew
from heldout.stored.evaluation import SplitName
from heldout.views.job import JobView

if TYPE_CHECKING:
    from heldout.pictures.picture import Picture
    from heldout.views.results import EpochView


class JobFailed(Exception):
    """A job failed while the program waited for it; the message says why. `job` is its view."""

    def __init__(self, job: JobView) -> None:
        error = job.error
        super().__init__(f"{job.id} failed" + (f": {error.code}: {error.detail}" if error else "."))
        self.job = job


class Jobs(JobResource["Job[Mode]", Mode]): ...


class Job(NamedHandle[JobView, Mode], of=Jobs):
    """A training job: follow it, wait for it, then ask for its diagnosis."""

    refresh = renew(Jobs.get)
    cancel = renew(Jobs.cancel)
    pause = renew(Jobs.pause)
    resume = renew(Jobs.resume)
    update = renew(Jobs.update)
    retry = renew(Jobs.retry)
    delete = by_id(Jobs.delete)
    queue = by_id(Jobs.queue)
    split_indices = by_id(Jobs.split_indices)
    events = each_by_id(Jobs.events)
    follow_events = each_by_id(Jobs.follow_events)
    metrics = by_id(Jobs.metrics)
    diagnosis = by_id(Jobs.diagnosis)
    proof = by_id(Jobs.proof)
    prove = by_id(Jobs.prove)
    cancel_proof = by_id(Jobs.cancel_proof)
    confusion = by_id(Jobs.confusion)
    confused_images = by_id(Jobs.confused_images)
    memorized = by_id(Jobs.memorized)
    heatmap = by_id(Jobs.heatmap)
    predict = by_id(Jobs.predict)
    model_card = by_id(Jobs.model_card)
    download_model = by_id(Jobs.download_model)
    download_predictions = by_id(Jobs.download_predictions)
    export = by_id(Jobs.export)
    exports = by_id(Jobs.exports)
    export_report = by_id(Jobs.export_report)

    def __repr__(self) -> str:
        done = self.view.progress
        return f"<Job {self.id} {self.name!r} {self.status}, epoch {done.epoch} of {done.epochs}>"

    def _repr_html_(self) -> str:
        from heldout.documents.blocks import Facts
        from heldout.documents.html import render_notebook
        from heldout.documents.job import list_facts, list_results

        return render_notebook([Facts([*list_facts(self.view), *list_results(self.view)])])

    @dual_self
    async def wait(self, *, progress: bool = False, check: bool = True) -> Any:
        """Wait until the job has ended.

        Args:
            progress: show a bar meanwhile.
            check: raise JobFailed if it failed.
        """
        with show_bar(self.name, progress) as show:
            async for view in Jobs.watch(self._resource, self.id):
                self.view = view
                show(view.progress.epoch, view.progress.epochs)
        if check and self.status == "failed":
            raise JobFailed(self.view)
        return self

    @dual_iterator
    async def follow(self, *, progress: bool = False) -> AsyncIterator[EpochView]:
        """Yield each epoch as soon as it is measured, from the first one, until the job has ended."""
        shown = 0
        with show_bar(self.name, progress) as show:
            async for view in Jobs.watch(self._resource, self.id):
                self.view = view
                show(view.progress.epoch, view.progress.epochs)
                if view.progress.epoch > shown:
                    for epoch in (await Job.metrics(self)).epochs:
                        if epoch.epoch > shown:
                            shown = epoch.epoch
                            yield epoch

    @dual_self
    async def try_remedy(self, remedy: str) -> Any:
        """Queue a new job with the same spec and one remedy, such as `dropout`. This job must have ended."""
        return await Job.retry(self, remedy=remedy)

    @dual
    async def cure(
        self, /, remedies: str | Sequence[Any] = "auto", *, wait: bool = True, progress: bool = False, **body: Any
    ) -> Study[Mode]:
        """Measure what cures the job: each remedy and the unchanged spec are trained over several seeds and compared.

        Args:
            remedies: names, or your own remedies as `{"name": …, "patch": …}`; `auto` chooses what suits the job.
            wait: return when the study has its answer; otherwise return at once.
            progress: show a bar meanwhile.
            body: other fields of `POST /v1/studies`, such as `seeds=5` or `budget={"jobs": 20}`.
        """
        is_single = isinstance(remedies, Mapping | str) and remedies != "auto"
        chosen = "auto" if remedies == "auto" else [remedies] if is_single else list(remedies)
        study: Any = await Studies.create(self._client.studies, {"job": self.id, "remedies": chosen, **body})
        if wait:
            await Study.wait(study, progress=progress)
        return study  # type: ignore[no-any-return]

    @dual
    async def plot(
        self, what: Literal["history", "gap", "confusion"] = "history", *, split: SplitName | None = None
    ) -> Picture:
        """Draw a picture: notebooks show it, `print` draws it with characters, `save` writes SVG, HTML or PNG.

        Args:
            what: `history`, the curves of training and validation; `gap`, what lies between training and test;
                `confusion`, which labels got which answers.
            split: the split of the confusion matrix; by default test, if it was measured.
        Raises:
            NotMeasured: if the confusion of this split was not measured.
        """
        from heldout.documents.diagnosis import build_gap
        from heldout.documents.picture import draw_figure
        from heldout.pictures.confusion import draw_confusion
        from heldout.pictures.history import draw_history

        if what == "confusion":
            return draw_confusion(await Job.confusion(self), self.name, split)
        diagnosis = await Job.diagnosis(self)
        if what == "gap":
            missing = "The gap is known once the training has ended and training and test images were measured."
            gap = [] if diagnosis.gap is None else [build_gap(diagnosis.gap)]
            return draw_figure(f"{self.name}: from training to test", gap, missing)
        return draw_history((await Job.metrics(self)).epochs, diagnosis, self.name)


AsyncJob = Job[Awaiting]
