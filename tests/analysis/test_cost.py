"""The estimated time of a training follows from its work."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.scheduling.cost import (
    MIN_FLOPS_A_TOWER,
    MIN_FLOPS_IN_16_BITS,
    Speed,
    choose_auto_precision,
    choose_auto_towers,
    compute_tower_share,
    count_frozen_work,
    count_measuring_work,
    count_training_work,
    estimate_epoch_seconds,
)
from heldout.spec.backbone import Backbone
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network
from heldout.work.memory import estimate_training_bytes

IMAGE, CLASSES = (28, 28, 1), 10
EXAMPLES = Path(__file__).parents[2] / "examples"
COUNTS = {"train": 3600, "validation": 400, "test": 1000}
EACH_STEP = Speed(training={"step": 0.01}, measuring={"step": 0.002}, training_share=0.6, measuring_share=0.5)


def spec(**parts):
    network = parts.pop("network", {"blocks": [{"filters": 16}]})
    return JobSpec.model_validate({"dataset": "mnist5k", "network": network, **parts})


def plan(job):
    return plan_network(job.network, IMAGE, CLASSES)


def expected(job, towers=1):
    return estimate_epoch_seconds(job, plan(job), COUNTS, EACH_STEP, towers)


def test_an_epoch_consists_of_its_steps_and_the_evaluation_of_train_and_validation():
    assert expected(spec()) == pytest.approx(3600 / 32 * 0.01 + 4000 / 64 * 0.002)
    assert expected(spec(training={"batch_size": 64})) == pytest.approx(3600 / 64 * 0.01 + 4000 / 64 * 0.002)
    assert expected(spec(), towers=2) == pytest.approx(3600 / 32 * 0.006 + 4000 / 64 * 0.001)


def test_only_evaluated_splits_and_limited_training_images_count():
    every = spec(evaluation={"test": "every_epoch"})
    assert expected(every) - expected(spec()) == pytest.approx(1000 / 64 * 0.002)
    at_end = spec(evaluation={"train": "final"})
    assert expected(spec()) - expected(at_end) == pytest.approx(3600 / 64 * 0.002)
    assert expected(spec(training={"train_limit": 360})) < expected(spec()) / 5
    assert expected(spec(training={"train_limit": 99999})) == expected(spec())


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("flops", {"network": {"blocks": [{"filters": 32}]}}),
        ("dropped", {"network": {"blocks": [{"filters": 16, "dropout": 0.2}]}}),
        ("normed", {"network": {"blocks": [{"filters": 16, "batch_norm": True}]}}),
        ("normed", {"network": {"blocks": [{"filters": 16, "norm": "group"}]}}),
        ("flops", {"network": {"blocks": [{"filters": 16, "residual": True}]}}),
        ("curved", {"network": {"blocks": [{"filters": 16, "activation": "gelu"}]}}),
        ("later_maps", {"network": {"blocks": [{"filters": 16, "repeat": 2}]}}),
        ("parameters", {"network": {"blocks": [{"filters": 16}], "dense": [{"units": 99}]}}),
        ("changed", {"augmentation": {"zoom": 0.1}}),
        ("masked", {"augmentation": {"erasing": 0.5}}),
        ("masked", {"training": {"mixup": 0.2}}),
        ("masked", {"training": {"cutmix": 1.0}}),
        ("averaged", {"training": {"ema_decay": 0.99}}),
    ],
)
def test_every_kind_of_work_is_counted(kind, more):
    changed = spec(**more)
    assert count_training_work(changed, plan(changed))[kind] > count_training_work(spec(), plan(spec()))[kind]


def test_layer_and_group_normalization_take_more_time_and_memory_than_batch():
    def amounts(norm):
        job = spec(network={"blocks": [{"filters": 16, "norm": norm}]})
        works = count_training_work(job, plan(job)), count_measuring_work(job, plan(job))
        return *(work["normed"] for work in works), estimate_training_bytes(job, plan(job), 100, 1)

    for norm in ("layer", "group"):
        assert all(more > less for more, less in zip(amounts(norm), amounts("batch"), strict=True))


def test_erasing_alone_resamples_nothing():
    erased = spec(augmentation={"erasing": 0.5, "fill_mode": "wrap"})
    assert count_training_work(erased, plan(erased))["changed"] == 0


def test_frozen_blocks_are_only_computed_forward():
    blocks = {"blocks": [{"filters": 16}, {"filters": 32}]}

    def work_of(frozen):
        job = spec(network=blocks, initial={"job": "job_1", "freeze_blocks": frozen})
        return count_training_work(job, plan(job)), count_frozen_work(job, plan(job))

    (whole, nothing), (partly, forward), (output_alone, both) = map(work_of, (0, 1, 2))
    layers = {layer.name: layer for layer in plan(spec(network=blocks)).layers}
    first = sum(layer.flops for name, layer in layers.items() if name.startswith("block1"))
    assert set(nothing.values()) == {0}
    assert forward["flops"] == 32 * first
    # The gradient of the maps that leave frozen blocks is not computed either.
    dropped = 3 * first + layers["block2_conv1"].flops - layers["block1_conv1"].flops
    assert whole["flops"] - partly["flops"] == 32 * dropped
    assert output_alone["flops"] == 2 * 32 * layers["output"].flops
    for kind in ("layers", "first_maps", "later_maps", "pooled"):
        assert whole[kind] == partly[kind] + forward[kind] == output_alone[kind] + both[kind]
    assert whole["parameters"] > partly["parameters"] > output_alone["parameters"] == layers["output"].parameters


def test_frozen_blocks_take_the_measured_time_of_a_forward_pass_in_their_precision():
    large = {"blocks": [{"filters": 64}, {"filters": 128}]}
    speed = Speed({"flops": 3e-12}, {"flops": 1e-12}, 1.0, 1.0, 2, {"flops": 3e-13}, {"flops": 1e-13})

    def seconds(frozen, precision):
        initial = {"job": "job_1", "freeze_blocks": frozen}
        job = spec(network=large, initial=initial, training={"precision": precision})
        return estimate_epoch_seconds(job, plan(job), COUNTS, speed, 1)

    assert seconds(2, "float32") < 0.5 * seconds(1, "float32") < 0.5 * seconds(0, "float32")
    assert seconds(1, "mixed") == pytest.approx(0.1 * seconds(1, "float32"))


def test_averaged_weights_take_the_memory_of_two_more_networks():
    network = plan(spec())
    alone, averaged = spec(), spec(training={"ema_decay": 0.9})
    more = estimate_training_bytes(averaged, network, 100, 1) - estimate_training_bytes(alone, network, 100, 1)
    assert more == 8 * network.parameters


def test_evaluation_is_the_same_work_for_every_batch_size():
    small = spec(training={"batch_size": 8})
    assert count_measuring_work(small, plan(small)) == count_measuring_work(spec(), plan(spec()))


def test_each_core_gets_a_tower_if_there_is_enough_work():
    def towers(cores, **more):
        return choose_auto_towers(spec(**more), plan(spec(**more)), cores)

    large = {"blocks": [{"filters": 64, "batch_norm": True}, {"filters": 128}]}
    assert [towers(cores, network=large) for cores in (1, 2, 4, 8, 16)] == [1, 2, 4, 8, 8]  # four images each
    assert towers(32, network=large, training={"batch_size": 256}) == 16
    assert towers(8) == plan(spec()).flops_per_image * spec().training.batch_size // MIN_FLOPS_A_TOWER
    assert towers(8, training={"batch_size": 2}) == 1


# Networks with batches of 32 images of 28×28×1, and the processor time of a step in bfloat16 as a share of that in
# float32, measured with one tower (docs/measurements/precision.md).
SAME = {"padding": "same"}
MEASURED = [
    (({"filters": 16},), 0.95),
    (({"filters": 16}, {"filters": 32}), 0.62),
    (({"filters": 24}, {"filters": 48}), 0.61),
    (({"filters": 16, "activation": "elu"}, {"filters": 32, "activation": "elu"}), 0.79),
    (({"filters": 16, "activation": "gelu"}, {"filters": 32, "activation": "gelu"}), 1.40),
    (({"filters": 16, "activation": "silu"}, {"filters": 32, "activation": "silu"}), 1.04),
    (({"filters": 16, "activation": "tanh"}, {"filters": 32, "activation": "tanh"}), 1.11),
    (({"filters": 32, "activation": "gelu"}, {"filters": 64, "activation": "gelu"}), 1.17),
    (({"filters": 64, "activation": "tanh"} | SAME, {"filters": 128, "activation": "tanh"} | SAME), 0.55),
    (({"filters": 16, "batch_norm": True},), 1.17),
    (({"filters": 16, "batch_norm": True}, {"filters": 32, "batch_norm": True}), 1.07),
    (({"filters": 64, "batch_norm": True} | SAME, {"filters": 128, "batch_norm": True} | SAME), 0.84),
]


@pytest.mark.parametrize(("blocks", "share"), MEASURED)
def test_16_bits_are_chosen_where_they_were_measured_to_be_clearly_faster(blocks, share):
    job = spec(network={"blocks": list(blocks)})
    assert choose_auto_precision(job, plan(job), 1) == ("mixed" if share < 0.9 else "float32")


def test_16_bits_need_a_large_batch_and_two_towers_for_batch_normalization():
    blocks = {"blocks": [{"filters": 16, "batch_norm": True}, {"filters": 32, "batch_norm": True}]}

    def chosen(batch, towers):
        job = spec(network=blocks, training={"batch_size": batch})
        return choose_auto_precision(job, plan(job), towers)

    operations = sum(layer.flops for layer in plan(spec(network=blocks)).layers if "_conv" in layer.name)
    enough = -(-MIN_FLOPS_IN_16_BITS // operations)
    assert [chosen(batch, 2) for batch in (1, enough - 1, enough, 256)] == ["float32", "float32", "mixed", "mixed"]
    assert chosen(256, 1) == "float32"


def test_an_own_network_needs_to_gain_most_of_its_operations_and_a_training_of_all_layers():
    def chosen(towers=2, batch=32, network=(), **known):
        facts = {"flops": 1_000_000, "gained": 800_000, "normalizes": True} | known
        sizes = {"parameters": 100, "trainable_parameters": 80, "values": 2000, "largest": 500, "layers": 9}
        backbone = Backbone(model="mod_1", takes=IMAGE, gives=(10,), pixels="unit", divides=True, **sizes, **facts)
        job = spec(network={"model": "mod_1"} | dict(network), training={"batch_size": batch})
        return choose_auto_precision(job, plan_network(job.network, IMAGE, 10, backbone), towers)

    assert chosen() == chosen(towers=1, normalizes=False) == "mixed"
    slow = [
        chosen(batch=1),
        chosen(gained=500_000),
        chosen(towers=1),
        chosen(network={"weights": "uploaded", "freeze": 2}),
    ]
    assert slow == ["float32"] * 4


def test_the_reference_specs_include_both_precisions():
    def chosen(name):
        job = JobSpec.model_validate_json((EXAMPLES / f"{name}.json").read_text())
        return choose_auto_precision(job, plan(job), 2)

    assert [chosen(name) for name in ("overfit", "regularized", "augmented")] == ["mixed", "mixed", "float32"]


def test_an_epoch_uses_the_speed_of_its_precision_and_is_unknown_without_one():
    large = {"blocks": [{"filters": 64}, {"filters": 128}]}
    fast = replace(EACH_STEP, mixed_training={"step": 0.001}, mixed_measuring={"step": 0.0})

    def seconds(speed, network, precision):
        job = spec(network=network, training={"precision": precision})
        return estimate_epoch_seconds(job, plan(job), COUNTS, speed, 1)

    float32, small = seconds(fast, large, "float32"), spec().network
    assert seconds(fast, large, "mixed") == seconds(fast, large, "auto") == pytest.approx(3600 / 32 * 0.001)
    assert seconds(fast, small, "auto") == seconds(EACH_STEP, large, "auto") == float32
    assert seconds(EACH_STEP, large, "mixed") is None


def test_more_towers_scale_as_two_towers_were_measured_to():
    assert compute_tower_share(0.5, 8) == 0.125
    assert compute_tower_share(0.6, 2) == pytest.approx(0.6)
    assert compute_tower_share(0.6, 8) == pytest.approx(0.2 + 0.8 / 8)
    assert compute_tower_share(1.0, 8) == 1


def test_features_of_a_frozen_backbone_are_computed_once():
    """The second phase takes as long as training everything."""
    backbone = Backbone("mod_1", IMAGE, (3, 3, 8), "unit", 100, 80, 1000, 2000, 500, 9)
    speed = Speed(training={"flops": 3e-6, "step": 0.01}, measuring={"flops": 1e-6})

    def estimate(epochs: int, backbone_parts: dict | None = None, **parts) -> float:
        network = {"backbone": {"model": "mod_1", **(backbone_parts or {})}, "blocks": []}
        job = spec(network=network, training={"epochs": epochs}, **parts)
        found = estimate_epoch_seconds(job, plan_network(job.network, IMAGE, CLASSES, backbone), COUNTS, speed, 1)
        return found * epochs

    a_pass = 5000 * 1000 * 1e-6
    an_epoch = estimate(3) - estimate(2)
    assert estimate(2) == pytest.approx(a_pass + 2 * an_epoch)
    augmented = {"rotation_degrees": 20}
    assert estimate(2, augmentation=augmented) == pytest.approx(estimate(2) + 2 * 3600 * 1000 * 1e-6)
    views = {**augmented, "views": 3}
    assert estimate(9, augmentation=views) == pytest.approx(estimate(9) + 3 * 3600 * 1000 * 1e-6)
    trained = estimate(4, {"trainable": True})
    later = estimate(4, {"unfreeze_at": {"epoch": 3, "learning_rate": 0.001}})
    assert later == pytest.approx(a_pass + (4 * an_epoch + trained) / 2)
