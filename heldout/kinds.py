"""The kinds of background work, and what a job of each kind is asked to do.

`models/store/kinds.py` says what sets them apart in the database, `worker/supervision/runners.py` what runs them.
"""

from enum import StrEnum

from pydantic import Field

from heldout.datasets import DatasetSpec
from heldout.spec import JobSpec, Part


class JobKind(StrEnum):
    """What a job does."""

    TRAIN = "train"
    INGEST = "ingest"  # checks an upload and makes it a dataset


class IngestSpec(Part):
    """What a worker is told about an upload that it is to check. Clients never see it."""

    dataset: DatasetSpec
    upload: str = Field(description="Key of the uploaded file in the blob store.")
    max_runtime_s: float = Field(gt=0)


# What jobs of all kinds are asked to do: one type for each kind.
WorkSpec = JobSpec | IngestSpec
