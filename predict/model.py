"""A job's model as it is served: its network, and what is known of the dataset whose images it takes."""

import json
import time
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.errors import HeldoutError, WrongRange
from heldout.spec.dataset import DatasetSpec, ResizeSpec
from heldout.spec.layers import plan_network
from heldout.stored.artifacts import ArtifactName
from models.blobs import Blobs
from models.database import Session
from models.specs import read_training_spec
from models.store import jobs, metrics
from models.stored_files import find_json_artifact, read_gap, read_unless_lost
from predict.held_out import HeldOutImages
from predict.runtime import OnnxNetwork
from predict.work import Pieces

MAX_IMAGES = 1024
# Of one request: the outputs of a network's two largest layers, which are there at once.
MAX_ACTIVATION_BYTES = 512 * 1024**2
MAX_PIXEL_BYTES = 128 * 1024**2
FLOAT_BYTES = 4
# What takes less is answered at once, for less than handing it to a thread takes.
SHORT_S = 0.002
# What the network computes at once takes about so long and so much memory, or is one image.
PIECE_S = 0.05
MAX_PIECE_BYTES = 64 * 1024**2
# So much of images is compared with test images at once.
MAX_DIGESTED_BYTES = 8 * 1024**2
TEST = SPLITS[2]


@dataclass(frozen=True)
class ServedFacts:
    """What the database knows of a job's model and of its dataset.

    owner: of the job; nobody else is answered. dtype: of the dataset's stored pixels, `uint8` or `float32`. resize: how
    its images got their size. any_grey: whether its owner had colours turned into grey. epoch: of the kept weights.
    values_per_image: of the two largest layers; None where these are not known. temperature: fitted on validation;
    None where there is none.
    temperature_lost: why it cannot be read any more.
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
    """Raises JobNotFound, StorageUnavailable, FileOfLaterRelease."""
    job, dataset = jobs.find_with_dataset(session, owner, job_id)
    spec = DatasetSpec(name="bundled") if dataset.spec is None else DatasetSpec.model_validate(dataset.spec)
    final = metrics.get_final(session, job_id)
    left_out: list[HeldoutError] = []
    gap = read_unless_lost(left_out, lambda: read_gap(blobs, find_json_artifact(session, job_id, ArtifactName.GAP)))
    values = None
    try:
        height, width, channels = dataset.shape or (0, 0, 0)
        plan = plan_network(read_training_spec(job).network, (height, width, channels), len(dataset.classes or ()))
        values = sum(sorted(int(np.prod(layer.shape)) for layer in plan.layers)[-2:])
    except HeldoutError:
        pass  # a network of another release answers too
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
    """One model in memory. What the file says of itself counts: classes, shape and range."""

    def __init__(self, network: OnnxNetwork, facts: ServedFacts, file_bytes: int, held_out: HeldOutImages) -> None:
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
        # The file's own bytes, the weights that the runtime unpacks, and its buffers.
        self._network_bytes = 3 * file_bytes + 8 * 1024**2
        # Seconds that an image has lately taken; long until it is known.
        self._pace_s = float("inf")

    @property
    def size_bytes(self) -> int:
        """About what it takes of memory."""
        return self._network_bytes + self.held_out.size_bytes

    @cached_property
    def max_images(self) -> int:
        """How many images one request may have."""
        pixels = FLOAT_BYTES * int(np.prod(self.shape))
        allowed = min(MAX_IMAGES, MAX_PIXEL_BYTES // pixels)
        if self.facts.values_per_image:
            allowed = min(allowed, MAX_ACTIVATION_BYTES // (FLOAT_BYTES * self.facts.values_per_image))
        return max(1, allowed)

    @property
    def _image_bytes(self) -> int:
        """About how much memory the network takes for an image: its pixels, and the two largest layers."""
        pixels = prod(self.shape)
        return FLOAT_BYTES * (pixels + (self.facts.values_per_image or 4 * pixels))

    def answer_bytes(self, images: int) -> int:
        """About how much memory it takes to answer so many images: their pixels twice, and the network's piece."""
        in_a_piece = min(images * self._image_bytes, max(MAX_PIECE_BYTES, self._image_bytes))
        return 2 * FLOAT_BYTES * images * prod(self.shape) + in_a_piece

    def is_short(self, images: int) -> bool:
        """Whether so many are answered sooner than a thread has begun."""
        return self.held_out.is_counted and images * self._pace_s <= SHORT_S

    def answer(self, stored: NDArray[Any], pixels: NDArray[Any]) -> Pieces[NDArray[np.float32]]:
        """The probabilities, of some images after others; test images are counted before anyone hears of them.

        Args:
            stored: the images as the dataset would store them.
        Raises:
            WrongRange: values are so large that the network overflows.
        """
        found: list[NDArray[np.float32]] = []
        first = 0
        while first < len(pixels):
            began = time.perf_counter()
            some = pixels[first : first + self._count_images_a_piece()]
            found.append(self.network.probabilities(some.astype(np.float32, copy=False)))
            seconds = (time.perf_counter() - began) / len(some)
            self._pace_s = seconds if self._pace_s == float("inf") else 0.9 * self._pace_s + 0.1 * seconds
            is_finite = np.isfinite(found[-1]).all(axis=1)
            if not is_finite.all():
                low, high = self.range
                raise WrongRange(
                    first + int(np.argmin(is_finite)),
                    None,
                    "The network's answer to its values is not a number. The dataset's pixels go from "
                    f"{low:g} to {high:g}; scale the image as the uploaded ones were.",
                )
            first += len(some)
            yield
        images = max(1, MAX_DIGESTED_BYTES // (stored.itemsize * prod(self.shape)))
        for first in range(0, len(stored), images):
            self.held_out.count(stored[first : first + images])
            yield
        return np.concatenate(found)

    def _count_images_a_piece(self) -> int:
        """How many images the network computes at once, so that it takes neither long nor much memory."""
        return max(1, min(MAX_PIECE_BYTES // self._image_bytes, int(PIECE_S / self._pace_s)))
