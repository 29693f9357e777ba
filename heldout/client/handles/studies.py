"""A study of a client, and its trainings that run in your own script."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from heldout.client.dual import Awaiting, Blocking, Mode, dual, dual_iterator, dual_self, run
from heldout.client.failures import ApiProblem, NoService
from heldout.client.progress import show_bar
from heldout.client.resource import Handle, NamedHandle, ResourceBase, by_id, each_by_id, renew
from heldout.client.studies import LEASE_S, StudyResource
from heldout.errors import RunReplaced
from heldout.views.study import StudyView
from heldout.views.study_run import AssignedRunView, RunView

if TYPE_CHECKING:
    from heldout.pictures.picture import Picture
    from heldout.views.study import ConclusionView


Pair = Sequence[Any] | Mapping[str, Any]
# Heartbeats in the time of a lease: one may be late, and one lost.
HEARTBEATS = 3
# These say something about the arm, so the study continues without it: out of memory, or figures that are not finite.
# The names are those of PyTorch, and of TensorFlow and JAX, which are not imported.
TRAINING_ERRORS = (MemoryError, FloatingPointError)
TRAINING_ERROR_NAMES = {"OutOfMemoryError", "ResourceExhaustedError"}
EXPECTED_PAIR = "expected (labels, probabilities): a class and a row of probabilities for each image"

logger = logging.getLogger("heldout")


class RunHandle(Handle[AssignedRunView, Mode]):
    """A training to run here, with its `arm`, `parameters`, `seed`, and `fold` of `folds`.

    Train inside `with run:`, which keeps the lease, and report the answers with `tell`.
    An exception counts as a failed training, and drops its arm. Errors of a training that its parameters may
    explain (out of memory, FloatingPointError) end there; all others are raised again. `KeyboardInterrupt`, an answer
    that the service refuses, and a lost connection do not count as failures: the training is given back, and can be
    asked for again.

    Attributes:
        is_replaced: whether another runner has the training by now. Its result may still count, if it comes first.
    """

    def __init__(self, resource: ResourceBase[Mode], study_id: str, assigned: AssignedRunView) -> None:
        super().__init__(resource, assigned)
        self.study_id = study_id
        self.is_replaced = False
        self._is_reported = False
        self._began_s = time.monotonic()

    @property
    def id(self) -> str:
        return self.view.run

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self.arm}, seed {self.seed}>"

    @dual
    async def tell(
        self,
        *,
        validation: Pair,
        test: Pair | None = None,
        train: Pair | None = None,
        history: object = None,
        ids: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> RunView:
        """Report the answers of the trained network.

        Args:
            validation, test, train: `(labels, probabilities)`: classes (n,) and probabilities (n, classes) as lists,
                numpy arrays, or tensors of PyTorch, JAX or TensorFlow; or what `heldout.torch.answers` returns.
                Answers to test images are sealed until the base and the winner are compared on them, once.
            history: the curves: a dictionary, records, what Keras' `fit` returns, or the path of a file.
            ids: by split, a text or number for each image, if trainings answer them in different orders.
            seconds: how long the training took; by default since `with run:` began.
        Raises:
            TypeError, ValueError: if an argument is not of that form.
            ApiProblem: if the service refuses the answers, such as logits, or other images than those of other runs.
        """
        given = {"train": train, "validation": validation, "test": test}
        predictions = {split: _name_parts(split, pair) for split, pair in given.items() if pair is not None}
        for split, of_images in (ids or {}).items():
            if split not in predictions:
                raise ValueError(
                    f"Received ids for {split!r}, but no answers; expected any of {', '.join(predictions)}."
                )
            predictions[split]["hashes"] = of_images
        took_s = self._measure_s() if seconds is None else seconds
        resource, study, token = self._resource, self.study_id, self.view.token
        run = await StudyResource.tell(resource, study, self.id, token, predictions, history=history, seconds=took_s)
        self._is_reported = True
        return run

    @dual
    async def fail(self, reason: str) -> RunView:
        """Report that the training failed, and why. Its arm is dropped; without the base, the study fails."""
        resource, study, token = self._resource, self.study_id, self.view.token
        run = await StudyResource.tell_failed(resource, study, self.id, token, reason, seconds=self._measure_s())
        self._is_reported = True
        return run

    def _measure_s(self) -> float:
        return round(time.monotonic() - self._began_s, 3)

    async def _renew(self) -> None:
        """Renew the lease. Failures of the connection are left to the next heartbeat."""
        try:
            lease_s = self.view.lease_s
            await StudyResource.heartbeat(self._resource, self.study_id, self.id, self.view.token, lease_s=lease_s)
        except RunReplaced:
            self.is_replaced = True
        except (ApiProblem, NoService) as error:
            logger.warning("The lease of %s could not be renewed: %s", self.id, error)

    async def _end(self, error: BaseException | None) -> bool:
        """Report a failure. Returns whether the study continues without raising the error."""
        if error is None and not self._is_reported:
            raise RuntimeError(
                "This training has no result. Call run.tell(validation=(labels, probabilities)) before the "
                "`with` block ends, or run.fail(reason)."
            )
        if self._is_reported:
            return False
        if not isinstance(error, Exception) or isinstance(error, ApiProblem | NoService):
            with suppress(ApiProblem, NoService):  # without it, the lease ends by itself
                await StudyResource.give_back(self._resource, self.study_id, self.id, self.view.token)
            return False
        reason = f"{type(error).__name__}: {error}"
        with suppress(ApiProblem, NoService):  # they must not hide the error
            await RunHandle.fail(self, reason)
        is_of_training = isinstance(error, TRAINING_ERRORS) or type(error).__name__ in TRAINING_ERROR_NAMES
        if self._is_reported and is_of_training:
            logger.warning(
                "%s, seed %d failed, and the study continues without this arm. %s", self.arm, self.seed, reason
            )
            return True
        return False


class Run(RunHandle[Blocking]):
    __doc__ = RunHandle.__doc__

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"heartbeat of {self.id}", daemon=True)
        self._heart.start()
        return self

    def _beat(self) -> None:
        while not self.is_replaced and not self._ended.wait(self.view.lease_s / HEARTBEATS):
            run(self._renew())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._ended.set()
        self._heart.join()
        return run(self._end(error))


class AsyncRun(RunHandle[Awaiting]):
    """A training to run here, as `Run`, inside `async with run:`.

    The lease is renewed in the event loop, so train in a thread: `await asyncio.to_thread(train)`.
    """

    async def __aenter__(self) -> Self:
        self._began_s = time.monotonic()
        self._heart = asyncio.create_task(self._beat())
        return self

    async def _beat(self) -> None:
        while not self.is_replaced:
            await asyncio.sleep(self.view.lease_s / HEARTBEATS)
            await self._renew()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._heart.cancel()
        return await self._end(error)


def _name_parts(split: str, pair: Any) -> dict[str, Any]:
    if isinstance(pair, Mapping) and "labels" in pair:
        return dict(pair)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"Received {split}={type(pair).__name__}; {EXPECTED_PAIR}.")
    labels, probabilities = pair
    return {"labels": labels, "probabilities": probabilities}


class Studies(StudyResource["Study[Mode]", Mode]): ...


class Study(NamedHandle[StudyView, Mode], of=Studies):
    """A study: wait for it, then read `conclusion`. Iterate over one of your own trainings to run them."""

    refresh = renew(Studies.get)
    cancel = renew(Studies.cancel)
    continue_ = renew(Studies.continue_)
    delete = by_id(Studies.delete)
    report = by_id(Studies.report)
    report_text = by_id(Studies.report_text)
    events = each_by_id(Studies.events)
    follow_events = each_by_id(Studies.follow_events)
    download_model = by_id(Studies.download_model)
    export = by_id(Studies.export)
    export_report = by_id(Studies.export_report)
    runs = by_id(Studies.runs)
    add_arm = by_id(Studies.add_arm)
    close = by_id(Studies.close)
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
        from heldout.documents.html import render_notebook
        from heldout.documents.study import build_study

        return render_notebook(build_study(self.view))

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
        from heldout.documents.arms import build_evidence
        from heldout.documents.picture import draw_figure

        await Study.refresh(self)
        return draw_figure(self.name, build_evidence(self.view), "Nothing has been measured yet.")

    @dual
    async def save_report(self, to: Path | str) -> None:
        """Write the report to a file: Markdown if its name ends in `.md`, otherwise a self-contained page of HTML."""
        is_markdown = Path(to).suffix.lower() == ".md"
        text = await Study.report_text(self, "text/markdown" if is_markdown else "text/html")
        Path(to).write_text(text, encoding="utf-8")


AsyncStudy = Study[Awaiting]
