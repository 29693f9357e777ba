"""Prometheus metrics of the processes for predictions: of all that share a socket together, whichever is asked."""

import os
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

# Names a folder where processes that share it write their numbers. prometheus_client looks for it when it is imported.
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

REQUESTS = Counter(
    "heldout_predict_requests", "Requests for predictions that were answered, by the kind of status.", ["status"]
)
IMAGES = Counter("heldout_predict_images", "Images that were answered.")
SECONDS = Histogram(
    "heldout_predict_seconds",
    "From the head of a request for predictions to its answer.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60),
)
MODELS = Gauge("heldout_predict_models", "Models in memory.", multiprocess_mode="livesum")
MODELS_BYTES = Gauge(
    "heldout_predict_models_bytes", "About what the models take of memory.", multiprocess_mode="livesum"
)
LOADS = Counter("heldout_predict_loads", "Models that were loaded into memory.")


def render_metrics() -> bytes:
    """What a scrape is answered."""
    if SHARED_FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_process(pid: int, folder: str) -> None:
    """Have a process that has ended count no more in what is there now; what it has done still counts."""
    mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
