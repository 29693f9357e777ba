"""The metrics of disks are measured at each scrape."""

import os
import shutil

from prometheus_client import CollectorRegistry

from models.blobs import Blobs
from models.disk_metrics import DiskMetrics


def test_disks_are_measured_at_each_scrape_and_not_when_registered(tmp_path, monkeypatch):
    measured = []
    measure = shutil.disk_usage

    def note_and_measure(folder):
        measured.append(folder)
        return measure(folder)

    monkeypatch.setattr(shutil, "disk_usage", note_and_measure)
    registry = CollectorRegistry(auto_describe=True)  # like the registry of a worker
    registry.register(DiskMetrics(tmp_path / "missing", Blobs(f"file://{tmp_path}/blobs")))
    assert measured == []
    disk = os.statvfs(tmp_path)
    of_blobs = registry.get_sample_value("heldout_disk_size_bytes", {"folder": "blobs"})
    assert of_blobs == disk.f_blocks * disk.f_frsize
    assert registry.get_sample_value("heldout_disk_size_bytes", {"folder": "home"}) is None
