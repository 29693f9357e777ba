"""Runs a study's trainings here until it has ended: asks, starts, renews and reports, in one loop."""

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heldout.cli.outcome import Refused
from heldout.cli.progress import Display, StudyFollower
from heldout.cli.running.memory import HeldRuns
from heldout.cli.running.script import Script
from heldout.cli.running.training import Limits, Training, get_answers, list_gpus, start
from heldout.cli.screen import say
from heldout.client.failures import ApiProblem, NoService
from heldout.errors import RunReplaced
from heldout.views.study_run import AssignedRunView

if TYPE_CHECKING:
    from heldout.client.client import Client
    from heldout.views.study import StudyView

LEASE_S = 60.0
HEARTBEAT_S = LEASE_S / 3
# How often the loop looks whether a training has ended, and how often it asks for the study.
TURN_S, SHOW_S = 0.1, 5.0


@dataclass(frozen=True)
class Plan:
    """What to run for each arm, where its files go, how many trainings run at once, and what each may take."""

    scripts: Mapping[str, Script]
    folder: Path
    jobs: int
    limits: Limits


class Runner:
    """Runs trainings of one study here. In one thread, so that its trainings end with it however it ends."""

    def __init__(self, client: "Client", study: "StudyView", plan: Plan, display: Display) -> None:
        self._client = client
        self._study = study
        self._plan = plan
        self._folder = plan.folder / study.id
        self._folder.mkdir(parents=True, exist_ok=True)
        self._held = HeldRuns(self._folder)
        self._arms: Mapping[str, Mapping[str, Any]] = {arm.name: arm.patch for arm in study.arms}
        self._gpus = list_gpus()
        self._running: list[Training] = []
        self._follower = StudyFollower(client, display)
        self._display = display
        self._ask_at_s = self._show_at_s = 0.0
        self._lost_service = False

    def run(self) -> "StudyView":
        """Run trainings until the study has ended, and return it. However this ends, so do the trainings.

        Raises:
            ApiProblem: the service refuses the answers of a training, which stays to be asked for again.
        """
        try:
            with self._display:
                self._take_over()
                while not self._study.has_ended:
                    try:
                        self._turn()
                        self._lost_service = False
                    except NoService as failure:
                        self._say_lost(failure)
                    time.sleep(TURN_S)
            return self._study
        finally:
            for training in self._running:
                training.end()
            self._give_back()

    def _turn(self) -> None:
        for training in [one for one in self._running if one.has_ended(self._plan.limits.seconds)]:
            self._tell(training)
        self._renew()
        self._ask()
        if time.monotonic() >= self._show_at_s:
            self._show_at_s = time.monotonic() + SHOW_S
            self._study = (
                self._client.studies.poll(self._study.id, version=self._study.version, wait_s=0) or self._study
            )
            self._follower.show(self._study)

    def _take_over(self) -> None:
        """Continue what a command here was running when it was killed, if its leases still hold."""
        for run in self._held.list_left()[: self._plan.jobs]:
            try:
                self._client.studies.heartbeat(self._study.id, run.run, run.token, lease_s=LEASE_S)
            except RunReplaced:
                continue
            self._start(run)

    def _ask(self) -> None:
        while len(self._running) < self._plan.jobs and time.monotonic() >= self._ask_at_s:
            asked = self._client.studies.ask(self._study.id, lease_s=LEASE_S)
            if asked.run is None:
                self._ask_at_s = time.monotonic() + (asked.wait_s or SHOW_S)
                if asked.wait_s is None:  # the study has ended
                    self._show_at_s = 0.0
                return
            self._start(asked.run)

    def _start(self, run: AssignedRunView) -> None:
        if run.parameters != self._arms.get(run.arm):
            raise Refused(f"The service asks for {run.arm} with {run.parameters}, but the study has {self._arms}.")
        base = self._folder / f"{run.arm}-seed{run.seed}"
        answers = get_answers(base).absolute()  # the script may change its folder
        given = {"arm": run.arm, "seed": run.seed, "fold": run.fold, "folds": run.folds, "out": str(answers)}
        script = self._plan.scripts[run.arm]
        command = script.fill({**run.parameters, **given})
        self._running.append(start(run, command, base, self._plan.limits, self._choose_gpu(), script.folder))
        self._held.keep(training.run for training in self._running)

    def _give_back(self) -> None:
        """Let others have the trainings that were ended here, without waiting for the end of their leases."""
        for training in self._running:
            with suppress(ApiProblem, NoService):
                self._client.studies.give_back(self._study.id, training.run.run, training.run.token)

    def _choose_gpu(self) -> str | None:
        """Choose the GPU on which the fewest trainings run."""
        used = [training.gpu for training in self._running]
        return min(self._gpus, key=used.count, default=None)

    def _renew(self) -> None:
        for training in list(self._running):
            if time.monotonic() - training.renewed_s < HEARTBEAT_S:
                continue
            try:
                run = training.run
                self._client.studies.heartbeat(self._study.id, run.run, run.token, lease_s=LEASE_S)
                training.renewed_s = time.monotonic()
            except RunReplaced:
                training.end()
                self._drop(training)

    def _tell(self, training: Training) -> None:
        study_id, run, token = self._study.id, training.run.run, training.run.token
        answers, failure = training.find_answers(), training.explain_failure(self._plan.limits.seconds)
        try:
            if failure is not None:
                say(f"{training.name}: {failure} Its log: {training.log}", file=sys.stderr)
                self._client.studies.tell_failed(study_id, run, token, failure, seconds=training.seconds)
            elif answers is not None:
                read = training.read_history()
                self._client.studies.tell(
                    study_id,
                    run,
                    token,
                    answers,
                    history=None if read is None else read.to_metrics(),
                    seconds=training.seconds,
                )
        except RunReplaced:
            pass  # its result counts no more
        except (ApiProblem, Refused):
            say(f"The result of {training.name} was refused: {answers}. Its log: {training.log}", file=sys.stderr)
            raise
        self._drop(training)
        # There may be a next one now, and the table has changed.
        self._ask_at_s = self._show_at_s = 0.0

    def _drop(self, training: Training) -> None:
        self._running.remove(training)
        self._held.keep(training.run for training in self._running)

    def _say_lost(self, failure: NoService) -> None:
        if not self._lost_service:
            self._lost_service = True
            say(f"heldout: {failure} The trainings here continue, and their results are sent later.", file=sys.stderr)
