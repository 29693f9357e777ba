"""The callbacks for a user's own trainings, in Keras' `fit`."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from heldout import AsyncClient
from heldout.keras import Diagnose, Report, Tell, answers
from heldout.views.diagnosis import DiagnosisView


class Service:
    """Stands in for a client and keeps what it is sent."""

    url = "http://service.test"

    @property
    def diagnoses(self):
        return self

    def create_from_predictions(self, predictions, **training):
        self.predictions, self.training = predictions, training
        return DiagnosisView(
            object="diagnosis",
            verdict="healthy",
            headline="All is well.",
            summary="Go on.",
            best_epoch=None,
            onset_epoch=None,
            explanation="Fine.",
            findings=[],
        )

    def keep(self, verdict):
        return SimpleNamespace(id="dgn_1", **verdict.model_dump())


def draw_noise(count, seed):
    """Return images and labels with nothing to learn."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 16)).astype("float32"), rng.integers(0, 2, count)


def test_a_training_that_memorizes_noise_prints_a_verdict_at_its_end(capsys):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.03), loss, metrics=["accuracy"])
    train, validation = draw_noise(64, 1), draw_noise(64, 2)
    diagnose, service = Diagnose(classes=2), Service()
    report = Report(service, train=train, test=validation, classes=2)
    history = model.fit(
        *train, validation_data=validation, epochs=25, verbose=0, callbacks=[diagnose, report], batch_size=64
    )
    printed = capsys.readouterr().out
    assert diagnose.verdict.verdict == "overfitting"
    assert f"heldout: {diagnose.verdict.headline}\n{diagnose.verdict.summary}\n" in printed
    assert "heldout: All is well.\nGo on.\nheldout: http://service.test/diagnoses/dgn_1 shows this verdict\n" in printed
    assert report.link == "http://service.test/diagnoses/dgn_1"
    assert service.training["history"] == history.history
    expected = keras.ops.softmax(model.predict(validation[0], verbose=0)).numpy()
    np.testing.assert_allclose(service.predictions["test"]["probabilities"], expected, atol=1e-5)
    assert list(service.predictions["test"]["labels"]) == list(validation[1])


def test_answers_of_shuffled_batches_keep_their_labels():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    images = np.random.default_rng(0).normal(size=(70, 16)).astype("float32")
    labels = model.predict(images, verbose=0).argmax(-1)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(70).batch(16)
    service = Service()
    # Without learning, the network stays right everywhere.
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    model.fit(
        batches,
        shuffle=False,
        verbose=0,
        callbacks=[Diagnose(classes=3), Report(service, train=batches, classes=["a", "b", "c"])],
    )
    sent = service.predictions["train"]
    assert len(sent["labels"]) == 70
    np.testing.assert_array_equal(sent["probabilities"].argmax(-1), sent["labels"])


X, Y = np.zeros((4, 16), "float32"), np.array([0, 1, 1, 0])
OF_ARRAYS = tf.data.Dataset.from_tensor_slices((X, Y))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"classes": 1}, "at least two"),
        ({"classes": "cat"}, "list of their names"),
        ({"train": X}, "expected \\(images, labels\\)"),
        ({"train": (X, Y, Y)}, "tuple of 3"),
        ({"train": (X, Y[:3])}, "4 images and 3 labels"),
        ({"test": (X, ["a", "b", "b", "a"])}, "labels such as 'a'"),
        ({"test": iter(OF_ARRAYS.batch(2))}, "read only once"),
        ({"test": OF_ARRAYS}, "expected batches"),
        ({"test": OF_ARRAYS.batch(2).repeat()}, "without end"),
        ({"test": tf.data.Dataset.from_tensor_slices(X).batch(2)}, "expected one of"),
    ],
)
def test_an_unusable_argument_is_refused_before_the_training(arguments, says):
    with pytest.raises((TypeError, ValueError), match=says):
        Report(Service(), **arguments)


def test_an_async_client_or_another_object_is_refused():
    for client in (AsyncClient("http://127.0.0.1:9", "ho_1_x"), "http://127.0.0.1:9"):
        with pytest.raises(TypeError, match="expected a client"):
            Report(client)


def test_outputs_that_do_not_fit_the_classes_are_refused_before_the_first_epoch():
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    epochs = []
    recorder = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    with pytest.raises(ValueError, match="Received 2 classes and a network with outputs"):
        model.fit(X, Y, verbose=0, callbacks=[recorder, Report(Service(), train=(X, Y), classes=2)])
    assert epochs == []


def test_answers_and_curves_are_written_to_a_file_or_a_run_when_fit_ends(tmp_path):
    sent = {}
    run = SimpleNamespace(tell=lambda **given: sent.update(given))
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(2)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    train, validation = draw_noise(64, 1), draw_noise(48, 2)
    callbacks = [
        Tell(run, validation=validation),
        Tell(tmp_path / "a.npz", train=train, validation=tf.data.Dataset.from_tensor_slices(validation).batch(7)),
    ]
    history = model.fit(*train, validation_data=validation, epochs=2, verbose=0, callbacks=callbacks)
    expected = keras.ops.softmax(model(validation[0])).numpy()
    np.testing.assert_allclose(sent["validation"]["probabilities"], expected, atol=1e-6)
    np.testing.assert_array_equal(answers(model, validation)["labels"], validation[1])
    assert sent["history"] == history.history
    written = np.load(tmp_path / "a.npz")
    np.testing.assert_allclose(written["validation_probabilities"], expected, atol=1e-6)
    assert len(written["train_labels"]) == 64
    assert json.loads((tmp_path / "a.history.json").read_text()).keys() == history.history.keys()
    with pytest.raises(TypeError, match="expected the path"):
        Tell(7, validation=validation)
