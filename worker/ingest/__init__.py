"""The ingest: an upload is read within limits, decoded, split and audited. Imports no TensorFlow."""

from worker.ingest.limits import Limits
from worker.ingest.pipeline import run
from worker.ingest.rejection import Rejection
from worker.ingest.report import Report

__all__ = ["Limits", "Rejection", "Report", "run"]
