"""One attempt at finding the copies and groups of a stored dataset: starts its process, stores what it found."""

import signal
from contextlib import ExitStack
from pathlib import Path

import structlog

from analysis.arrays.relations import FILE_NAME, relations_key
from heldout.lifecycle.dataset import RejectionCode
from heldout.lifecycle.job import JobStatus
from heldout.work.kinds import RelateSpec
from models.store import relations
from worker.ingest.limits import Limits
from worker.ingest.process.messages import Related
from worker.ingest.process.parent import RelateProcess
from worker.ingest.rejection import Rejection
from worker.supervision.attempt import Attempt

log = structlog.get_logger()


class RelateAttempt(Attempt[RelateSpec]):
    """The dataset is in use meanwhile."""

    what = "The search for copies"

    def work(self, in_use: ExitStack) -> None:
        try:
            self._relate(self.files.open_dataset(self.claimed.dataset.sha256, in_use.enter_context))
        except Rejection as rejection:
            crashed = rejection.code is RejectionCode.CRASHED
            kill = self.watch.kill_of(-signal.SIGKILL) if crashed else None
            if kill is not None:
                self.settle_kill(kill)
            else:
                self.lease.fail(rejection.code, rejection.detail)

    def _relate(self, content: Path) -> None:
        target = self.folder / "relations"
        limits = Limits(normalised_bytes=self.settings.max_normalised_bytes, wall_s=int(self.spec.max_runtime_s))
        self.watch.begin()
        # Names are needed for groups alone.
        group_by, dataset_id = self.spec.group_by, self.claimed.dataset.id
        names = None if group_by is None else self.files.fetch_names(dataset_id, self.folder)
        with RelateProcess(content, target, limits, names=names, group_by=group_by) as process:
            try:
                related = self._followed(process)
            except Rejection as rejection:
                log.warning("copies_not_found", code=rejection.code.value, lines=process.last_lines())
                raise
        self.lease.require()
        files = self.files.store({relations_key(dataset_id): target / FILE_NAME})
        status = self.lease.settle(
            lambda session: relations.mark_stored(session, self.lease.held, dataset_id, related.digests, files)
        )
        if status is JobStatus.SUCCEEDED:
            log.info("relations_stored", dataset_id=dataset_id)

    def _followed(self, process: RelateProcess) -> Related:
        """What the process found. Raises Interrupted, Rejection."""
        while True:
            self.look_after(process.pid)  # the process has a limit of its own
            message = process.receive(0.1)
            if isinstance(message, Related):
                return message
