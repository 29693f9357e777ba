"""Features that the frozen part of a network gives, computed once and kept on this machine's disk.

The folder of some features has one file with a place for every row, and one with the digest of each complete block of
rows. A block is always computed as a whole, so its bits do not depend on the job that computes it. Each job compares
the blocks that it reads with their digests, and computes damaged ones again.
"""

import hashlib
import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from heldout.work.memory import FEATURE_BLOCK as BLOCK
from worker.machine.held_folders import (
    fill_alone,
    have_noted_digests,
    hold_folder,
    make_room,
    note_digests,
    remove_unless_used,
)
from worker.messages import AssignedFeatures
from worker.training.engine.checkpoint import describe_fault
from worker.training.networks.frozen import FrozenSplit

FEATURES_FILE, DIGESTS_FILE, BASE_PREFIX = "features.npy", "digests", "base-"
UNFINISHED, NOTE_SUFFIX = ".part", ".digest"
# A digest of zeros means that its block is missing.
DIGEST_BYTES = 16
# How much work may be lost with its process.
NOTE_EVERY_S = 5.0
# What does not change the answers of a network with given weights in inference mode.
_NOT_IN_USE = ("_initializer", "_regularizer", "_constraint", "seed", "trainable", "registered_name", "_object_id")


@dataclass(frozen=True)
class KeptBase:
    """The model file of everything before the features, next to them if there is room.

    config: of the backbone. Uploads whose layers only have other names share features, but not this file.
    """

    folder: Path
    cap_bytes: int
    config: Mapping[str, Any]

    def open(self, write: Callable[[Path], None], scratch: Path) -> Path:
        """Return the file. If it is missing or damaged, it is written into the folder `scratch` first."""
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()
        kept, made = (folder / f"{BASE_PREFIX}{digest[:16]}.keras" for folder in (self.folder, scratch))
        if have_noted_digests(kept.with_suffix(NOTE_SUFFIX)):
            return kept
        write(made)
        with suppress(OSError):
            self._keep(made, kept)
        return made

    def _keep(self, made: Path, kept: Path) -> None:
        # Left by processes that were killed. One that is still writing only fails to keep its file.
        for left in self.folder.glob(f"*{UNFINISHED}"):
            left.unlink(missing_ok=True)
        unfinished = kept.with_suffix(f".{secrets.token_hex(4)}{UNFINISHED}")
        features_bytes = (self.folder / FEATURES_FILE).stat().st_size
        try:
            if make_room(self.folder, features_bytes + made.stat().st_size, self.cap_bytes) <= self.cap_bytes:
                shutil.copyfile(made, unfinished)
                unfinished.replace(kept)
                note_digests(kept.with_suffix(NOTE_SUFFIX), [kept])
        finally:
            unfinished.unlink(missing_ok=True)
            if not kept.exists():
                make_room(self.folder, features_bytes, self.cap_bytes)  # it takes no more than before


class NotCached(Exception):
    """These features cannot be kept; the message says why."""


def compute_key(split: FrozenSplit, owner: str, images: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Compute the name of features: SHA-256 of everything that decides their bits, and of their owner.

    Args:
        split: its frozen part gives the features.
        images: which images the features are of, as JSON.
        facts: which release of what computes them, on which device.
    """
    digest = hashlib.sha256()
    description, weights = split.identify()
    digest.update(json.dumps([owner, images, facts, _describe(description, {})], sort_keys=True).encode())
    for weight in weights:
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()


def _describe(config: Any, names: dict[str, int]) -> Any:
    """Return a config without what is not in use, and with numbers for the names of layers, which Keras counts up."""
    if isinstance(config, list):
        return [_describe(item, names) for item in config]
    if isinstance(config, str):
        return names.get(config, config)
    if not isinstance(config, dict):
        return config
    for layer in config.get("layers", ()):
        names[layer["config"]["name"]] = len(names)
    return {key: _describe(value, names) for key, value in config.items() if not key.endswith(_NOT_IN_USE)}


def open_features(
    cache: AssignedFeatures,
    key: str,
    rows: NDArray[Any],
    shape: tuple[int, ...],
    compute: Callable[[NDArray[np.int32]], NDArray[np.float32]],
    *,
    at_once: int,
    watch: Callable[[], object],
    in_use: ExitStack,
) -> "np.memmap[Any, Any]":
    """Return the features of all rows, of which those in `rows` are complete; the missing ones are computed.

    Processes that need the same features wait for the first one. `in_use` keeps the file.

    Args:
        shape: (rows, *features).
        compute: returns (images, *features) of whole blocks of rows.
        at_once: how many blocks it computes in one call.
        watch: called between calls; an exception that it raises stops this, and complete blocks remain.
    Raises:
        NotCached: if there is no room for them.
    """
    folder = cache.folder / key
    try:
        lock = in_use.enter_context(hold_folder(folder))
        if not len(_list_missing(folder, rows, shape, watch)):
            return _map(folder)
        with fill_alone(folder, watch):
            try:
                _require_room(folder, shape, cache.cap_bytes)
                _fill(folder, shape, _list_missing(folder, rows, shape, watch), compute, at_once, watch)
            except (OSError, NotCached):
                remove_unless_used(folder, lock)
                raise
        return _map(folder)
    except OSError as error:
        raise NotCached(describe_fault(error)) from error


def _require_room(folder: Path, shape: tuple[int, ...], cap_bytes: int) -> None:
    size_bytes = 4 * math.prod(shape)
    if (folder / FEATURES_FILE).exists():
        return
    if size_bytes > cap_bytes or make_room(folder, size_bytes, cap_bytes) > cap_bytes:
        raise NotCached(f"they take {size_bytes:,} bytes, and HELDOUT_FEATURE_CACHE_BYTES leaves less")


def _fill(
    folder: Path,
    shape: tuple[int, ...],
    missing: NDArray[np.int32],
    compute: Callable[[NDArray[np.int32]], NDArray[np.float32]],
    at_once: int,
    watch: Callable[[], object],
) -> None:
    """Write missing blocks. The file is never mapped for this: on a full disk that would end the process."""
    digests, row_bytes, noted_at = _read_digests(folder, shape), 4 * math.prod(shape[1:]), monotonic()
    digests[missing] = 0
    file = os.open(folder / FEATURES_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        header = _make_header(shape)
        first = len(header)
        _write(file, memoryview(header), 0)
        os.ftruncate(file, first + row_bytes * shape[0])
        for begin in range(0, len(missing), at_once):
            watch()
            blocks = missing[begin : begin + at_once]
            rows = (blocks[:, None] * BLOCK + np.arange(BLOCK, dtype=np.int32)).ravel()
            # The last block has as many rows as the others, because the last digits depend on their number.
            features = compute(np.minimum(rows, shape[0] - 1)).reshape(len(blocks), BLOCK, -1)
            for block, values in zip(blocks.tolist(), features, strict=True):
                count = min(BLOCK, shape[0] - block * BLOCK)
                content = np.ascontiguousarray(values[:count], "<f4").data.cast("B")
                _write(file, content, first + row_bytes * block * BLOCK)
                digests[block] = _compute_digest(content)
            if monotonic() - noted_at > NOTE_EVERY_S:
                _write_digests(folder, file, digests)
                noted_at = monotonic()
    finally:
        try:
            _write_digests(folder, file, digests)
        finally:
            os.close(file)


def _write(file: int, content: memoryview, place: int) -> None:
    while content:
        count = os.pwrite(file, content, place)
        content, place = content[count:], place + count


def _make_header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _compute_digest(block: bytes | memoryview) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.sha256(block).digest()[:DIGEST_BYTES], np.uint8)


def _write_digests(folder: Path, file: int, digests: NDArray[np.uint8]) -> None:
    os.fdatasync(file)
    unfinished = folder / f"{DIGESTS_FILE}.tmp"
    unfinished.write_bytes(digests.tobytes())
    unfinished.replace(folder / DIGESTS_FILE)


def _read_digests(folder: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the digests, shape (blocks, DIGEST_BYTES)."""
    digests = np.zeros((-(-shape[0] // BLOCK), DIGEST_BYTES), np.uint8)
    with suppress(FileNotFoundError):
        content = (folder / DIGESTS_FILE).read_bytes()
        if len(content) == digests.size:
            digests = np.frombuffer(content, np.uint8).reshape(digests.shape).copy()
    return digests


def _list_missing(
    folder: Path, rows: NDArray[Any], shape: tuple[int, ...], watch: Callable[[], object]
) -> NDArray[np.int32]:
    """Return the blocks with some of these rows that are incomplete or damaged."""
    wanted = np.unique(np.asarray(rows) // BLOCK).astype(np.int32)
    digests, header = _read_digests(folder, shape), _make_header(shape)
    try:
        file = (folder / FEATURES_FILE).open("rb")
    except FileNotFoundError:
        return wanted
    block_bytes = 4 * BLOCK * math.prod(shape[1:])
    with file:
        if file.read(len(header)) != header:
            return wanted

        def is_whole(block: int) -> bool:
            if not digests[block].any():
                return False
            watch()
            file.seek(len(header) + block_bytes * block)
            return bool((_compute_digest(file.read(block_bytes)) == digests[block]).all())

        return wanted[[not is_whole(block) for block in wanted.tolist()]]


def _map(folder: Path) -> "np.memmap[Any, Any]":
    features: np.memmap[Any, Any] = np.load(folder / FEATURES_FILE, mmap_mode="r")
    return features
