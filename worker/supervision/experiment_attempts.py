"""An attempt at a short training that decides between causes: trains as usual, and keeps only figures."""

import time

import structlog

from heldout.lifecycle.job import JobStatus
from heldout.proofs.figures import pack_right
from heldout.work.kinds import ExperimentSpec, IdleExperimentSpec
from models import proofs
from models.proof_subject import collect_figures
from worker import messages
from worker.supervision.attempt_files import Interrupted
from worker.supervision.training_attempt import TrainingAttempt

log = structlog.get_logger()

# How long an experiment may take to write its state for a training that waits. Without it, it continues from its last
# epoch.
GIVE_WAY_TIMEOUT_S = 0.5
LOOK_EVERY_S = 0.2


class ExperimentAttempt(TrainingAttempt):
    """An attempt at an experiment that someone has asked for. Its end continues the proof."""

    what = "The experiment"
    is_experiment = True
    spec: ExperimentSpec

    @property
    def cuts_splits(self) -> bool:
        return super().cuts_splits or self.spec.splits_again is not None

    def run(self) -> None:
        super().run()
        if self.lease.is_lost:
            return
        try:
            self.lease.persist(
                lambda session: proofs.advance(
                    session, self.lease.blobs, self.spec.proves, max_parameters=self.settings.max_parameters
                )
            )
        except Exception:
            log.exception("proof_not_continued", proves=self.spec.proves)

    def _finish(self, done: messages.Finished) -> None:
        right = "" if done.scores is None or self.spec.splits_again else pack_right(done.scores.right.tolist())
        figures = collect_figures(done.final, right, self._whole_epochs, done.recalls)
        reason = done.stop_reason
        status = self.lease.settle(
            lambda session: proofs.keep_figures(session, self.lease.held, figures, stop_reason=reason)
        )
        self._is_reusable = status is JobStatus.SUCCEEDED and not self.resources.gpus


class IdleExperimentAttempt(ExperimentAttempt):
    """An attempt at an experiment that no one has asked for. A waiting training stops it within a second."""

    spec: IdleExperimentSpec
    look_for_others_every_s = LOOK_EVERY_S

    def look_after(self) -> None:
        if self._requested is None and self.gives_way():
            self.child.stop(messages.StopCause.RELEASE)
            self._requested, self._requested_at = messages.StopCause.RELEASE, time.monotonic()
        if self._requested is messages.StopCause.RELEASE:
            if time.monotonic() - self._requested_at > GIVE_WAY_TIMEOUT_S:
                raise Interrupted(messages.StopCause.RELEASE)
            self.lease.require()
            self.watch.look(self.child.pid)
            return
        super().look_after()
