"""A study of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heldout.client.dual import Awaiting, Blocking, dual, dual_iterator, dual_self
from heldout.client.handles.progress import show_bar
from heldout.client.handles.runs import AsyncRun, Run, RunHandle
from heldout.client.resource import NamedHandle, by_id, each_by_id, renew
from heldout.client.studies import LEASE_S, StudyResource
from heldout.views.study import StudyView

if TYPE_CHECKING:
    from heldout.pictures.picture import Picture
    from heldout.views.study import ConclusionView


class StudyHandle(NamedHandle[StudyView]):
    """A study: wait for it, then read `conclusion`. Iterate over one of your own trainings to run them."""

    _run: Callable[..., RunHandle]
    refresh = renew(StudyResource.get)
    cancel = renew(StudyResource.cancel)
    delete = by_id(StudyResource.delete)
    report = by_id(StudyResource.report)
    report_text = by_id(StudyResource.report_text)
    events = each_by_id(StudyResource.events)
    follow_events = each_by_id(StudyResource.follow_events)
    download_model = by_id(StudyResource.download_model)
    export = by_id(StudyResource.export)
    export_report = by_id(StudyResource.export_report)
    runs = by_id(StudyResource.runs)
    run = by_id(StudyResource.run)
    diagnose_run = by_id(StudyResource.diagnose_run)

    @property
    def conclusion(self) -> ConclusionView | None:
        """The answer; None while the study runs, and if it failed."""
        return self.view.conclusion

    def __repr__(self) -> str:
        done = self.view.progress
        answer = f": {self.conclusion.explanation}" if self.conclusion else ""
        return f"<Study {self.id} {self.name!r} {self.status}, {done.done} of {done.jobs} trainings{answer}>"

    def _repr_html_(self) -> str:
        from heldout.pictures.picture import build_study_table

        return build_study_table(self.view)

    @dual_self
    async def wait(self, *, progress: bool = False) -> Any:
        """Wait until the study has ended.

        Args:
            progress: show a bar meanwhile.
        """
        with show_bar(self.name, progress) as show:
            async for view in StudyResource.watch(self._resource, self.id):
                self.view = view
                show(view.progress.done, view.progress.jobs)
        return self

    @dual_iterator
    async def follow(self) -> AsyncIterator[StudyView]:
        """Yield the study now and after each change, until it has ended."""
        async for view in StudyResource.watch(self._resource, self.id):
            self.view = view
            yield view

    @dual_iterator
    async def ask(self, *, runner: str | None = None, lease_s: float = LEASE_S) -> AsyncIterator[Any]:
        """Yield trainings to run here until the study has ended, as iterating over the study does.

        Several scripts may ask at once, on several machines. Waits while others run what is left.

        Args:
            runner, lease_s: as for `studies.ask`.
        Raises:
            TypeError: if the service itself runs the study's trainings.
        """
        if self.view.kind != "external":
            raise TypeError(f"The service runs the trainings of {self.id} itself. wait() waits for their answer.")
        while True:
            asked = await StudyResource.ask(self._resource, self.id, runner=runner, lease_s=lease_s)
            if asked.run is not None:
                yield self._run(self._resource, self.id, asked.run)
            elif asked.wait_s is not None:
                await self._client.pause_for(asked.wait_s)
            else:
                break
        await StudyHandle.refresh(self)

    @dual
    async def plot(self) -> Picture:
        """Draw what each remedy changes, with intervals around 0; or the learning curve. A running study works too."""
        from heldout.pictures.study import draw_study

        await StudyHandle.refresh(self)
        return draw_study(self.view)

    @dual
    async def save_report(self, to: Path | str) -> None:
        """Write the report to a file: Markdown if its name ends in `.md`, otherwise a self-contained page of HTML."""
        is_markdown = Path(to).suffix.lower() == ".md"
        text = await StudyHandle.report_text(self, "text/markdown" if is_markdown else "text/html")
        Path(to).write_text(text, encoding="utf-8")


class Study(StudyHandle, Blocking):
    _run = Run

    def __iter__(self) -> Iterator[Run]:
        return self.ask()


class AsyncStudy(StudyHandle, Awaiting):
    _run = AsyncRun

    def __aiter__(self) -> AsyncIterator[AsyncRun]:
        return self.ask()


class Studies(StudyResource[Study], Blocking):
    _handle = Study


class AsyncStudies(StudyResource[AsyncStudy], Awaiting):
    _handle = AsyncStudy


def build_study_body(job_id: str, remedies: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a study of a job. `remedies` may be one name, several, or own ones as dictionaries."""
    chosen = [remedies] if isinstance(remedies, Mapping | str) and remedies != "auto" else remedies
    return {"job": job_id, "remedies": chosen if chosen == "auto" else list(chosen), **more}
