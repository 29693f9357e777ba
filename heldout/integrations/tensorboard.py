"""A job's curves as the logs that Keras' `TensorBoard` callback writes: the same folders, tags and steps.

The event files are written without TensorFlow, as `tf.summary.scalar` records scalars.

Source: `tensorflow/core/lib/io/record_writer.h`.
"""

import math
import re
import struct
from pathlib import Path

from heldout.integrations import event_format
from heldout.integrations.keras_history import build_keras_history
from heldout.views.job import JobView
from heldout.views.results import MetricsView


def make_folder_name(job: JobView) -> str:
    """Make `<name>-<id>`, which TensorBoard shows as the run. Characters unsuitable for paths become `_`."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', job.name).lstrip('.')[:80]}-{job.id}"


def build_logs(job: JobView, metrics: MetricsView) -> dict[str, bytes]:
    """Build the event files by folder (`train`, `validation`); none before the first epoch. More epochs only add bytes.

    Steps are epochs and count from 0, as in Keras. Times are those of the training: its start plus the duration of each
    epoch.
    """
    if job.started_at is None:
        return {}
    history = build_keras_history(metrics)
    begun = now = job.started_at.timestamp()
    version = _encode_message(event_format.EVENT_FILE_VERSION, b"brain.Event:2")
    head = _encode_double(event_format.EVENT_WALL_TIME, begun) + version
    events: dict[str, list[bytes]] = {}
    for row, epoch in enumerate(metrics.epochs):
        now += (epoch.seconds or 0) + (epoch.evaluation_seconds or 0)
        for name, values in history.items():
            folder = "validation" if name.startswith("val_") else "train"
            tag, value = f"epoch_{name.removeprefix('val_')}", values[row]
            event = _encode_event(tag, epoch.epoch - 1, math.nan if value is None else value, now)
            events.setdefault(folder, [head]).append(event)
    return {folder: b"".join(map(_encode_record, of_folder)) for folder, of_folder in events.items()}


def write_logs(logdir: Path, job: JobView, metrics: MetricsView) -> bool:
    """Write the job's logs below `logdir`, extending existing ones. Returns whether there was anything to write.

    Raises:
        OSError: if the files cannot be written.
    """
    logs = build_logs(job, metrics)
    for folder, content in logs.items():
        # One file name per job, so a second call extends the file and no curve appears twice.
        file = logdir / make_folder_name(job) / folder / f"events.out.tfevents.{job.id}"
        file.parent.mkdir(parents=True, exist_ok=True)
        _grow(file, content)
    return bool(logs)


def _grow(file: Path, content: bytes) -> None:
    """Append what is new, which a running TensorBoard notices. If the existing content differs, rewrite the file."""
    written = file.read_bytes() if file.exists() else b""
    if written and content.startswith(written):
        with file.open("ab") as opened:
            opened.write(content[len(written) :])
        return
    part = file.with_name(".part")
    part.write_bytes(content)
    part.replace(file)


def _encode_event(tag: str, step: int, value: float, wall_time: float) -> bytes:
    """Encode one point of a curve. wall_time: in seconds since 1970."""
    plugin = _encode_message(event_format.METADATA_PLUGIN, _encode_message(event_format.PLUGIN_NAME, b"scalars"))
    tensor = (
        _encode_number(event_format.TENSOR_DTYPE, event_format.DT_FLOAT)
        + _encode_message(event_format.TENSOR_SHAPE, b"")
        + _encode_message(event_format.TENSOR_FLOATS, struct.pack("<f", value))
    )
    point = (
        _encode_message(event_format.VALUE_TAG, tag.encode())
        + _encode_message(event_format.VALUE_TENSOR, tensor)
        + _encode_message(event_format.VALUE_METADATA, plugin)
    )
    summary = _encode_message(event_format.EVENT_SUMMARY, _encode_message(event_format.SUMMARY_VALUE, point))
    return (
        _encode_double(event_format.EVENT_WALL_TIME, wall_time)
        + _encode_number(event_format.EVENT_STEP, step)
        + summary
    )


def _encode_record(data: bytes) -> bytes:
    """Encode a record: the length, its checksum, the data, its checksum."""
    length = struct.pack("<Q", len(data))
    checksums = [struct.pack("<I", event_format.compute_masked_crc32c(part)) for part in (length, data)]
    return length + checksums[0] + data + checksums[1]


# A field consists of its number, its wire type (0: varint, 1: eight bytes, 2: length and bytes), and its value.
def _encode_number(field: int, value: int) -> bytes:
    return _encode_varint(field << 3) + _encode_varint(value)


def _encode_double(field: int, value: float) -> bytes:
    return _encode_varint(field << 3 | 1) + struct.pack("<d", value)


def _encode_message(field: int, value: bytes) -> bytes:
    return _encode_varint(field << 3 | 2) + _encode_varint(len(value)) + value


def _encode_varint(value: int) -> bytes:
    """Encode seven bits per byte, the lowest first. value: 0 or more."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(written) + bytes([value])
