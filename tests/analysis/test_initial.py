"""Which layers start from another job's weights: those of the same place and shape, and the output if classes agree."""

from typing import Any

import pytest

from analysis.jobs.initial import Initial, Weights, match
from heldout.errors import InvalidSpec
from heldout.lifecycle.resources import ModelFormat
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network
from heldout.spec.model_facts import ModelFacts, ModelLayer

SOURCE = {"blocks": [{"filters": 4, "batch_norm": True}, {"filters": 8}], "dense": [{"units": 5}]}


def spec(network: dict[str, Any], freeze_blocks: int = 0) -> JobSpec:
    initial = {"job": "job_1", "freeze_blocks": freeze_blocks}
    return JobSpec.model_validate({"dataset": "dots", "network": network, "initial": initial})


def found(network: dict[str, Any], classes: str = "ab", image: int = 16, freeze_blocks: int = 0) -> Initial:
    known = Weights.of("job_1", plan_network(spec(SOURCE).network, (16, 16, 1), 2), "ab")
    asked = spec(network, freeze_blocks)
    plan = plan_network(asked.network, (image, image, 1), len(classes))
    # Weights are stored in the database as JSON.
    return match(asked, plan, classes, Weights.from_json(Initial(known, (), ()).to_json()))


def test_the_same_network_for_the_same_classes_takes_everything() -> None:
    taken = ("block1_conv1", "block1_norm1", "block2_conv1", "dense1", "output")
    assert found(SOURCE) == Initial(found(SOURCE).weights, taken, ())
    assert found({**SOURCE, "blocks": [{**block, "dropout": 0.5} for block in SOURCE["blocks"]]}).taken == taken


def test_only_shapes_that_a_network_could_use_are_kept_of_an_uploaded_model() -> None:
    """Each job that starts from the model stores these shapes."""
    kernel, odd = ModelLayer(name="a", type="Conv2D", weights=((3, 3, 1, 4), (4,))), ((2,) * 9, (1,))
    layers = (kernel, ModelLayer(name="b", type="Odd", weights=odd), *[kernel] * 5000)
    facts = ModelFacts(
        format=ModelFormat.KERAS, input_shape=(16, 16, 1), output_shape=(2,), parameters=1, layers=layers
    )
    known = Weights.of_model("mod_1", facts)
    assert (known.layers["0000"], known.layers["0001"], len(known.layers)) == (kernel.weights, (), 645)
    most = JobSpec.model_validate(
        {
            "dataset": "dots",
            "network": {
                "blocks": [{"filters": 1, "norm": "batch", "repeat": 4, "residual": True, "strides": 2, "pool": 1}]
                * 64,
                "dense": [{"units": 1}] * 4,
            },
        }
    )
    assert len([layer for layer in plan_network(most.network, (16, 16, 1), 2).layers if layer.weights]) <= len(
        known.layers
    )


def test_a_shortcut_is_transferred_and_frozen_with_its_block() -> None:
    residual = {"filters": 4, "norm": "group", "residual": True, "repeat": 2, "strides": 2}
    network = {"blocks": [SOURCE["blocks"][0], residual]}
    known = Weights.of("job_1", plan_network(spec(network).network, (16, 16, 1), 2), "ab")

    def matched(**changes: Any) -> Initial:
        asked = spec({"blocks": [SOURCE["blocks"][0], residual | changes]}, freeze_blocks=0 if changes else 2)
        return match(asked, plan_network(asked.network, (16, 16, 1), 2), "ab", known)

    assert matched().new == ()
    assert {"block2_shortcut_conv", "block2_shortcut_norm"} <= set(matched().taken)
    assert matched(filters=8).new == tuple(
        f"block2_{name}" for name in ("conv1", "norm1", "conv2", "shortcut_conv", "norm2", "shortcut_norm")
    ) + ("output",)


def test_many_layers_are_counted_in_the_text_and_listed_in_the_data() -> None:
    network = {"blocks": [{"filters": 1, "padding": "same", "pool": 1}] * 64}
    plan = plan_network(spec(network).network, (16, 16, 1), 2)
    initial = match(spec(network), plan, "ab", Weights.of("job_1", plan, "ab"))
    assert initial.in_words == "Starts from job_1: 65 layers, from block1_conv1 to output."
    assert len(initial.event_data["taken"]) == 65


@pytest.mark.parametrize("classes", ["cd", "ba", "abc"])
def test_the_output_is_new_for_other_classes_or_another_order(classes: str) -> None:
    assert found(SOURCE, classes).new == ("output",)


def test_layers_with_inputs_of_another_size_are_new() -> None:
    assert found(SOURCE, image=20).new == ("dense1",)
    wider = {**SOURCE, "blocks": [SOURCE["blocks"][0], {"filters": 9}]}
    assert found(wider).new == ("block2_conv1", "dense1")
    assert not found(wider).is_little
    assert found({"blocks": [{"filters": 4}, {"filters": 9}], "dense": [{"units": 6}]}).is_little


def test_kernels_with_the_same_number_of_parameters_but_another_shape_do_not_fit() -> None:
    """A 1×1 kernel on nine channels has as many parameters as a 3×3 kernel on one."""
    weights = Weights("job_1", {"block1_conv1": ((1, 1, 9, 4), (4,))}, "ab")
    asked = spec({"blocks": [{"filters": 4}]})
    with pytest.raises(InvalidSpec, match="No layer fits"):
        match(asked, plan_network(asked.network, (16, 16, 1), 2), "ab", weights)


@pytest.mark.parametrize(
    ("network", "freeze_blocks", "message"),
    [
        ({"blocks": [{"filters": 5}]}, 0, "No layer fits"),
        ({"blocks": [{"filters": 4}, {"filters": 9}]}, 2, "block2_conv1 would be frozen untrained"),
        ({"blocks": [{"filters": 4, "repeat": 2}]}, 1, "block1_conv2 would be frozen untrained"),
        ({"blocks": [{"filters": 4}]}, 2, "The network has 1 block;"),
    ],
)
def test_a_network_that_cannot_start_from_the_weights_is_refused(
    network: dict[str, Any], freeze_blocks: int, message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        found(network, freeze_blocks=freeze_blocks)
