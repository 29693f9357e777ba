"""The callbacks for trainings of one's own, in Keras' own `fit`."""

import keras
import numpy as np

from heldout.keras import Diagnose, Report
from heldout.views.diagnosis import DiagnosisView


class Service:
    """Keeps what it is sent, in a client's place."""

    def diagnose_predictions(self, predictions, **training):
        self.predictions, self.training = predictions, training
        return DiagnosisView(
            object="diagnosis", verdict="healthy", best_epoch=None, onset_epoch=None, explanation="Fine.", findings=[]
        )


def noise(count, seed):
    """Images without anything to learn in them, and labels."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 16)).astype("float32"), rng.integers(0, 2, count)


def test_a_training_that_memorises_noise_is_told_so_at_its_end(capsys):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.03), loss, metrics=["accuracy"])
    train, validation = noise(64, 1), noise(64, 2)
    diagnose, service = Diagnose(classes=2), Service()
    report = Report(service, train=train, test=validation, classes=2)
    history = model.fit(
        *train, validation_data=validation, epochs=25, verbose=0, callbacks=[diagnose, report], batch_size=64
    )
    said = capsys.readouterr().out
    assert diagnose.verdict.verdict == "overfitting"
    assert f"heldout: overfitting. {diagnose.verdict.explanation}" in said
    assert "heldout: healthy. Fine." in said
    assert service.training["history"] == history.history
    expected = keras.ops.softmax(model.predict(validation[0], verbose=0)).numpy()
    np.testing.assert_allclose(service.predictions["test"]["probabilities"], expected, atol=1e-5)
    assert list(service.predictions["test"]["labels"]) == list(validation[1])
