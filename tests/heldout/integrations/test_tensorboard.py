"""Logs for TensorBoard, read by TensorBoard's own reader and compared with the logs of Keras' callback."""

import json
import threading

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from tests.heldout.served import SPEC

EPOCHS = 3


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The folder that `TensorBoard` wrote for a short `fit`, and the history that it returned."""
    folder = tmp_path_factory.mktemp("keras")
    keras.utils.set_random_seed(3)
    images = np.random.default_rng(3).normal(size=(64, 4)).astype(np.float32)
    labels = (images.sum(axis=1) > 0).astype(np.int32)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss, metrics=["accuracy"], run_eagerly=True)  # faster than tracing for so few steps
    logs = keras.callbacks.TensorBoard(folder)
    given = {"validation_data": (images[48:], labels[48:]), "epochs": EPOCHS, "verbose": 0, "callbacks": [logs]}
    return folder, network.fit(images[:48], labels[:48], **given).history


def read(folder):
    """Map folder and tag to steps, values and plugins as TensorBoard reads them, only for figures of epochs."""
    found = {}
    for split in ("train", "validation"):
        events = EventAccumulator(str(folder / split), size_guidance={"tensors": 0}).Reload()
        for tag in events.Tags()["tensors"]:
            if tag.startswith("epoch_"):
                points = events.Tensors(tag)
                metadata = events.SummaryMetadata(tag)
                found[split, tag] = (
                    [point.step for point in points],
                    [float(make_ndarray(point.tensor_proto)) for point in points],
                    (metadata.plugin_data.plugin_name, metadata.data_class),
                )
    return found


def record(service, held, history, epochs):
    for row in epochs:
        figures = {
            "fit_loss": history["loss"][row],
            "fit_accuracy": history["accuracy"][row],
            "validation_loss": history["val_loss"][row],
            "validation_accuracy": history["val_accuracy"][row],
        }
        service.measure(held, row + 1, **figures)


def test_the_logs_equal_those_of_keras_callback(service, client, heldout, fitted, tmp_path):
    by_keras, history = fitted
    job_id = client.jobs.create({**SPEC, "name": "pets: /../ 2", "training": {"epochs": EPOCHS}}).id
    held = service.begin(job_id)
    record(service, held, history, range(EPOCHS))
    service.succeed(held)
    done = heldout("tensorboard", job_id, "--logdir", "runs")
    folder = tmp_path / "runs" / f"pets_.._2-{job_id}"
    assert done.stdout.splitlines() == [
        str(folder.relative_to(tmp_path)),
        "Look at them with: tensorboard --logdir runs",
    ]
    ours, theirs = read(folder), read(by_keras)
    assert ours.keys() == theirs.keys()
    for curve, (steps, values, plugin) in theirs.items():
        assert (ours[curve][0], ours[curve][2]) == (steps, plugin)
        np.testing.assert_array_equal(np.float32(ours[curve][1]), np.float32(values))
    served = client.jobs.metrics(job_id).epochs
    np.testing.assert_array_equal(
        np.float32(ours["validation", "epoch_loss"][1]), np.float32([epoch.validation_loss for epoch in served])
    )
    times = EventAccumulator(str(folder / "train"), size_guidance={"tensors": 0}).Reload().Tensors("epoch_loss")
    took = [epoch.seconds + epoch.evaluation_seconds for epoch in served]
    np.testing.assert_allclose(np.diff([point.wall_time for point in times]), took[1:], atol=1e-6)


def test_a_second_call_adds_the_new_epochs_to_the_same_file(service, client, heldout, fitted, tmp_path):
    _, history = fitted
    job_id = client.jobs.create({**SPEC, "training": {"epochs": EPOCHS}}).id
    assert f"{job_id}: no epoch is complete yet" in heldout("tensorboard", job_id).stdout
    held = service.begin(job_id)
    record(service, held, history, range(2))
    [folder] = json.loads(heldout("tensorboard", job_id, "--json").stdout)["jobs"].values()
    open_in_tensorboard = EventAccumulator(str(tmp_path / folder / "train"), size_guidance={"tensors": 0}).Reload()
    assert [point.step for point in open_in_tensorboard.Tensors("epoch_loss")] == [0, 1]
    record(service, held, history, range(2, EPOCHS))
    service.fail(held)
    heldout("tensorboard", job_id)
    assert [point.step for point in open_in_tensorboard.Reload().Tensors("epoch_loss")] == [0, 1, 2]
    assert len(list((tmp_path / folder).rglob("*tfevents*"))) == 2


def test_a_loss_that_is_not_finite_is_nan_in_the_logs(service, client, heldout, tmp_path):
    job_id = client.jobs.create(SPEC).id
    held = service.begin(job_id)
    service.measure(held, 1, fit_loss=float("inf"))
    service.fail(held)
    heldout("tensorboard", job_id)
    assert np.isnan(read(tmp_path / "logs" / f"small-{job_id}")["train", "epoch_loss"][1][0])


def test_following_writes_until_all_jobs_have_ended(service, client, heldout, tmp_path):
    jobs = [client.jobs.create(SPEC).id for _ in range(2)]
    ended = [service.begin(job) for job in jobs]
    for held in ended:
        service.measure(held, 1)

    def end():
        for held in ended:
            service.measure(held, 2)
            service.succeed(held)

    later = threading.Timer(0.5, end)
    later.start()
    done = heldout("tensorboard", *jobs, "--follow")
    later.join()
    assert done.returncode == 0
    for job in jobs:
        assert read(tmp_path / "logs" / f"small-{job}")["train", "epoch_loss"][0] == [0, 1]


def test_diagnose_reads_the_logs_again(ended, heldout):
    [folder] = json.loads(heldout("tensorboard", ended, "--json").stdout)["jobs"].values()
    diagnosis = json.loads(heldout("diagnose", folder, "--json").stdout)
    assert diagnosis["best_epoch"] == json.loads(heldout("diagnose", ended, "--json").stdout)["best_epoch"]
