"""What one owner may take of the service, at once or in a day."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Quota(StrEnum):
    """One bound; what its amounts count is said in `COUNTED`."""

    QUEUED_JOBS = "queued_jobs"
    RUNNING_JOBS = "running_jobs"
    SLOT_SECONDS = "slot_seconds"
    DATASETS = "datasets"
    STUDIES = "studies"
    SPEC_BYTES = "spec_bytes"
    STORED_BYTES = "stored_bytes"
    KEYS = "keys"
    WEBHOOKS = "webhooks"
    UPLOADS = "uploads"
    STREAMS = "streams"


COUNTED: Mapping[Quota, str] = {
    Quota.QUEUED_JOBS: "jobs that wait",
    Quota.RUNNING_JOBS: "jobs that run at once; others wait",
    Quota.SLOT_SECONDS: "slot-seconds of jobs in a day (UTC)",
    Quota.DATASETS: "versions of datasets",
    Quota.STUDIES: "studies that are kept",
    Quota.SPEC_BYTES: "bytes of specs and of plans of studies, where one has more than 4 KiB",
    Quota.STORED_BYTES: "bytes of datasets as they are unpacked, of what lies beside them, and of models",
    Quota.KEYS: "API keys that are valid",
    Quota.WEBHOOKS: "webhooks",
    Quota.UPLOADS: "uploads at once",
    Quota.STREAMS: "streams of events at once",
}

# Most specs have a third of this; only those that are larger are added up.
UNCOUNTED_SPEC_BYTES = 4096


def count_bytes(*contents: str) -> int | None:
    """What specs or plans count of `SPEC_BYTES`: all of their bytes as JSON; None where that is too little to count."""
    size = sum(len(content.encode()) for content in contents)
    return size if size > UNCOUNTED_SPEC_BYTES else None


# None where there is no bound.
Bounds = Mapping[Quota, int | None]
NO_BOUNDS: Bounds = {}


def get_bound(quota: Quota, defaults: Bounds, own: Mapping[str, Any] | None) -> int | None:
    """How much an owner may take: its own bound where it has one, also where that is none; else the service's."""
    bound: int | None = (own or {}).get(quota, defaults.get(quota))
    return bound
