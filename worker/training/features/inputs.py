"""What the steps and the measurements of a training read: images, or the features that a frozen part gives of them."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache as cache_result
from math import prod
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import heldout
from analysis.arrays.dataset import ImageSet, load
from heldout.work.memory import FEATURE_BLOCK as BLOCK
from heldout.work.memory import FEATURE_BLOCKS, MAX_FEATURE_BYTES
from worker.messages import Assignment
from worker.training.augmentation.augment import draw_epoch_changes, make_augment
from worker.training.data.training_data import (
    BatchSource,
    MappedImageFile,
    ResidentData,
    StreamedData,
    TrainingData,
    make_source,
    take_images,
)
from worker.training.features.feature_cache import NotCached, compute_key, open_features
from worker.training.networks.frozen import FrozenSplit

_POOLED_AT_ONCE = 64


@dataclass(frozen=True)
class Input:
    """Rows of `data`, and what returns batches of them.

    frozen: what computes features of each batch; None if `source` returns what the trained network takes.
    copies: how many changed copies of the training images there are, one after the other; None if steps change them.
    """

    data: TrainingData
    source: BatchSource
    frozen: keras.Model | None = None
    copies: int | None = None


@dataclass(frozen=True)
class Inputs:
    """The input of the steps, and the input of measurements.

    features: what became of the features of a frozen part, in words.
    folder: where those that measurements read are kept; None if nowhere.
    """

    train: Input
    measured: Input
    features: str | None = None
    folder: Path | None = None


class ComputedFeatures(BatchSource):
    """Features that are computed for each batch of images."""

    def __init__(self, images: BatchSource, frozen: keras.Model) -> None:
        self._images = images
        self._frozen = frozen

    def pixels(self, rows: tf.Tensor) -> tf.Tensor:
        return self._images.pixels(rows)

    def expect(self, rows: NDArray[np.int32], batch_size: int) -> None:
        self._images.expect(rows, batch_size)

    def labels(self, rows: tf.Tensor) -> tf.Tensor:
        return self._images.labels(rows)

    def batch(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = self._images.batch(rows)
        return self._frozen(images, training=False), labels


class FeatureMaker:
    """Opens the features that a job needs, and computes those that are missing.

    Args:
        split: the job's network, divided at its frozen part.
        data, images: of the job.
        facts: what decides the last digits of features, besides the network and the images.
        watch: called while features are computed, or awaited; an exception that it raises stops this.
        in_use: keeps files of features while they are read.
    """

    def __init__(
        self,
        assignment: Assignment,
        split: FrozenSplit,
        data: TrainingData,
        images: BatchSource,
        *,
        devices: tuple[str, ...],
        facts: Mapping[str, Any],
        watch: Callable[[], object],
        in_use: ExitStack,
    ) -> None:
        self._assignment = assignment
        self._split = split
        self._folder: Path | None = None
        self._data = data
        self._images = images
        self._devices = devices
        self._facts = facts
        self._watch = watch
        self._in_use = in_use

    def make_inputs(self) -> Inputs:
        """Return what a training of the head reads: features from their file, or images if these cannot be kept."""
        spec = self._assignment.spec
        try:
            measured = self._open_unchanged()
        except NotCached as error:
            return Inputs(
                self._make_whole(),
                Input(self._data, ComputedFeatures(self._images, self._split.fixed)),
                f"computed in each step: {error}",
            )
        why, train = "", measured
        if spec.training.mixup or spec.training.cutmix:
            why = ", because images are mixed"
        elif spec.augmentation is not None and spec.augmentation.views is None:
            why = ", because augmentation has no `views`"
        elif spec.augmentation is not None:
            try:
                train = self._open_views()
            except NotCached as error:
                why = f": {error}"
        if why:
            train = self._make_whole()
        about = f"cached for measurements; steps compute them{why}" if why else "cached"
        return Inputs(train, measured, about, self._folder)

    def _make_whole(self) -> Input:
        return Input(self._data, self._images, self._split.fixed)

    def _open_unchanged(self) -> Input:
        """Return the features of the job's images as they are; the file has places for the whole dataset."""
        stored = load(self._assignment.dataset.folder)
        every = take_images(stored, {"all": np.arange(len(stored.labels))}, resident_bytes=0)
        source = StreamedData(every)
        needed = np.concatenate(list(self._data.source.values()))
        features = self._open({"images": "all"}, needed, len(stored.labels), lambda rows: source.batch(rows)[0])
        self._folder = Path(str(features.filename)).parent
        return self._make_input(features, self._data.source)

    def _open_views(self) -> Input:
        """Return the features of the fixed copies of the training images, one copy of all images after the other."""
        spec, data = self._assignment.spec, self._data
        assert spec.augmentation is not None
        assert spec.augmentation.views is not None
        assert spec.training.seed is not None
        views, seed, rows = spec.augmentation.views, spec.training.seed, data.rows["train"]
        in_order = np.arange(len(rows), dtype=np.int32)
        drawn = [draw_epoch_changes(spec.augmentation, data.image, seed, view + 1, in_order) for view in range(views)]
        changes = [tf.constant(np.concatenate(of_kind)) for of_kind in zip(*drawn, strict=True)]
        augment = make_augment(spec.augmentation, data, self._images)
        positions = tf.constant(rows)

        def read(places: tf.Tensor) -> tf.Tensor:
            images, _ = self._images.batch(tf.gather(positions, places % len(rows)))
            return augment(images, *(tf.gather(of_kind, places) for of_kind in changes))

        named = {
            "images": hashlib.sha256(np.ascontiguousarray(data.source["train"], "<i8").data).hexdigest(),
            "augmentation": spec.augmentation.model_dump(mode="json"),
            "seed": seed,
        }
        count = views * len(rows)
        features = self._open(named, np.arange(count), count, read)
        labels = np.tile(data.labels[rows], views)
        made = self._make_input(features, {"train": np.arange(count)}, labels)
        of_first = {"train": made.data.rows["train"][: len(rows)]}
        return replace(made, data=replace(made.data, rows=of_first), copies=views)

    def _open(
        self,
        named: Mapping[str, Any],
        needed: NDArray[Any],
        count: int,
        read: Callable[[tf.Tensor], tf.Tensor],
    ) -> "np.memmap[Any, Any]":
        """Return the features of `count` images; those in `needed` are complete."""
        cache, shape = self._assignment.features, self._split.shape
        if cache is None or not cache.cap_bytes:
            raise NotCached("this worker keeps none")
        if None in shape:
            raise NotCached("their size is not fixed")
        dataset = {
            "dataset": self._assignment.dataset.sha256,
            "count": count,
            "shape": self._data.image,
            "range": self._data.value_range,
        }
        facts = {"heldout": heldout.__version__, **self._facts}
        key = compute_key(self._split, cache.owner, dataset | dict(named), facts)
        parallel = min(max(1, self._assignment.machine.cores), FEATURE_BLOCKS)
        make_computing = cache_result(lambda: _make_computing(self._split.frozen, read, parallel))
        return open_features(
            cache,
            key,
            needed,
            (count, *shape),
            lambda rows: make_computing()(rows),
            at_once=2 * parallel,
            watch=self._watch,
            in_use=self._in_use,
        )

    def _make_input(
        self,
        features: "np.memmap[Any, Any]",
        source: Mapping[str, NDArray[np.int64]],
        labels: NDArray[np.int32] | None = None,
    ) -> Input:
        """Return features as the input of a head, pooled if it takes that: in memory, unless they are many."""
        stored, pool = load(self._assignment.dataset.folder), self._split.pool
        is_small = pool is not None and 4 * len(features) * prod(pool.output_shape[1:]) <= MAX_FEATURE_BYTES
        images = _compute_pooled(features, source, pool) if is_small else features
        known = ImageSet(images, stored.labels if labels is None else labels, {}, stored.classes, (0.0, 1.0))
        stays_mapped = images is features and not self._devices and features.nbytes <= MAX_FEATURE_BYTES
        data = take_images(known, source, 0 if stays_mapped else MAX_FEATURE_BYTES)
        data = replace(data, class_weights=self._data.class_weights, groups=self._data.groups)
        made = (
            ResidentData(replace(data, images=share_features(features)))
            if stays_mapped
            else make_source(data, self._devices)
        )
        if pool is not None and not is_small:
            made = ComputedFeatures(made, pool)
        return Input(replace(data, images=np.asarray(data.images[:0]).copy()), made)


def share_features(features: "np.memmap[Any, Any]") -> NDArray[Any]:
    """Return features as an array that TensorFlow does not copy. All jobs that read the file share its memory."""
    return np.asarray(np.memmap(str(features.filename), features.dtype, "c", features.offset, features.shape))


def _compute_pooled(
    features: "np.memmap[Any, Any]", source: Mapping[str, NDArray[np.int64]], pool: keras.Model
) -> NDArray[np.float32]:
    """Pool the features of the images in `source`; other rows are 0."""
    file, rows = MappedImageFile(features), np.unique(np.concatenate(list(source.values())))
    pooled = np.zeros((len(features), *pool.output_shape[1:]), np.float32)
    read = np.empty((_POOLED_AT_ONCE, *features.shape[1:]), np.float32)  # new memory for each part takes longer
    try:
        for begin in range(0, len(rows), _POOLED_AT_ONCE):
            part = rows[begin : begin + _POOLED_AT_ONCE]
            pooled[part] = pool(file.read(part, into=read[: len(part)]), training=False)
    finally:
        file.close()
    return pooled


def _make_computing(
    frozen: keras.Model, read: Callable[[tf.Tensor], tf.Tensor], parallel: int
) -> Callable[[NDArray[np.int32]], NDArray[np.float32]]:
    """Return what computes the features of whole blocks, several of them in parallel."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False)
    def compute(rows: tf.Tensor) -> tf.Tensor:
        blocks = tf.shape(rows)[0] // BLOCK
        shape = [BLOCK, *frozen.output_shape[1:]]

        def compute_block(block: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            part = tf.ensure_shape(rows[block * BLOCK : (block + 1) * BLOCK], [BLOCK])
            features = tf.cast(frozen(read(part), training=False), tf.float32)
            return block + 1, found.write(block, tf.ensure_shape(features, shape))

        found = tf.TensorArray(tf.float32, blocks, element_shape=shape)
        _, found = tf.while_loop(
            lambda block, _: block < blocks, compute_block, (0, found), parallel_iterations=parallel
        )
        return found.concat()

    return lambda rows: compute(tf.constant(rows)).numpy()
