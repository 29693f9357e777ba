"""Histories in files of Keras' own callbacks, read by the client without TensorFlow."""

import contextlib
import io
import json
import re
import struct
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from heldout.cli.app import app
from heldout.cli.histories import read_history
from heldout.cli.outcome import Refused
from heldout.diagnosis import History
from heldout.histories.event_files import iterate_scalars
from heldout.integrations.event_format import compute_masked_crc32c

EPOCHS = 4


def small_training() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    keras.utils.set_random_seed(3)
    images = np.random.default_rng(3).normal(size=(64, 4)).astype(np.float32)
    labels = (images.sum(axis=1) > 0).astype(np.int32)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss, metrics=["accuracy"], run_eagerly=True)  # faster than tracing for so few steps
    return network, images, labels


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> tuple[Path, dict[str, list[float]]]:
    """A folder with the output of `TensorBoard` and `CSVLogger` for a short `fit`, and the history that it returned."""
    folder = tmp_path_factory.mktemp("callbacks")
    network, images, labels = small_training()
    history = network.fit(
        images[:48],
        labels[:48],
        validation_data=(images[48:], labels[48:]),
        epochs=EPOCHS,
        verbose=0,
        callbacks=[
            keras.callbacks.TensorBoard(folder / "logs", update_freq="batch"),
            keras.callbacks.CSVLogger(folder / "log.csv"),
            keras.callbacks.CSVLogger(folder / "semicolons.csv", separator=";"),
        ],
    ).history
    return folder, history


def assert_is(found: History, history: dict[str, list[float]]) -> None:
    expected = {
        "fit_loss": history["loss"],
        "fit_accuracy": history["accuracy"],
        "validation_loss": history["val_loss"],
        "validation_accuracy": history["val_accuracy"],
    }
    for name, values in expected.items():
        assert getattr(found, name) == pytest.approx(tuple(values), rel=1e-6), name
    assert (found.train_loss, found.train_accuracy) == ((), ())


def test_the_folder_of_the_tensorboard_callback_contains_the_history_of_fit(fitted):
    folder, history = fitted
    assert_is(read_history(folder / "logs").history, history)


@pytest.mark.parametrize("name", ["log.csv", "semicolons.csv"])
def test_the_table_of_the_csv_logger_contains_the_history_of_fit(fitted, name):
    folder, history = fitted
    assert_is(read_history(folder / name).history, history)


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_printed_output_of_fit_contains_its_history(tmp_path, verbose):
    network, images, labels = small_training()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        network.summary()
        history = network.fit(
            images, labels, validation_split=0.25, epochs=EPOCHS, batch_size=16, verbose=verbose,
            callbacks=[keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True, verbose=1)],
        ).history  # fmt: skip
        network.evaluate(images, labels, verbose=verbose)
    path = tmp_path / "log.txt"
    path.write_text(printed.getvalue())
    found = read_history(path).history
    for name, values in (
        ("fit_loss", "loss"),
        ("validation_loss", "val_loss"),
        ("validation_accuracy", "val_accuracy"),
    ):
        assert getattr(found, name) == pytest.approx(tuple(history[values]), abs=6e-5), name


def test_logs_without_validation_are_refused_with_what_is_needed(fitted):
    folder, _ = fitted
    [file] = (folder / "logs" / "train").glob("*tfevents*")
    for half in (file, folder / "logs" / "train"):
        with pytest.raises(Refused, match=r"validation curve .* those of TensorBoard"):
            read_history(half)


def test_scalars_equal_those_that_tensorboard_reads(fitted):
    folder, _ = fitted
    for run in ("train", "validation"):
        theirs = EventAccumulator(str(folder / "logs" / run), size_guidance={"tensors": 0})
        theirs.Reload()
        expected = {
            (tag, event.step): tf.make_ndarray(event.tensor_proto).item()
            for tag in theirs.Tags()["tensors"]
            for event in theirs.Tensors(tag)
            if not event.tensor_proto.tensor_shape.dim and event.tensor_proto.dtype == tf.float32.as_datatype_enum
        }
        [file] = (folder / "logs" / run).glob("*tfevents*")
        with file.open("rb") as opened:
            assert {(scalar.tag, scalar.step): scalar.value for scalar in iterate_scalars(opened)} == expected
        assert len(expected) >= 2 * EPOCHS


def test_files_of_tensorflow_1_with_all_curves_in_one_are_read(tmp_path):
    with tf.Graph().as_default():
        writer = tf.compat.v1.summary.FileWriter(str(tmp_path))
        for epoch in range(EPOCHS):
            values = {"loss": 1.0 / (epoch + 1), "acc": 0.5, "val_loss": 2.0, "val_acc": 0.25 * epoch, "lr": 0.1}
            summary = tf.compat.v1.Summary()
            for tag, value in values.items():
                summary.value.add(tag=tag, simple_value=value)
            writer.add_summary(summary, epoch)
        writer.close()
    [file] = tmp_path.glob("*tfevents*")
    for source in (file, tmp_path):
        found = read_history(source).history
        assert found.fit_loss == pytest.approx((1.0, 1 / 2, 1 / 3, 1 / 4))
        assert found.validation_accuracy == (0.0, 0.25, 0.5, 0.75)


def test_an_unfinished_file_gives_its_complete_epochs_and_a_damaged_file_is_refused(fitted, tmp_path):
    folder, history = fitted
    for run in ("train", "validation"):
        [file] = (folder / "logs" / run).glob("*tfevents*")
        (tmp_path / run).mkdir()
        whole = file.read_bytes()
        last = whole.rindex(b"epoch_loss")
        (tmp_path / run / file.name).write_bytes(whole[: last + 12])
    found = read_history(tmp_path).history
    assert found.validation_loss == pytest.approx(tuple(history["val_loss"][: EPOCHS - 1]))
    broken = bytearray(whole)
    broken[last] ^= 1
    (tmp_path / "validation" / file.name).write_bytes(broken)
    with pytest.raises(Refused, match="damaged"):
        read_history(tmp_path)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_scalars_downloaded_from_tensorboard_are_read_from_their_folder(fitted, tmp_path, form):
    _, history = fitted
    runs = {"train": ("loss", "accuracy"), "validation": ("val_loss", "val_accuracy")}
    for run, curves in runs.items():
        for curve in curves:
            rows = [[1.7e9 + step, step, value] for step, value in enumerate(history[curve])]
            table = "\n".join(["Wall time,Step,Value", *(",".join(map(str, row)) for row in rows)])
            name = f"run-{run}-tag-epoch_{curve.removeprefix('val_')}.{form}"
            (tmp_path / name).write_text(table if form == "csv" else json.dumps(rows))
    assert_is(read_history(tmp_path).history, history)


def test_an_empty_folder_and_a_file_of_other_bytes_are_refused(tmp_path):
    with pytest.raises(Refused, match="neither event files nor scalars"):
        read_history(tmp_path)
    (tmp_path / "events.out.tfevents.1").write_bytes(b"this is no record of any kind")
    with pytest.raises(Refused, match=re.escape("not an event file")):
        read_history(tmp_path)


# --- invalid files get one line of explanation, never a traceback -----------------------------------------


def record(data: bytes, length: int | None = None) -> bytes:
    """Make a record of an event file; even a wrong length has a valid checksum."""
    head = struct.pack("<Q", len(data) if length is None else length)
    return head + struct.pack("<I", compute_masked_crc32c(head)) + data + struct.pack("<I", compute_masked_crc32c(data))


def point(step: object, value: object = 1.0) -> str:
    return json.dumps([[1.7e9, step, value]])


HOSTILE = {
    "deep.json": '{"a":' * 200_000,
    "deeper.json": '{"loss": [1], "val_loss": ' + "[" * 200_000,
    "halved.json": '{"loss": [1.0',
    "text.json": '{"loss": "abc", "val_loss": [1]}',
    "number.json": '{"loss": 5, "val_loss": [1]}',
    "texts.json": '{"loss": ["x"], "val_loss": [1]}',
    "digits.json": '{"loss": [' + "9" * 5000 + '], "val_loss": [1]}',
    "epochs.json": '{"object": "metrics", "epochs": [1, "x", null]}',
    "figures.json": '{"object": "metrics", "epochs": [{"train_loss": "x"}]}',
    "list.json": "[[1, 2]]",
    "empty.csv": "",
    "bytes.csv": bytes(range(256)),
    "long.tfevents.1": record(b"", 2**63),
    "longer.tfevents.1": record(b"", 2**45),
    "unfinished.tfevents.1": record(b"", 2**30),
    "random.tfevents.1": record(bytes(range(255, 0, -1))),
    "folder.csv/nothing.txt": "",
    "folder/run-train-tag-epoch_loss.csv/nothing.txt": "",
    "infinity/run-train-tag-epoch_loss.json": point(float("inf")),
    "nan/run-train-tag-epoch_loss.json": point(float("nan")),
    "step/run-train-tag-epoch_loss.json": point(1e30),
    "value/run-train-tag-epoch_loss.json": point(1, [1.0]),
    "row/run-train-tag-epoch_loss.json": "[[1, 2]]",
    "object/run-train-tag-epoch_loss.json": "{}",
    "depth/run-train-tag-epoch_loss.json": "[" * 200_000,
    "table/run-train-tag-epoch_loss.csv": "Wall time,Step,Value\n1.7e9,1e30,1.0\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_invalid_history_is_refused_in_one_line(tmp_path, name):
    content = HOSTILE[name]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    ran = CliRunner().invoke(app, ["diagnose", str(tmp_path / name.split("/")[0])])
    assert (ran.exit_code, ran.stdout) == (2, "")
    [line] = ran.stderr.splitlines()
    assert re.fullmatch(
        r"heldout: /.*; expected a history that a training tool wrote. Files: Keras' history as JSON, .*", line
    )
    assert len(line) < 2000


def test_absurd_numbers_in_files_count_as_not_finite(tmp_path):
    huge = "9" * 400
    (tmp_path / "history.json").write_text(f'{{"loss": [1, {huge}], "val_loss": [1, -1e200]}}')
    epochs = f'[{{"train_loss": 1, "validation_loss": 1}}, {{"train_loss": {huge}, "validation_loss": 1e308}}]'
    (tmp_path / "metrics.json").write_text(f'{{"object": "metrics", "epochs": {epochs}}}')
    (tmp_path / "table.csv").write_text(f"loss,val_loss\n1,1\n{huge},1e308\n")
    for run in ("train", "validation"):
        rows = f'[[1.7e9, 0, 1], [1.7e9, 1, {huge}], [1.7e9, 2, "NaN"]]'
        (tmp_path / f"run-{run}-tag-epoch_loss.json").write_text(rows)
    for path in (tmp_path / "history.json", tmp_path / "metrics.json", tmp_path / "table.csv", tmp_path):
        found = read_history(path).history
        training_loss = found.train_loss or found.fit_loss
        assert training_loss[:2] == found.validation_loss[:2] == (1.0, None)


def test_a_record_longer_than_the_rest_of_the_file_ends_it(fitted, tmp_path):
    folder, history = fitted
    for run in ("train", "validation"):
        [file] = (folder / "logs" / run).glob("*tfevents*")
        (tmp_path / run).mkdir()
        # A record that is too long to be read, an empty record, and an incomplete record.
        more = record(b"x" * 200_000) + record(b"") + record(b"x", 2**31 - 1)
        (tmp_path / run / file.name).write_bytes(file.read_bytes() + more)
    assert_is(read_history(tmp_path).history, history)


def test_the_command_judges_the_chosen_run(tmp_path):
    path = tmp_path / "log.csv"
    rows = [f"{at},{value},{value}\n" for value in (2.0, 1.0) for at in range(9)]
    path.write_text("epoch,loss,val_loss\n" + "".join(rows))
    ran = CliRunner().invoke(app, ["diagnose", str(path)])
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"heldout: {path}: there are 2 runs (1: 9 epochs, 2: 9 epochs); say which one to use, for example with "
        '`--run 2` or `"run": 2` for the second.\n'
    )
    for run, figure in (("1", "2.00"), ("2", "1.00")):
        ran = CliRunner().invoke(app, ["diagnose", str(path), "--run", run, "--json"])
        assert ran.exit_code == 0
        assert f"was {figure} after the first epoch" in json.loads(ran.stdout)["explanation"]
    job = "job_" + 26 * "0"
    ran = CliRunner().invoke(app, ["diagnose", job, "--run", "2"])
    assert (ran.exit_code, ran.stderr) == (
        2,
        f"heldout: --run is for files with several histories, and {job} is not a file.\n",
    )


def test_metrics_without_figures_are_not_a_divergence(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"object": "metrics", "epochs": [{"x": 1}] * 9}))
    ran = CliRunner().invoke(app, ["diagnose", str(path), "--json"])
    assert (ran.exit_code, json.loads(ran.stdout)["verdict"]) == (0, "cannot_tell")


def test_a_file_takes_precedence_over_a_job_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("HELDOUT_URL", "HELDOUT_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    Path("job_rising.json").write_text(json.dumps({"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 2.5, 2.0]}))
    ran = CliRunner().invoke(app, ["diagnose", "job_rising.json", "--json"])
    assert (ran.exit_code, json.loads(ran.stdout)["object"]) == (0, "diagnosis")
    # Without a file it is taken for a job's id, and there is no service.
    assert CliRunner().invoke(app, ["diagnose", "job_falling.json"]).exit_code == 4
