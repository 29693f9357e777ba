"""Features of a frozen part are computed once and give the same answers as if each step computed them."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactName
from tests.damaged_files import flip
from tests.worker.training.backbones import small_backbone, taken_apart
from tests.worker.training.processes import get_path
from tests.worker.training.test_backbone import IMAGES, SEED, build, spec_with
from tests.worker.training.test_own_network import spec_with as make_own_spec
from tests.worker.training.trainings import fewer, scale_to_unit
from worker.machine.held_folders import FILL_LOCK, USE_LOCK
from worker.messages import AssignedFeatures, EpochDone, Finished, Started, StopCause, Stopped
from worker.training.data.training_data import is_aligned, select
from worker.training.engine.optimizer import build_loss
from worker.training.engine.order import draw_epoch_order
from worker.training.features.inputs import share_features
from worker.training.networks.backbone import resize

VIEWS = {"rotation_degrees": 20, "horizontal_flip": True, "erasing": 0.5, "views": 2}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_backbone(tmp_path_factory.mktemp("uploaded"))


def cache_in(folder: Path, cap_bytes: int = 2**30, owner: str = "ann") -> AssignedFeatures:
    return AssignedFeatures(folder / "features", cap_bytes, owner)


def get_feature_fact(process) -> str | None:
    return next(message.engine.get("features") for message in process.messages if isinstance(message, Started))


def read_answers(finished: Finished) -> dict[str, np.ndarray]:
    with np.load(get_path(finished, ArtifactName.PREDICTIONS)) as arrays:
        return {name: arrays[name] for name in arrays.files if name.endswith("_probabilities")}


@pytest.mark.usefixtures("forking")
@pytest.mark.parametrize(
    ("blocks", "parts", "keeps_base"),
    [
        ([], {"network": {"head": "global_average"}, "augmentation": VIEWS}, True),
        pytest.param([{"filters": 4}], {}, True, marks=pytest.mark.proof),
        # Each step computes the base, so that the training process has it anyway.
        pytest.param([{"filters": 4}], {"augmentation": {"rotation_degrees": 20}}, False, marks=pytest.mark.proof),
    ],
    ids=["pool and views", "block", "each step"],
)
def test_cold_and_warm_caches_give_the_same_bits_and_computing_in_each_step_nearly_the_same(
    start, file, tmp_path, blocks, parts, keeps_base
):
    spec, backbone = spec_with(*blocks, training={"epochs": 3}, **parts), taken_apart(file)
    in_steps = start(spec, backbone=backbone)
    computed = in_steps.end()
    assert get_feature_fact(in_steps) == "computed in each step: this worker keeps none"
    cold, warm = (start(spec, backbone=backbone, features=cache_in(tmp_path)) for _ in range(2))
    ends = [cold.end(), warm.end()]
    kept = [file for file in (tmp_path / "features").glob("*/*") if file.name not in {USE_LOCK, FILL_LOCK}]
    assert {file.suffix for file in kept} == {".npy", ""} | ({".keras", ".digest"} if keeps_base else set())
    for file_of_cache in kept:
        flip(file_of_cache, file_of_cache.stat().st_size // 2)
    rebuilt = start(spec, backbone=backbone, features=cache_in(tmp_path))
    ends.append(rebuilt.end())
    processes = cold, warm, rebuilt
    assert all(isinstance(end, Finished) for end in ends), "".join(process.log.read_text() for process in processes)
    assert all(get_feature_fact(process).startswith("cached") for process in processes)
    assert cold.history == warm.history == rebuilt.history
    assert ends[0].final == ends[1].final == ends[2].final
    for name, answers in read_answers(computed).items():
        np.testing.assert_array_equal(read_answers(ends[0])[name], read_answers(ends[1])[name])
        np.testing.assert_array_equal(read_answers(ends[0])[name], read_answers(ends[2])[name])
        np.testing.assert_allclose(read_answers(ends[0])[name], answers, atol=1e-5)
    losses = [[done["train_loss"] for done in process.history] for process in (cold, in_steps)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    own = keras.saving.load_model(file).get_weights()
    for end in ends:
        model = keras.saving.load_model(get_path(end, ArtifactName.MODEL))
        assert all(map(np.array_equal, model.get_layer("backbone").get_weights(), own))


def train_in_phases(file: Path, images: ImageSet, spec: JobSpec) -> tuple[list[float], list[np.ndarray]]:
    """Train in two phases in plain TensorFlow; return the losses of `fit`, and all weights at the end."""
    base = keras.saving.load_model(file, compile=False)
    pixels = keras.Input((28, 28, 1))
    maps = resize(resize(pixels, 2, 18), 1, 20)
    maps = base(keras.layers.Rescaling(255.0)(keras.layers.Concatenate()([maps, maps, maps])))
    network = keras.Model(pixels, keras.layers.Dense(10)(keras.layers.Flatten()(maps)))
    for own, other in zip(network.variables, build(spec, file).variables, strict=True):
        own.assign(other)
    dropout = next(layer for layer in base.layers if isinstance(layer, keras.layers.Dropout))
    unfreezing, rate = spec.network.backbone.unfreeze_at, dropout.rate
    optimizers = keras.optimizers.Adam(0.001), keras.optimizers.Adam(unfreezing.learning_rate)
    data, losses = select(images, spec), []
    unit, loss = scale_to_unit(data.images, data.value_range), build_loss(0.0)
    for epoch in range(1, spec.training.epochs + 1):
        is_trained = epoch >= unfreezing.epoch
        for layer in base.layers:  # `fit` in Keras' own example of fine-tuning does it in this way, too
            layer.trainable = is_trained and not isinstance(layer, keras.layers.BatchNormalization)
        dropout.rate = rate if is_trained else 0.0
        order, sums = data.rows["train"][draw_epoch_order(SEED, epoch, len(data.rows["train"]))], 0.0
        for begin in range(0, len(order), 32):
            rows = order[begin : begin + 32]
            with tf.GradientTape() as tape:
                value = loss(data.labels[rows], network(unit[rows], training=True))
            head = network.layers[-1].trainable_weights
            gradients = tape.gradient(value, [*head, *base.trainable_weights])
            optimizers[0].apply(gradients[:2], head)
            if is_trained:
                optimizers[1].apply(gradients[2:], base.trainable_weights)
            sums += float(value) * len(rows)
        losses.append(sums / len(order))
    return losses, network.get_weights()


TWO_PHASES = {"backbone": {"model": "mod_1", "unfreeze_at": {"epoch": 3, "learning_rate": 0.0001}}}


@pytest.mark.proof
@pytest.mark.usefixtures("forking")
def test_a_second_phase_trains_everything_as_plain_keras_does(start, file, mnist5k, tmp_path):
    spec = spec_with(network=TWO_PHASES, training={"epochs": 4})
    process = start(spec, backbone=taken_apart(file), features=cache_in(tmp_path))
    finished = process.end()
    assert isinstance(finished, Finished), process.log.read_text()
    losses, weights = train_in_phases(file, fewer(mnist5k, IMAGES), spec)
    assert [done["fit_loss"] for done in process.history] == pytest.approx(losses, rel=1e-5)
    model = keras.saving.load_model(get_path(finished, ArtifactName.MODEL))
    for ours, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-5)


@pytest.mark.usefixtures("forking")
def test_a_training_interrupted_in_both_phases_continues_bit_for_bit(start, file, tmp_path):
    """An early epoch may be kept, whose checkpoint has only the weights of the head."""
    training = {"epochs": 4, "ema_decay": 0.9, "early_stopping": {"patience": 9}}
    spec, backbone = spec_with(network=TWO_PHASES, training=training), taken_apart(file)
    whole = start(spec, backbone=backbone, features=cache_in(tmp_path))
    expected = whole.end()
    assert isinstance(expected, Finished), whole.log.read_text()
    checkpoint, history = None, []
    for epoch in (1, 3):
        lost = start(spec, backbone=backbone, checkpoint=checkpoint, features=cache_in(tmp_path))
        done = lost.until(lambda message, epoch=epoch: isinstance(message, EpochDone) and message.epoch == epoch)
        lost.process.kill()
        checkpoint, history = done.checkpoint, history + [done for done in lost.history if done["epoch"] <= epoch]
    last = start(spec, backbone=backbone, checkpoint=checkpoint, features=cache_in(tmp_path))
    assert last.end().final == expected.final, last.log.read_text()
    assert history + last.history == whole.history


@pytest.mark.usefixtures("forking")
def test_a_job_of_another_owner_computes_its_own_features(start, file, tmp_path):
    spec, backbone = spec_with(training={"epochs": 1}), taken_apart(file)
    figures, folders = [], []
    for owner in ("ann", "bob"):
        process = start(spec, backbone=backbone, features=cache_in(tmp_path, owner=owner))
        assert isinstance(process.end(), Finished), process.log.read_text()
        figures.append(process.history)
        folders.append(sum(folder.is_dir() for folder in (tmp_path / "features").iterdir()))
    assert folders == [1, 2]
    assert figures[0] == figures[1]


@pytest.mark.proof
@pytest.mark.usefixtures("forking")
def test_two_jobs_that_begin_at_once_share_features(start, file, tmp_path):
    spec, backbone = spec_with(training={"epochs": 2}), taken_apart(file)
    both = [start(spec, backbone=backbone, features=cache_in(tmp_path)) for _ in range(2)]
    ends = [process.end() for process in both]
    assert ends[0].final == ends[1].final
    assert [get_feature_fact(process) for process in both] == ["cached", "cached"]


def test_features_are_read_where_their_file_is_mapped(tmp_path):
    """TensorFlow copies arrays that cannot be written. What is written to these does not reach the file."""
    expected = np.arange(5 * 3 * 4, dtype=np.float32).reshape(5, 3, 4)
    np.save(tmp_path / "features.npy", expected)
    shared = share_features(np.load(tmp_path / "features.npy", mmap_mode="r"))
    assert is_aligned(shared)
    np.testing.assert_array_equal(shared, expected)
    shared[0] = -1
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), expected)


@pytest.mark.usefixtures("forking")
def test_a_job_without_room_for_features_computes_them_in_each_step(start, file, tmp_path):
    spec = spec_with(training={"epochs": 1})
    process = start(spec, backbone=taken_apart(file), features=cache_in(tmp_path, cap_bytes=1000))
    assert isinstance(process.end(), Finished), process.log.read_text()
    assert "HELDOUT_FEATURE_CACHE_BYTES leaves less" in get_feature_fact(process)


@pytest.mark.usefixtures("forking")
def test_a_job_can_be_stopped_before_its_first_step(start, file, tmp_path):
    process = start(spec_with(), backbone=taken_apart(file), features=cache_in(tmp_path))
    process.pipe.send(StopCause.RELEASE)
    assert process.end() == Stopped(None)


@pytest.mark.usefixtures("forking")
@pytest.mark.parametrize("size", [20, pytest.param(28, marks=pytest.mark.proof)])
def test_a_users_network_with_frozen_layers_reads_features(start, tmp_path, size):
    """The frozen part ends inside an inner model: in training if images are resized, otherwise in the export."""
    pixels = keras.Input((size, size, 1))
    maps = keras.layers.MaxPooling2D()(keras.layers.Conv2D(4, 3, activation="relu", name="first")(pixels))
    maps = keras.layers.Conv2D(5, 3, activation="relu", name="second")(maps)
    pool = keras.layers.Flatten() if size == 20 else keras.layers.GlobalAveragePooling2D()
    outputs = keras.layers.Dense(10, activation="softmax")(pool(maps))
    model, file = keras.Model(pixels, outputs), tmp_path / "own.keras"
    model.save(file)
    last = "first" if size == 20 else "second"
    frozen = {"weights": "uploaded", "freeze": last, "unfreeze_at": {"epoch": 3, "learning_rate": 0.0001}}
    spec, backbone = make_own_spec({"epochs": 3}, **frozen), taken_apart(file, "unit")
    cached = start(spec, backbone=backbone, features=cache_in(tmp_path))
    in_steps = start(spec, backbone=backbone)
    ends = [cached.end(), in_steps.end()]
    assert all(isinstance(end, Finished) for end in ends), cached.log.read_text() + in_steps.log.read_text()
    assert get_feature_fact(cached) == "cached"
    for name, answers in read_answers(ends[1]).items():
        np.testing.assert_allclose(read_answers(ends[0])[name], answers, atol=1e-5)
    kept = keras.saving.load_model(get_path(ends[0], ArtifactName.MODEL)).get_weights()
    assert [np.array_equal(*pair) for pair in zip(kept, model.get_weights(), strict=True)] == [False] * 6
