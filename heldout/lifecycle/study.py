"""The states of a study."""

from enum import StrEnum


class StudyStatus(StrEnum):
    """What the row holds, and what clients see."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
