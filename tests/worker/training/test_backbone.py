"""An uploaded backbone in front of the blocks: counted, fed and trained as in plain Keras."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from analysis.arrays.dataset import ImageSet
from heldout.spec.backbone import make_backbone
from heldout.spec.job import JobSpec
from heldout.spec.layers import BACKBONE, plan_network
from heldout.spec.network import BackboneSpec
from heldout.stored.artifacts import ArtifactName
from tests.worker.training.backbones import read_again, read_facts_of, small_backbone, taken_apart
from tests.worker.training.processes import get_path
from tests.worker.training.trainings import assert_gives_served_figures, fewer, fit_in_same_order, small_spec
from worker.messages import AssignedBackbone, Finished
from worker.training.exports import litert
from worker.training.exports.exported_model import describe_model
from worker.training.exports.proof import ProofImages
from worker.training.model_files.refusal import ModelRefused
from worker.training.networks.backbone import UploadedBackbone, resize, set_trainable
from worker.training.networks.network import build_network
from worker.training.second_phase import unfreeze
from worker.training.uploaded_models.child import read_facts
from worker.training.uploaded_models.keras_model import save_backbone

EPOCHS = 2
SEED = 7
IMAGES = 372


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_backbone(tmp_path_factory.mktemp("uploaded"))


def spec_with(*blocks: dict, trainable: bool = False, **parts) -> JobSpec:
    network = {"backbone": {"model": "mod_1", "trainable": trainable}, "blocks": list(blocks)}
    training = {"epochs": EPOCHS, "seed": SEED} | parts.pop("training", {})
    return small_spec(network=network | parts.pop("network", {}), training=training, **parts)


def build(spec: JobSpec, file: Path, image=(28, 28, 1), pixels="bytes") -> keras.Model:
    return build_network(spec.network, image, 10, SEED, backbone=read_again(file, pixels))


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("image", [(28, 28, 1), (20, 18, 3)])
def test_a_plan_with_a_backbone_is_what_keras_builds(file, trainable, image):
    spec = spec_with({"filters": 4, "batch_norm": True}, trainable=trainable, network={"dense": [{"units": 5}]})
    network, plan = build(spec, file, image), plan_network(spec.network, image, 10, read_facts_of(file))
    assert plan.parameters == network.count_params()
    assert plan.trainable_parameters() == sum(np.prod(weight.shape) for weight in network.trainable_weights)
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    # In Keras this layer is an operation with another name.
    planned = [layer for layer in plan.layers if layer.name != "backbone_size"]
    assert [(layer.name, layer.shape) for layer in planned] == [
        (layer.name, layer.output.shape[1:]) for layer in layers
    ]


def test_the_operations_of_a_backbone_are_those_that_tensorflow_counts(file):
    model = keras.saving.load_model(file)
    graph = tf.function(lambda images: model(images, training=False)).get_concrete_function(
        tf.TensorSpec((1, 20, 18, 3), tf.float32)
    )
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    counted = tf.compat.v1.profiler.profile(graph.graph, options=options | {"output": "none"}).total_float_ops
    assert read_facts_of(file).flops == pytest.approx(counted, rel=0.1)


@pytest.fixture(scope="module")
def of_any_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(5)
    pixels = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(4, 3, strides=16, padding="same")(keras.layers.Rescaling(1 / 255)(pixels))
    maps = keras.layers.BatchNormalization()(keras.layers.MaxPooling2D()(maps))
    model = keras.Model(pixels, keras.layers.Conv2D(5, 1)(maps))
    file = tmp_path_factory.mktemp("any") / "any.keras"
    model.save(file)
    return file


def test_a_backbone_for_any_size_is_built_for_the_size_of_its_plan(of_any_size):
    facts = read_facts(of_any_size)
    assert facts.feature_map.stride == 32
    planned, layers = make_backbone(BackboneSpec(model="mod_1", size=96), facts, (28, 28, 1))
    folder = of_any_size.with_suffix("")
    folder.mkdir(exist_ok=True)
    save_backbone(of_any_size, folder, planned.size)
    built = UploadedBackbone.read(AssignedBackbone(folder, "bytes"))
    assert built.gives == planned.gives == (3, 3, 5)
    assert layers[-1].shape == (3, 3, 5)
    images = np.random.default_rng(4).random((2, 96, 96, 3)).astype(np.float32) * 255
    pixels, spec = keras.Input((96, 96, 3)), BackboneSpec(model="mod_1", size=96)
    ours = keras.Model(pixels, built.make_maps(pixels, spec, iter(range(9))))
    np.testing.assert_allclose(ours(images / 255), keras.saving.load_model(of_any_size)(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("layers", "trained"), [(None, {"conv", "last", "head"}), (2, {"last", "head"})])
def test_only_the_last_frozen_layers_are_trained_later_and_no_batch_normalization(layers, trained):
    pixels = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(2, 3, name="conv")(pixels)
    maps = keras.layers.Conv2D(2, 1, name="last")(keras.layers.BatchNormalization(name="norm")(maps))
    inner = keras.Model(pixels, maps, name=BACKBONE)
    set_trainable(inner, False)
    network = keras.Model(pixels, keras.layers.Dense(2, name="head")(keras.layers.Flatten()(inner(pixels))))
    assert {weight.path.split("/")[-2] for weight in network.trainable_weights} == {"head"}
    unfreeze(network, layers)
    assert {weight.path.split("/")[-2] for weight in network.trainable_weights} == trained


@pytest.mark.parametrize(("pixels", "mode"), [("symmetric", "tf"), ("imagenet", "torch"), ("caffe", "caffe")])
def test_a_backbone_gets_the_pixels_that_keras_applications_prepare(tmp_path, pixels, mode):
    file = small_backbone(tmp_path, scales=False)
    network = build(spec_with(), file, (20, 18, 3), pixels)
    images = np.random.default_rng(1).integers(0, 256, (4, 20, 18, 3)).astype(np.float32)
    maps = keras.Model(network.input, network.get_layer("flatten").input)(images / 255)
    prepared = keras.applications.imagenet_utils.preprocess_input(images.copy(), mode=mode)
    expected = keras.saving.load_model(file)(prepared)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(20, 18), (28, 90), (3, 1)])
def test_images_are_resized_as_by_keras(size):
    pixels = keras.Input((28, 28, 2))
    images = np.random.default_rng(2).random((3, 28, 28, 2)).astype(np.float32)
    resized = keras.Model(pixels, resize(resize(pixels, 2, size[1]), 1, size[0]))(images)
    np.testing.assert_allclose(resized, keras.ops.image.resize(images, size), atol=1e-5)


def test_litert_prepares_pixels_as_keras_does(tmp_path):
    """LiteRT's own resizing differs by 0.0007 here, which later layers amplify."""
    network = build(spec_with(), small_backbone(tmp_path, scales=False), pixels="caffe")
    prepared = keras.Model(network.input, network.get_layer("backbone_pixels").output)
    images = np.random.default_rng(3).random((5, 28, 28, 1)).astype(np.float32)
    proof = ProofImages("test", images, np.arange(5), tmp_path)
    file = tmp_path / "pixels.tflite"
    about = describe_model(prepared, "job_1", "0" * 64, ["a", "b"], (0, 1))
    litert.write(prepared, about, "", file, tmp_path)
    np.testing.assert_allclose(litert.compute_answers(file, proof, tmp_path), prepared(images), atol=5e-5)


def train_in_plain_keras(file: Path, images: ImageSet, spec: JobSpec) -> tuple[keras.Model, list[float]]:
    """Train the file itself between layers of Keras, by `fit` in the engine's order.

    All weights and seeds of dropout start as in the engine. Dropout in a frozen backbone drops nothing.
    """
    ours = build(spec, file)
    base = keras.saving.load_model(file, compile=False)
    for weight in base.weights:
        weight.regularizer = None
    base.trainable = spec.network.backbone.trainable
    for layer in base.layers:
        if isinstance(layer, keras.layers.Dropout) and not base.trainable:
            layer.rate = 0.0
    pixels = keras.Input((28, 28, 1))
    maps = resize(resize(pixels, 2, 18), 1, 20)
    maps = base(keras.layers.Rescaling(255.0)(keras.layers.Concatenate()([maps, maps, maps])))
    maps = keras.layers.Conv2D(4, 3, activation="relu")(maps)
    maps = keras.layers.Flatten()(keras.layers.MaxPooling2D()(maps))
    network = keras.Model(pixels, keras.layers.Dense(10)(maps))
    for own, other in zip(network.variables, ours.variables, strict=True):
        own.assign(other)
    return network, fit_in_same_order(network, images, spec)


@pytest.mark.usefixtures("forking")
# In every run, test_features.py trains behind a frozen one, and then all of it.
@pytest.mark.parametrize("trainable", [pytest.param(False, marks=pytest.mark.proof), True])
def test_a_training_with_a_backbone_equals_one_in_plain_keras(start, file, mnist5k, trainable):
    """A frozen backbone keeps its weights. TensorFlow optimizes the two graphs differently, hence the tolerance."""
    spec = spec_with({"filters": 4}, trainable=trainable)
    process = start(spec, backbone=taken_apart(file))
    finished = process.end()
    assert isinstance(finished, Finished), process.log.read_text()
    network, losses = train_in_plain_keras(file, fewer(mnist5k, IMAGES), spec)
    assert [done["fit_loss"] for done in process.history] == pytest.approx(losses, rel=1e-6)
    model = keras.saving.load_model(get_path(finished, ArtifactName.MODEL), safe_mode=True)
    for ours, expected in zip(model.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-6)
    uploaded = keras.saving.load_model(file).get_weights()
    kept = model.get_layer(BACKBONE).get_weights()
    assert all(map(np.array_equal, kept, uploaded)) is not trainable
    tested = assert_gives_served_figures(model, fewer(mnist5k, IMAGES), finished.final.test)
    np.testing.assert_allclose(model(tested), model.predict(tested, verbose=0), atol=1e-6)


def test_layers_with_other_dtypes_are_converted_to_float32(tmp_path):
    keras.utils.set_random_seed(2)
    images = keras.Input((28, 28, 1))
    maps = keras.layers.Conv2D(3, 3, dtype="mixed_bfloat16")(keras.layers.Rescaling(1 / 255)(images))
    file = tmp_path / "mixed.keras"
    keras.Model(images, maps).save(file)
    backbone = read_again(file)
    network = build_network(spec_with().network, (28, 28, 1), 10, SEED, backbone=backbone)
    assert {layer.compute_dtype for layer in network.get_layer(BACKBONE).layers} == {"float32"}


def test_a_backbone_with_an_adapted_normalization_gives_the_same_maps(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (9, 20, 18, 3)).astype(np.float32)
    adapted = keras.layers.Normalization()
    adapted.adapt(images)
    pixels, inner = keras.Input((20, 18, 3)), keras.Sequential([keras.Input((20, 18, 3)), keras.layers.Conv2D(3, 3)])
    file = tmp_path / "adapted.keras"
    keras.Model(pixels, inner(adapted(pixels))).save(file)
    spec, backbone = spec_with(), read_facts_of(file)
    network = build(spec, file, (20, 18, 3))
    maps = keras.Model(network.input, network.get_layer("flatten").input)(images / 255)
    np.testing.assert_allclose(maps, keras.saving.load_model(file)(images), rtol=1e-4, atol=1e-5)
    assert plan_network(spec.network, (20, 18, 3), 10, backbone).parameters == network.count_params()


def test_layers_outside_keras_are_refused_again_before_they_are_built(file):
    backbone = read_again(file)
    assigned = taken_apart(file)
    layers = Path(assigned.folder) / "layers.json"
    layers.write_text(layers.read_text().replace('"keras.layers"', '"os"', 1))
    with pytest.raises(ModelRefused, match="not among the parts of Keras"):
        type(backbone).read(replace(assigned))
    taken_apart(file)
