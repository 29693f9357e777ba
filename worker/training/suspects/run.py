"""The process that finds wrong labels of a dataset: from its assignment to its last message."""

from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from heldout.stored.suspects import StoredSuspects, Suspect
from models.arrays import ImageSet, load
from models.relations import load_relations
from worker.messages import SuspectAssignment, SuspectsFound
from worker.training.one_answer import answer_once
from worker.training.suspects.estimate import estimated, learned_enough
from worker.training.suspects.pixels import seen_as
from worker.training.suspects.search import Found, find_suspects

# More are of no use to somebody who looks at each of them.
MAX_SUSPECTS = 10_000
LIKELY_WRONG = 0.5


def run(assignment: SuspectAssignment, pipe: Connection) -> None:
    """Find the wrong labels, with as many operations at once as there are cores for it."""
    answer_once(lambda: _found(assignment), pipe, too_large="The images do", side_by_side=assignment.threads)


def _found(assignment: SuspectAssignment) -> SuspectsFound:
    images = load(Path(assignment.dataset))
    count = len(images.labels)
    if assignment.relations is None:
        units = np.arange(count, dtype=np.int32)
    else:
        units = load_relations(Path(assignment.relations)).units()
    found = find_suspects(images, units, assignment.seed)
    names = None if assignment.names is None else Path(assignment.names).read_text(encoding="utf-8").split("\n")[:-1]
    file = Path(assignment.scratch) / StoredSuspects.file_name
    file.write_bytes(stored(found, images, names if names is not None and len(names) == count else None).to_bytes())
    return SuspectsFound(str(file))


def stored(found: Found, images: ImageSet, names: list[str] | None) -> StoredSuspects:
    """What is kept of a search: the suspects, the surest first."""
    labels, judged = images.labels, found.judged
    can_tell = learned_enough(found.said, labels)
    split_of = {row: split for split, rows in images.splits.items() for row in rows.tolist()}
    surest_first = np.argsort(-judged.log_odds, kind="stable")
    shown = surest_first[judged.wrong[surest_first] > LIKELY_WRONG][:MAX_SUSPECTS] if can_tell else surest_first[:0]
    return StoredSuspects(
        images=len(labels),
        agreement=float((found.said.argmax(axis=1) == labels).mean()),
        wrong=estimated(judged, found.said, labels) if can_tell else None,
        suspects=tuple(
            Suspect(
                index=row,
                split=split_of[row],
                member=None if names is None else names[row],
                label=int(labels[row]),
                suggested=int(judged.suggested[row]),
                probability=round(float(judged.wrong[row]), 4),
            )
            for row in shown.tolist()
        ),
        networks=found.networks,
        trained_on=found.trained_on,
        seen_as=seen_as(images),
    )
