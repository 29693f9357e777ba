"""The client's methods for studies."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from heldout.client.dual import dual, dual_iterator
from heldout.client.exports import ModelSourceResource
from heldout.client.resource import OneHandle
from heldout.client.typed_answers import LONG_POLL_S, PAGE, make_idempotency_header, quote_segment
from heldout.errors import StudyNotFound
from heldout.studies.spec import StudySpec
from heldout.views.event import EventPage, EventView
from heldout.views.study import StudyEstimateView, StudyPage, StudyView
from heldout.views.study_report import MARKDOWN, StudyReportView

Study = Mapping[str, Any] | StudySpec


class StudyResource(ModelSourceResource[OneHandle]):
    """Studies, which measure what cures a job or a spec."""

    @dual
    async def create(self, study: Study, *, idempotency_key: str | None = None) -> OneHandle:
        """Order a study. Without a key the client generates one, so a retry never orders a second study.

        Raises:
            ValueError: if the idempotency key is not 1 to 255 printable ASCII characters.
        """
        headers = make_idempotency_header(idempotency_key)
        return await self._receive(
            StudyView, "POST", "/v1/studies", body=_build_body(study), headers=headers, repeatable=True
        )

    @dual
    async def estimate(self, study: Study) -> StudyEstimateView:
        """Estimate how many trainings a study needs and how long they take; nothing is queued."""
        return await self._answers.read(
            StudyEstimateView,
            "POST",
            "/v1/studies",
            body=_build_body(study),
            params={"dry_run": "true"},
            repeatable=True,
        )

    @dual_iterator
    def list(self, *, statuses: Sequence[str] = (), page_size: int = PAGE) -> AsyncIterator[OneHandle]:
        """Yield your studies, newest first; further pages are fetched as they are needed."""
        params = [("status", status) for status in statuses]
        return self._wrap_each(self._answers.pages(StudyPage, "/v1/studies", params, page_size=page_size))

    @dual
    async def get(self, study_id: str) -> OneHandle:
        return await self._receive(StudyView, "GET", _build_study_path(study_id))

    @dual
    async def poll(self, study_id: str, *, version: int | None = None, wait_s: int = LONG_POLL_S) -> StudyView | None:
        """Wait until the study's version differs from `version`; returns None if it does not within `wait_s`.

        Without a version: wait until the study has ended, at most `wait_s` (0–60), and return it as it is then.
        """
        return await self._answers.once_changed(StudyView, _build_study_path(study_id), version, wait_s)

    @dual_iterator
    def watch(self, study_id: str, *, wait_s: int = LONG_POLL_S) -> AsyncIterator[StudyView]:
        """Yield the study now and after each change, until it has ended."""
        return self._answers.each_change(StudyView, _build_study_path(study_id), wait_s)

    @dual
    async def cancel(self, study_id: str) -> OneHandle:
        """Cancel a study with all of its jobs."""
        return await self._receive(StudyView, "POST", _build_study_path(study_id, "cancel"))

    @dual
    async def delete(self, study_id: str) -> None:
        """Delete a study that has ended, with all of its jobs."""
        await self._connection.send("DELETE", _build_study_path(study_id))

    @dual
    async def report(self, study_id: str) -> StudyReportView:
        """Report a study in plain words, finished or not, with curves, gaps and the requests that repeat it."""
        return await self._answers.read(StudyReportView, "GET", _build_study_path(study_id, "report"))

    @dual
    async def report_text(self, study_id: str, media_type: Literal["text/markdown", "text/html"] = MARKDOWN) -> str:
        """Get the report as Markdown, or as a single self-contained page of HTML."""
        return (
            await self._connection.send("GET", _build_study_path(study_id, "report"), headers={"Accept": media_type})
        ).text

    @dual_iterator
    def events(self, study_id: str, *, after: int = 0) -> AsyncIterator[EventView]:
        """Yield the study's events, oldest first, starting after the event with the number `after`."""
        return self._answers.pages(EventPage, _build_study_path(study_id, "events"), after=after)

    @dual_iterator
    def follow_events(self, study_id: str, *, after: int | None = None) -> AsyncIterator[EventView]:
        """Yield events as they happen, until the study has ended; without `after`, only new ones."""
        return self._answers.follow(EventView, _build_study_path(study_id, "events"), after)


def _build_body(study: Study) -> Mapping[str, Any]:
    return study.model_dump(mode="json") if isinstance(study, StudySpec) else study


def _build_study_path(study_id: str, part: str = "") -> str:
    return f"/v1/studies/{quote_segment(study_id, StudyNotFound(study_id))}" + (f"/{part}" if part else "")
