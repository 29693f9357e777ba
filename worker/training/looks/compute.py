"""Computes the features of images with a pretrained network, in blocks that a later attempt need not compute again."""

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from math import prod

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import heldout
from analysis.arrays.dataset import ImageSet
from analysis.arrays.folds import choose_stratified
from heldout.work.memory import FEATURE_BLOCK as BLOCK
from heldout.work.memory import FEATURE_BLOCKS
from worker.messages import FeaturesAssignment
from worker.training.features.feature_cache import NotCached, open_features
from worker.training.model_files.keras_file import load_model

# More images would take more time and room than the answers are worth. Each class has its share.
MAX_IMAGES = 10_000
# Small images are enlarged to twice their sides, because the network halves its maps five times.
MIN_SIDE, MAX_SIDE, ENLARGED = 64, 128, 2


def choose_images(images: ImageSet, limit: int = MAX_IMAGES) -> NDArray[np.int64]:
    """Choose the images that get features, ascending: all of them, or a sample of each class and split."""
    rows = np.concatenate([images.splits[split] for split in images.splits])
    split_of = np.concatenate([np.full(len(images.splits[split]), n) for n, split in enumerate(images.splits)])
    strata = images.labels[rows] * len(images.splits) + split_of
    chosen: NDArray[np.int64] = np.sort(rows[choose_stratified(strata.astype(np.int32), limit)])
    return chosen


def choose_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width of the images for the network. They keep their shape, within limits."""
    longer = min(MAX_SIDE, max(MIN_SIDE, ENLARGED * max(height, width)))
    return tuple(max(MIN_SIDE // 2, round(longer * side / max(height, width))) for side in (height, width))  # type: ignore[return-value]


def compute_features(assignment: FeaturesAssignment, images: ImageSet, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (rows, features). Blocks that an earlier attempt on this machine completed are read, not computed."""
    model = load_model(assignment.model)
    pooled = keras.Model(model.input, keras.layers.GlobalAveragePooling2D()(model.output))
    size = choose_size(*images.shape[:2])
    shape = (len(rows), prod(pooled.output_shape[1:]))
    compute = make_compute(pooled, images, rows, size, assignment.threads)
    described = [assignment.cache.owner, assignment.dataset.sha256, assignment.model_sha256, size, len(rows)]
    key = hashlib.sha256(json.dumps([*described, heldout.__version__, keras.__version__]).encode()).hexdigest()
    try:
        with ExitStack() as in_use:
            found = open_features(
                assignment.cache,
                key,
                np.arange(len(rows), dtype=np.int32),
                shape,
                compute,
                at_once=FEATURE_BLOCKS,
                watch=lambda: None,
                in_use=in_use,
            )
            features = np.array(found)
        # They have become an artifact of the dataset, which is deleted with it.
        shutil.rmtree(assignment.cache.folder / key, ignore_errors=True)
    except NotCached:
        step = BLOCK * FEATURE_BLOCKS
        features = np.concatenate(
            [compute(_pad(np.arange(at, min(at + step, len(rows))))) for at in range(0, len(rows), step)]
        )[: len(rows)]
    return features


def _pad(rows: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.pad(rows, (0, -len(rows) % BLOCK), mode="edge").astype(np.int32)


def make_compute(
    pooled: keras.Model, images: ImageSet, rows: NDArray[np.int64], size: tuple[int, int], threads: int
) -> Callable[[NDArray[np.int32]], NDArray[np.float32]]:
    """Return a function from places in `rows`, whole blocks of them, to their features."""
    low, high = images.value_range

    def prepare(block: tf.Tensor) -> tf.Tensor:
        values = (tf.cast(block, tf.float32) - low) * (255.0 / (high - low))
        resized = tf.image.resize(values, size, antialias=True)
        return pooled(tf.ensure_shape(resized, [BLOCK, *size, 3]), training=False)

    @tf.function(autograph=False)
    def run(blocks: tf.Tensor) -> tf.Tensor:
        # A block always has the same number of images, because the last digits depend on it.
        return tf.map_fn(prepare, blocks, fn_output_signature=tf.float32, parallel_iterations=threads)

    def compute(places: NDArray[np.int32]) -> NDArray[np.float32]:
        pixels = np.asarray(images.images[rows[places]])
        if pixels.shape[-1] == 1:
            pixels = np.repeat(pixels, 3, axis=-1)
        blocks = pixels.reshape(-1, BLOCK, *pixels.shape[1:])
        found: NDArray[np.float32] = run(tf.constant(blocks)).numpy()
        return found.reshape(len(places), -1)

    return compute
