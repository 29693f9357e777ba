"""`heldout compare` with runs from files of answers, histories, tables and MLflow."""

import csv
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from heldout.cli.outcome import Exit
from heldout.cli.recorded_tables import guess_better, name_arm, read_mlflow_rows
from heldout.errors import RunsDisagree, TunerTrials

FILES = Path(__file__).parents[1] / "histories" / "files"
LABELS = np.random.default_rng(0).integers(0, 3, 200)


def answer(seed: int, shift: float = 0.0, labels=LABELS) -> np.ndarray:
    outputs = np.random.default_rng(seed).normal(size=(len(labels), 3)) + (1 + shift) * np.eye(3)[labels]
    return np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)


def write_answers(folder: Path, arm: str, shift: float, seeds: int = 6) -> None:
    folder.mkdir(exist_ok=True)
    for seed in range(seeds):
        arrays = {"validation_labels": LABELS, "validation_probabilities": answer(seed, shift)}
        np.savez(folder / f"{arm}-seed{seed}.npz", **arrays)


def write_table(file: Path, header: list[str], rows: list[list[object]]) -> None:
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([header, *rows])


def test_files_of_answers_are_compared_and_the_answer_is_printed(heldout, client, tmp_path):
    write_answers(tmp_path / "runs", "base", 0.0)
    write_answers(tmp_path / "runs", "drop", 1.5)
    result = heldout("compare", "base=runs/base-*.npz", "drop=runs/drop-*.npz")
    assert result.returncode == 0, result.stderr
    assert "Drop is better than the base, and confirmed." in result.stdout
    assert "Paired with the base by seed: 6 pairs." in result.stdout
    [study] = client.studies.list()
    assert (study.kind, study.conclusion.kind, study.conclusion.remedy) == ("recorded", "cure", "drop")
    assert [run.seed for run in study.recorded.arms[0].runs] == [0, 1, 2, 3, 4, 5]


def test_folders_of_answers_are_compared_and_printed_as_json(heldout, tmp_path):
    write_answers(tmp_path / "base", "any", 0.0, 3)
    write_answers(tmp_path / "other", "any", 0.0, 3)
    result = heldout("compare", "base=base", "other=other/", "--objective", "accuracy", "--json")
    study = json.loads(result.stdout)
    assert (result.returncode, study["status"], study["conclusion"]["kind"]) == (0, "succeeded", "cannot_tell")
    assert (study["objective"], study["arms"][1]["difference"]["loss"]) == ("accuracy", None)


def test_a_seed_that_comes_twice_in_the_names_of_files_is_refused_with_both(heldout, tmp_path):
    for folder in ("base", "again", "other"):
        write_answers(tmp_path / folder, "any", 0.0, 2)
    result = heldout("compare", "base=base", "base=again", "other=other")
    assert result.returncode == Exit.REFUSED
    assert "Seed 0 comes twice in `base`: base/any-seed0.npz and again/any-seed0.npz" in result.stderr


def test_histories_give_their_last_validation_figure(heldout, client, tmp_path):
    for arm, gain in (("base", 0.0), ("drop", 0.1)):
        for seed in range(3):
            curve = {"accuracy": [0.5, 0.9], "val_accuracy": [0.9, 0.7 + seed / 100 + gain]}
            (tmp_path / f"{arm}{seed}.json").write_text(json.dumps(curve))
    assert heldout("compare", "base=base*.json", "drop=drop*.json").returncode == 0
    [study] = client.studies.list()
    assert [run.value for run in study.recorded.arms[1].runs] == pytest.approx([0.8, 0.81, 0.82])
    assert study.recorded.metric == "accuracy"


def test_a_table_of_runs_is_grouped_by_its_arms(heldout, client, tmp_path):
    rows = [
        [f"r{seed}", arm, seed, 70 + seed + gain] for arm, gain in (("base", 0), ("Drop 0.3", 9)) for seed in range(5)
    ]
    write_table(tmp_path / "runs.csv", ["run", "arm", "seed", "val_acc"], [*rows, ["dead", "base", 9, ""]])
    result = heldout("compare", "--csv", "runs.csv")
    assert result.returncode == 0, result.stderr
    assert "1 row without val_acc is left out." in result.stderr
    assert "read as percentages" in result.stderr
    assert "VAL_ACC" in result.stdout
    [study] = client.studies.list()
    assert [arm.name for arm in study.arms] == ["base", "drop 0.3"]
    assert study.arms[1].difference.accuracy == pytest.approx(0.09)


def test_an_export_of_a_tracker_is_grouped_by_a_parameter(heldout, client, tmp_path):
    rows = [[f"sunny-{n}", 0.3 * (n % 2), n // 2, 0.5 - 0.1 * (n % 2) + n / 100, 1] for n in range(10)]
    write_table(tmp_path / "wandb.csv", ["Name", "dropout", "seed", "val_loss", "epoch"], rows)
    asked = ("compare", "--csv", "wandb.csv", "--by", "dropout")
    assert "Name one with --base VALUE" in heldout(*asked, "--metric", "val_loss").stderr
    assert "Choose one with --metric" in heldout(*asked, "--base", "0.0").stderr
    assert heldout(*asked, "--base", "0.0", "--metric", "val_loss").returncode == 0
    [study] = client.studies.list()
    assert (study.recorded.better, study.arms[1].name) == ("lower", "dropout 0.3")


@pytest.fixture
def mlflow_database(tmp_path: Path) -> Path:
    file = tmp_path / "mlflow.db"
    with sqlite3.connect(file) as connection:
        connection.executescript((FILES / "mlflow_experiment.sql").read_text())
    connection.close()
    return file


def test_an_experiment_of_mlflow_is_grouped_by_a_parameter(heldout, client, mlflow_database):
    asked = ("compare", "--mlflow", "mlflow.db", "--by", "dropout", "--base", "0.0", "--metric", "val_acc")
    refused = heldout(*asked)
    assert (refused.returncode, "'dropout', 'nothing'" in refused.stderr) == (Exit.REFUSED, True)
    assert heldout(*asked, "--experiment", "dropout").returncode == 0
    [study] = client.studies.list()
    assert study.arms[1].difference.accuracy == pytest.approx(0.05)
    assert [run.value for run in study.recorded.arms[0].runs] == pytest.approx([0.8, 0.802, 0.804, 0.806, 0.808])
    assert study.arms[1].seeds == 5, "the deleted run is not among them"
    assert study.recorded.arms[1].paired


def test_runs_can_be_grouped_by_a_tag_and_a_duplicate_seed_is_refused(heldout, mlflow_database):
    asked = ("compare", "--mlflow", "mlflow.db", "--experiment", "nothing", "--metric", "val_acc")
    result = heldout(*asked, "--by", "team", "--base", "t0")
    assert (result.returncode, "Seed 0 comes twice in `base`: 0.0-0 and 0.3-0" in result.stderr) == (Exit.REFUSED, True)


def test_a_folder_of_mlflow_gives_the_same_rows_as_a_database(tmp_path: Path, mlflow_database):
    run = tmp_path / "mlruns" / "7" / "a1"
    for name, text in {
        "meta.yaml": "lifecycle_stage: active",
        "params/dropout": "0.3",
        "params/seed": "4",
        "tags/mlflow.runName": "0.3-4",
        "tags/team": "t0",
        "metrics/val_acc": "1 0.5 1\n2 0.8580000000000001 2\n",
        "../meta.yaml": "name: 'dropout'",
    }.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    [row] = read_mlflow_rows(tmp_path / "mlruns", "dropout")
    rows = read_mlflow_rows(mlflow_database, "dropout")
    assert {name: row[name] for name in rows[-1]} == rows[-1]


def test_tuner_trials_and_invalid_arguments_are_refused(heldout, tmp_path):
    write_table(tmp_path / "trials.csv", ["arm", "acc"], [["base", 0.8], *([f"t{n}", 0.8] for n in range(30))])
    result = heldout("compare", "--csv", "trials.csv")
    assert (result.returncode, "trials of a tuner" in result.stderr) == (Exit.REFUSED, True)
    assert heldout("compare", "base=nowhere/*.npz", "b=x").returncode == Exit.REFUSED
    assert "expected ARM=FILES" in heldout("compare", "base").stderr
    assert heldout("compare").returncode == Exit.REFUSED
    assert "--by belongs to" in heldout("compare", "base=a", "--by", "x").stderr
    (tmp_path / "mlflow.db").write_text("no database")
    assert "cannot be read" in heldout("compare", "--mlflow", "mlflow.db").stderr


def test_the_runs_that_disagree_are_named_and_the_study_is_cancelled(heldout, client, tmp_path):
    write_answers(tmp_path, "base", 0.0, 3)
    write_answers(tmp_path, "drop", 0.0, 3)
    short = {"validation_labels": LABELS[:90], "validation_probabilities": answer(1)[:90]}
    np.savez(tmp_path / "drop-seed1.npz", **short)
    result = heldout("compare", "base=base-*.npz", "drop=drop-*.npz")
    assert result.returncode == Exit.REFUSED
    assert "is drop-seed1.npz." in result.stderr
    assert "(drop, seed 1) cannot be compared with" in result.stderr
    [study] = client.studies.list()
    assert study.status == "cancelled"


@pytest.mark.parametrize(("metric", "better"), [("val_loss", "lower"), ("f1", "higher"), ("val/NLL", "lower")])
def test_the_name_of_a_metric_says_which_values_are_better(metric, better):
    assert guess_better(metric) == better


@pytest.mark.parametrize(
    ("by", "value", "name"),
    [("arm", "0", "base"), ("arm", "Drop=0.3", "drop 0.3"), ("dropout", "0.3", "dropout 0.3"), ("arm", "7", "arm 7")],
)
def test_values_become_names_of_arms(by, value, name):
    assert name_arm(by, value, "0") == name


# --- from Python -----------------------------------------------------------------------------------------


def test_arrays_and_figures_are_compared_from_python(client):
    def run(seed: int, shift: float) -> dict[str, dict[str, object]]:
        return {"validation": {"labels": LABELS.tolist(), "probabilities": answer(seed, shift)}}

    arms = {arm: {seed: run(seed, shift) for seed in range(4)} for arm, shift in (("base", 0.0), ("drop", 1.5))}
    study = client.studies.recorded(arms)
    assert (study.status, study.conclusion.kind) == ("succeeded", "cure")
    figures = client.studies.recorded({"base": [0.8, 0.81, 0.79], "drop": [0.9, np.float32(0.91), 0.89]}, metric="f1")
    assert (figures.recorded.metric, figures.recorded.arms[1].paired) == ("f1", False)
    with pytest.raises(TunerTrials):
        client.studies.recorded({"base": [0.8], "a": [0.9], "b": [0.7]})
    with pytest.raises(RunsDisagree):
        client.studies.recorded(
            {**arms, "other": {0: {"validation": {"labels": [0], "probabilities": [[1, 0, 0]]}}, 1: run(1, 0)}}
        )


def test_two_folders_of_answers_are_judged_with_one_answer_and_its_exit_code(heldout, tmp_path):
    for name, shift in (("base", 1.5), ("same", 1.5), ("bad", 0.0)):
        write_answers(tmp_path / name, "run", shift)
    worse = heldout("judge", "base", "bad", "--markdown", "answer.md")
    assert worse.returncode == Exit.WORSE, worse.stderr
    assert worse.stdout.startswith("The candidate is worse than the base.")
    assert "# Heldout: The candidate is worse than the base." in (tmp_path / "answer.md").read_text()
    same = heldout("judge", "base", "same", "--json")
    found = json.loads(same.stdout)
    assert (same.returncode, found["answer"], found["study"]["kind"]) == (Exit.AS_GOOD, "as_good", "recorded")
    assert heldout("judge", "bad", "base").returncode == 0
