"""A `keras.Model` as the network of a spec: how it was compiled, and the uploaded file."""

import asyncio
import json
import threading
import zipfile

import keras
import numpy as np
import pytest
from keras import losses, metrics, optimizers
from keras.optimizers import schedules

from heldout.client.client import AsyncClient
from heldout.client.compiled import Untranslatable
from heldout.client.failures import ModelRejected
from heldout.client.own_networks import build_spec, write_model
from heldout.lifecycle.resources import ModelFormat
from heldout.spec.job import JobSpec, TrainingSpec
from heldout.spec.model_facts import ModelFacts, NetworkFacts, NetworkLayer
from heldout.spec.network import OwnNetworkSpec
from heldout.spec.outline import NetworkStep
from heldout.views.dataset import DatasetView, SplitsView
from models.store import claims, models
from tests.written_networks import make_resnet

TRAIN, VALIDATION, TEST = 70, 20, 10


def make_model(**compiled):
    inside = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, name="out")]
    model = keras.Sequential(inside, name="mine")
    if compiled:
        model.compile(**{"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **compiled})
    return model


def make_optimizer(optimizer):
    """Make an optimizer only now: it has variables, which should not exist during collection."""
    return optimizer if isinstance(optimizer, str) else optimizer()


@pytest.fixture
def images():
    def count(number):
        return {"count": number, "per_class": [number]}

    return DatasetView.model_construct(
        name="pets",
        version=3,
        splits=SplitsView.model_validate({"train": count(TRAIN), "validation": count(VALIDATION), "test": count(TEST)}),
    )


@pytest.fixture
def build(images):
    def build(model, **options):
        return build_spec(model, "fresh", images, options, "mod_1")

    return build


# --- what a model was compiled with ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("adam", {"name": "adam", "learning_rate": 0.001}),
        ("sgd", {"name": "sgd", "learning_rate": 0.01, "momentum": 0.0}),  # Keras' own default rate
        (lambda: optimizers.SGD(0.1, momentum=0.9), {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}),
        (lambda: optimizers.RMSprop(3e-4), {"name": "rmsprop", "learning_rate": 3e-4}),
        (lambda: optimizers.AdamW(), {"name": "adamw", "learning_rate": 0.001, "weight_decay": 0.004}),
        (
            lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, global_clipnorm=0.5),
            {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "clip_norm": 0.5},
        ),
        (lambda: optimizers.Adam(weight_decay=0.01), {"name": "adamw", "learning_rate": 0.001, "weight_decay": 0.01}),
    ],
)
def test_the_compiled_optimizer_becomes_that_of_the_spec(build, optimizer, expected):
    spec = build(make_model(optimizer=make_optimizer(optimizer)))
    assert spec["training"] == {"optimizer": expected}
    trained = JobSpec.model_validate(spec).training.optimizer
    model = make_model(
        optimizer=getattr(optimizers, trained.keras_class)(trained.learning_rate, **trained.keras_arguments)
    )
    same = make_model(optimizer=make_optimizer(optimizer))
    pixels, labels = np.random.default_rng(1).random((32, 8, 8, 1)), np.arange(32) % 10
    for trained_model in (model, same):
        keras.utils.set_random_seed(1)
        trained_model.run_eagerly = True  # to trace a function would take longer than these two steps
        trained_model.set_weights([np.full(weight.shape, 0.01) for weight in trained_model.weights])
        trained_model.fit(pixels, labels, epochs=2, shuffle=False, verbose=0)
    for got, wanted in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_given_optimizer_replaces_the_compiled_one(build):
    model = make_model(optimizer="adam")
    assert build(model, optimizer=optimizers.SGD(0.5))["training"]["optimizer"]["learning_rate"] == 0.5
    assert build(model, optimizer="rmsprop")["training"]["optimizer"]["name"] == "rmsprop"
    in_spec = {"name": "sgd", "learning_rate": 0.2}
    assert build(model, optimizer=in_spec)["training"]["optimizer"] == in_spec
    assert "optimizer" not in build(make_model())["training"]


def test_a_moving_average_of_the_weights_becomes_that_of_the_spec(build):
    spec = build(make_model(optimizer=optimizers.Adam(use_ema=True, ema_momentum=0.98)))
    assert spec["training"]["ema_decay"] == 0.98


def test_a_cosine_schedule_over_the_whole_training_becomes_that_of_the_spec(build):
    steps = 7  # 70 images in batches of 10
    decay = schedules.CosineDecay(0.1, 5 * steps)
    spec = build(make_model(optimizer=optimizers.SGD(decay)), epochs=5, batch_size=10)
    assert spec["training"]["schedule"] == {"name": "cosine", "warmup_epochs": 0}
    assert spec["training"]["optimizer"]["learning_rate"] == 0.1
    warm = schedules.CosineDecay(0.0, 3 * steps, warmup_target=0.2, warmup_steps=2 * steps)
    spec = build(make_model(optimizer=optimizers.SGD(warm)), epochs=5, batch_size=10)
    assert spec["training"]["schedule"] == {"name": "cosine", "warmup_epochs": 2}
    assert spec["training"]["optimizer"]["learning_rate"] == 0.2
    # The number of steps depends on the number of training images.
    on_all = schedules.CosineDecay(0.1, 5 * 9)
    build(make_model(optimizer=optimizers.SGD(on_all)), epochs=5, batch_size=10, validation={"use": "train"})
    with pytest.raises(Untranslatable, match=r"decay_steps=45.*5 epochs have 7 steps each"):
        build(make_model(optimizer=optimizers.SGD(on_all)), epochs=5, batch_size=10)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            schedules.PiecewiseConstantDecay([13, 27], [0.4, 0.1, 0.025]),
            {"name": "step", "factor": 0.25, "milestones": [2, 4]},
        ),
        (
            schedules.ExponentialDecay(0.4, 14, 0.25, staircase=True),
            {"name": "step", "factor": 0.25, "milestones": [2, 4]},
        ),
        (schedules.CosineDecay(0.0, 21, warmup_target=0.4, warmup_steps=14), {"name": "cosine", "warmup_epochs": 2}),
    ],
)
def test_a_schedule_has_the_rates_of_keras_at_every_step(build, given, expected):
    training = build(make_model(optimizer=optimizers.SGD(given)), epochs=5, batch_size=10)["training"]
    assert training["schedule"] == expected
    spec = TrainingSpec.model_validate(training)
    rates = [spec.schedule.compute_rate(spec.optimizer.learning_rate, step, 7, 5) for step in range(35)]
    np.testing.assert_allclose(rates, [float(given(step)) for step in range(35)], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (schedules.PiecewiseConstantDecay([14], [0.4, 0.1]), r"boundaries=14\..* should be such as 13"),
        (schedules.PiecewiseConstantDecay([13, 27], [0.4, 0.1, 0.05]), "same fraction"),
        (schedules.ExponentialDecay(0.4, 14, 0.25), "staircase=True"),
        (schedules.ExponentialDecay(0.4, 15, 0.25, staircase=True), r"decay_steps=15\..* should be such as 14"),
        (schedules.ExponentialDecay(0.4, 14, 1.5, staircase=True), "multiplied by 1.5"),
    ],
)
def test_a_schedule_that_changes_within_an_epoch_is_refused_with_valid_values(build, given, named):
    with pytest.raises(Untranslatable, match=named):
        build(make_model(optimizer=optimizers.SGD(given)), epochs=5, batch_size=10)


def test_a_schedule_is_refused_if_only_the_service_knows_the_number_of_steps(build):
    model = make_model(optimizer=optimizers.SGD(schedules.CosineDecay(0.1, 35)))
    with pytest.raises(Untranslatable, match="Only the service knows"):
        build(model, epochs=5, batch_size=10, validation={"folds": 5})


def test_focal_loss_becomes_that_of_the_spec(build):
    loss = losses.CategoricalFocalCrossentropy(gamma=3.0, alpha=0.5)
    training = build(make_model(optimizer="adam", loss=loss))["training"]
    assert training["loss"] == {"name": "focal", "gamma": 3.0, "alpha": 0.5}
    TrainingSpec.model_validate(training)
    assert "clip_norm" not in training["optimizer"]


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        losses.SparseCategoricalCrossentropy(from_logits=True),
        losses.sparse_categorical_crossentropy,
        "categorical_crossentropy",
    ],
)
def test_cross_entropy_in_every_form_is_the_loss_of_the_spec(build, loss):
    assert "label_smoothing" not in build(make_model(optimizer="adam", loss=loss))["training"]


def test_label_smoothing_becomes_that_of_the_spec(build):
    loss = losses.CategoricalCrossentropy(label_smoothing=0.1)
    assert build(make_model(optimizer="adam", loss=loss))["training"]["label_smoothing"] == 0.1


def my_loss(labels, answers):
    return keras.ops.sum(answers, -1)


@pytest.mark.parametrize(
    ("compiled", "named"),
    [
        ({"loss": my_loss}, "Loss the program's own my_loss"),
        ({"loss": "binary_crossentropy"}, "Loss binary_crossentropy"),
        ({"loss": losses.SparseCategoricalCrossentropy(ignore_class=3)}, "ignore_class=3"),
        ({"metrics": ["accuracy", "AUC"]}, "Metrics AUC are not measured"),
        ({"metrics": [my_loss]}, "Metrics my_loss"),
        ({"loss_weights": [2.0]}, "loss_weights"),
        ({"optimizer": lambda: optimizers.Nadam()}, "Optimizer Nadam"),
        ({"optimizer": lambda: optimizers.Adam(beta_1=0.8)}, "beta_1=0.8"),
        ({"optimizer": lambda: optimizers.Adam(clipvalue=0.5)}, "clipvalue=0.5"),
        ({"optimizer": lambda: optimizers.SGD(weight_decay=0.1)}, "weight_decay=0.1"),
        ({"optimizer": lambda: optimizers.SGD(schedules.InverseTimeDecay(0.1, 10, 0.5))}, "schedule InverseTimeDecay"),
        ({"optimizer": lambda: optimizers.SGD(schedules.CosineDecay(0.1, 30, alpha=0.1))}, "alpha=0.1"),
        ({"optimizer": lambda: type("Mine", (optimizers.Adam,), {})()}, "the program's own Mine"),
    ],
)
def test_features_that_a_spec_does_not_have_are_refused_by_name(build, compiled, named):
    with pytest.raises(ValueError, match=named):
        build(
            make_model(
                **{"optimizer": "adam", **compiled} | {"optimizer": make_optimizer(compiled.get("optimizer", "adam"))}
            )
        )


def test_everything_that_is_refused_is_reported_at_once(build):
    model = make_model(optimizer=optimizers.Nadam(), loss=my_loss, metrics=[metrics.AUC()])
    with pytest.raises(ValueError, match=r"my_loss.*AUC.*Nadam"):
        build(model)


# --- options ---------------------------------------------------------------------------------------


def test_options_are_put_into_the_right_part_of_the_spec(build):
    spec = build(make_model(optimizer="adam"), epochs=3, seed=7, head="replace", l2=0.01, name="x", priority=5)
    assert spec["training"] | {"optimizer": None} == {"epochs": 3, "seed": 7, "optimizer": None}
    assert spec["network"] == {"model": "mod_1", "weights": "fresh", "head": "replace", "l2": 0.01}
    assert (spec["dataset"], spec["name"], spec["priority"]) == ("pets@3", "x", 5)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": "x"}, {"epochs": None}])
def test_an_invalid_value_is_left_for_the_service_to_refuse(build, options):
    assert options.items() <= build(make_model(optimizer="adam"), **options)["training"].items()


def test_option_names_are_unique_across_the_parts_of_a_spec():
    names = [name for kind in (JobSpec, TrainingSpec, OwnNetworkSpec) for name in kind.model_fields]
    assert len(names) == len(set(names))


def test_an_unknown_option_and_callbacks_are_refused_by_name(build):
    with pytest.raises(
        TypeError,
        match="no option 'epoch'; there are augmentation, batch_norm, batch_size",
    ):
        build(make_model(), epoch=3)
    with pytest.raises(TypeError, match=r"EarlyStopping.*`early_stopping`"):
        build(make_model(), callbacks=[keras.callbacks.EarlyStopping()])


# --- the file --------------------------------------------------------------------------------------


def test_the_file_of_an_architecture_does_not_depend_on_compilation(tmp_path):
    model = make_model(optimizer="adam")
    first = write_model(model, "fresh", tmp_path).read_bytes()
    model.compile("sgd", "mse")
    assert write_model(model, "fresh", tmp_path).read_bytes() == first
    assert "compile_config" not in json.loads(first)
    assert keras.models.model_from_json(first.decode()).count_params() == model.count_params()


def make_graph():
    images = keras.Input((8, 8, 1))
    features = keras.layers.Conv2D(4, 3)(images)
    features = keras.layers.ReLU()(keras.ops.add(features, keras.layers.Conv2D(4, 1, name="dense")(features)) / 2.0)
    inner = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(3, name="kept_7")])
    return keras.Model(images, keras.layers.Dense(10)(inner(keras.layers.GlobalAveragePooling2D()(features))))


def test_an_architecture_that_is_built_twice_gives_the_same_file(tmp_path):
    first, second = ((make_graph(), write_model(make_graph(), "fresh", tmp_path).read_text()) for _ in range(2))
    assert first[0].to_json() != second[0].to_json()  # Keras counts its names
    assert first[1] == second[1]
    again = keras.models.model_from_json(first[1])
    again.set_weights(first[0].get_weights())
    pixels = np.random.default_rng(1).random((4, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(again(pixels), first[0](pixels))
    assert [layer.name for layer in again.layers][:3] == ["input_layer", "conv2d", "dense"]
    assert [layer.name for layer in again.get_layer("sequential").layers] == ["dense_1", "kept_7"]


def test_layers_keep_names_of_their_own_in_whatever_order_a_model_has_them(tmp_path):
    keras.utils.clear_session()  # Keras then counts from 0, as in a program's first lines
    first, second = (write_model(make_resnet(), "fresh", tmp_path).read_text() for _ in range(2))
    names = [layer["name"] for layer in json.loads(first)["config"]["layers"]]
    convolutions = {name for name in names if name.startswith("conv2d")}
    assert first == second
    assert len(names) == len(set(names))
    assert convolutions == {"conv2d", *(f"conv2d_{number}" for number in range(1, len(convolutions)))}


def test_the_file_of_weights_does_not_depend_on_the_time(tmp_path):
    model = make_model(optimizer="adam")
    first = write_model(model, "uploaded", tmp_path).read_bytes()
    file = write_model(model, "uploaded", tmp_path)
    assert file.read_bytes() == first
    with zipfile.ZipFile(file) as archive:
        assert "compile_config" not in json.loads(archive.read("config.json"))
        assert "date_saved" not in json.loads(archive.read("metadata.json"))
        assert {member.date_time[0] for member in archive.infolist()} == {1980}
    again = keras.models.load_model(file)
    for got, wanted in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, wanted)


LAYERS = [("flatten", "Flatten", (64,), 0), ("out", "Dense", (10,), 650)]
FACTS = ModelFacts(
    format=ModelFormat.KERAS,
    input_shape=(8, 8, 1),
    output_shape=(10,),
    parameters=650,
    weights=False,
    network=NetworkFacts(
        scales_pixels=False,
        head_inputs=64,
        figures_at=(8, 8),
        flops=1280,
        values=74,
        largest=64,
        layers=[
            NetworkLayer(name=name, type=kind, shape=shape, parameters=parameters)
            for name, kind, shape, parameters in LAYERS
        ],
        outline=[
            NetworkStep(name="flatten", type="Flatten"),
            NetworkStep(name="out", type="Dense", sources=[0], weights=[64, 10], activation="relu"),
        ],
    ),
)


class Checker(threading.Thread):
    """Plays a worker that accepts or rejects `count` models."""

    def __init__(self, service, count, error=None):
        super().__init__(daemon=True)
        self.service, self.count, self.error = service, count, error
        self.start()

    def run(self):
        for _ in range(self.count):
            claimed = self.service.claim_when_there_is_one()
            with self.service.database.write() as session:
                if self.error:
                    claims.reject(session, claimed.held, self.error)
                else:
                    models.mark_ready(session, claimed.held, claimed.spec.model, FACTS)


def test_a_model_that_the_service_already_has_is_reused(service, client, tmp_path):
    checker = Checker(service, 2)
    model = make_model(optimizer="adam")
    first = client.models.push(model)
    assert (first.status, first.name) == ("ready", "mine")
    assert client.models.push(model).id == first.id
    file = write_model(model, "fresh", tmp_path)
    assert client.models.push(file).id == client.models.push(str(file)).id == first.id
    assert client.models.push(model, weights="uploaded").id != first.id
    checker.join()
    assert len(list(client.models.list())) == 2


def test_an_invalid_model_is_refused_before_anything_is_uploaded(client):
    with pytest.raises(ValueError, match="my_loss"):
        client.train(make_model(optimizer="adam", loss=my_loss), dataset="digits")
    with pytest.raises(TypeError, match="needs a dataset"):
        client.train(make_model())
    with pytest.raises(TypeError, match=r"belong into the spec: dataset, epochs"):
        client.train({"dataset": "digits"}, dataset="digits", epochs=3)
    assert list(client.models.list()) == []


def test_a_subclass_that_keras_cannot_save_is_refused_with_the_reason(client):
    class Own(keras.Model):
        def __init__(self, size):
            super().__init__(name="own")
            self.dense = keras.layers.Dense(3)

        def call(self, images):
            return self.dense(images)

    with pytest.raises(ValueError, match=r"Keras cannot save own: its class Own .*keras\.Sequential"):
        client.models.push(Own(object()))


REFUSAL = {"code": "unsupported_model", "detail": "Layer `x` is a Lambda."}


def test_a_model_is_trained_as_it_was_compiled(service, client):
    checker = Checker(service, 1)
    job = client.train(make_model(optimizer=optimizers.SGD(0.2)), dataset="digits", epochs=3, seed=7, l2=0.01)
    checker.join()
    assert (job.status, job.parameters, job.spec.training.epochs) == ("queued", 650, 3)
    assert job.spec.network.model == next(client.models.list()).id
    assert (job.spec.network.weights, job.spec.network.l2) == ("fresh", 0.01)
    assert (job.spec.training.optimizer.name, job.spec.training.optimizer.learning_rate) == ("sgd", 0.2)
    spec = client.models.make_spec(make_model(optimizer="adam"), dataset="digits", epochs=3)
    assert client.jobs.estimate(spec).parameters == 650
    study = client.studies.create({"spec": spec, "remedies": ["label_smoothing"], "seeds": 2, "splits": "fixed"})
    assert study.status == "running"


def test_an_async_client_trains_a_model(service):
    async def train():
        async with AsyncClient(service.url, service.key) as afar:
            return await afar.train(make_model(optimizer="adam"), dataset="digits", epochs=3)

    checker = Checker(service, 1)
    assert asyncio.run(train()).status == "queued"
    checker.join()


def test_a_model_that_the_service_rejects_raises_the_reason(service, client):
    checker = Checker(service, 1, REFUSAL)
    with pytest.raises(ModelRejected, match=r"mine was rejected: unsupported_model: Layer `x`") as refused:
        client.train(make_model(), dataset="digits")
    assert refused.value.model.status == "rejected"
    checker.join()


def test_the_command_line_trains_a_model_file_or_an_uploaded_model(service, client, heldout, tmp_path):
    checker = Checker(service, 1)
    write_model(make_model(), "fresh", tmp_path)
    asked = ("--dataset", "digits", "--set", "training.epochs=3", "--detach")
    first = client.jobs.get(heldout("train", "--model", "model.json", *asked).stdout.strip())
    checker.join()
    model = next(client.models.list()).id
    assert (first.spec.network.model, first.spec.training.epochs) == (model, 3)
    for named in ("model.json", model, model[:14]):
        job = client.jobs.get(heldout("train", "--model", named, *asked).stdout.strip())
        assert job.spec.network.model == model
    shown = heldout("models", "show", model).stdout
    for fact in ("8×8×1", "650", "none: the file is an architecture", f"`heldout train --model {model}"):
        assert fact in shown
    dry = heldout("train", "--model", model, "--dataset", "digits", "--set", "network.head=replace", "--dry-run")
    assert "650" in dry.stdout
    assert "`out` (relu) ends in an activation that limits the figures of the classes." in dry.stdout
    for options in ((), ("--dataset", "digits")):
        checked = heldout("models", "check", "model.json", *options).stdout
        assert "Last layer" in checked
        assert 'keras.layers.Dense(…, activation=None, name="out")' in checked
        assert f"`heldout train --model {model}" in checked
    found = json.loads(heldout("models", "check", "model.json", "--json").stdout)
    assert (found["model"], [note["check"] for note in found["notes"]]) == (model, ["output"])
    assert len(list(client.models.list())) == 1


def test_the_command_line_explains_invalid_models_and_options(service, heldout, tmp_path):
    def refuse(*options):
        refused = heldout("train", *options)
        assert (refused.returncode, refused.stdout) == (2, "")
        return refused.stderr

    assert "--model mine.keras needs --dataset" in refuse("--model", "mine.keras")
    assert "--model none.keras: No such file" in refuse("--model", "none.keras", "--dataset", "digits")
    assert "--model FILE" in refuse("--model", "mine.keras", "--preset", "overfit", "--dataset", "digits")
    checker = Checker(service, 1, REFUSAL)
    write_model(make_model(), "fresh", tmp_path)
    assert "unsupported_model: Layer `x` is a Lambda." in refuse("--model", "model.json", "--dataset", "digits")
    checker.join()


def test_the_option_dataset_works_with_any_spec(client, heldout):
    changes = ("--set", "network.blocks=[]", "--set", "network.blocks.0.filters=2", "--detach")
    job = client.jobs.get(heldout("train", "--preset", "overfit", "--dataset", "digits", *changes).stdout.strip())
    assert job.dataset.name == "digits"
