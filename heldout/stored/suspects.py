"""`suspects.json`: images of a dataset whose label is probably wrong. The worker writes it; the API reads it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from heldout.stored.file import StoredFile, StoredPart

# "can_tell": what the search says was true in trials. "too_hard": its networks learn these images too badly to judge.
Verdict = Literal["can_tell", "too_hard"]
# Of the names of all suspects, which may have a kilobyte each: audits and diagnoses read the file too.
MAX_CHARACTERS = 1_000_000


class Suspect(StoredPart):
    """One image. label, suggested: positions in the dataset's classes.

    probability: that its label is wrong, as measured with planted labels; null where the search cannot tell.
    member: its name in the upload; null where the dataset has none.
    """

    index: int
    split: str
    member: str | None
    label: int
    suggested: int
    probability: float | None


class WrongLabels(StoredPart):
    """How many labels are probably wrong: the best guess, and a range that is meant to hold in 95% of all datasets."""

    count: int
    low: int
    high: int


class SplitLabels(WrongLabels):
    """The same of one split. images: how many it has."""

    images: int


class PlantedLabels(StoredPart):
    """What the search found of labels that it had changed itself, in copies of the labels.

    planted: how many were changed. found, right_class: shares of them that were suspected, and whose own label was
    suggested. accused: share of the labels left alone that were suspected in the same copies.
    """

    planted: int
    found: float
    right_class: float
    accused: float


class ClassLabels(StoredPart):
    """How well the search knows one class. label: its position. agreement, found: as of all images."""

    label: int
    images: int
    agreement: float
    found: float


class SuspectsSummary(StoredFile):
    """What the search for wrong labels found, without the suspects: what audits and diagnoses need of a large file.

    images: how many were looked at: all of the dataset.
    agreement: share of the images to which the networks that were trained without them give their own label.
    verdict: whether the search can tell; null in files of earlier releases, which did not check themselves.
    wrong: null where the search cannot tell.
    splits: the same of each split; empty where the search cannot tell, and in files of earlier releases.
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
        """Whether counts and probabilities may be shown. A search that never checked itself may not say any.

        Where most labels of a split are wrong, networks learn them too, and the counts of all splits are false.
        """
        return self.verdict == "can_tell" and self.wrong is not None and self.disagreeing_split is None

    @property
    def disagreeing_split(self) -> str | None:
        """A split of which surely more than half of the labels are wrong, as if its classes were in another order."""
        return next((split for split, found in self.splits.items() if 2 * found.low > found.images), None)


class StoredSuspects(SuspectsSummary):
    """All that the search for wrong labels found.

    suspects: the surest first, at most a fixed number of them: those whose label is more likely wrong than right and
        the oddest others, or just the oddest where the search cannot tell.
    planted, classes: what the verdict rests on; null and empty in files of earlier releases.
    networks, trained_on: how many networks were trained, and on how many images each of them at most.
    seen_as: height and width of the images that they were given.
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
    """Where the suspected labels of a dataset are stored."""
    return f"datasets/{dataset_id}/{StoredSuspects.file_name}"
