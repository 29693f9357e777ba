"""Prometheus metrics of one worker, served on `HELDOUT_METRICS_PORT` if it is set."""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server

from models.disk_metrics import DiskMetrics

RUNNING = Gauge("heldout_worker_running_jobs", "Attempts running in this worker now.")
SLOTS = Gauge("heldout_worker_slots", "Attempts that this worker can run at the same time.")
WAIT = Histogram(
    "heldout_job_wait_seconds",
    "Time between queueing a job and claiming it.",
    buckets=(0.1, 0.5, 1, 5, 30, 60, 300, 1800, 7200, 43200),
)
FIRST_STEP = Histogram(
    "heldout_first_step_seconds", "Time from a claim to the first gradient step.", buckets=(0.25, 0.5, 1, 2, 5, 10, 30)
)
EPOCHS = Counter("heldout_epochs", "Complete epochs trained and measured.")
SETTLED = Counter("heldout_attempts", "Attempts by the state in which they left the job.", ["status"])
FAILURES = Counter("heldout_failures", "Failed attempts by code.", ["code"])


def serve(port: int | None, slots: int, disks: DiskMetrics) -> None:
    """Start answering scrapes, if a port is set."""
    SLOTS.set(slots)
    if port is not None:
        REGISTRY.register(disks)
        start_http_server(port)
