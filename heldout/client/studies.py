"""The client's methods for studies."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from heldout.client.connection import Connection
from heldout.client.dual import dual, dual_iterator
from heldout.client.typed_answers import LONG_POLL_S, PAGE, TypedAnswers, make_idempotency_header, quote_segment
from heldout.errors import StudyNotFound
from heldout.studies.spec import StudySpec
from heldout.views.event import EventPage, EventView
from heldout.views.study import StudyEstimateView, StudyPage, StudyView
from heldout.views.study_report import MARKDOWN, StudyReportView

Study = Mapping[str, Any] | StudySpec


class StudyMethods:
    """A part of `heldout.Client`, which makes the connection."""

    _connection: Connection
    _answers: TypedAnswers

    @dual
    async def order_study(self, study: Study, *, idempotency_key: str | None = None) -> StudyView:
        """Measure what cures a job or a spec. A key is drawn where none is given: a repeat orders nothing twice.

        Raises:
            ValueError: if the idempotency key is not 1 to 255 printable ASCII characters.
        """
        headers = make_idempotency_header(idempotency_key)
        return await self._answers.read(
            StudyView, "POST", "/v1/studies", body=_build_body(study), headers=headers, repeatable=True
        )

    @dual
    async def estimate_study(self, study: Study) -> StudyEstimateView:
        """How many trainings a study would be, and how long they would take; nothing is queued."""
        return await self._answers.read(
            StudyEstimateView,
            "POST",
            "/v1/studies",
            body=_build_body(study),
            params={"dry_run": "true"},
            repeatable=True,
        )

    @dual_iterator
    def studies(self, *, statuses: Sequence[str] = (), page_size: int = PAGE) -> AsyncIterator[StudyView]:
        """The owner's studies, newest first; further pages are fetched as they are needed."""
        params = [("status", status) for status in statuses]
        return self._answers.pages(StudyPage, "/v1/studies", params, page_size=page_size)

    @dual
    async def study(self, study_id: str) -> StudyView:
        return await self._answers.read(StudyView, "GET", _build_study_path(study_id))

    @dual
    async def wait_study(
        self, study_id: str, *, version: int | None = None, wait_s: int = LONG_POLL_S
    ) -> StudyView | None:
        """The study as soon as its version differs from `version`, or None if it is the same after `wait_s`.

        Without a version: the study when it has ended, or as it is after `wait_s` (0–60).
        """
        return await self._answers.once_changed(StudyView, _build_study_path(study_id), version, wait_s)

    @dual_iterator
    def watch_study(self, study_id: str, *, wait_s: int = LONG_POLL_S) -> AsyncIterator[StudyView]:
        """The study now and after each change, until it has ended."""
        return self._answers.each_change(StudyView, _build_study_path(study_id), wait_s)

    @dual
    async def cancel_study(self, study_id: str) -> StudyView:
        """Cancel a study with all of its jobs."""
        return await self._answers.read(StudyView, "POST", _build_study_path(study_id, "cancel"))

    @dual
    async def delete_study(self, study_id: str) -> None:
        """Delete a study that has ended, with all of its jobs."""
        await self._connection.send("DELETE", _build_study_path(study_id))

    @dual
    async def study_report(self, study_id: str) -> StudyReportView:
        """A study in plain words, as far as it has come, with curves, gaps and the requests that do it again."""
        return await self._answers.read(StudyReportView, "GET", _build_study_path(study_id, "report"))

    @dual
    async def study_report_text(
        self, study_id: str, media_type: Literal["text/markdown", "text/html"] = MARKDOWN
    ) -> str:
        """The same as Markdown, or as one page of HTML that needs nothing else."""
        return (
            await self._connection.send("GET", _build_study_path(study_id, "report"), headers={"Accept": media_type})
        ).text

    @dual_iterator
    def study_events(self, study_id: str, *, after: int = 0) -> AsyncIterator[EventView]:
        """What has happened to a study, oldest first, after the event with the number `after`."""
        return self._answers.pages(EventPage, _build_study_path(study_id, "events"), after=after)

    @dual_iterator
    def follow_study_events(self, study_id: str, *, after: int | None = None) -> AsyncIterator[EventView]:
        """What happens to a study, as it happens, until it has ended; without `after` from now on."""
        return self._answers.follow(EventView, _build_study_path(study_id, "events"), after)


def _build_body(study: Study) -> Mapping[str, Any]:
    return study.model_dump(mode="json") if isinstance(study, StudySpec) else study


def _build_study_path(study_id: str, part: str = "") -> str:
    return f"/v1/studies/{quote_segment(study_id, StudyNotFound(study_id))}" + (f"/{part}" if part else "")
