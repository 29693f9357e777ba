"""The script of a job, run in a process with only Keras: the same data file gives the job's figures."""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest
import sklearn.datasets

from analysis.answers.answers import Answers, Predictions
from analysis.answers.metrics import contribute
from analysis.arrays.dataset import ImageSet, compute_split_digests
from analysis.scripts.script import (
    Ended,
    FirstWeights,
    ScriptFacts,
    make_array_reader,
    make_folder_reader,
    make_table_reader,
    render_script,
)
from heldout.metrics import METRICS
from heldout.spec.dataset import ResizeSpec
from heldout.spec.job import JobSpec
from heldout.spec.optimization import OptimizerSpec
from heldout.statistics import compute_wilson_interval
from heldout.stored.results import FinalView, GapsView, SplitResult
from tests.worker.training.trainings import Training, small_spec
from worker.messages import StopCause
from worker.training.augmentation.augment import build_augmentation, draw_changes
from worker.training.data.training_data import select
from worker.training.engine.training_policy import StopRequested
from worker.training.exports.exported_model import build_exported
from worker.training.measuring.evaluate import Evaluator
from worker.training.networks.network import build_network, freeze_blocks
from worker.training.training_setup import start_from

DATA = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"

AUGMENTED = {"rotation_degrees": 20, "width_shift": 0.1, "zoom": 0.1, "brightness": 0.2, "contrast": 0.2}
COSTS = [[0.5 if answer == 10 else float(answer != label) for answer in range(11)] for label in range(10)]
# Everything that a script can contain, in as few trainings as possible.
SPECS = {
    "augmentation, erasing, averaged weights, early stopping and plateau by macro F1, balanced sampling": small_spec(
        {"filters": 4, "padding": "same", "repeat": 2, "activation": "gelu", "dropout": 0.1},
        {"filters": 6, "l2": 0.002, "pool": 1},
        network={"dense": [{"units": 12, "dropout": 0.2, "l2": 0.001}]},
        augmentation={**AUGMENTED, "fill_mode": "reflect", "erasing": 0.5, "views": 2},
        training={
            "epochs": 8,
            "early_stopping": {"patience": 2, "restore_best": True},
            "schedule": {"name": "reduce_on_plateau", "factor": 0.5, "patience": 1},
            "sampling": "balanced",
            "label_smoothing": 0.1,
            "ema_decay": 0.9,
            "optimizer": {"name": "adamw", "learning_rate": 0.05, "weight_decay": 0.01},
            "train_limit": 400,
        },
        objective="macro_f1",
    ),
    # Adam would amplify the gradients of biases before batch normalization, which are only rounding.
    "flips, cutmix, cosine, batch normalization, the guard's best epoch": small_spec(
        {"filters": 4, "batch_norm": True, "padding": "same"},
        network={"head": "global_average"},
        augmentation={"horizontal_flip": True, "vertical_flip": True, "height_shift": 0.2, "fill_mode": "constant"},
        training={
            "schedule": {"name": "cosine", "warmup_epochs": 1},
            "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
            "class_weights": {"3": 2.0},
            "cutmix": 0.8,
            "on_overfit": "stop_and_restore",
        },
    ),
    "wrapping, mixup, weights of another job, a frozen block, a deadline": small_spec(
        {"filters": 4},
        {"filters": 3, "pool": 1, "kernel_size": 2},
        augmentation={**AUGMENTED, "fill_mode": "wrap"},
        training={"mixup": 0.4, "ema_decay": 0.8},
        initial={"job": "job_01jd0000000000000000000000", "freeze_blocks": 1},
    ),
}
SPECS["crops, TrivialAugment, erasing, one cycle, focal loss, Nesterov, clipped gradients"] = small_spec(
    {"filters": 4, "padding": "same"},
    network={"head": "global_average"},
    augmentation={"random_crop": {}, "horizontal_flip": True, "trivial_augment": True, "erasing": 0.2},
    training={
        "schedule": {"name": "one_cycle"},
        "loss": {"name": "focal", "gamma": 1.5},
        "label_smoothing": 0.1,
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "clip_norm": 0.1},
    },
)
TAKEN = ["block1_conv1"]
SPECS["residual blocks, strides, group normalization, average pooling, recounted averages"] = small_spec(
    {"filters": 4, "padding": "same", "norm": "batch", "pool_type": "average"},
    {"filters": 4, "norm": "group", "residual": True, "repeat": 2, "pool": 1, "dropout": 0.1},
    {"filters": 8, "norm": "group", "residual": True, "strides": 2, "pool": 1, "l2": 0.01},
    {"filters": 8, "padding": "valid", "kernel_size": 2, "strides": 2, "pool": 1},
    training={"optimizer": {"name": "sgd", "learning_rate": 0.05}, "batch_norm": {"momentum": 0.8}},
    evaluation={"recount_batch_norm": True},
)


class ScriptedJob:
    """A completed training with the figures of its kept weights and its script.

    initial: the file from which it starts, if any. Its deadline then comes after two epochs.
    """

    def __init__(self, spec: JobSpec, images: ImageSet, folder: Path) -> None:
        self.initial: Path | None = None
        if spec.initial is not None:
            self.initial = folder / "initial.keras"
            data = select(images, spec)
            build_exported(spec.network, data, build_network(spec.network, data.image, 10, 99)).save(self.initial)
        training = Training(spec, images, network=None if spec.initial is None else self.make_network(spec, images))
        if spec.initial is not None:
            training.requested_stop = lambda: StopCause.DEADLINE if training.trainer.position.epoch > 2 else None
        with suppress(StopRequested):
            training.trainer.train()
        training.restore_kept()
        results = {}
        for split, rows in training.data.rows.items():
            # Measure the kept weights: the training's own evaluator may measure an average of the last steps.
            found = Evaluator(training.network, training.resident).measure(rows, lambda: None)
            interval = compute_wilson_interval(round(found.accuracy * len(rows)), len(rows))
            results[split] = SplitResult(loss=found.loss, accuracy=found.accuracy, count=len(rows), interval=interval)
        self.final = FinalView(
            epoch=training.trainer.position.kept, gap=GapsView(validation=None, test=None), **results
        )
        self.facts = make_facts(training, images, self.final)

    def make_network(self, spec: JobSpec, images: ImageSet) -> keras.Model:
        network = build_network(spec.network, images.shape, len(images.classes), spec.training.seed)
        start_from(network, self.initial, TAKEN)
        freeze_blocks(network, spec.initial.freeze_blocks)
        return network


def make_facts(training: Training, images: ImageSet, final: FinalView) -> ScriptFacts:
    digests, spec = compute_split_digests(images), training.spec
    return ScriptFacts(
        job_id="job_1",
        job_name='a "name" \\ with """ quotes',
        spec=spec,
        classes=images.classes,
        shape=images.shape,
        value_range=images.value_range,
        splits=training.data.source,
        images=len(images.labels),
        digests={name: digests[name] for name in ("validation", "test")},
        final=final,
        reader=make_table_reader("scikit-learn's digits.csv.gz"),
        initial=None if spec.initial is None else FirstWeights(spec.initial.job, TAKEN),
        ended=None if spec.initial is None else Ended(2, "the job ran out of time here"),
    )


# One process runs all scripts, because importing Keras takes longer than such a training.
RUN_ALL = """
import json, runpy, sys
for sys.argv in json.loads(sys.argv[1]):
    print("=" * 79)
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
Run = tuple[ScriptedJob, str, Path]


@pytest.fixture(scope="module")
def runs(digits: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Return each job with the output of its script and the model that the script has saved."""
    jobs, commands = [], []
    for spec in SPECS.values():
        folder = tmp_path_factory.mktemp("script")
        jobs.append(job := ScriptedJob(spec, digits, folder))
        (folder / "job_1.py").write_text(render_script(job.facts))
        initial = [] if job.initial is None else [job.initial]
        commands.append([str(argument) for argument in (folder / "job_1.py", DATA, *initial, folder / "again.keras")])
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(
        [sys.executable, "-I", "-c", RUN_ALL, json.dumps(commands)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    _, *printed = ended.stdout.split("=" * 79)
    return {
        name: (job, text, Path(command[-1]))
        for name, job, text, command in zip(SPECS, jobs, printed, commands, strict=True)
    }


@pytest.fixture(scope="module")
def facts(digits: ImageSet) -> ScriptFacts:
    """The facts of a training that has not begun."""
    return make_facts(Training(small_spec(), digits), digits, None)


@pytest.mark.parametrize("name", SPECS)
def test_the_script_gives_the_figures_of_the_job_from_the_same_data_file(
    name: str, digits: ImageSet, runs: dict[str, Run]
) -> None:
    job, printed, model = runs[name]
    assert "heldout" not in render_script(job.facts).lower()
    for split in ("train", "validation", "test"):
        line = next(line for line in printed.splitlines() if line.startswith(f"{split} "))
        loss, of_the_job, accuracy, accuracy_of_the_job = map(float, re.findall(r"\d+\.\d+", line))
        expected = getattr(job.final, split)
        assert (of_the_job, accuracy_of_the_job) == pytest.approx((expected.loss, expected.accuracy), abs=6e-5)
        assert loss == pytest.approx(expected.loss, abs=1e-4), f"{split} of {name}\n{printed}"
        assert accuracy == pytest.approx(expected.accuracy, abs=0.01)
    test = digits.splits["test"]
    answers = keras.saving.load_model(model)(digits.images[test].astype(np.float32)).numpy().argmax(1)
    assert (answers == digits.labels[test]).mean() == pytest.approx(job.final.test.accuracy, abs=0.01)


FINAL = FinalView(
    epoch=2,
    train=SplitResult(loss=None, accuracy=0.5, count=9, interval=(0.1, 0.9)),
    validation=None,
    test=None,
    gap=GapsView(validation=None, test=None),
)
# Parts that the trainings above leave out.
MORE_SPECS = [
    small_spec(
        augmentation={"contrast": 0.1, "erasing": 0.3},
        training={
            "cutmix": 0.5,
            "early_stopping": {"monitor": "validation_accuracy", "min_delta": 0.01, "restore_best": False},
        },
    ),
    small_spec(
        augmentation={"erasing": 0.3},
        training={"schedule": {"name": "cosine"}},
        initial={"model": "mod_01jd0000000000000000000000"},
    ),
    small_spec(
        augmentation={"random_crop": {"name": "resized"}, "hue": 0.1},
        training={"schedule": {"name": "step"}, "loss": {"name": "focal"}},
    ),
    small_spec(
        augmentation={"saturation": 0.1, "trivial_augment": True, "fill_mode": "constant"},
        training={"schedule": {"name": "step", "milestones": [2]}, "mixup": 0.2},
    ),
    # It enlarges rounding where an image is black.
    small_spec({"filters": 4, "norm": "layer", "residual": True}),
    small_spec(training={"ema_decay": 0.9, "class_weights": "balanced", "mixup": 0.2}),
    small_spec(objective="cost", costs=COSTS, training={"schedule": {"name": "reduce_on_plateau"}}),
    small_spec(objective="worst_class", training={"early_stopping": {"min_delta": 0.01}}),
    *(
        small_spec(training={"optimizer": {"name": name}})
        for name in get_args(OptimizerSpec.model_fields["name"].annotation)
    ),
]


def test_scripts_pass_the_linter_and_the_type_checker(facts: ScriptFacts, digits: ImageSet, tmp_path: Path) -> None:
    resize = ResizeSpec(height=8, width=8, rule="crop")
    folders = make_folder_reader("", [f"{row}.png" for row in range(len(digits.labels))], digits.labels, resize)
    for number, spec in enumerate([*SPECS.values(), *MORE_SPECS]):
        reader = (make_array_reader(""), make_table_reader(""), folders)[number % 3]
        initial = None if spec.initial is None else FirstWeights(spec.initial.job or spec.initial.model, TAKEN)
        ended = Ended(2, "the job ran out of time here") if number % 3 == 0 else None
        final = FINAL if number % 2 else None
        changed = replace(facts, spec=spec, reader=reader, final=final, initial=initial, ended=ended)
        (tmp_path / f"script_{number}.py").write_text(render_script(changed))
    # A file in a tar has content, which the types do not express.
    mypy = ("mypy", "--config-file=", "--check-untyped-defs", "--ignore-missing-imports", "--follow-imports=silent")
    mypy += ("--disable-error-code=union-attr", "--cache-dir", str(tmp_path / "cache"))
    for check in (("ruff", "check", "--isolated", "--no-cache"), mypy):
        command = [sys.executable, "-m", *check, *map(str, sorted(tmp_path.glob("*.py")))]
        checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("objective", [name for name in METRICS if name not in ("accuracy", "loss")])
def test_the_script_computes_the_objective_as_the_job_does(objective, facts: ScriptFacts) -> None:
    spec = small_spec(objective=objective, costs=COSTS, group_column="camera", training={"early_stopping": {}})
    groups, random = np.random.default_rng(1).integers(-1, 3, facts.images), np.random.default_rng(0)
    facts = replace(facts, spec=spec, splits={"validation": np.arange(400)}, groups=groups)
    exec(render_script(facts), script := {"__name__": "script"})
    labels, logits = random.integers(0, 10, 400).astype(np.int32), random.normal(0, 1, (400, 10)).astype(np.float32)
    logits[np.arange(400), labels] += 1
    network = type("Answers", (), {"predict": lambda self, images, **options: images})()
    given = [script["GROUPS"]] if objective == "worst_group" else []
    found = script["measure"](network, logits, labels, *given)["objective"]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = Answers.to(labels, Predictions(shares, -np.log(shares[np.arange(400), labels])))
    assert found == pytest.approx(contribute(objective, answers.in_groups(groups[:400]), COSTS).value, abs=1e-9)


@pytest.mark.parametrize(
    ("augmentation", "fill_mode"),
    [
        ({"random_crop": {"name": "resized"}, "rotation_degrees": 20.0, "hue": 0.3, "saturation": 0.5}, "nearest"),
        ({"random_crop": {"padding": 0.2}, "brightness": 0.2, "hue": 0.2}, "constant"),
        ({"trivial_augment": True}, "constant"),
        ({"trivial_augment": True, "zoom": 0.2, "saturation": 0.3, "erasing": 0.5}, "nearest"),
    ],
)
def test_the_script_changes_color_images_as_the_job_does(augmentation, fill_mode, facts: ScriptFacts) -> None:
    spec = small_spec(augmentation=augmentation | {"fill_mode": fill_mode})
    exec(render_script(replace(facts, spec=spec, shape=(9, 12, 3))), script := {"__name__": "script"})
    images = (np.random.default_rng(0).integers(0, 256, (80, 9, 12, 3)) / 255).astype(np.float32)
    fill = np.float32([0.1, 0.5, 0.9])
    rows = draw_changes(spec.augmentation, (9, 12, 3), seed=7, epoch=2, count=80)
    expected = build_augmentation(spec.augmentation, (9, 12, 3), fill)(images, *rows).numpy()
    erases = {"fill": fill} if spec.augmentation.erasing else {}
    result = script["changed"](images, *script["draw_changes"](2, 80), **erases)
    # An operation gives the next value where rounding moves a pixel across the border between two bytes.
    differs = np.abs(result - expected) > 2e-5
    assert differs.mean() < 0.005


def test_the_script_refuses_other_data(facts: ScriptFacts, digits: ImageSet, tmp_path: Path) -> None:
    exec(render_script(replace(facts, reader=make_array_reader(""))), script := {"__name__": "script"})
    np.savez(tmp_path / "other.npz", images=255 - digits.images, labels=digits.labels)
    with pytest.raises(SystemExit, match="This is other data: the validation images or labels differ"):
        script["splits_of"](*script["read"](str(tmp_path / "other.npz")))
