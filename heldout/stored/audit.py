"""Files about a dataset: `audit.json`, and `suspects.json` with probably wrong labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from heldout.stored.file import StoredFile, StoredPart

Severity = Literal["info", "warning", "critical"]


class SplitCounts(StoredPart):
    """Number of images in one split, and of each class in the order of `classes`."""

    count: int
    per_class: tuple[int, ...]


class AuditExample(StoredPart):
    """One image: its split, its row in `images.npy`, and its name in the upload."""

    split: str
    index: int
    member: str


class AuditFinding(StoredPart):
    """A finding of the audit. The content of `numbers` depends on the code."""

    code: str
    severity: Severity
    numbers: dict[str, Any]
    explanation: str
    what_to_do: str
    examples: tuple[AuditExample, ...] = ()
    pairs: tuple[tuple[AuditExample, AuditExample], ...] = ()


class StoredAudit(StoredFile):
    """The audit of one dataset.

    findings: the most serious first.
    statistics: statistics of the pixel values, by split.
    checks: what was compared, and how much of it.
    source: the upload's format, image encodings, and how the splits were made.
    """

    file_name: ClassVar[str] = "audit.json"

    object: Literal["audit"] = "audit"
    sha256: str
    splits: dict[str, SplitCounts]
    statistics: dict[str, Any]
    findings: tuple[AuditFinding, ...]
    checks: dict[str, Any]
    source: dict[str, Any]


@dataclass(frozen=True)
class IngestedContent:
    """The result of an ingest, for the columns of the dataset.

    size_bytes: of the four files of the internal format. shape: (height, width, channels). value_range: the pixel
    values that the source can hold.
    splits: for train, validation and test `count`, `per_class` in the order of `classes`, and `sha256` of its images
    and labels.
    different: pairs of images marked as different in the previous version.
    """

    sha256: str
    size_bytes: int
    shape: tuple[int, int, int]
    dtype: str
    value_range: tuple[float, float]
    classes: tuple[str, ...]
    splits: dict[str, Any]
    different: tuple[tuple[int, int], ...] = ()


def preview_key(dataset_id: str, class_number: int) -> str:
    """The key of the contact sheet of one class of an uploaded dataset."""
    return f"datasets/{dataset_id}/preview/{class_number}.png"


def audit_key(dataset_id: str) -> str:
    """The key of the audit of an uploaded dataset."""
    return f"datasets/{dataset_id}/{StoredAudit.file_name}"


# "can_tell": in trials, the search was right. "too_hard": its networks learn these images too poorly to judge.
Verdict = Literal["can_tell", "too_hard"]
# Limit for the names of all suspects, which may have a kilobyte each: audits and diagnoses read the file too.
MAX_CHARACTERS = 1_000_000


class Suspect(StoredPart):
    """One image. label, suggested: positions in the dataset's classes.

    probability: probability of a wrong label, measured with planted labels; null if the search cannot tell.
    member: its name in the upload; null if the dataset has none.
    """

    index: int
    split: str
    member: str | None
    label: int
    suggested: int
    probability: float | None


class WrongLabels(StoredPart):
    """How many labels are probably wrong: the best estimate, and a range that should be right for 95% of datasets."""

    count: int
    low: int
    high: int


class SplitLabels(WrongLabels):
    """How many labels of one split are probably wrong. images: number of its images."""

    images: int


class PlantedLabels(StoredPart):
    """How well the search finds wrong labels that it planted itself in copies of the labels."""

    planted: int = Field(description="Number of planted wrong labels.")
    found: float = Field(description="Share of them that the search suspected.")
    right_class: float = Field(description="Share of them for which it suggested the original label.")
    accused: float = Field(description="Share of the unchanged labels that it suspected in the same copies.")


class ClassLabels(StoredPart):
    """How well the search knows one class. label: its position. agreement, found: as for all images."""

    label: int
    images: int
    agreement: float
    found: float


class SuspectsSummary(StoredFile):
    """The results of the search for wrong labels without the suspects: what audits and diagnoses need of a large file.

    images: number of images searched: all of the dataset.
    agreement: share of the images whose label agrees with networks that were not trained on them.
    verdict: whether the search can tell; null in files of earlier releases, which did not check themselves.
    wrong: null if the search cannot tell.
    splits: the same for each split; empty if the search cannot tell, and in files of earlier releases.
    """

    file_name: ClassVar[str] = "suspects.json"

    images: int
    agreement: float
    verdict: Verdict | None = None
    wrong: WrongLabels | None
    splits: Mapping[str, SplitLabels] = {}

    @classmethod
    def compact(cls, part: dict[str, Any]) -> dict[str, Any]:
        return {} if "suggested" in part else part

    @property
    def can_tell(self) -> bool:
        """Whether counts and probabilities may be shown; false if the search never checked itself.

        If most labels of a split are wrong, networks learn them too, and the counts of all splits are wrong.
        """
        return self.verdict == "can_tell" and self.wrong is not None and self.disagreeing_split is None

    @property
    def disagreeing_split(self) -> str | None:
        """A split in which clearly more than half of the labels are wrong, as if its classes were in another order."""
        return next((split for split, found in self.splits.items() if 2 * found.low > found.images), None)


class StoredSuspects(SuspectsSummary):
    """Everything that the search for wrong labels found.

    suspects: a limited number, the most certain first. These are images whose label is more likely wrong than right,
        and the most unusual others; only unusual ones if the search cannot tell.
    planted, classes: the evidence for the verdict; null and empty in files of earlier releases.
    networks, trained_on: number of networks trained, and the largest number of images for one of them.
    seen_as: height and width of the images given to them.
    """

    suspects: tuple[Suspect, ...]
    planted: PlantedLabels | None = None
    classes: tuple[ClassLabels, ...] = ()
    networks: int
    trained_on: int
    seen_as: tuple[int, int]

    @classmethod
    def compact(cls, part: dict[str, Any]) -> dict[str, Any]:
        return part


def make_suspects_key(dataset_id: str) -> str:
    """The key of the suspected labels of a dataset."""
    return f"datasets/{dataset_id}/{StoredSuspects.file_name}"
