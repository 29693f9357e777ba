"""Whether all images of a group are in one split: the upload's own splits may cut groups apart."""

import numpy as np

from analysis.arrays.dataset import SPLITS
from heldout.stored.audit import AuditFinding
from heldout.words import rough_percent
from worker.ingest.audit.dataset import IngestedDataset


def group_findings(dataset: IngestedDataset) -> list[AuditFinding]:
    """A finding if a group has images in several splits."""
    if dataset.groups is None:
        return []
    count = int(np.max(dataset.groups)) + 1
    per_split = np.stack([np.bincount(dataset.groups[dataset.splits[split]], minlength=count) for split in SPLITS])
    crossing = np.flatnonzero((per_split > 0).sum(axis=0) > 1)
    if not len(crossing):
        return []
    images = np.flatnonzero(np.isin(dataset.groups, crossing))
    return [
        AuditFinding(
            code="group_across_splits",
            severity="critical",
            numbers={
                "groups": count,
                "crossing": len(crossing),
                **{
                    f"{split}_images": int(of_split[crossing].sum())
                    for split, of_split in zip(SPLITS, per_split, strict=True)
                },
            },
            explanation=f"{len(crossing):,} of {count:,} groups ({rough_percent(len(crossing) / count)}) have images "
            "in several splits of the upload. A network that has seen a part of a group in training recognises the "
            "rest of it: results on held-out images look better than they are.",
            what_to_do="Have the splits cut anew, whole groups at a time: `splits: {existing: merge}` (`--merge`).",
            examples=dataset.examples(images),
        )
    ]
