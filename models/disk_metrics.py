"""Prometheus metrics of the disks that the process writes to."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from models.blobs import Blobs


class DiskMetrics(Collector):
    """Measures, at each scrape, the free space of the home, and of the blob store if it is a folder."""

    def __init__(self, home: Path, blobs: Blobs) -> None:
        self._folders = {"home": home, "blobs": blobs.get_local_folder("")}

    def describe(self) -> Iterator[Metric]:
        return iter(())  # otherwise a worker would measure when it registers this, as its registry asks

    def collect(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("heldout_disk_free_bytes", "Free space on the disk of the folder.", labels=["folder"])
        size = GaugeMetricFamily("heldout_disk_size_bytes", "Size of the disk of the folder.", labels=["folder"])
        for name, folder in self._folders.items():
            try:
                usage = None if folder is None else shutil.disk_usage(folder)
            except OSError:
                continue  # a missing folder has no value, which alerts can detect
            if usage is not None:
                free.add_metric([name], usage.free)
                size.add_metric([name], usage.total)
        yield free
        yield size
