"""One attempt at finding the wrong labels of a dataset: what its process is given, and what it found is stored."""

import time
from pathlib import Path

from analysis.arrays.file_names import MEMBERS_FILE
from analysis.arrays.relations import FILE_NAME, relations_key
from heldout.stored.suspects import suspects_key
from heldout.work.kinds import SuspectSpec
from models.store import claims, suspects
from worker.messages import FromTraining, SuspectAssignment, SuspectsFound
from worker.supervision.process_attempt import ProcessAttempt

# How often a search looks whether a training waits.
LOOK_EVERY_S = 1.0


class SuspectAttempt(ProcessAttempt[SuspectSpec]):
    """A search for wrong labels. A training that waits ends it, wherever it could run."""

    what = "The search for wrong labels"
    # At most so many of its networks are trained at a time, however many cores there are.
    threads = 2
    _looked_at = 0.0

    def gives_way(self) -> bool:
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = time.monotonic()
        return self.lease.read(claims.training_waits)

    def assignment(self, dataset: Path) -> SuspectAssignment:
        dataset_id = self.claimed.dataset.id
        # Without them the search goes on as well: copies are then not kept together, or the images have no names.
        relations, names = self.folder / FILE_NAME, self.folder / MEMBERS_FILE
        has_relations = self.files.fetch_if_there(relations_key(dataset_id), relations)
        has_names = self.files.fetch_if_there(f"datasets/{dataset_id}/{MEMBERS_FILE}", names)
        return SuspectAssignment(
            dataset=str(dataset),
            scratch=str(self.folder),
            relations=str(relations) if has_relations else None,
            names=str(names) if has_names else None,
            seed=self.spec.seed,
            threads=self.threads,
        )

    def settle(self, message: FromTraining) -> bool:
        if not isinstance(message, SuspectsFound):
            return False
        dataset_id = self.claimed.dataset.id
        self.lease.require()
        digests = self.files.store({suspects_key(dataset_id): Path(message.file)})
        self.lease.settle(lambda session: suspects.mark_stored(session, self.lease.held, dataset_id, digests))
        return True
