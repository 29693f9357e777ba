"""A job's curves as the logs that Keras' `TensorBoard` callback writes: the same folders, tags and steps."""

import math
import re
from pathlib import Path

from heldout.integrations.event_file import Scalar, event_file
from heldout.integrations.keras_history import history_of
from heldout.views.job import JobView
from heldout.views.metrics import MetricsView


def folder_of(job: JobView) -> str:
    """`<name>-<id>`: what TensorBoard shows as the run. What a name may hold and a path should not becomes `_`."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', job.name).lstrip('.')[:80]}-{job.id}"


def logs_of(job: JobView, metrics: MetricsView) -> dict[str, bytes]:
    """The event files by the folder that each lies in, `train` and `validation`; none before the first epoch.

    Steps are epochs and count from 0, as Keras' do. Times are those of the training: its start, and what each epoch
    took.
    """
    if job.started_at is None:
        return {}
    history = history_of(metrics)
    begun = now = job.started_at.timestamp()
    scalars: dict[str, list[Scalar]] = {}
    for row, epoch in enumerate(metrics.epochs):
        now += (epoch.seconds or 0) + (epoch.evaluation_seconds or 0)
        for name, values in history.items():
            folder = "validation" if name.startswith("val_") else "train"
            value = values[row]
            point = Scalar(
                tag=f"epoch_{name.removeprefix('val_')}",
                step=epoch.epoch - 1,
                value=math.nan if value is None else value,
                wall_time=now,
            )
            scalars.setdefault(folder, []).append(point)
    return {folder: event_file(points, begun) for folder, points in scalars.items()}


def write_logs(logdir: Path, job: JobView, metrics: MetricsView) -> bool:
    """Write the job's logs below `logdir`; what is there already grows. Gives whether there was anything to write.

    Raises:
        OSError: if the files cannot be written.
    """
    logs = logs_of(job, metrics)
    for folder, content in logs.items():
        # One name for each job, so that a second call adds to the file and no curve is there twice.
        file = logdir / folder_of(job) / folder / f"events.out.tfevents.{job.id}"
        file.parent.mkdir(parents=True, exist_ok=True)
        _grow(file, content)
    return bool(logs)


def _grow(file: Path, content: bytes) -> None:
    """Append what is new, which a TensorBoard that has the file open will see. Where it differs, write it anew."""
    written = file.read_bytes() if file.exists() else b""
    if written and content.startswith(written):
        with file.open("ab") as opened:
            opened.write(content[len(written) :])
        return
    part = file.with_name(".part")
    part.write_bytes(content)
    part.replace(file)
