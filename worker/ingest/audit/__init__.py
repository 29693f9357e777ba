"""The audit: the checks of a dataset before anything is trained on it."""

from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.run import audit, compare_splits, look_again

__all__ = ["IngestedDataset", "audit", "compare_splits", "look_again"]
