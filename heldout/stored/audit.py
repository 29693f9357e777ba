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
    """Return the key of the contact sheet of one class of an uploaded dataset."""
    return f"datasets/{dataset_id}/preview/{class_number}.png"


def audit_key(dataset_id: str) -> str:
    """Return the key of the audit of an uploaded dataset."""
    return f"datasets/{dataset_id}/{StoredAudit.file_name}"


# "can_tell": in trials, the search was right. "too_hard": its networks learn these images too poorly to judge.
Verdict = Literal["can_tell", "too_hard"]
# Limit for the names of all suspects, which may have a kilobyte each: audits and diagnoses read the file too.
MAX_CHARACTERS = 1_000_000


# Agreement of networks with labels, in the fifth of the images of which they are surest. With less, they know little.
MIN_SUREST_AGREEMENT = 0.5
# Share of the same labels that they contradict: from the first on labels are wrong, up to the second images are hard.
MIN_CONTRADICTED, MAX_CONTRADICTED = 0.1, 0.05


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
    in_first: float | None = Field(
        None,
        description="How many of the first 20 labels of its list were planted, in a copy in which a tenth of all "
        "labels were: the mean of ten copies. Null for a search of an earlier release.",
    )


class ClassLabels(StoredPart):
    """How well the search knows one class.

    label: its position. agreement, found: as for all images.
    wrong: how many of its labels are probably wrong; null if the class is not known well enough to judge its labels.
    """

    label: int
    images: int
    agreement: float
    found: float
    wrong: float | None = None


class SuspectsSummary(StoredFile):
    """The results of the search for wrong labels without the suspects: what audits and diagnoses need of a large file.

    images: number of images judged: all of the dataset, except those of classes that the networks do not know.
    agreement: share of all images whose label agrees with networks that were not trained on them.
    surest_agreement: the same for the fifth of the images of which the networks are surest; null in files of earlier
        releases.
    verdict: whether the search can tell; null in files of earlier releases, which did not check themselves.
    wrong: null if the search cannot tell.
    splits: the same for each split; empty if the search cannot tell, and in files of earlier releases.
    """

    file_name: ClassVar[str] = "suspects.json"

    images: int
    agreement: float
    surest_agreement: float | None = None
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
    def surest_say(self) -> Literal["wrong_labels", "hard_images"] | None:
        """What disagreement is about, by the answers of which networks are surest.

        A hard image makes networks unsure, a wrong label does not. None if the networks know too little, or if it is
        between the two.
        """
        if self.surest_agreement is None or self.surest_agreement < MIN_SUREST_AGREEMENT:
            return None
        if 1 - self.surest_agreement >= MIN_CONTRADICTED:
            return "wrong_labels"
        return "hard_images" if 1 - self.surest_agreement <= MAX_CONTRADICTED else None

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
    """Make the key of the suspected labels of a dataset."""
    return f"datasets/{dataset_id}/{StoredSuspects.file_name}"
