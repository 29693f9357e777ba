"""A job's model in memory: its network, facts about its dataset, and which images are that dataset's test images."""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from analysis.arrays.npy_rows import NpyRows
from analysis.arrays.onnx_tensors import import_onnxruntime, iterate_tensors
from heldout.errors import DatasetDamaged, HeldoutError, WrongRange
from heldout.spec.dataset import DatasetSpec, ResizeSpec
from heldout.stored.gap import StoredGap
from models.blob_files import guard_reading, open_blob
from models.blobs import BlobMissing, Blobs
from models.database import Database, Session
from models.digests import FileDigest
from models.specs import make_plan, read_training_spec
from models.store import datasets, file_digests, jobs, label_reads, metrics
from models.stored_files import find_and_read, read_splits, read_unless_lost
from predict.work import Pieces

INPUT, OUTPUT = "pixels", "probabilities"  # the names in exported files


class OnnxNetwork:
    """A model that was exported to ONNX, ready to predict.

    properties: the file's own metadata, as texts.
    """

    def __init__(self, content: bytes, threads: int) -> None:
        """Load the file. Raises ValueError if it needs other files, and what onnxruntime raises if it is unreadable."""
        for _ in iterate_tensors(content):
            pass
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The arena would keep the memory of the largest batch until the model is dropped.
        options.enable_cpu_mem_arena = False
        # Threads that spin while they wait would occupy the cores of an idle machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.properties: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def compute_probabilities(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute (images, classes) probabilities for (images, height, width, channels) pixels, in one call."""
        answer: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: pixels})[0]
        return answer


MAX_IMAGES = 1024
# The limit for one request: the outputs of a network's two largest layers, which are in memory at once.
MAX_ACTIVATION_BYTES = 512 * 1024**2
MAX_PIXEL_BYTES = 128 * 1024**2
FLOAT_BYTES = 4
# Shorter requests are answered in the event loop, which is faster than passing them to a thread.
SHORT_S = 0.002
# The network computes pieces of about this time and memory, or else single images.
PIECE_S = 0.05
MAX_PIECE_BYTES = 64 * 1024**2
# How many bytes of images are compared with test images in one piece.
MAX_DIGESTED_BYTES = 8 * 1024**2
TEST = SPLITS[2]


@dataclass(frozen=True)
class ServedFacts:
    """What the database knows about a job's model and its dataset.

    owner: the job's owner, and the only one who may use the model. dtype: the type of the dataset's stored pixels,
    `uint8` or `float32`. resize: how its images were resized. any_grey: whether its owner had colours turned into grey.
    epoch: the epoch of the kept weights. values_per_image: the outputs of the two largest layers. None if unknown.
    temperature: fitted on validation images; None if not fitted. temperature_lost: why it can no longer be read.
    """

    job_id: str
    owner: str
    dataset: str
    dataset_sha256: str | None
    dtype: np.dtype[Any]
    resize: ResizeSpec | None
    any_grey: bool
    epoch: int
    values_per_image: int | None
    temperature: float | None
    temperature_lost: HeldoutError | None = None


def get_facts(session: Session, blobs: Blobs, owner: str, job_id: str) -> ServedFacts:
    """Read the facts about a job's model. Raises JobNotFound, StorageUnavailable, FileOfLaterRelease."""
    job, dataset = jobs.find_with_dataset(session, owner, job_id)
    spec = DatasetSpec(name="bundled") if dataset.spec is None else DatasetSpec.model_validate(dataset.spec)
    final = metrics.get_final(session, job_id)
    left_out: list[HeldoutError] = []
    gap = read_unless_lost(left_out, lambda: find_and_read(session, blobs, job_id, StoredGap))
    values = None
    try:
        plan = make_plan(dataset, read_training_spec(job), job.backbone)
        if plan is not None:
            inside = [] if plan.backbone is None else [plan.backbone.largest] * 2
            values = sum(sorted([*inside, *(int(np.prod(layer.shape)) for layer in plan.layers)])[-2:])
    except HeldoutError:
        pass  # a network of another release can predict too
    return ServedFacts(
        job_id=job_id,
        owner=owner,
        dataset=f"{dataset.name}@{dataset.version}",
        dataset_sha256=dataset.sha256,
        dtype=np.dtype(np.uint8 if dataset.dtype == "uint8" else np.float32),
        resize=spec.resize,
        any_grey=spec.colour == "grey",
        epoch=job.epoch if final is None else final.epoch,
        values_per_image=values,
        temperature=None if gap is None or gap.calibration is None else gap.calibration.temperature,
        temperature_lost=left_out[0] if left_out else None,
    )


class ServedModel:
    """One model in memory. Classes, shape and range come from the model file itself."""

    def __init__(self, network: OnnxNetwork, facts: ServedFacts, file_bytes: int, held_out: "HeldOutImages") -> None:
        self.network = network
        self.facts = facts
        self.held_out = held_out
        properties = network.properties
        self.classes: tuple[str, ...] = tuple(json.loads(properties["classes"]))
        height, width, channels = json.loads(properties["shape"])
        self.shape: tuple[int, int, int] = (height, width, channels)
        low, high = json.loads(properties["range"])
        self.range: tuple[float, float] = (float(low), float(high))
        self.weights_sha256 = properties["weights_sha256"]
        # The file, the weights that the runtime unpacks from it, and buffers.
        self._network_bytes = 3 * file_bytes + 8 * 1024**2
        # Recent seconds per image. Infinite until the first image was measured.
        self._seconds_per_image = float("inf")

    @property
    def size_bytes(self) -> int:
        """Approximate memory use."""
        return self._network_bytes + self.held_out.size_bytes

    @cached_property
    def max_images(self) -> int:
        """The maximum number of images in one request."""
        pixels = FLOAT_BYTES * int(np.prod(self.shape))
        allowed = min(MAX_IMAGES, MAX_PIXEL_BYTES // pixels)
        if self.facts.values_per_image:
            allowed = min(allowed, MAX_ACTIVATION_BYTES // (FLOAT_BYTES * self.facts.values_per_image))
        return max(1, allowed)

    @property
    def _image_bytes(self) -> int:
        """Approximate memory per image: its pixels, and the outputs of the two largest layers."""
        pixels = prod(self.shape)
        return FLOAT_BYTES * (pixels + (self.facts.values_per_image or 4 * pixels))

    def estimate_answer_bytes(self, images: int) -> int:
        """Estimate the memory for predicting this many images: their pixels twice, and one piece of work."""
        in_a_piece = min(images * self._image_bytes, max(MAX_PIECE_BYTES, self._image_bytes))
        return 2 * FLOAT_BYTES * images * prod(self.shape) + in_a_piece

    def is_short(self, images: int) -> bool:
        """Return whether predicting this many images takes less time than starting a thread."""
        return self.held_out.is_counted and images * self._seconds_per_image <= SHORT_S

    def answer(self, stored: NDArray[Any], pixels: NDArray[Any]) -> Pieces[NDArray[np.float32]]:
        """Compute the probabilities piece by piece. The ledger counts test images before the client gets an answer.

        Args:
            stored: the images as the dataset would store them.
        Raises:
            WrongRange: if values are so large that the network overflows.
        """
        found: list[NDArray[np.float32]] = []
        first = 0
        while first < len(pixels):
            began = time.perf_counter()
            images = max(1, min(MAX_PIECE_BYTES // self._image_bytes, int(PIECE_S / self._seconds_per_image)))
            some = pixels[first : first + images]
            found.append(self.network.compute_probabilities(some.astype(np.float32, copy=False)))
            seconds = (time.perf_counter() - began) / len(some)
            previous = self._seconds_per_image
            self._seconds_per_image = seconds if previous == float("inf") else 0.9 * previous + 0.1 * seconds
            is_finite = np.isfinite(found[-1]).all(axis=1)
            if not is_finite.all():
                low, high = self.range
                raise WrongRange(
                    first + int(np.argmin(is_finite)),
                    None,
                    "The network's answer to these pixels is not a number. The dataset's pixels are from "
                    f"{low:g} to {high:g}. Scale the image as the dataset's images were scaled.",
                )
            first += len(some)
            yield
        images = max(1, MAX_DIGESTED_BYTES // (stored.itemsize * prod(self.shape)))
        for first in range(0, len(stored), images):
            self.held_out.count(stored[first : first + images])
            yield
        return np.concatenate(found)


log = structlog.get_logger()

DIGEST_BYTES = 8
SET_BYTES = 96  # memory per digest in a set
BUFFER_BYTES = 4 * 1024**2


class HeldOutImages:
    """The test images of one job's dataset, as digests.

    They are read at the first request, unless the ledger already counts a look at test for these weights. A deleted
    dataset has no test images any more, even if another version has the same ones.
    """

    def __init__(self, database: Database, blobs: Blobs, job_id: str, epoch: int, dataset_sha256: str | None) -> None:
        """epoch: the epoch of the weights. dataset_sha256: None if the dataset was deleted."""
        self._database = database
        self._blobs = blobs
        self._job_id = job_id
        self._epoch = epoch
        self._sha256 = dataset_sha256
        self._reading: asyncio.Future[None] | None = None
        self._digests: frozenset[bytes] | None = None
        self.is_counted = dataset_sha256 is None

    @property
    def size_bytes(self) -> int:
        """Approximate memory use."""
        return SET_BYTES * len(self._digests or ())

    async def be_ready(self, run: Callable[[Callable[[], Generator[None]]], Awaitable[None]]) -> None:
        """Read the test images if needed, once for all waiting requests.

        Args:
            run: calls a function, and runs the returned pieces of work in a thread.
        Raises: StorageUnavailable, DatabaseUnavailable.
        """
        if self.is_counted or self._digests is not None:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(run(self._read))
        await asyncio.shield(self._reading)

    def count(self, pixels: NDArray[Any]) -> None:
        """Record in the ledger that the weights saw test images, if any of these is one.

        Args:
            pixels: (images, height, width, channels), in the dataset's own type.
        Raises: DatabaseUnavailable.
        """
        if self.is_counted:
            return
        assert self._digests is not None, "be_ready comes first"
        if any(_compute_digest(image) in self._digests for image in pixels):
            with self._database.write() as session:
                label_reads.add_for_job(session, self._job_id, "test", self._epoch)
            self.is_counted = True

    def _read(self) -> Generator[None]:
        key = f"datasets/{self._sha256}/images.npy"
        try:
            with self._database.read() as session:
                self.is_counted = label_reads.is_counted_for_job(session, self._job_id, "test", self._epoch)
                if self.is_counted:
                    return
                test = read_splits(session, self._blobs, self._sha256 or "")["test"]
                expected = file_digests.find(session, key)
            self._digests = yield from self._read_images(set(test.tolist()), key, expected)
        except (BlobMissing, DatasetDamaged):
            self._count_unless_deleted()

    def _read_images(
        self, rows: set[int], key: str, expected: FileDigest | None
    ) -> Generator[None, None, frozenset[bytes]]:
        found, first = set[bytes](), 0
        with guard_reading(key), open_blob(self._blobs, key, BUFFER_BYTES, expected) as file:
            images = NpyRows(file)
            for block in images.blocks(max(1, BUFFER_BYTES // images.row_bytes)):
                found |= {_compute_digest(image) for row, image in enumerate(block, first) if row in rows}
                first += len(block)
                yield
        return frozenset(found)

    def _count_unless_deleted(self) -> None:
        """Count one look at test, because the images may be test images and this can no longer be checked."""
        with self._database.read() as session:
            is_deleted = not datasets.has_content(session, self._sha256 or "")
        if not is_deleted:
            log.warning("test_images_unreadable", job_id=self._job_id)
            with self._database.write() as session:
                label_reads.add_for_job(session, self._job_id, "test", self._epoch)
            self.is_counted = True
        self._digests = frozenset()


def _compute_digest(image: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=DIGEST_BYTES).digest()
