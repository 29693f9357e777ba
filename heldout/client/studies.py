"""The client's methods for studies."""

import json
import os
import platform
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from heldout.client.dual import Mode, dual, dual_iterator
from heldout.client.external_values import pack_predictions, simplify_history
from heldout.client.failures import ApiProblem, NoService
from heldout.client.judges import Judges
from heldout.client.recordings import Arms, describe_arms, has_figures, list_answers, name_runs
from heldout.client.resource import LONG_POLL_S, PAGE, PREDICTIONS_TIMEOUT_S, OneHandle, quote_segment
from heldout.errors import RunNotFound, StudyNotFound
from heldout.histories.reading import read_text
from heldout.studies.spec import Measure, StudySpec
from heldout.views.account import EventPage, EventView
from heldout.views.diagnosis import DiagnosisView
from heldout.views.study import StudyEstimateView, StudyPage, StudyView
from heldout.views.study_report import MARKDOWN, StudyReportView
from heldout.views.study_run import AskView, RunList, RunView

# After this time without a heartbeat, a training is given to another runner.
LEASE_S = 60.0

StudyOrder = Mapping[str, Any] | StudySpec


class StudyResource(Judges[OneHandle, Mode]):
    """Studies, which measure what cures a job or a spec."""

    _route, _missing = "/v1/studies", StudyNotFound

    @dual
    async def create(self, study: StudyOrder, *, idempotency_key: str | None = None) -> OneHandle:
        """Order a study. Without a key the client generates one, so a retry never orders a second study.

        Raises:
            ValueError: if the idempotency key is not 1 to 255 printable ASCII characters.
        """
        return await self._create(StudyView, "/v1/studies", _build_body(study), idempotency_key)

    @dual
    async def continue_(
        self,
        study_id: str,
        remedies: Literal["all", "same"] = "all",
        *,
        budget: Mapping[str, Any] | None = None,
    ) -> OneHandle:
        """Continue a study whose first answer is not a cure.

        Args:
            remedies: `all` adds those that the first answer left out; `same` only more seeds.
            budget: the most `jobs` and `seconds` of the whole study, with what it has done.
        Raises:
            StudyNotContinuable: it runs, has found a cure, or nothing is left to try.
        """
        body = {"remedies": remedies, "budget": dict(budget or {})}
        return await self._receive(StudyView, "POST", self._path(study_id, "continue"), body=body)

    @dual
    async def external(
        self,
        arms: Mapping[str, Mapping[str, Any]],
        *,
        seeds: int = 3,
        name: str | None = None,
        splits: Literal["fixed", "resampled"] = "fixed",
        objective: Measure | None = None,
        costs: Sequence[Sequence[float]] | None = None,
        group_column: str | None = None,
        margin: float | None = None,
        budget: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> OneHandle:
        """Order a study of trainings that run in your own script. Iterate over it to run them.

        Args:
            arms: the parameters of each way to train, by name. The first is `base`, with which the others are compared.
            seeds: how many of the first look at every arm; arms that may still win get more.
            splits: `fixed` if all trainings answer the same validation images; `resampled` if each seed has its own
                fold, `run.fold` of `run.folds`.
            objective: the measure that decides, if only one does. costs: of each answer to each label, for `cost`.
            group_column: the column of the answers whose values are the groups, for `worst_group`.
            margin: asks whether each arm is as good, and by how much it may be worse: 0.01 is one point.
            budget: the most `jobs` and `seconds` of all trainings together.
        """
        order: dict[str, Any] = {
            "kind": "external",
            "name": name,
            "arms": [{"name": arm, "parameters": dict(parameters)} for arm, parameters in arms.items()],
            "seeds": seeds,
            "splits": splits,
            "objective": objective,
            "costs": costs,
            "group_column": group_column,
            "margin": margin,
            "budget": dict(budget or {}),
            "metadata": dict(metadata or {}),
        }
        return await StudyResource.create(self, order, idempotency_key=idempotency_key)

    @dual
    async def recorded(
        self,
        arms: Arms,
        *,
        metric: str | None = None,
        better: Literal["higher", "lower"] = "higher",
        images: int | None = None,
        objective: Measure | None = None,
        costs: Sequence[Sequence[float]] | None = None,
        group_column: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> OneHandle:
        """Compare trainings that were done before, and return the study with its answer.

        Args:
            arms: the runs of each way to train, by name, first `base`. A run is a file of answers, arrays as for
                `tell`, or its final figure. `{seed: run}` says their seeds; in a list, they are numbers in the names of
                files, such as `base-seed3.npz`.
            metric, better: what final figures are; by default `accuracy`. With `higher` they are from 0 to 1.
            images: how many images a figure is a share of. Without it, the intervals cover seeds only.
            objective: the measure of answers that decides, if only one does. costs, group_column: as for `external`.
        Raises:
            TunerTrials: most arms have a single run.
            RunsDisagree: two runs answer other images or classes, or two seeds give the same answers. The study is
                cancelled.
        """
        runs = {arm: name_runs(arm, given) for arm, given in arms.items()}
        order = {
            "kind": "recorded",
            "name": name,
            "arms": describe_arms(runs),
            "metric": metric or "accuracy" if has_figures(runs) else None,
            "better": better,
            "images": images,
            "objective": objective,
            "costs": costs,
            "group_column": group_column,
            "metadata": dict(metadata or {}),
        }
        study: Any = await StudyResource.create(self, order, idempotency_key=idempotency_key)
        answers = list_answers(runs)
        waiting = await StudyResource.runs(self, study.id) if answers else ()
        for run in waiting:
            answer = answers[run.arm, run.seed]
            predictions: Any = answer.recorded
            try:
                await StudyResource.tell(self, study.id, run.id, "0", predictions)
            except BaseException as error:
                error.add_note(f"{run.id} is {answer.name}.")
                with suppress(ApiProblem, NoService):
                    await StudyResource.cancel(self, study.id)
                raise
        return await StudyResource.get(self, study.id)

    def _run_path(self, study_id: str, run_id: str, part: str = "") -> str:
        run = quote_segment(run_id, RunNotFound(study_id, run_id))
        return self._path(study_id, f"runs/{run}/{part}" if part else f"runs/{run}")

    @dual
    async def ask(self, study_id: str, *, runner: str | None = None, lease_s: float = LEASE_S) -> AskView:
        """Lease the next external training of a study. Without one, `wait_s` says when to ask again.

        Args:
            runner: a name that lists show; by default that of this machine and process.
            lease_s: after this time without a heartbeat, others get the training.
        """
        body = {"runner": runner or f"{platform.node()[:100] or 'runner'}:{os.getpid()}", "lease_s": lease_s}
        return await self._read(AskView, "POST", self._path(study_id, "ask"), body=body, repeatable=True)

    @dual
    async def heartbeat(self, study_id: str, run_id: str, token: str, *, lease_s: float = LEASE_S) -> None:
        """Renew the lease of a training.

        Raises:
            RunReplaced: another runner has it, or its result is there. Stop the training.
        """
        path = self._run_path(study_id, run_id, "heartbeat")
        await self._connection.send("POST", path, body={"token": token, "lease_s": lease_s}, repeatable=True)

    @dual
    async def give_back(self, study_id: str, run_id: str, token: str) -> None:
        """Give a training back that will not be finished here. It is asked for again at once.

        Raises:
            RunReplaced: another runner has it, or its result is there.
        """
        path = self._run_path(study_id, run_id, "lease")
        await self._connection.send("DELETE", path, params={"token": token})

    @dual
    async def tell(
        self,
        study_id: str,
        run_id: str,
        token: str,
        predictions: Path | str | Mapping[str, Mapping[str, object]],
        *,
        history: object = None,
        seconds: float | None = None,
    ) -> RunView:
        """Tell the result of a training. The first result counts; `accepted` says whether it was this one.

        Args:
            predictions: as for `diagnoses.create_from_predictions`; arrays may be tensors.
            history: the curves, as for `diagnoses.create`, or the path of a file with them.
            seconds: how long the training took.
        Raises:
            OSError: if a file cannot be read.
            ValueError: if a file of curves has none, or those of several trainings.
            RunsDisagree: it answers other images or classes than a training that it would be compared with, or has the
                answers of another seed.
        """
        form: dict[str, Any] = {"token": token, "file": pack_predictions(predictions)}
        if isinstance(history, Path | str):
            history = read_text(Path(history).read_text(encoding="utf-8", errors="replace")).to_metrics()
        if history is not None:
            form["training"] = json.dumps({"history": simplify_history(history)})
        return await self._tell(study_id, run_id, form, seconds)

    @dual
    async def tell_failed(
        self, study_id: str, run_id: str, token: str, reason: str, *, seconds: float | None = None
    ) -> RunView:
        """Tell that a training failed. Its arm is dropped; without the base, the study fails."""
        return await self._tell(study_id, run_id, {"token": token, "failed": reason}, seconds)

    async def _tell(self, study_id: str, run_id: str, form: dict[str, Any], seconds: float | None) -> RunView:
        if seconds is not None:
            form["seconds"] = str(seconds)
        path = self._run_path(study_id, run_id, "result")
        return await self._read(RunView, "POST", path, form=form, timeout_s=PREDICTIONS_TIMEOUT_S, repeatable=True)

    @dual
    async def runs(self, study_id: str) -> Sequence[RunView]:
        """List the trainings of a study that run elsewhere, by seed."""
        return (await self._get(RunList, study_id, "runs")).data

    @dual
    async def run(self, study_id: str, run_id: str) -> RunView:
        """Get a training that runs elsewhere."""
        return await self._read(RunView, "GET", self._run_path(study_id, run_id))

    @dual
    async def diagnose_run(self, study_id: str, run_id: str) -> DiagnosisView:
        """Diagnose a training that ran elsewhere: without test images, unless the study compared it on them."""
        return await self._read(DiagnosisView, "GET", self._run_path(study_id, run_id, "diagnosis"))

    @dual
    async def estimate(self, study: StudyOrder) -> StudyEstimateView:
        """Estimate how many trainings a study needs and how long they take; nothing is queued."""
        body, params = _build_body(study), {"dry_run": True}
        return await self._read(StudyEstimateView, "POST", "/v1/studies", body=body, params=params, repeatable=True)

    @dual_iterator
    def list(self, *, statuses: Sequence[str] = (), page_size: int = PAGE) -> AsyncIterator[OneHandle]:
        """Yield your studies, newest first; further pages are fetched as they are needed."""
        params = {"status": [*statuses]}
        return self._wrap_each(self._pages(StudyPage, "/v1/studies", params, page_size=page_size))

    @dual
    async def get(self, study_id: str) -> OneHandle:
        return await self._receive(StudyView, "GET", self._path(study_id))

    @dual
    async def poll(self, study_id: str, *, version: int | None = None, wait_s: int = LONG_POLL_S) -> StudyView | None:
        """Wait until the study's version differs from `version`; returns None if it does not within `wait_s`.

        Without a version: wait until the study has ended, at most `wait_s` (0–60), and return it as it is then.
        """
        return await self._once_changed(StudyView, self._path(study_id), version, wait_s)

    @dual_iterator
    def watch(self, study_id: str, *, wait_s: int = LONG_POLL_S) -> AsyncIterator[StudyView]:
        """Yield the study now and after each change, until it has ended."""
        return self._each_change(StudyView, self._path(study_id), wait_s)

    @dual
    async def cancel(self, study_id: str) -> OneHandle:
        """Cancel a study with all of its jobs."""
        return await self._receive(StudyView, "POST", self._path(study_id, "cancel"))

    @dual
    async def delete(self, study_id: str) -> None:
        """Delete a study that has ended, with all of its jobs."""
        await self._connection.send("DELETE", self._path(study_id))

    @dual
    async def report(self, study_id: str) -> StudyReportView:
        """Report a study in plain words, finished or not, with curves, gaps and the requests that repeat it."""
        return await self._get(StudyReportView, study_id, "report")

    @dual
    async def report_text(self, study_id: str, media_type: Literal["text/markdown", "text/html"] = MARKDOWN) -> str:
        """Get the report as Markdown, or as a single self-contained page of HTML."""
        return (await self._connection.send("GET", self._path(study_id, "report"), headers={"Accept": media_type})).text

    @dual_iterator
    def events(self, study_id: str, *, after: int = 0) -> AsyncIterator[EventView]:
        """Yield the study's events, oldest first, starting after the event with the number `after`."""
        return self._pages(EventPage, self._path(study_id, "events"), after=after)

    @dual_iterator
    def follow_events(self, study_id: str, *, after: int | None = None) -> AsyncIterator[EventView]:
        """Yield events as they happen, until the study has ended; without `after`, only new ones."""
        return self._follow(EventView, self._path(study_id, "events"), after)


def _build_body(study: StudyOrder) -> Mapping[str, Any]:
    return study.model_dump(mode="json") if isinstance(study, StudySpec) else study
