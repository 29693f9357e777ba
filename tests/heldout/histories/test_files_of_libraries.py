"""Histories in files that the libraries themselves wrote; see files/README.md."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from heldout.cli.histories import read_history
from heldout.cli.outcome import Refused

FILES = Path(__file__).parent / "files"
EXPECTED = json.loads((FILES / "expected.json").read_text())
# The fields of a history and the names of the figures that the training computed.
PLAIN = {
    "fit_loss": "train_loss",
    "fit_accuracy": "train_accuracy",
    "validation_loss": "val_loss",
    "validation_accuracy": "val_accuracy",
}
LIGHTNING = {"fit_loss": "train_loss", "validation_loss": "val_loss", "validation_accuracy": "val_acc"}
HUGGING_FACE = {"fit_loss": "loss", "validation_loss": "eval_loss", "validation_accuracy": "eval_accuracy"}
FASTAI = {"fit_loss": "train_loss", "validation_loss": "valid_loss", "validation_accuracy": "accuracy"}
ULTRALYTICS = {"fit_loss": "train", "validation_loss": "val"}
CHART = {"fit_loss": "train_loss", "validation_loss": "val_loss"}


def below(folder: str, fields: dict[str, str]) -> dict[str, str]:
    return {field: f"{folder}/{name}" for field, name in fields.items()}


@pytest.mark.parametrize(
    ("file", "library", "fields", "digits"),
    [
        ("lightning_metrics.csv", "lightning", LIGHTNING, 1e-6),
        ("hugging_face_trainer_state.json", "hugging_face", HUGGING_FACE, 1e-5),
        ("hugging_face_printed.txt", "hugging_face", HUGGING_FACE, 1e-3),  # it prints four digits
        ("fastai_accuracy.csv", "fastai", below("accuracy", FASTAI), 1e-6),
        ("fastai_printed.txt", "fastai", below("accuracy", FASTAI), 1e-5),
        ("wandb_history.csv", "wandb", PLAIN, 1e-6),
        ("wandb_chart.csv", "wandb", CHART, 1e-6),
        ("offline.wandb", "wandb", PLAIN, 1e-6),
        ("mlflow_long.csv", "mlflow", below("run 1", PLAIN), 1e-6),
        ("ultralytics_classify.csv", "ultralytics", below("classify", ULTRALYTICS), 1e-4),
        ("ultralytics_detect.csv", "ultralytics", below("detect", ULTRALYTICS), 1e-3),
    ],
)  # fmt: skip
def test_a_file_gives_the_figures_that_the_training_computed(file, library, fields, digits):
    found = read_history(FILES / file).history
    for field, name in fields.items():
        assert getattr(found, field) == pytest.approx(tuple(EXPECTED[library][name]), rel=digits, abs=2e-5), field
    assert found.numbers == ()  # they are 1, 2, 3 …


@pytest.mark.parametrize("file", ["keras_history.json", "keras_training.csv", "keras_tensorboard"])
def test_the_files_of_one_keras_training_give_the_same_figures(file):
    returned = json.loads((FILES / "keras_history.json").read_text())
    found = read_history(FILES / file).history
    for field, name in {**PLAIN, "fit_loss": "loss", "fit_accuracy": "accuracy"}.items():
        assert getattr(found, field) == pytest.approx(tuple(returned[name]), rel=1e-6), field


def test_fastais_error_rate_is_read_as_validation_accuracy():
    found = read_history(FILES / "fastai_error_rate.csv").history
    errors = EXPECTED["fastai"]["error_rate/error_rate"]
    assert found.validation_accuracy == pytest.approx([1 - error for error in errors], abs=1e-6)
    assert found.fit_accuracy == ()


def test_ultralytics_top_1_accuracy_is_read_as_validation_accuracy():
    found = read_history(FILES / "ultralytics_classify.csv").history
    assert found.validation_accuracy == pytest.approx(EXPECTED["ultralytics"]["classify/top1"])
    assert found.fit_accuracy == ()


def test_a_note_says_that_a_detectors_loss_is_the_sum_of_its_parts():
    [note] = read_history(FILES / "ultralytics_detect.csv").notes
    assert note == "Each loss is the sum of its parts: 'box_loss', 'cls_loss', 'dfl_loss'."
    assert read_history(FILES / "ultralytics_classify.csv").notes == ()


def test_training_losses_of_single_steps_are_averaged_between_validations():
    read = read_history(FILES / "hugging_face_steps.json")
    rows = json.loads((FILES / "hugging_face_steps.json").read_text())["log_history"]
    assert read.history.validation_loss == pytest.approx(EXPECTED["hugging_face"]["steps_eval_loss"], rel=1e-5)
    for epoch, found in enumerate(read.history.fit_loss, 1):
        within = [row["loss"] for row in rows if "loss" in row and epoch - 1 < row["epoch"] <= epoch]
        assert len(within) in {2, 3}
        assert found == pytest.approx(sum(within) / len(within))
    assert "Training was logged 15 times and validation 6 times" in read.notes[0]


def test_hugging_faces_final_mean_loss_is_not_part_of_the_curve():
    rows = json.loads((FILES / "hugging_face_trainer_state.json").read_text())["log_history"]
    assert "train_loss" in rows[-1]
    assert len(read_history(FILES / "hugging_face_trainer_state.json").history.fit_loss) == 6


# --- folders, and several runs -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2])
def test_the_runs_in_a_folder_of_mlflow_are_distinguished(number):
    folder = FILES / "mlruns"
    run = sorted((folder / "0").iterdir())[number - 1]
    for found in (read_history(folder, number), read_history(run), read_history(run / "metrics")):
        for field, name in below(f"run {number}", PLAIN).items():
            expected = EXPECTED["mlflow"][name]
            assert getattr(found.history, field) == pytest.approx(tuple(expected), rel=1e-6), field
    with pytest.raises(Refused, match=r"there are 2 runs \(1: '1\w+', 6 points, 2: '2\w+', 6 points\); say which one"):
        read_history(folder)


@pytest.fixture
def database(tmp_path):
    """A database of MLflow next to its folder of artifacts."""
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.executescript((FILES / "mlflow_database.sql").read_text())
    (tmp_path / "mlruns" / "1").mkdir(parents=True)
    return tmp_path / "mlflow.db"


@pytest.mark.parametrize("number", [1, 2])
def test_the_runs_in_a_database_of_mlflow_are_distinguished_and_it_is_only_read(database, number):
    content = database.read_bytes()
    for target in (database, database.parent, database.parent / "mlruns"):
        found = read_history(target, number).history
        for field, name in below(f"run {number}", PLAIN).items():
            assert getattr(found, field) == pytest.approx(tuple(EXPECTED["mlflow"][name]), rel=1e-6), field
    with pytest.raises(Refused, match=r"there are 2 runs \(1: 'run 1', 6 points, 2: 'run 2', 6 points\)"):
        read_history(database)
    assert database.read_bytes() == content
    assert sorted(path.name for path in database.parent.iterdir()) == ["mlflow.db", "mlruns"]


def test_values_logged_at_the_same_step_keep_their_order(database):
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE metrics SET step = 0")
        connection.commit()
    found = read_history(database, 1).history
    assert found.validation_loss == pytest.approx(tuple(EXPECTED["mlflow"]["run 1/val_loss"]), rel=1e-6)


def test_another_database_and_a_damaged_one_are_refused(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.executescript("CREATE TABLE metrics (x INTEGER)")
    (tmp_path / "cut.db").write_bytes((tmp_path / "other.db").read_bytes()[:500])
    for name in ("other.db", "cut.db"):
        with pytest.raises(Refused, match="cannot be read as a database of MLflow"):
            read_history(tmp_path / name)


def test_the_runs_in_a_table_of_mlflow_are_distinguished():
    file = FILES / "mlflow_two_runs.csv"
    with pytest.raises(Refused, match="there are 2 runs"):
        read_history(file)
    for number in (1, 2):
        expected = EXPECTED["mlflow"][f"run {number}/val_loss"]
        assert read_history(file, number).history.validation_loss == pytest.approx(expected, rel=1e-6)
    with pytest.raises(Refused, match="there are 2 runs, and no run 3"):
        read_history(file, 3)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("trainer_state.json", "hugging_face_trainer_state.json"),
        ("metrics.csv", "lightning_metrics.csv"),
        ("results.csv", "ultralytics_detect.csv"),
        ("files/run-1.wandb", "offline.wandb"),
    ],
)
def test_the_folder_of_a_training_is_read_through_its_file(tmp_path, name, source):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes((FILES / source).read_bytes())
    assert read_history(tmp_path) == read_history(FILES / source)


def test_a_truncated_wandb_file_gives_its_complete_records_and_other_bytes_are_refused(tmp_path):
    whole = (FILES / "offline.wandb").read_bytes()
    file = tmp_path / "run.wandb"
    file.write_bytes(whole[: whole.index(b"val_accuracy", len(whole) // 2)])
    found = read_history(file).history
    assert 0 < len(found.validation_loss) < 6
    assert found.validation_loss == pytest.approx(EXPECTED["wandb"]["val_loss"][: len(found.validation_loss)])
    for content in (b"", b"epoch,loss", whole[:7]):
        file.write_bytes(content)
        with pytest.raises(Refused, match=r"not the file of an offline run|needs a training and a validation curve"):
            read_history(file)


def test_an_invalid_line_of_a_metric_is_refused_with_its_number(tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "loss").write_text("1 0.5 0\nx\n")
    with pytest.raises(Refused, match="line 2 of the metric 'loss' is 'x'; expected its time, value and step"):
        read_history(tmp_path)
