"""What a key may do, how much of the service its owner may use, and paths that several parts use."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from heldout.lifecycle.resources import CodeWithMeaning

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
# The scopes that a route can require; `any` accepts every key.
NeededScope = Scope | Literal["any"]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def get_method_scope(method: str) -> Scope:
    """Return the scope that a request needs unless its route says otherwise."""
    return "read" if method in SAFE_METHODS else "write"


class Quota(CodeWithMeaning):
    """A quota; its meaning is what it counts."""

    QUEUED_JOBS = "queued_jobs", "queued jobs"
    RUNNING_JOBS = "running_jobs", "jobs running at once; others wait"
    SLOT_SECONDS = "slot_seconds", "slot-seconds of jobs per day (UTC)"
    DATASETS = "datasets", "dataset versions"
    STUDIES = "studies", "studies"
    SPEC_BYTES = "spec_bytes", "bytes of specs and study plans above 4 KiB"
    STORED_BYTES = "stored_bytes", "bytes of unpacked datasets, files derived from them, and models"
    KEYS = "keys", "valid API keys"
    WEBHOOKS = "webhooks", "webhooks"
    UPLOADS = "uploads", "concurrent uploads"
    STREAMS = "streams", "concurrent event streams"


# Most specs have a third of this; only larger ones are counted.
UNCOUNTED_SPEC_BYTES = 4096


def count_bytes(*contents: str) -> int | None:
    """How much specs or plans count toward `SPEC_BYTES`: all of their bytes as JSON, or None if too few to count."""
    size = sum(len(content.encode()) for content in contents)
    return size if size > UNCOUNTED_SPEC_BYTES else None


# None means no limit.
Bounds = Mapping[Quota, int | None]
NO_BOUNDS: Bounds = {}


def get_bound(quota: Quota, defaults: Bounds, own: Mapping[str, Any] | None) -> int | None:
    """Return the limit of an owner: its own if it has one (which may be None), otherwise the service's."""
    bound: int | None = (own or {}).get(quota, defaults.get(quota))
    return bound


def get_model_route(source_id: str) -> str:
    """Return the path of a job's model or a study's ensemble."""
    return f"/v1/{'studies' if source_id.startswith('std_') else 'jobs'}/{source_id}/model"
