"""The script of a job, run in a process with Keras alone: the same data file gives the job's figures."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.datasets

from heldout.errors import NotSupported
from heldout.intervals import wilson_interval
from heldout.spec import JobSpec
from heldout.stored.final import FinalView, GapsView, SplitResult
from models.arrays import ImageSet, split_digests
from models.reports.plain_keras import ScriptFacts, require_plain, script_of
from tests.worker.training.trainings import Training, small_spec

DATA = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"

SPECS = {
    "early stopping and plateau": small_spec(
        {"filters": 4, "padding": "same", "repeat": 2, "activation": "gelu", "dropout": 0.1},
        {"filters": 6, "l2": 0.002, "pool": 1},
        network={"dense": [{"units": 12, "dropout": 0.2, "l2": 0.001}]},
        training={
            "epochs": 8,
            "early_stopping": {"monitor": "validation_loss", "patience": 2, "restore_best": True},
            "schedule": {"name": "reduce_on_plateau", "factor": 0.5, "patience": 1},
            "class_weights": "balanced",
            "label_smoothing": 0.1,
            "optimizer": {"name": "adamw", "learning_rate": 0.05, "weight_decay": 0.01},
            "train_limit": 400,
        },
    ),
    # Adam would make much of the gradients of biases before batch normalisation, which are rounding alone.
    "cosine and batch normalisation": small_spec(
        {"filters": 4, "batch_norm": True, "padding": "same"},
        network={"head": "global_average"},
        training={
            "schedule": {"name": "cosine", "warmup_epochs": 1},
            "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
            "class_weights": {"3": 2.0},
        },
    ),
}


def trained(spec: JobSpec, images: ImageSet) -> tuple[Training, FinalView]:
    """A training to its end, with the figures of its kept weights."""
    training = Training(spec, images)
    training.trainer.train()
    training.trainer.restore_kept()
    results = {}
    for split, rows in training.data.rows.items():
        found = training.evaluator.measure(rows, lambda: None)
        interval = wilson_interval(round(found.accuracy * len(rows)), len(rows))
        results[split] = SplitResult(loss=found.loss, accuracy=found.accuracy, count=len(rows), interval=interval)
    kept = training.trainer.position.kept
    return training, FinalView(epoch=kept, gap=GapsView(validation=None, test=None), **results)


def facts_of(training: Training, images: ImageSet, final: FinalView) -> ScriptFacts:
    digests = split_digests(images)
    return ScriptFacts(
        job_id="job_1",
        job_name='a "name" \\ with """ quotes',
        spec=training.spec,
        classes=images.classes,
        shape=images.shape,
        value_range=images.value_range,
        splits=training.data.source,
        images=len(images.labels),
        digests={name: digests[name] for name in ("validation", "test")},
        final=final,
        data_file="scikit-learn's digits.csv.gz",
    )


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(script), *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SPECS)
def test_the_script_gives_the_figures_of_the_job_from_the_same_data_file(
    name: str, digits: ImageSet, tmp_path: Path
) -> None:
    training, final = trained(SPECS[name], digits)
    script, model = tmp_path / "job_1.py", tmp_path / "again.keras"
    script.write_text(script_of(facts_of(training, digits, final)))
    assert "heldout" not in script.read_text().lower()
    ended = run(script, str(DATA), str(model))
    assert ended.returncode == 0, ended.stderr
    for split in ("train", "validation", "test"):
        line = next(line for line in ended.stdout.splitlines() if line.startswith(f"{split} "))
        loss, of_the_job, accuracy, accuracy_of_the_job = map(float, re.findall(r"\d+\.\d+", line))
        expected = getattr(final, split)
        assert (of_the_job, accuracy_of_the_job) == pytest.approx((expected.loss, expected.accuracy), abs=6e-5)
        assert loss == pytest.approx(expected.loss, abs=2e-3), f"{split} of {name}\n{ended.stdout}"
        assert accuracy == pytest.approx(expected.accuracy, abs=0.01)
    test = digits.splits["test"]
    said = keras.saving.load_model(model)(digits.images[test].astype(np.float32)).numpy().argmax(1)
    assert (said == digits.labels[test]).mean() == pytest.approx(final.test.accuracy, abs=0.01)


def test_the_script_refuses_other_data(digits: ImageSet, tmp_path: Path) -> None:
    training = Training(small_spec(), digits)
    script, other = tmp_path / "job_1.py", tmp_path / "other.npz"
    script.write_text(script_of(facts_of(training, digits, None)))
    np.savez(other, images=255 - digits.images, labels=digits.labels)
    ended = run(script, str(other))
    assert ended.returncode == 1
    assert "This is other data: the validation images or labels differ" in ended.stderr


@pytest.mark.parametrize(
    ("pointer", "changes"),
    [
        ("/augmentation", {"augmentation": {"horizontal_flip": True}}),
        ("/training/mixup", {"training": {"mixup": 0.2}}),
        ("/training/ema_decay", {"training": {"ema_decay": 0.9}}),
        ("/training/on_overfit", {"training": {"on_overfit": "stop"}}),
    ],
)
def test_what_plain_keras_cannot_say_is_refused(pointer: str, changes: dict) -> None:
    with pytest.raises(NotSupported) as refused:
        require_plain(small_spec(**changes))
    assert refused.value.errors[0].pointer == pointer
