"""The audit: the checks of a dataset before anything is trained on it."""

from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.run import audit

__all__ = ["IngestedDataset", "audit"]
