"""Prometheus metrics of the disks that a process of the service writes to."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from models.blobs import Blobs


class DiskMetrics(Collector):
    """Looks at each scrape how much room the home has, and the blob store where it is a folder."""

    def __init__(self, home: Path, blobs: Blobs) -> None:
        self._folders = {"home": home, "blobs": blobs.get_local_folder("")}

    def describe(self) -> Iterator[Metric]:
        return iter(())  # so that registering does not look

    def collect(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("heldout_disk_free_bytes", "What may still be written.", labels=["folder"])
        size = GaugeMetricFamily("heldout_disk_size_bytes", "Of the disk that the folder is on.", labels=["folder"])
        for name, folder in self._folders.items():
            try:
                usage = None if folder is None else shutil.disk_usage(folder)
            except OSError:
                continue  # not made yet, or gone: absent, which alerts can see
            if usage is not None:
                free.add_metric([name], usage.free)
                size.add_metric([name], usage.total)
        yield free
        yield size
