"""Prometheus metrics for predictions. Each process reports for all processes that share its socket."""

import os
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

# Names the folder where the processes write their numbers. prometheus_client reads this variable when imported.
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

REQUESTS = Counter(
    "heldout_predict_requests", "Answered requests for predictions, by the class of status code.", ["status"]
)
IMAGES = Counter("heldout_predict_images", "Images that were predicted.")
SECONDS = Histogram(
    "heldout_predict_seconds",
    "Time from the head of a request for predictions to its answer.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60),
)
MODELS = Gauge("heldout_predict_models", "Models in memory.", multiprocess_mode="livesum")
MODELS_BYTES = Gauge("heldout_predict_models_bytes", "Approximate memory of the models.", multiprocess_mode="livesum")
LOADS = Counter("heldout_predict_loads", "Models that were loaded into memory.")


def render_metrics() -> bytes:
    """Write the metrics in Prometheus' format."""
    if SHARED_FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
