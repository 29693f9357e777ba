"""`precision: auto` of own networks takes 16 bits where steps were measured to be faster with them."""

import pytest

from analysis.scheduling.cost import choose_auto_precision
from benchmarks.own_networks import MODEL, describe
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network

# Processor time of a step in bfloat16 as a share of float32's, with two towers (docs/measurements/own-networks.md).
MEASURED = {
    "ResNet20": 0.69,
    "DenseNet": 0.55,
    "Inception": 0.64,
    "keras.ops": 0.76,
    "ViT": 1.00,
    "squeeze and excitation": 0.82,
    "convolutions, silu": 0.75,
    "convolutions, gelu": 0.88,
    "MobileNetV3Small": 1.73,
}


@pytest.mark.parametrize("name", MEASURED)
def test_16_bits_are_chosen_where_they_were_measured_to_be_clearly_faster(name):
    known = describe(name)
    job = JobSpec.model_validate({"dataset": "none", "network": {"model": MODEL}, "training": {"batch_size": 32}})
    chosen = choose_auto_precision(job, plan_network(job.network, known.takes, known.gives[0], known), 2)
    assert chosen == ("mixed" if MEASURED[name] < 0.8 else "float32")


def test_more_is_lost_than_gained_where_16_bits_were_measured_to_be_slower():
    # Its depthwise convolutions of 5×5, or with strides, take far longer.
    assert describe("MobileNetV3Small").gained < 0
