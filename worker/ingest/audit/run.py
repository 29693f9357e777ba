"""The whole audit: which checks run, in which order, and how their findings are combined."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.columns import Columns
from analysis.arrays.dataset import SPLITS
from analysis.arrays.relations import LabelPairs, count_label_pairs, find_twin_labels
from heldout.diagnosis.copy_labels import is_disproved_by_copies
from heldout.fixes.changes import PixelChange, PixelValues
from heldout.stored.audit import AuditFinding
from heldout.stored.evaluation import SplitName
from heldout.words import rough_percent
from worker.ingest.audit.columns import find_leaking_columns
from worker.ingest.audit.copies import Copies, build_relations, find_copies
from worker.ingest.audit.counts import compute_statistics, count_findings, count_per_class, find_value_faults
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.duplicates import list_copy_findings
from worker.ingest.audit.samples import find_label_order
from worker.ingest.audit.scan import SAMPLED_SIDE, Scan, scan
from worker.ingest.audit.shift import find_shift
from worker.ingest.images.pixels import ChangedPixels
from worker.ingest.pool import ProcessPool

SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True)
class Audit:
    """The fields of a `StoredAudit` that are computed from the images. splits: their counts. findings: worst first."""

    splits: dict[str, dict[str, Any]]
    statistics: dict[str, Any]
    findings: list[AuditFinding]
    checks: dict[str, Any]


@dataclass(frozen=True)
class SplitsCompared:
    """What a comparison of the splits found: another kind of images, or another order of labels.

    checks: its figures.
    """

    findings: list[AuditFinding]
    checks: dict[str, Any]

    @property
    def undone_by(self) -> dict[SplitName, PixelChange]:
        """The changes that surely undo the pixels of splits."""
        found: dict[str, Any] = {}
        for finding in self.findings:
            found |= finding.numbers.get("undone_by", {})
        return PixelValues.model_validate(found).group_by_split()


def compare_splits(dataset: IngestedDataset, pool: ProcessPool) -> SplitsCompared:
    """Compare held-out splits with training; the answer is the same each time."""
    light = replace(dataset, names=())  # names would take long to send to other processes
    findings, checks = list[AuditFinding](), dict[str, Any]()
    for found, of_part in pool.map(_compare, [("shift", light), ("label_order", light)], names=lambda task: [task[0]]):
        findings += [dataset.named(finding) for finding in found]
        checks |= of_part
    return SplitsCompared(findings, checks)


def look_again(
    dataset: IngestedDataset, changes: Mapping[SplitName, PixelChange], copies: Copies, pool: ProcessPool
) -> Copies:
    """Add the copies that show once the pixels of some splits are undone, such as those of inverted images.

    Args:
        changes: by split, what undoes its pixels.
        copies: of the images as they are.
    """
    if not changes:
        return copies
    change_of = np.full(len(dataset.labels), -1, np.int8)
    for place, split in enumerate(changes):
        change_of[dataset.splits[split]] = place
    pixels = ChangedPixels.beside(dataset.pixels, change_of, tuple(changes.values()), dataset.value_range)
    undone = replace(dataset, pixels=pixels)
    found = find_copies(undone, scan(undone, pool), pool)
    # What is a copy of another image as it is stays one.
    exact = np.flatnonzero(copies.original != np.arange(len(copies.original)))
    known = np.concatenate([copies.near, np.stack([copies.original[exact], exact], axis=1)])
    how = np.concatenate([found.how, copies.how, np.zeros(len(exact), np.int8)])
    near = np.concatenate([found.near, np.sort(found.original[known], axis=1)])
    count = len(copies.original)
    _, first = np.unique(near[:, 0] * count + near[:, 1], return_index=True)
    first = first[near[first, 0] != near[first, 1]]
    is_bounded = copies.is_bounded or found.is_bounded
    return Copies(found.original, near[first], is_bounded, how[first], found.look_alikes, tuple(changes))


def audit(
    dataset: IngestedDataset,
    seen: Scan,
    copies: Copies,
    compared: SplitsCompared,
    columns: Columns = MappingProxyType({}),
) -> Audit:
    """Audit a dataset whose scan and copies are known, and whose splits were compared.

    Args:
        columns: further values of the images, by which they are not grouped.
    """
    pairs = count_pairs_of_copies(dataset, build_relations(copies, None).copy_of)
    of_splits = [finding for finding in compared.findings if not _is_disproved(finding, dataset, pairs)]
    is_renamed = any(finding.code == "label_order_mismatch" for finding in of_splits)
    findings = [
        *count_findings(dataset),
        *list_group_findings(dataset),
        *find_leaking_columns(dataset, columns),
        *find_value_faults(dataset, seen),
        # In another order, all labels of copies differ.
        *list_copy_findings(dataset, copies, () if is_renamed else sum(pairs.values(), ())),
        *of_splits,
    ]
    counts = count_per_class(dataset)
    unknown = [finding.numbers["split"] for finding in compared.findings if "quality" in finding.numbers]
    return Audit(
        splits={
            split: {"count": int(of_split.sum()), "per_class": of_split.tolist()}
            for split, of_split in zip(SPLITS, counts, strict=True)
        },
        statistics=compute_statistics(dataset, seen),
        findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
        checks={
            "statistics": {"sampled_side": SAMPLED_SIDE},
            "copies": {
                "images": len(dataset.labels),
                "bound_reached": copies.is_bounded,
                **({"undone": list(copies.undone)} if copies.undone else {}),
                **({"unknown": unknown} if unknown else {}),
            },
            **compared.checks,
        },
    )


def count_pairs_of_copies(dataset: IngestedDataset, copy_of: NDArray[np.int32]) -> dict[str, LabelPairs]:
    """Count the copies of training images in each held-out split by both labels."""
    train, found = dataset.splits["train"], dict[str, LabelPairs]()
    for split in ("validation", "test"):
        rows = dataset.splits[split]
        found[split] = count_label_pairs(
            dataset.labels[rows], find_twin_labels(copy_of, rows, train, dataset.labels[train])
        )
    return found


def _is_disproved(finding: AuditFinding, dataset: IngestedDataset, pairs: Mapping[str, LabelPairs]) -> bool:
    """Return whether copies across the splits disprove another order of labels, by agreeing as they are."""
    if finding.code != "label_order_mismatch":
        return False
    meant = finding.numbers["renamed"]
    renaming = [dataset.classes.index(meant.get(name, name)) for name in dataset.classes]
    return is_disproved_by_copies(pairs[finding.numbers["split"]], renaming)


def _compare(task: tuple[str, IngestedDataset]) -> tuple[list[AuditFinding], dict[str, Any]]:
    name, dataset = task
    if name == "shift":
        return find_shift(dataset)
    return find_label_order(dataset), {}


def list_group_findings(dataset: IngestedDataset) -> list[AuditFinding]:
    """Return a finding if a group has images in several splits."""
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
            what_to_do="Upload again and merge the splits, which keeps groups whole.",
            examples=dataset.examples(images),
        )
    ]
