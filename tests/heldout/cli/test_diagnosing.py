"""`heldout diagnose` with files of predictions, alone and with a history."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from heldout.cli import host_commands
from tests.analysis.answers.made import arrays, predicted
from tests.heldout.served import bare_environment

SPLITS = {"train": predicted(0.99, 600, 0), "validation": predicted(0.85, 300, 1), "test": predicted(0.84, 300, 2)}


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "predictions.npz"
    np.savez(path, **arrays(**SPLITS))
    return path


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history.csv"
    rows = [f"{epoch},{1 / epoch:.4f},{0.5 + 0.4 / epoch:.4f}" for epoch in range(1, 13)]
    path.write_text("\n".join(["epoch,loss,val_loss", *rows]))
    return path


def test_the_command_and_the_client_give_the_same_diagnosis_of_predictions(heldout, client, npz):
    shown = heldout("diagnose", str(npz))
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("The network memorized its 600 training images.\ntoo little data\nIt gets 99 of 100")
    assert "On validation images, probabilities are " in shown.stdout
    found = json.loads(heldout("diagnose", str(npz), "--json").stdout)
    assert found == client.diagnoses.create_from_predictions(npz).model_dump(mode="json")
    listed = {
        split: {"labels": labels.tolist(), "probabilities": probs.astype(float).tolist()}
        for split, (labels, probs) in SPLITS.items()
    }
    assert client.diagnoses.create_from_predictions(listed).gap.test.accuracy == found["gap"]["test"]["accuracy"]


def test_a_table_of_predictions_is_distinguished_from_a_history_by_its_columns(heldout, client, tmp_path):
    table = tmp_path / "answers.csv"
    rows = [
        f"{split};{label};{answer}"
        for split, (labels, probs) in SPLITS.items()
        for label, answer in zip(labels, probs.argmax(axis=1), strict=True)
    ]
    table.write_text("\n".join(['"split";"y_true";"y_pred"', *rows]))
    shown = heldout("diagnose", str(table))
    assert "\ntoo little data\n" in shown.stdout
    assert sum(line.startswith("Gap to new images") for line in shown.stdout.splitlines()) == 1, "no table of the loss"
    assert "probabilities are" not in shown.stdout


def test_predictions_are_diagnosed_without_a_service(run_here, npz, history, tmp_path):
    nowhere = bare_environment(tmp_path) | {"HELDOUT_URL": "http://127.0.0.1:9"}
    shown = run_here(nowhere, "diagnose", str(npz))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("The network memorized its 600 training images.\n")
    both = run_here(nowhere, "diagnose", str(history), "--predictions", str(npz), "--json")
    assert json.loads(both.stdout)["best_epoch"] == 12


def test_a_light_client_sends_predictions_to_the_service_or_says_what_to_install(
    heldout, run_here, npz, tmp_path, monkeypatch
):
    monkeypatch.setattr(host_commands, "find_spec", lambda name: None if name == "numpy" else find_spec(name))
    assert heldout("diagnose", str(npz)).stdout.startswith("The network memorized its 600 training images.\n")
    refused = run_here(bare_environment(tmp_path) | {"HELDOUT_URL": "http://127.0.0.1:9"}, "diagnose", str(npz))
    assert refused.returncode == 4
    assert "install the extra `data`" in refused.stderr


def test_a_history_and_predictions_are_judged_together(heldout, client, npz, history):
    found = json.loads(heldout("diagnose", str(history), "--predictions", str(npz), "--json").stdout)
    assert found["best_epoch"] == 12
    assert found["gap"]["train"]["count"] == 600
    alone = json.loads(heldout("diagnose", str(history), "--json").stdout)
    assert (alone["best_epoch"], alone["gap"]) == (12, None)


def test_the_number_of_classes_or_their_names_can_be_given(heldout, client, npz, history):
    assert heldout("diagnose", str(history)).stdout.startswith("Its best epoch was its last one.")
    for classes in ("2", "cat,dog"):
        assert "guessing among 2 classes costs 0.6931" in heldout("diagnose", str(history), "--classes", classes).stdout
    refused = heldout("diagnose", str(npz), "--classes", "2")
    assert refused.returncode == 2
    assert "received 2 classes, but probabilities of 10" in refused.stderr


def test_contradictory_arguments_are_refused_with_2(heldout, npz, history):
    for arguments, words in (
        (["job_" + 26 * "0", "--classes", "2"], "--classes are for files"),
        (["predictions.npz", "--predictions", "predictions.npz"], "Name a history first"),
        (["predictions.npz", "--run", "2"], "mean nothing"),
        (["history.csv", "--classes", "cat"], "expected a number, or names"),
        (["history.csv", "--predictions", "none.npz"], "No such file"),
        (["history.csv", "--predictions", "history.csv"], "xpected the columns `split`, `label`"),
    ):
        refused = heldout("diagnose", *arguments)
        assert refused.returncode == 2, arguments
        assert words in refused.stderr
