"""`suspects.json`: images of a dataset whose label is probably wrong. The worker writes it; the API reads it."""

from typing import ClassVar

from heldout.stored.file import StoredFile, StoredPart


class Suspect(StoredPart):
    """One image. label, suggested: positions in the dataset's classes.

    probability: that its label is wrong, as far as the networks can tell.
    member: its name in the upload; null where the dataset has none.
    """

    index: int
    split: str
    member: str | None
    label: int
    suggested: int
    probability: float


class WrongLabels(StoredPart):
    """How many labels of the whole dataset are probably wrong: the best guess, and a range about it."""

    count: int
    low: int
    high: int


class StoredSuspects(StoredFile):
    """What the search for wrong labels found.

    images: how many were looked at: all of the dataset.
    agreement: share of the images to which the networks that were trained without them give their own label.
    wrong: null where the networks did not learn enough to tell.
    suspects: the surest first; those whose label is more likely wrong than right, at most a fixed number of them.
    networks, trained_on: how many networks were trained, and on how many images each of them at most.
    seen_as: height and width of the images that they were given.
    """

    file_name: ClassVar[str] = "suspects.json"

    images: int
    agreement: float
    wrong: WrongLabels | None
    suspects: tuple[Suspect, ...]
    networks: int
    trained_on: int
    seen_as: tuple[int, int]


def suspects_key(dataset_id: str) -> str:
    """Where the suspected labels of a dataset are stored."""
    return f"datasets/{dataset_id}/{StoredSuspects.file_name}"
