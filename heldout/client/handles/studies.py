"""A study of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heldout.client.dual import Awaiting, Blocking, dual, dual_iterator
from heldout.client.handles.base import Handle
from heldout.client.handles.progress import show_bar
from heldout.client.methods import Methods

if TYPE_CHECKING:
    from heldout.pictures.picture import Picture
    from heldout.views.study import ConclusionView, StudyView
    from heldout.views.study_report import StudyReportView


class StudyHandle(Handle["StudyView"]):
    """What studies of both clients have."""

    @property
    def conclusion(self) -> ConclusionView | None:
        """The answer; None while the study runs, and where it failed."""
        return self.view.conclusion

    def __repr__(self) -> str:
        done = self.view.progress
        answer = f": {self.conclusion.explanation}" if self.conclusion else ""
        return f"<Study {self.id} {self.name!r} {self.status}, {done.done} of {done.jobs} trainings{answer}>"

    def _repr_html_(self) -> str:
        from heldout.pictures.tables import build_study_table

        return build_study_table(self.view)

    @dual
    async def refresh(self) -> StudyView:
        """The study as it is now."""
        self.view = await Methods.study(self._client, self.id)
        return self.view

    @dual
    async def wait(self, *, progress: bool = False) -> StudyView:
        """Wait until the study has ended; `progress` shows a bar meanwhile."""
        with show_bar(self.view.name, progress) as show:
            async for view in Methods.watch_study(self._client, self.id):
                self.view = view
                show(self.view.progress.done, self.view.progress.jobs)
        return self.view

    @dual_iterator
    async def follow(self) -> AsyncIterator[StudyView]:
        """The study now and after each change, until it has ended."""
        async for view in Methods.watch_study(self._client, self.id):
            self.view = view
            yield self.view

    @dual
    async def plot(self) -> Picture:
        """What each remedy changes, with intervals around 0; or the learning curve. Fresh, also while it runs."""
        from heldout.pictures.study import draw_study

        self.view = await Methods.study(self._client, self.id)
        return draw_study(self.view)

    @dual
    async def report(self) -> StudyReportView:
        """The study in plain words, as far as it has come, with curves and gaps."""
        return await Methods.study_report(self._client, self.id)

    @dual
    async def save_report(self, to: Path | str) -> None:
        """Write the report as one page of HTML that needs nothing else, or as Markdown where the name ends so."""
        is_markdown = Path(to).suffix.lower() == ".md"
        media_type = "text/markdown" if is_markdown else "text/html"
        text = await Methods.study_report_text(self._client, self.id, media_type)  # type: ignore[arg-type]
        Path(to).write_text(text, encoding="utf-8")

    @dual
    async def cancel(self) -> StudyView:
        """Cancel it with all of its jobs."""
        self.view = await Methods.cancel_study(self._client, self.id)
        return self.view

    @dual
    async def delete(self) -> None:
        """Delete it with all of its jobs; it must have ended."""
        await Methods.delete_study(self._client, self.id)


class Study(StudyHandle, Blocking):
    """A study: `study.wait()`, then `study.conclusion`."""


class AsyncStudy(StudyHandle, Awaiting):
    """A study: `await study.wait()`, then `study.conclusion`."""


async def order(client: Methods, job_id: str, remedies: Any, body: Mapping[str, Any]) -> StudyView:
    """Order a study of a job."""
    chosen = remedies if isinstance(remedies, str) and remedies == "auto" else _list_remedies(remedies)
    return await Methods.order_study(client, {"job": job_id, "remedies": chosen, **body})


def _list_remedies(remedies: Any) -> list[Any]:
    return [remedies] if isinstance(remedies, str | Mapping) else list(remedies)
