"""The spec: complete, bounded, frozen, and without unknown fields."""

import copy
import json
import math

import pytest
from pydantic import ValidationError

from heldout.spec.job import JobSpec
from heldout.spec.part import MAX_SEED

MINIMAL = {"dataset": "mnist5k", "network": {"blocks": [{"filters": 16}]}}

COMPLETE = {
    "name": None,
    "dataset": "mnist5k",
    "network": {
        "backbone": None,
        "blocks": [
            {
                "filters": 16,
                "kernel_size": 3,
                "padding": "valid",
                "strides": 1,
                "activation": "relu",
                "batch_norm": False,
                "norm": None,
                "residual": False,
                "repeat": 1,
                "pool": 2,
                "pool_type": "max",
                "dropout": 0.0,
                "l2": None,
            }
        ],
        "l2": 0.0,
        "head": "flatten",
        "dense": [],
    },
    "augmentation": None,
    "training": {
        "epochs": 10,
        "batch_size": 32,
        "optimizer": {
            "name": "adam",
            "learning_rate": 0.001,
            "momentum": None,
            "nesterov": False,
            "weight_decay": None,
            "clip_norm": None,
        },
        "loss": {"name": "cross_entropy", "gamma": None, "alpha": None},
        "schedule": {"name": "constant"},
        "early_stopping": None,
        "class_weights": None,
        "sampling": "uniform",
        "label_smoothing": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
        "ema_decay": None,
        "batch_norm": {"momentum": None},
        "train_limit": None,
        "on_overfit": "none",
        "precision": "auto",
        "seed": None,
    },
    "objective": None,
    "costs": None,
    "group_column": None,
    "initial": None,
    "validation": None,
    "evaluation": {"train": "every_epoch", "test": "final", "recount_batch_norm": False},
    "limits": {"max_runtime_s": 86400, "max_pending_s": None, "keep_s": None},
    "priority": 0,
    "resources": {"device": "auto", "gpus": 1, "towers": "auto"},
    "metadata": {},
}

# A value for everything that is optional, so that every part exists.
FULL = {
    **COMPLETE,
    "name": "full",
    "network": {
        **COMPLETE["network"],
        "backbone": {"model": "mod_1", "size": None, "trainable": True, "pixels": "unit", "unfreeze_at": None},
        "dense": [{"units": 8, "activation": "gelu", "dropout": 0.5, "l2": 0.001}],
    },
    "augmentation": {
        "rotation_degrees": 20.0,
        "width_shift": 0.2,
        "height_shift": 0.2,
        "zoom": 0.1,
        "horizontal_flip": True,
        "vertical_flip": False,
        "random_crop": {"name": "padded", "padding": 0.125, "area": None},
        "brightness": 0.1,
        "contrast": 0.1,
        "saturation": 0.4,
        "hue": 0.1,
        "trivial_augment": True,
        "fill_mode": "reflect",
        "erasing": 0.5,
        "erasing_area": [0.1, 0.3],
        "views": 4,
    },
    "training": {
        **COMPLETE["training"],
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "early_stopping": {
            "monitor": "validation_accuracy",
            "patience": 3,
            "min_delta": 0.01,
            "restore_best": False,
        },
        "class_weights": {"3": 2.0},
        "sampling": "balanced",
        "seed": 7,
    },
    "objective": "macro_f1",
    "costs": [[0.0, 1.0, 0.5], [4.0, 0.0, 0.5]],
    "group_column": "camera",
    "initial": {"job": "job_1", "model": None, "freeze_blocks": 1},
    "validation": {"folds": 5, "fold": 2, "seed": 3},
    "metadata": {"team": "vision"},
}

# path: accepted values at the bound, refused values just beyond it. Plain numbers and words are compared with
# docs/reference/spec.md by tests/test_docs.py.
BOUNDS = {
    "initial.job": (["job_1", "j" * 40], [7, "j" * 41]),
    "initial.model": ([None], [7]),
    "validation.folds": ([3, 20], [1, 21, None]),
    "validation.fold": ([0, 4], [-1, 5, 20]),
    "name": (["a", "a" * 128, None], ["", "a" * 129]),
    "dataset": (["d", "pets@3"], [""]),
    "network.backbone.model": (["mod_1", "m" * 128], ["m" * 129, 7, None]),
    "network.backbone.size": ([None, 32, 224, 512], [0, 31, 33, 544, 64.5]),
    "network.blocks": ([[], [{"filters": 1}], [{"filters": 1}] * 64], [[{"filters": 1}] * 65]),
    "network.blocks.0.filters": ([1, 1024], [0, 1025, None]),
    "network.blocks.0.strides": ([1, 4], [0, 5, 2.0, True]),
    "network.blocks.0.norm": (["layer", "group", None], ["instance", "", True]),
    "network.blocks.0.residual": ([False], [1, "true"]),
    "network.blocks.0.pool_type": (["max", "average"], ["mean", 2]),
    "network.blocks.0.dropout": ([0, 0.999], [-0.01, 1, 1.5]),
    "network.blocks.0.l2": ([0, 1, None], [-0.01, 1.01]),
    "network.dense": ([[], [{"units": 1}] * 4], [[{"units": 1}] * 5]),
    "network.dense.0.units": ([1, 4096], [0, 4097, None]),
    "augmentation.erasing_area": (
        [[0.02, 0.33], [0.5, 0.5], [0.001, 1]],
        [[0.33, 0.02], [0, 0.5], [0.5, 1.01], [0.5], [0.1, 0.2, 0.3], 0.5],
    ),
    "training.epochs": ([2, 1000], [0, 1001]),
    "training.optimizer.learning_rate": ([1e-9, 1], [0, -0.1, 1.01]),
    "training.optimizer": (
        [
            {"name": "sgd", "momentum": 0},
            {"name": "sgd", "momentum": 0.99},
            {"name": "sgd", "momentum": 0.9, "nesterov": True},
            {"name": "adam", "nesterov": False},
            {"name": "adam", "clip_norm": 1000},
            {"name": "rmsprop", "clip_norm": 1e-6},
            {"name": "adamw", "weight_decay": 0},
            {"name": "adamw", "weight_decay": 1},
        ],
        [
            {"name": "sgd", "momentum": 1},
            {"name": "sgd", "momentum": -0.1},
            {"name": "adam", "momentum": 0.9},
            {"name": "adamw", "weight_decay": 1.1},
            {"name": "rmsprop", "weight_decay": 0.1},
            {"name": "sgd", "nesterov": True},
            {"name": "adam", "nesterov": True},
            {"name": "adam", "clip_norm": 0},
            {"name": "adam", "clip_norm": 1000.1},
        ],
    ),
    "training.loss": (
        [{}, {"name": "focal"}, {"name": "focal", "gamma": 0, "alpha": 1}, {"name": "focal", "gamma": 10}],
        [
            {"name": "hinge"},
            {"gamma": 2.0},
            {"name": "focal", "gamma": 10.1},
            {"name": "focal", "gamma": -0.1},
            {"name": "focal", "alpha": 0},
            {"name": "focal", "alpha": 1.01},
        ],
    ),
    "augmentation.random_crop": (
        [
            {},
            {"name": "padded", "padding": 0.5},
            {"name": "resized"},
            {"name": "resized", "area": [0.5, 0.5]},
            None,
        ],
        [
            {"name": "cut"},
            {"padding": 0},
            {"padding": 0.51},
            {"name": "resized", "padding": 0.1},
            {"name": "padded", "area": [0.1, 1.0]},
            {"name": "resized", "area": [0.6, 0.5]},
            {"name": "resized", "area": [0.0, 0.5]},
        ],
    ),
    "training.schedule": (
        [
            {"name": "constant"},
            {"name": "cosine"},
            {"name": "cosine", "warmup_epochs": 9},
            {"name": "reduce_on_plateau"},
            {"name": "reduce_on_plateau", "factor": 0.5, "patience": 1},
            {"name": "one_cycle"},
            {"name": "one_cycle", "pct_start": 0, "div_factor": 1, "final_div_factor": 1},
            {"name": "step"},
            {"name": "step", "factor": 0.5, "milestones": [1]},
            {"name": "step", "milestones": list(range(1, 17))},
            {},
            {"name": None},
        ],
        [
            {"name": "exponential"},
            {"name": "one_cycle", "pct_start": 1},
            {"name": "one_cycle", "div_factor": 0.9},
            {"name": "step", "milestones": []},
            {"name": "step", "milestones": [3, 2]},
            {"name": "step", "milestones": [2, 2]},
            {"name": "step", "milestones": [0]},
            {"name": "step", "milestones": list(range(1, 18))},
            {"name": "step", "factor": 1},
            {"name": "constant", "warmup_epochs": 1},
            {"name": "cosine", "warmup_epochs": -1},
            {"name": "cosine", "warmup_epochs": 10},
            {"name": "reduce_on_plateau", "factor": 1},
            {"name": "reduce_on_plateau", "factor": 0},
            {"name": "reduce_on_plateau", "patience": 0},
            {"patience": 1},
        ],
    ),
    "training.class_weights": (["balanced", {"0": 0.5}, None], ["equal", {"0": 0}, {"0": -1}, [1, 2]]),
    "training.sampling": (["uniform", "balanced", None], ["rare", True]),
    "training.early_stopping.monitor": (["validation_objective", "validation_loss", None], ["train_loss"]),
    "objective": (["accuracy", "worst_class", "worst_group", "cost", None], ["precision"]),
    "group_column": (["c", "c" * 64, None], ["", "c" * 65, 7]),
    "costs": (
        [None, [[0, 1], [1, 0]], [[0, 1, 1e6], [1, 0, 0]], [[0] * 100] * 100],
        [[], [[0]], [[0, 1], [1]], [[0, 1, 1, 1]] * 2, [[0, -1], [1, 0]], [[0, 2e6], [1, 0]], [[0] * 101] * 101],
    ),
    "training.early_stopping.min_delta": ([0, 0.5], [-0.01]),
    "training.ema_decay": ([0.001, 0.9999, None], [0, 1]),
    "training.train_limit": ([1, 100_000, None], [0, 1.5]),
    "training.seed": ([0, MAX_SEED, None], [-1, MAX_SEED + 1]),
    "resources.towers": (["auto", 1, 2, 16], [0, 17, "two"]),
    "metadata": (
        [{}, {"k" * 64: "v" * 512}, {str(i): "" for i in range(16)}],
        [{"k" * 65: ""}, {"": ""}, {"k": "v" * 513}, {"k": 1}, {str(i): "" for i in range(17)}],
    ),
}

REQUIRED = {
    "dataset",
    "initial.job",
    "network.backbone.model",
    "network.blocks",
    "network.blocks.0.filters",
    "network.dense.0.units",
}
REQUIRED |= {"network.backbone.model", "validation.folds"}
ACCEPTED = [(path, value) for path, (values, _) in BOUNDS.items() for value in values]
REFUSED = [(path, value) for path, (_, values) in BOUNDS.items() for value in values]


def with_value(path, value):
    """Return FULL with another value at a dotted path."""
    spec = copy.deepcopy(FULL)
    place = spec
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in way:
        place = place[key]
    place[last] = value
    return spec


def value_at(spec, path):
    for key in path.split("."):
        spec = spec[int(key)] if key.isdigit() else spec[key]
    return spec


def parts_of(value, path=()):
    """Yield the path of every object in a spec except `metadata` and `class_weights`, whose keys are the caller's."""
    if isinstance(value, dict) and path[-1:] not in {("metadata",), ("class_weights",)}:
        yield path
        for key, inner in value.items():
            yield from parts_of(inner, path + (key,))
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from parts_of(inner, path + (str(index),))


# Every field except in objects whose keys are the caller's.
LEAVES = [
    ".".join((*path, key))
    for path in parts_of(FULL)
    for key, value in (value_at(FULL, ".".join(path)) if path else FULL).items()
    if not isinstance(value, dict | list) and path[-1:] != ("schedule",)
]


def test_the_minimal_spec_is_completed_with_every_default():
    assert JobSpec.model_validate(MINIMAL).model_dump(mode="json") == COMPLETE


def test_a_full_spec_is_not_changed():
    assert JobSpec.model_validate(FULL).model_dump(mode="json") == FULL


@pytest.mark.parametrize("spec", [MINIMAL, FULL], ids=["least", "full"])
def test_a_spec_survives_a_round_trip_through_json(spec):
    first = JobSpec.model_validate(spec)
    assert JobSpec.model_validate_json(first.model_dump_json()) == first


@pytest.mark.parametrize(("path", "value"), ACCEPTED, ids=str)
def test_a_value_at_its_bound_is_accepted(path, value):
    spec = JobSpec.model_validate(with_value(path, value)).model_dump(mode="json")
    if value is not None and not isinstance(value, dict | list):
        assert value_at(spec, path) == value


@pytest.mark.parametrize(("path", "value"), REFUSED, ids=str)
def test_a_value_beyond_its_bound_is_refused_with_its_path(path, value):
    with pytest.raises(ValidationError) as refused:
        JobSpec.model_validate(with_value(path, value))
    wanted = path.split(".")
    for error in refused.value.errors():
        # Members of a union are not fields.
        found = [
            str(key)
            for key in error["loc"]
            if key not in {"cut_anew", "train_on_all", "network of blocks", "own network"}
        ]
        # A rule about several fields is reported where they meet.
        assert found[: len(wanted)] == wanted[: len(found)]


def test_a_network_without_blocks_needs_a_backbone():
    network = JobSpec.model_validate({**MINIMAL, "network": {"backbone": {"model": "mod_1"}, "blocks": []}}).network
    assert (network.blocks, network.backbone.trainable, network.backbone.pixels) == ((), False, None)
    for backbone in ({}, {"backbone": None}):
        with pytest.raises(ValidationError, match="expected 1 to 64, or a `backbone`") as refused:
            JobSpec.model_validate({**MINIMAL, "network": {**backbone, "blocks": []}})
        assert refused.value.errors()[0]["loc"] == ("network", "network of blocks", "blocks")


def block_of(**fields):
    return JobSpec.model_validate({**MINIMAL, "network": {"blocks": [{"filters": 16, **fields}]}}).network.blocks[0]


@pytest.mark.parametrize(
    ("given", "stored", "normalization"),
    [
        ({}, (False, None), "none"),
        ({"batch_norm": True}, (True, None), "batch"),
        ({"norm": "none"}, (False, None), "none"),
        ({"norm": "batch"}, (True, None), "batch"),
        ({"norm": "batch", "batch_norm": True}, (True, None), "batch"),
        ({"norm": "layer"}, (False, "layer"), "layer"),
        ({"norm": "group", "batch_norm": False}, (False, "group"), "group"),
    ],
    ids=str,
)
def test_each_normalization_has_one_stored_form_that_can_be_sent_again(given, stored, normalization):
    block = block_of(**given)
    assert (block.batch_norm, block.norm) == stored
    assert block.normalization == normalization
    assert block_of(**{**block.model_dump(), "filters": 16}) == block


@pytest.mark.parametrize(
    ("batch_norm", "norm"), [(True, "none"), (True, "layer"), (True, "group"), (False, "batch")], ids=str
)
def test_conflicting_normalizations_are_refused(batch_norm, norm):
    words = f"`batch_norm` is {str(batch_norm).lower()} and `norm` {norm}; leave one of them out"
    with pytest.raises(ValidationError, match=words) as refused:
        block_of(batch_norm=batch_norm, norm=norm)
    assert refused.value.errors()[0]["loc"][-3:] == ("blocks", 0, "norm")


def test_a_residual_block_keeps_the_size_of_its_maps():
    assert block_of(residual=True).padding == "same"
    assert block_of(residual=False).padding == "valid"
    with pytest.raises(ValidationError, match="needs `padding: same`; received `valid`") as refused:
        block_of(residual=True, padding="valid")
    assert refused.value.errors()[0]["loc"][-3:] == ("blocks", 0, "residual")


@pytest.mark.parametrize(("filters", "groups"), [(1, 1), (7, 1), (16, 4), (24, 6), (64, 16), (128, 32), (1024, 32)])
def test_group_normalization_has_up_to_32_groups_of_at_least_4_filters(filters, groups):
    assert JobSpec.model_validate(MINIMAL).network.blocks[0].model_copy(update={"filters": filters}).groups == groups


def test_a_generated_name_does_not_list_the_filters_of_many_blocks():
    spec = JobSpec.model_validate({**MINIMAL, "network": {"blocks": [{"filters": 1024}] * 64}})
    assert spec.generate_name("d" * 128, "job_4tz9qk").endswith("d 64 blocks · 4tz9qk")
    assert len(spec.generate_name("d" * 128, "job_4tz9qk")) == 128


def test_mixup_and_cutmix_exclude_each_other():
    for training in ({"mixup": 0.2, "cutmix": 0}, {"mixup": 0, "cutmix": 1.0}):
        JobSpec.model_validate({**MINIMAL, "training": training})
    with pytest.raises(ValidationError, match=r"`mixup` is 0\.2 and `cutmix` 1\.0; set one of them to 0") as refused:
        JobSpec.model_validate({**MINIMAL, "training": {"mixup": 0.2, "cutmix": 1.0}})
    assert refused.value.errors()[0]["loc"] == ("training", "cutmix")


@pytest.mark.parametrize(
    "training",
    [{"early_stopping": {}}, {"schedule": {"name": "reduce_on_plateau"}}, {"on_overfit": "warn"}],
    ids=lambda training: next(iter(training)),
)
def test_a_job_that_trains_on_its_validation_images_cannot_use_them_to_choose(training):
    on_all = {**MINIMAL, "validation": {"use": "train"}}
    spec = JobSpec.model_validate(on_all)
    assert not spec.has_validation
    assert spec.folds is None
    assert JobSpec.model_validate(spec.model_dump(mode="json")) == spec
    with pytest.raises(ValidationError, match="leaves no validation images") as refused:
        JobSpec.model_validate({**on_all, "training": training})
    assert refused.value.errors()[0]["loc"] == ("validation",)
    JobSpec.model_validate({**MINIMAL, "training": training})


@pytest.mark.parametrize("validation", [{"use": "test"}, {"use": "train", "folds": 5}, {"use": "train", "seed": 1}])
def test_validation_images_are_trained_on_or_cut_into_folds(validation):
    with pytest.raises(ValidationError):
        JobSpec.model_validate({**MINIMAL, "validation": validation})


def test_one_epoch_is_enough():
    assert JobSpec.model_validate({**MINIMAL, "training": {"epochs": 1}}).training.epochs == 1


def value_at_parts(spec, path):
    return value_at(spec, ".".join(path)) if path else spec


@pytest.mark.parametrize("path", list(parts_of(FULL)), ids=lambda path: ".".join(path) or "the whole")
def test_an_unknown_field_is_refused_in_every_part(path):
    spec = with_value(".".join((*path, "lerning_rate")), 1)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        JobSpec.model_validate(spec)


@pytest.mark.parametrize("path", [path for path in LEAVES if path not in REQUIRED])
def test_null_means_the_default(path):
    key = path.rpartition(".")[2]
    spec = JobSpec.model_validate(with_value(path, None)).model_dump(mode="json")
    absent = copy.deepcopy(FULL)
    place = value_at_parts(absent, tuple(path.split(".")[:-1]))
    del place[key]
    assert spec == JobSpec.model_validate(absent).model_dump(mode="json")


@pytest.mark.parametrize("field", ["dataset", "network"])
def test_required_fields_must_be_present(field):
    without = {key: value for key, value in MINIMAL.items() if key != field}
    for spec in (without, {**without, field: None}):
        with pytest.raises(ValidationError):
            JobSpec.model_validate(spec)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "path",
    ["network.blocks.0.dropout", "network.l2", "augmentation.zoom", "training.optimizer.learning_rate"]
    + ["training.early_stopping.min_delta", "training.label_smoothing", "training.class_weights.3"],
)
def test_numbers_must_be_finite(path, value):
    with pytest.raises(ValidationError):
        JobSpec.model_validate(with_value(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.epochs", "3"),
        ("training.epochs", 3.5),
        ("training.epochs", True),
        ("training.optimizer.learning_rate", "0.1"),
        ("network.blocks", {"filters": 3}),
        ("network.blocks.0", 16),
        ("network", []),
        ("name", 7),
        ("metadata", []),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_not_converted(path, value):
    text = json.dumps(with_value(path, value))
    with pytest.raises(ValidationError):
        JobSpec.model_validate_json(text)


@pytest.mark.parametrize(
    ("optimizer", "completed"),
    [
        ({"name": "sgd"}, {"momentum": 0.0, "weight_decay": None}),
        ({"name": "adamw"}, {"momentum": None, "weight_decay": 0.004}),
        ({"name": "rmsprop"}, {"momentum": None, "weight_decay": None}),
        ({}, {"momentum": None, "weight_decay": None}),
    ],
    ids=["sgd", "adamw", "rmsprop", "adam"],
)
def test_an_optimizer_is_completed_with_its_own_settings_only(optimizer, completed):
    spec = JobSpec.model_validate(with_value("training.optimizer", optimizer))
    filled = spec.training.optimizer.model_dump()
    assert {field: filled[field] for field in completed} == completed


def test_a_spec_cannot_be_changed():
    spec = JobSpec.model_validate(FULL)
    for part, field in ((spec, "priority"), (spec.training, "epochs"), (spec.network.blocks[0], "filters")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, field, 1)


def test_completing_a_spec_fills_in_only_absent_fields():
    drawn = JobSpec.model_validate(MINIMAL).complete(name="drawn", seed=5)
    assert (drawn.name, drawn.training.seed) == ("drawn", 5)
    given = JobSpec.model_validate(FULL).complete(name="drawn", seed=5)
    assert given == JobSpec.model_validate(FULL)


def test_a_block_without_a_penalty_uses_the_network_s():
    spec = JobSpec.model_validate(with_value("network.l2", 0.01))
    block = spec.network.blocks[0]
    assert spec.network.get_penalty(block) == 0.01
    assert spec.network.get_penalty(block.model_copy(update={"l2": 0.0})) == 0.0
