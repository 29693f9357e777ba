"""Networks as people write them are read as they are, with and without weights, or refused with what to do."""

import itertools
from types import SimpleNamespace
from typing import get_args

import keras
import numpy as np
import pytest

from heldout.client.own_networks import Weights, write_model
from heldout.spec.network import OwnNetworkSpec
from tests.written_networks import CLASSES, IMAGE, REFUSED, TRAINED
from worker.training.model_files.refusal import ModelRefused
from worker.training.networks.backbone import UploadedBackbone
from worker.training.networks.own_network import build_own_network
from worker.training.uploaded_models.child import read_facts
from worker.training.uploaded_models.keras_model import save_backbone

# Keras takes seconds to build its 150 layers four times.
KINDS = [pytest.param(kind, marks=pytest.mark.proof) if kind == "keras.applications" else kind for kind in TRAINED]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", get_args(Weights))
def test_a_network_is_trained_as_it_was_written(kind, weights, tmp_path):
    keras.Sequential([keras.Input(IMAGE), keras.layers.Conv2D(1, 1), keras.layers.Dense(1)])  # Keras counts them, too
    model = TRAINED[kind]()
    file = write_model(model, weights, tmp_path)
    facts = read_facts(file)
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert (facts.input_shape, facts.output_shape) == (IMAGE, (CLASSES,))
    assert (facts.parameters, facts.trainable_parameters) == (model.count_params(), trained)
    (tmp_path / "read").mkdir()
    save_backbone(file, tmp_path / "read")
    read = UploadedBackbone.read(SimpleNamespace(folder=tmp_path / "read", pixels="bytes"))
    spec = OwnNetworkSpec(model="mod_1", weights=weights)
    network = build_own_network(spec, read, IMAGE, CLASSES, itertools.count(1))
    pixels = np.random.default_rng(1).random((4, *IMAGE), np.float32)
    logits = np.asarray(network(pixels, training=False))
    assert logits.shape == (4, CLASSES)
    if weights == "uploaded" and kind != "mixed precision":
        images = keras.tree.pack_sequence_as(getattr(model, "input", pixels), [255 * pixels])
        [expected] = keras.tree.flatten(model(images, training=False))
        shown = keras.ops.softmax(logits) if facts.network.output == "softmax" else logits
        np.testing.assert_allclose(np.asarray(shown), np.asarray(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("weights", get_args(Weights))
@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_network_that_cannot_be_trained_is_refused_with_what_to_do(kind, weights, tmp_path):
    make, code, advice = REFUSED[kind]
    with pytest.raises(ModelRefused) as refused:
        read_facts(write_model(make(), weights, tmp_path))
    assert refused.value.code.value == code
    assert advice in refused.value.detail
