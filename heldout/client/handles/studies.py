"""A study of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heldout.client.dual import Awaiting, Blocking, Mode, dual, dual_iterator, dual_self
from heldout.client.handles.runs import AsyncRun, Run
from heldout.client.progress import show_bar
from heldout.client.resource import NamedHandle, by_id, each_by_id, renew
from heldout.client.studies import LEASE_S, StudyResource
from heldout.views.study import StudyView

if TYPE_CHECKING:
    from heldout.pictures.picture import Picture
    from heldout.views.study import ConclusionView


class Studies(StudyResource["Study[Mode]", Mode]): ...


class Study(NamedHandle[StudyView, Mode], of=Studies):
    """A study: wait for it, then read `conclusion`. Iterate over one of your own trainings to run them."""

    refresh = renew(Studies.get)
    cancel = renew(Studies.cancel)
    delete = by_id(Studies.delete)
    report = by_id(Studies.report)
    report_text = by_id(Studies.report_text)
    events = each_by_id(Studies.events)
    follow_events = each_by_id(Studies.follow_events)
    download_model = by_id(Studies.download_model)
    export = by_id(Studies.export)
    export_report = by_id(Studies.export_report)
    runs = by_id(Studies.runs)
    run = by_id(Studies.run)
    diagnose_run = by_id(Studies.diagnose_run)

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
            async for view in Studies.watch(self._resource, self.id):
                self.view = view
                show(view.progress.done, view.progress.jobs)
        return self

    @dual_iterator
    async def follow(self) -> AsyncIterator[StudyView]:
        """Yield the study now and after each change, until it has ended."""
        async for view in Studies.watch(self._resource, self.id):
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
        kind = Run if self.is_blocking else AsyncRun
        while True:
            asked = await Studies.ask(self._resource, self.id, runner=runner, lease_s=lease_s)
            if asked.run is not None:
                yield kind(self._resource, self.id, asked.run)
            elif asked.wait_s is not None:
                await self._client.pause_for(asked.wait_s)
            else:
                break
        await Study.refresh(self)

    def __iter__(self: Study[Blocking]) -> Iterator[Run]:
        return self.ask()

    def __aiter__(self: Study[Awaiting]) -> AsyncIterator[AsyncRun]:
        return self.ask()

    @dual
    async def plot(self) -> Picture:
        """Draw what each remedy changes, with intervals around 0; or the learning curve. A running study works too."""
        from heldout.pictures.study import draw_study

        await Study.refresh(self)
        return draw_study(self.view)

    @dual
    async def save_report(self, to: Path | str) -> None:
        """Write the report to a file: Markdown if its name ends in `.md`, otherwise a self-contained page of HTML."""
        is_markdown = Path(to).suffix.lower() == ".md"
        text = await Study.report_text(self, "text/markdown" if is_markdown else "text/html")
        Path(to).write_text(text, encoding="utf-8")


def build_study_body(job_id: str, remedies: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a study of a job. `remedies` may be one name, several, or own ones as dictionaries."""
    chosen = [remedies] if isinstance(remedies, Mapping | str) and remedies != "auto" else remedies
    return {"job": job_id, "remedies": chosen if chosen == "auto" else list(chosen), **more}
