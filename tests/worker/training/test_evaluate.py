"""Metrics are those that Keras, scikit-learn and statsmodels compute for the same weights."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from math import isnan

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss
from statsmodels.stats.proportion import proportion_confint

from analysis.answers.answers import Predictions
from analysis.arrays.file_names import FileNames
from heldout.stored.results import drop_not_finite
from tests.worker.training.trainings import Training, fewer, scale_to_unit, small_spec
from worker.training.engine.checkpoint import LossSums
from worker.training.exports.exported_model import build_exported
from worker.training.finalize import save_predictions
from worker.training.measuring.evaluate import Evaluator, Measured, build_final_figures, measure_predictions
from worker.training.measuring.predictor import Predictor


@pytest.fixture(scope="module")
def trained(digits) -> Training:
    """Train a network with everything that must not affect a measurement."""
    spec = small_spec(
        {"filters": 6, "dropout": 0.4, "l2": 0.1, "batch_norm": True},
        network={"dense": [{"units": 16, "dropout": 0.5, "l2": 0.1}]},
        training={"label_smoothing": 0.2, "class_weights": {"1": 5.0}, "optimizer": {"learning_rate": 0.01}},
        augmentation={"rotation_degrees": 30.0},
    )
    training = Training(spec, fewer(digits, 300))
    training.trainer.train()
    return training


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_is_measured_as_keras_evaluates_it_without_penalties_or_weights(trained, split):
    rows, data = trained.data.rows[split], trained.data
    exported = build_exported(trained.spec.network, data, trained.network)
    loss, accuracy = exported.evaluate(data.images[rows], data.labels[rows], verbose=0)
    measured = trained.evaluator.measure(rows)
    assert measured.loss == pytest.approx(loss, abs=2e-6)
    assert measured.accuracy == pytest.approx(accuracy, abs=1e-7)
    assert measured.count == len(rows)


def test_measuring_changes_nothing_and_repeats(trained):
    before = trained.engine.state()
    first = trained.evaluator.measure(trained.data.rows["train"])
    assert trained.evaluator.measure(trained.data.rows["train"]) == first
    for now, value in zip(trained.engine.state(), before, strict=True):
        np.testing.assert_array_equal(now, value)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_the_batch_size_of_a_measurement_does_not_matter(trained, batch_size):
    rows = trained.data.rows["train"]
    expected = trained.evaluator.measure(rows)
    measured = Evaluator(trained.network, trained.resident, batch_size).measure(rows)
    assert measured.correct == expected.correct
    assert measured.loss == pytest.approx(expected.loss, rel=1e-6)


def test_an_evaluator_prepared_in_a_thread_measures_the_same_and_is_not_traced_again(trained):
    rows = trained.data.rows["train"]
    prepared = Evaluator(trained.network, trained.resident)
    with ThreadPoolExecutor(1) as thread:
        prepared.prepare_in(thread)
        assert prepared.measure(rows) == trained.evaluator.measure(rows)
    assert prepared._call.experimental_get_tracing_count() == 1


def test_a_stop_request_is_checked_between_the_calls_of_a_measurement(trained):
    checks = []
    trained.evaluator.measure(trained.data.rows["train"], lambda: checks.append(1))
    assert checks


def predict(training: Training, exported: keras.Model) -> dict[str, Predictions]:
    predictor = Predictor(exported, training.resident, training.data.value_range)
    return {split: predictor.predict(rows) for split, rows in training.data.rows.items()}


def measure_export(training: Training, split: str) -> Measured:
    data = training.data
    exported = build_exported(training.spec.network, data, training.network)
    predictions = predict(training, exported)[split]
    return measure_predictions(predictions.losses, predictions.probabilities, data.labels[data.rows[split]])


def test_predictions_give_what_scikit_learn_computes_from_them(trained):
    data = trained.data
    exported = build_exported(trained.spec.network, data, trained.network)
    predictions = predict(trained, exported)["test"]
    labels, probabilities = data.labels[data.rows["test"]], predictions.probabilities
    measured = measure_predictions(predictions.losses, probabilities, labels)
    assert measured.loss == pytest.approx(log_loss(labels, probabilities, labels=range(10)), abs=1e-6)
    assert measured.accuracy == accuracy_score(labels, probabilities.argmax(axis=1))
    assert measured.loss == pytest.approx(trained.evaluator.measure(data.rows["test"]).loss, abs=1e-6)


def test_huge_losses_are_those_of_keras_in_both_ways_of_measuring(trained):
    data, rows = trained.data, trained.data.rows["validation"]
    before = trained.network.get_weights()
    trained.network.set_weights([weight * 50 for weight in before])  # so confident that probabilities round to zero
    exported = build_exported(trained.spec.network, data, trained.network)
    expected, _ = exported.evaluate(data.images[rows], data.labels[rows], verbose=0)
    measured, exported_loss = trained.evaluator.measure(rows), measure_export(trained, "validation").loss
    trained.network.set_weights(before)
    assert expected > 1000
    assert measured.loss == pytest.approx(expected, rel=1e-5)
    assert exported_loss == pytest.approx(expected, rel=1e-5)


def test_weights_that_are_not_finite_give_a_loss_that_is_not_finite(trained):
    before = trained.network.get_weights()
    trained.network.set_weights([np.full_like(weight, np.nan) for weight in before])
    measured = trained.evaluator.measure(trained.data.rows["validation"])
    trained.network.set_weights(before)
    assert isnan(measured.loss)
    assert drop_not_finite(measured.loss) is None


def test_final_figures_have_wilson_intervals_and_gaps_that_are_positive_if_held_out_is_worse():
    train, validation, test = Measured(0.1, 98, 100), Measured(0.4, 45, 50), Measured(0.3, 160, 200)
    final = build_final_figures(4, {"train": train, "validation": validation, "test": test})
    assert final.epoch == 4
    assert final.gap.validation.model_dump() == pytest.approx({"accuracy": 0.08, "loss": 0.3})
    assert final.gap.test.model_dump() == pytest.approx({"accuracy": 0.18, "loss": 0.2})
    for found, measured in ((final.train, train), (final.validation, validation), (final.test, test)):
        expected = proportion_confint(measured.correct, measured.count, method="wilson")
        assert found.interval == pytest.approx(expected)
        assert found.accuracy == measured.correct / measured.count
        assert (found.loss, found.count) == (measured.loss, measured.count)


def test_an_unmeasured_test_split_is_null_in_the_figures_and_in_the_gap():
    final = build_final_figures(1, {"train": Measured(0.1, 98, 100), "validation": Measured(0.4, 45, 50)})
    assert final.test is None
    assert final.gap.test is None
    assert final.gap.validation.accuracy == pytest.approx(0.08)


def test_figures_that_are_not_finite_become_null_and_accuracies_stay():
    diverged = Measured(float("inf"), 45, 50)
    stored = build_final_figures(1, {"train": Measured(float("nan"), 98, 100), "validation": diverged})
    final = json.loads(json.dumps(stored.model_dump(mode="json"), allow_nan=False))
    assert [final[split]["loss"] for split in ("train", "validation")] == [None, None]
    assert [final[split]["accuracy"] for split in ("train", "validation")] == [0.98, 0.9]
    assert final["gap"]["validation"] == {"accuracy": pytest.approx(0.08), "loss": None}


def test_an_empty_split_has_no_figures(trained):
    empty = np.array([], np.int32)
    measured = trained.evaluator.measure(empty)
    assert (isnan(measured.loss), isnan(measured.accuracy), measured.count) == (True, True, 0)
    assert measure_predictions(np.empty(0, np.float32), np.empty((0, 3), np.float32), empty).count == 0


def test_the_exported_model_takes_raw_pixels_and_has_the_parameters_of_the_network(trained):
    data = trained.data
    exported = build_exported(trained.spec.network, data, trained.network)
    rows = data.rows["test"]
    logits = trained.network.predict(scale_to_unit(data.images[rows], data.value_range), verbose=0)
    expected = keras.ops.softmax(logits)
    np.testing.assert_allclose(exported.predict(data.images[rows], verbose=0), expected, atol=1e-6)
    assert data.value_range == (0, 16)
    assert exported.count_params() == trained.network.count_params()
    assert not any("Random" in type(layer).__name__ for layer in exported.layers)
    assert all(type(layer).__module__.startswith("keras.") for layer in exported.layers)


def test_the_loss_of_each_image_is_that_of_keras_in_the_order_of_the_rows(trained):
    rows = trained.data.rows["train"][::-1].copy()
    measured, each = trained.evaluator.measure_each(rows)
    images, labels = trained.resident.batch(rows)
    expected = keras.losses.sparse_categorical_crossentropy(labels, trained.network(images), from_logits=True)
    np.testing.assert_allclose(each, expected, atol=1e-5)
    assert measured == trained.evaluator.measure(rows)
    assert each.mean(dtype=np.float64) == pytest.approx(measured.loss, rel=1e-6)


def test_predictions_name_the_positions_in_the_dataset(trained, digits, tmp_path):
    data = trained.data
    exported = build_exported(trained.spec.network, data, trained.network)
    names = [f"{'é' if row % 2 else '=x'}/{row}.png" for row in range(len(digits.labels))]
    names[int(data.source["test"][0])] = "long/" + 300 * "x" + ".png"
    (tmp_path / "members.txt").write_text("".join(f"{name}\n" for name in names))
    predictions, files = predict(trained, exported), FileNames(tmp_path / "members.txt")
    save_predictions(tmp_path / "unnamed.npz", data, predictions)
    sums = np.arange(len(data.rows["train"]), dtype=np.float32)
    save_predictions(tmp_path / "summed.npz", data, predictions, losses=LossSums(sums, 3))
    save_predictions(tmp_path / "predictions.npz", data, predictions, files)
    with np.load(tmp_path / "predictions.npz") as stored, np.load(tmp_path / "unnamed.npz") as unnamed:
        arrays = product(("train", "validation", "test"), ("indices", "labels", "probabilities"))
        kept = {"classes"} | {f"{split}_{array}" for split, array in arrays}
        assert set(unnamed) == kept
        with np.load(tmp_path / "summed.npz") as summed:
            assert set(summed) == kept | {"train_loss_sums", "train_loss_epochs"}
            assert (summed["train_loss_sums"].tolist(), int(summed["train_loss_epochs"])) == (sums.tolist(), 3)
        assert set(stored) == kept | {f"{split}_files" for split in ("train", "validation", "test")}
        assert stored["classes"].tolist() == list(digits.classes)
        assert stored["train_files"].tolist() == [names[row] for row in stored["train_indices"]]
        assert stored["test_files"][0] == "…" + 195 * "x" + ".png"
        assert stored["test_files"][1:].tolist() == [names[row] for row in stored["test_indices"][1:]]
        for split in ("train", "validation", "test"):
            indices = stored[f"{split}_indices"]
            np.testing.assert_array_equal(stored[f"{split}_labels"], digits.labels[indices])
            again = exported.predict(digits.images[indices], verbose=0)
            np.testing.assert_allclose(stored[f"{split}_probabilities"], again, atol=1e-6)
