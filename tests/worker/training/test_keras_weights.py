"""Weights of Keras' store become shared models that take pixels from 0 to 255, and answer as Keras does."""

import hashlib
import socket
import sys
from contextlib import closing
from typing import Any

import keras
import numpy as np
import pytest

from heldout.lifecycle.resources import ModelRejectionCode, ModelStatus
from heldout.spec.pretrained import KERAS_NETWORKS, MAX_KERAS_BYTES
from heldout.stored.artifacts import CONVERTED_KERAS
from models import pretrained
from models.digests import compute_file_digest
from models.store import models
from models.store.named_blobs import list_keys
from models.tables import ModelRow
from tests.keras_store import serve, write_weights
from tests.worker.supervision.bench import Bench
from worker.training.model_files.keras_file import load_model
from worker.training.model_files.refusal import ModelRefused
from worker.training.uploaded_models.conversion import build_keras_network, convert_keras
from worker.training.uploaded_models.download import fetch

pytestmark = pytest.mark.filterwarnings(
    "ignore:In the future `np.object`:FutureWarning", "ignore:`input_shape` is undefined or non-square:UserWarning"
)
QUICK = "mobilenet"
names = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == QUICK else pytest.mark.proof) for name in KERAS_NETWORKS]
)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # rows are tested on both elsewhere
PATH = KERAS_NETWORKS["mobilenet_v2"].path


class Asked(Exception):
    """Keras would download something."""


@names
def test_a_network_answers_as_keras_does_after_its_own_preprocessing(tmp_path, name):
    network, builder = KERAS_NETWORKS[name], getattr(keras.applications, KERAS_NETWORKS[name].builder)
    expected = builder(include_top=False, weights=None, input_shape=(None, None, 3))
    for weight in expected.weights:  # as after a training, so that every weight counts
        if weight.path.endswith(("moving_mean", "beta", "bias")):
            weight.assign(np.random.default_rng(0).normal(0, 0.1, weight.shape))
    file = tmp_path / "weights.h5"
    file.write_bytes(write_weights(expected))
    assert file.stat().st_size < MAX_KERAS_BYTES
    ours = build_keras_network(network, file)
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 96, 3)).astype(np.float32)
    preprocess = sys.modules[builder.__module__].preprocess_input
    answers = np.asarray(expected(preprocess(images.copy())))
    assert answers.std() > 0, "the maps must not be empty"
    np.testing.assert_allclose(np.asarray(ours(images)), answers, rtol=0, atol=1e-5 * np.abs(answers).max())


@names
def test_the_file_and_its_digest_are_those_that_keras_downloads(monkeypatch, name):
    asked: dict[str, Any] = {}

    def get_file(fname: str, origin: str, file_hash: str | None = None, **_: Any) -> None:
        asked.update(url=origin, md5=file_hash)
        raise Asked

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    network = KERAS_NETWORKS[name]
    with pytest.raises(Asked):
        getattr(keras.applications, network.builder)(include_top=False, input_shape=(None, None, 3))
    assert asked == {"url": f"https://storage.googleapis.com/{network.path}", "md5": network.md5}


@pytest.mark.proof
@pytest.mark.parametrize("name", KERAS_NETWORKS)
def test_a_network_takes_images_of_any_size_and_scales_their_pixels(tmp_path, name):
    network = KERAS_NETWORKS[name]
    weights = tmp_path / "weights.h5"
    weights.write_bytes(write_weights(build_keras_network(network, None)))
    facts = convert_keras(weights, network, tmp_path)
    assert (facts.input_shape, facts.gives, facts.weights) == ((None, None, 3), "feature_map", True)
    assert (facts.feature_map.stride, facts.feature_map.scales_pixels) == (32, True)
    assert load_model(tmp_path / CONVERTED_KERAS).count_params() == facts.parameters


def test_other_weights_and_other_files_are_refused(tmp_path):
    file = tmp_path / "weights.h5"
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    for content in (write_weights(dense), b"<html>Sign in to the network</html>"):
        file.write_bytes(content)
        with pytest.raises(ModelRefused, match="as weights of MobileNet") as refused:
            convert_keras(file, KERAS_NETWORKS[QUICK], tmp_path)
        assert refused.value.code is ModelRejectionCode.MODEL_DAMAGED


def find_closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def test_a_file_is_fetched_whole_and_its_digest_is_compared(tmp_path):
    content = np.random.default_rng(0).bytes(3 * 2**20 + 5)
    with serve({PATH: content}) as url:
        for number, md5 in enumerate((None, hashlib.md5(content).hexdigest())):
            fetch(f"{url}/{PATH}", tmp_path / str(number), md5, len(content))
            assert (tmp_path / str(number)).read_bytes() == content
        with pytest.raises(ModelRefused, match="another file than Keras expects") as refused:
            fetch(f"{url}/{PATH}", tmp_path / "other", "0" * 32, len(content))
    assert refused.value.code is ModelRejectionCode.MODEL_DAMAGED


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("unknown", "answers 404 Not Found"),
        ("short", "1,000 of 1,001 bytes arrived"),
        ("large", "more than 999 bytes"),
        ("no server", "Connection refused"),
        ("no internet", "Name or service not known|name resolution|No address"),
    ],
)
def test_weights_out_of_reach_say_what_happened_and_what_to_do(tmp_path, fault, said):
    with serve({PATH: b"x" * 1000}, missing_bytes=int(fault == "short")) as url:
        if fault == "no server":
            url = f"http://127.0.0.1:{find_closed_port()}"
        elif fault == "no internet":
            url = "http://store.invalid"
        path = "unknown.h5" if fault == "unknown" else PATH
        with pytest.raises(ModelRefused, match=said) as refused:
            fetch(f"{url}/{path}", tmp_path / "file", None, 999 if fault == "large" else 1000)
    assert refused.value.code is ModelRejectionCode.NOT_FETCHED
    assert "needs internet, or a mirror (`HELDOUT_KERAS_URL`)" in refused.value.detail


def order(bench: Bench, name: str) -> str:
    with bench.work.database.write() as session:
        return pretrained.order(session, name).id


def get_row(bench: Bench, model_id: str) -> ModelRow:
    with bench.work.database.read() as session:
        return session.get_one(ModelRow, model_id)


@on_sqlite
def test_a_worker_without_internet_says_so_and_the_order_can_be_repeated(database, tmp_path):
    bench = Bench(database, tmp_path, keras_url=f"http://127.0.0.1:{find_closed_port()}")
    model_id = order(bench, "mobilenet_v2")
    bench.run()
    row = get_row(bench, model_id)
    assert (row.status, row.error["code"]) == (ModelStatus.REJECTED, "not_fetched")
    assert bench.settings.keras_url in row.error["detail"]
    assert order(bench, "mobilenet_v2") != model_id


@pytest.mark.proof
@on_sqlite
def test_a_worker_fetches_a_network_in_a_child_and_shares_it_with_its_source(database, tmp_path):
    network, builder = KERAS_NETWORKS["mobilenet_v2"], keras.applications.MobileNetV2
    content = write_weights(builder(include_top=False, weights=None, input_shape=(None, None, 3)))
    with serve({network.path: content}) as url:
        bench = Bench(database, tmp_path, keras_url=url)
        model_id = order(bench, "mobilenet_v2")
        bench.run()
    row = get_row(bench, model_id)
    assert (row.status, row.license, row.owner, row.error) == (ModelStatus.READY, "Apache-2.0", None, None)
    assert f"{url}/{network.path}" in (row.source or "")
    assert hashlib.sha256(content).hexdigest() in (row.source or "")
    made = tmp_path / "model.keras"
    bench.blobs.fetch(row.key, made)
    assert compute_file_digest(made).sha256 == row.sha256
    with database.read() as session:
        assert pretrained.find_shared(session, "mobilenet_v2").id == model_id
        assert row.key in list_keys(session)
    assert order(bench, "mobilenet_v2") == model_id, "it is there already"


@on_sqlite
def test_an_ordered_network_has_no_file_until_it_is_fetched(database, tmp_path):
    bench = Bench(database, tmp_path)
    model_id = order(bench, "resnet50")
    row = get_row(bench, model_id)
    assert (row.status, row.license, row.source) == (
        ModelStatus.CHECKING,
        "MIT",
        "keras.applications.ResNet50, trained on ImageNet",
    )
    assert order(bench, "resnet50") == model_id
    with database.write() as session:
        assert row.key not in list_keys(session)
        assert models.withdraw(session, model_id) == [row.key]
