"""An attempt at a short training that decides between causes: trains as usual, and keeps only figures."""

import time

import structlog

from heldout.lifecycle.job import JobStatus
from heldout.proofs.figures import Figures, pack_right
from heldout.work.kinds import ExperimentSpec, IdleExperimentSpec
from models import proofs
from models.proof_subject import make_split
from worker import messages
from worker.supervision.attempt_files import Interrupted
from worker.supervision.training_attempt import TrainingAttempt

log = structlog.get_logger()

# How long an experiment may take to write its state for a training that waits. It then continues from its last epoch.
GIVE_WAY_TIMEOUT_S = 1.0


class ExperimentAttempt(TrainingAttempt):
    """An attempt at an experiment that someone has asked for. Its end continues the proof."""

    what = "The experiment"
    is_experiment = True
    spec: ExperimentSpec

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
        final, scores = done.final, done.scores
        figures = Figures(
            make_split(final.train),
            None if final.validation is None else make_split(final.validation),
            "" if scores is None else pack_right(scores.right.tolist()),
            self._whole_epochs,
        )
        reason = done.stop_reason
        status = self.lease.settle(
            lambda session: proofs.keep_figures(session, self.lease.held, figures, stop_reason=reason)
        )
        self._is_reusable = status is JobStatus.SUCCEEDED and not self.resources.gpus


class IdleExperimentAttempt(ExperimentAttempt):
    """An attempt at an experiment that no one has asked for. A waiting training stops it within a second."""

    spec: IdleExperimentSpec

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
