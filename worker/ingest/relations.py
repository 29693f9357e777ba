"""Which images of a dataset belong together: clusters of copies, and the groups of its group rule."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import load, split_digests
from analysis.arrays.relations import FILE_NAME, Relations, save_relations
from heldout.lifecycle.resources import RejectionCode
from worker.ingest.audit import IngestedDataset
from worker.ingest.audit.copies import Copies, find_clusters, find_copies
from worker.ingest.audit.scan import scan
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import IngestLimits, Rejection, format_size
from worker.ingest.splits import find_groups


def build_relations(copies: Copies, groups: NDArray[np.int64] | None) -> Relations:
    """The clusters that copies form, and the groups.

    Two images are in one cluster if a chain of copies joins them, each a copy of the next. The two ends of a chain may
    differ by more than copies do, but once a whole cluster is left out, no copy of it remains.
    """
    cluster = find_clusters(copies.near, len(copies.original))
    _, first = np.unique(cluster, return_index=True)
    firsts = first[cluster].astype(np.int32)
    return Relations(firsts[copies.original], None if groups is None else groups.astype(np.int32))


def relate(
    content: Path,
    target: Path,
    limits: IngestLimits,
    *,
    names: Path | None = None,
    group_by: str | None = None,
    pool: ProcessPool | None = None,
) -> dict[str, str]:
    """Write the relations of a stored dataset into the folder `target`, and return the digest of each of its splits.

    Args:
        content: the folder of the dataset's files in the internal format.
        names: a file with the name that each image had in the upload, one per line.
        group_by: the upload's group rule. The dataset has no groups without both, or if they do not fit together.
    Raises:
        Rejection: if a process of the scan dies, or one needs more memory than it may use.
    """
    images = load(content)
    dataset = IngestedDataset(
        Pixels.of(content / "images.npy"), images.labels, images.splits, images.classes, (), images.value_range
    )
    try:
        with pool or ProcessPool(limits.processes) as pool:
            seen = scan(dataset, pool)
            copies = find_copies(dataset, seen, pool)
    except MemoryError:
        raise Rejection(
            RejectionCode.OUT_OF_MEMORY, f"To find copies takes more than {format_size(limits.memory_bytes)} of memory."
        ) from None
    save_relations(build_relations(copies, _read_groups(names, group_by, len(images.labels))), target / FILE_NAME)
    return split_digests(images)


def _read_groups(names: Path | None, group_by: str | None, count: int) -> NDArray[np.int64] | None:
    if names is None or group_by is None:
        return None
    of_images = names.read_text(encoding="utf-8").split("\n")[:-1]
    if len(of_images) != count:
        return None
    try:
        return find_groups(of_images, group_by)
    except Rejection:  # the names fitted at ingest; copies are worth storing even without groups
        return None
