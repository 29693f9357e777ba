"""What can be known about a dataset before anything is trained on it."""

from worker.ingest.audit.subject import Subject
from worker.ingest.audit.whole import Audit, audit

__all__ = ["Audit", "Subject", "audit"]
