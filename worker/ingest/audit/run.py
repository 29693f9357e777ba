"""The whole audit: which checks run, in which order, how their findings are combined, and what their codes mean."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.arrays.dataset import SPLITS
from heldout.stored.audit import AuditFinding
from heldout.words import rough_percent
from worker.ingest.audit.copies import Copies
from worker.ingest.audit.counts import compute_statistics, count_findings, count_per_class, find_value_faults
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.duplicates import list_copy_findings
from worker.ingest.audit.samples import find_label_order
from worker.ingest.audit.scan import SAMPLED_SIDE, Scan
from worker.ingest.audit.shift import find_shift
from worker.ingest.pool import ProcessPool

SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True)
class Audit:
    """The fields of a `StoredAudit` that are computed from the images. splits: their counts. findings: worst first."""

    splits: dict[str, dict[str, Any]]
    statistics: dict[str, Any]
    findings: list[AuditFinding]
    checks: dict[str, Any]


def audit(dataset: IngestedDataset, seen: Scan, copies: Copies, pool: ProcessPool) -> Audit:
    """Audit a dataset whose scan and copies are known. The answer is the same each time."""
    light = replace(dataset, names=())  # names would take long to send to other processes
    compared = pool.map(_compare, [("shift", light), ("label_order", light)], names=lambda task: [task[0]])
    findings = [
        *count_findings(dataset),
        *list_group_findings(dataset),
        *find_value_faults(dataset, seen),
        *list_copy_findings(dataset, copies),
    ]
    checks: dict[str, Any] = {
        "statistics": {"sampled_side": SAMPLED_SIDE},
        "copies": {"images": len(dataset.labels), "bound_reached": copies.is_bounded},
    }
    for found, of_part in compared:
        findings += [dataset.named(finding) for finding in found]
        checks |= of_part
    require_known(findings)
    counts = count_per_class(dataset)
    return Audit(
        splits={
            split: {"count": int(of_split.sum()), "per_class": of_split.tolist()}
            for split, of_split in zip(SPLITS, counts, strict=True)
        },
        statistics=compute_statistics(dataset, seen),
        findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
        checks=checks,
    )


def _compare(task: tuple[str, IngestedDataset]) -> tuple[list[AuditFinding], dict[str, Any]]:
    name, dataset = task
    if name == "shift":
        return find_shift(dataset)
    return find_label_order(dataset), {}


FINDINGS = {
    "leakage": "Images of one split also appear in another.",
    "label_conflicts": "Copies of one image have different labels.",
    "look_alikes": "Images with different labels look alike, and a person has to say whether they differ.",
    "duplicates": "Images occur more than once in a split.",
    "group_across_splits": "A group of the group rule has images in several splits of the upload.",
    "class_missing": "A class has no images in a split.",
    "class_imbalance": "Some classes have many more training images than others.",
    "class_shift": "Classes are not equally frequent in all splits.",
    "test_too_small": "The test split is too small to show small differences.",
    "scale_mismatch": "The pixel values of two splits are on different scales.",
    "inverted_values": "Light and dark are swapped between two splits.",
    "channel_order_mismatch": "The colour channels of two splits are in different orders.",
    "orientation_mismatch": "The images of two splits are turned or mirrored against each other.",
    "label_order_mismatch": "A split names the classes in another order than train does.",
    "split_shift": "The images of two splits are not of the same kind.",
    "blank_images": "Images have one colour throughout.",
    "narrow_range": "The images use a small part of their value range.",
    "grey_as_rgb": "All images have three channels that are equal.",
}


def require_known(findings: Iterable[AuditFinding]) -> None:
    """Raises ValueError if a finding has a code that is not in the list above."""
    for finding in findings:
        if finding.code not in FINDINGS:
            raise ValueError(
                f"{finding.code!r} is not the code of a finding. Add its meaning to worker/ingest/audit/run.py."
            )


def list_group_findings(dataset: IngestedDataset) -> list[AuditFinding]:
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
            what_to_do="Split the images again, keeping groups whole: `splits: {existing: merge}` (`--merge`).",
            examples=dataset.examples(images),
        )
    ]
