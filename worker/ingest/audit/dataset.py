"""The dataset that is audited, and how findings name and count its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.stored.audit import AuditExample, AuditFinding
from heldout.words import rough_percent
from worker.ingest.images.pixels import Pixels

MAX_EXAMPLES = 12  # examples of a finding


@dataclass(frozen=True)
class IngestedDataset:
    """Images on disk with everything that is known about them.

    labels, groups: (images,); names: (images,); splits: for each of SPLITS the positions of its images. different:
    (pairs, 2) positions of images that a user marked as different: they are not copies, whatever they look like.
    copies: (pairs, 2) positions of copies that features found in an earlier version.
    """

    pixels: Pixels
    labels: NDArray[np.int32]
    splits: Mapping[str, NDArray[np.int64]]
    classes: tuple[str, ...]
    names: Sequence[str]
    value_range: tuple[float, float]
    groups: NDArray[np.int64] | None = None
    different: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    copies: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))

    @cached_property
    def split_of(self) -> NDArray[np.int8]:
        """(images,) the position in SPLITS of each image's split."""
        found = np.zeros(len(self.labels), np.int8)
        for code, split in enumerate(SPLITS):
            found[self.splits[split]] = code
        return found

    def example(self, row: int) -> AuditExample:
        return AuditExample(
            split=SPLITS[self.split_of[row]], index=int(row), member=self.names[int(row)] if len(self.names) else ""
        )

    def examples(self, rows: NDArray[np.int64]) -> tuple[AuditExample, ...]:
        """Return the first few of `rows`."""
        return tuple(self.example(row) for row in rows[:MAX_EXAMPLES].tolist())

    def named(self, finding: AuditFinding) -> AuditFinding:
        """Add the names of images to a finding that was made without them."""
        named = tuple(self.example(example.index) for example in finding.examples)
        return finding.model_copy(update={"examples": named})


ADJECTIVES = {"train": "training", "validation": "validation", "test": "test"}


def describe_part(count: int, total: int, split: str | None = None) -> str:
    """Say `45 of 416 validation images (11%)`; without a split, of all splits together."""
    kind = f"{ADJECTIVES[split]} " if split else ""
    return f"{count:,} of {total:,} {kind}images ({rough_percent(count / total)})"
