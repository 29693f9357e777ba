"""Faults inside a network are named right after what they may bring about, and never without it."""

from dataclasses import replace
from typing import Any

import pytest

from heldout.diagnosis import Diagnosis, Evaluation, diagnose
from heldout.diagnosis.rules.faults import FAULT_OF_CHECK
from heldout.network_check.catalogue import CHECKS
from heldout.proofs.experiment import Judgement
from heldout.proofs.outcomes import NOTHING_TRIED, Outcomes, Tried
from heldout.spec.model_facts import NetworkFacts
from heldout.spec.outline import NetworkStep
from heldout.stored.inside import EpochInside, InsideLook
from heldout.verdicts import FAULTS, FINDING_KINDS
from tests.heldout.diagnosis.made import figures, history, spec

CLASSES = tuple("abcdefghij")
START = InsideLook(
    images=32, loss=2.3, accuracy=0.1, inference_loss=2.3, inference_accuracy=0.1, penalty=0, one_answer=0.4,
    layers=["a", "b"], gradients=[0.1, 0.2], activations=["a"], dead=[0.1],
)  # fmt: skip
LOOK = EpochInside(**dict(START) | {"start": START, "steps": [0.01, 0.01]})
COST = {"scales_pixels": False, "figures_at": (28, 28), "flops": 1, "values": 1, "largest": 1}
FLAT = [2.25] * 12


def judge(
    *,
    train: float = 0.2,
    validation: float | None = None,
    loss: list[float] = FLAT,
    look: dict[str, Any] | None = None,
    start: dict[str, Any] | None = None,
    outcomes: Outcomes = NOTHING_TRIED,
    network: dict[str, Any] | None = None,
    optimizer: dict[str, Any] | None = None,
    **layer: Any,
) -> Diagnosis:
    """Diagnose a training of a convolution with these settings and a dense layer."""
    conv = {"type": "Conv2D", "activation": "relu", "kernel": 3, "weights": (3, 3, 1, 8), "is_map": True} | layer
    last = {"activation": conv.pop("last", "linear"), "weights": (8, 10), "sources": (1,)}
    steps = (
        NetworkStep(name="conv", **conv),
        NetworkStep(name="flat", type="Flatten", sources=(0,)),
        NetworkStep(name="out", type="Dense", **last),
    )
    looks = {12: LOOK.model_copy(update=(look or {}) | {"start": START.model_copy(update=start or {})})}
    unseen = figures(train if validation is None else validation, 500)
    evaluation = Evaluation({"train": figures(train, 2000), "validation": unseen}, CLASSES)
    job = spec(training={"optimizer": optimizer or {}}) | {
        "network": {"model": "mod_1", "weights": "fresh", "pixels": "unit"} | (network or {})
    }
    facts = NetworkFacts(**COST, outline=steps)
    return diagnose(replace(history(loss, loss), looks=looks), None, evaluation, job, network=facts, outcomes=outcomes)


SEEN: dict[str, list[dict[str, Any]]] = {
    "nothing_trainable": [{"is_trained": False}, {"look": {"layers": [], "gradients": [], "steps": []}}],
    "no_activation": [{"activation": "linear"}],
    "wrong_output": [{"last": "relu"}],
    "unscaled_input": [{"network": {"pixels": "bytes"}}],
    "exploding_gradients": [{"deviation": 3.0}, {"start": {"loss": 30.0}}, {"look": {"gradients": [None, 1.0]}}],
    "dead_units": [{"deviation": 0.0, "initializer": "Zeros"}, {"look": {"dead": [0.95]}}],
    "vanishing_gradients": [{"deviation": 1e-5}, {"start": {"gradients": [1e-6, 0.1]}}],
    "too_much_regularization": [{"l2": 10.0}, {"network": {"dropout": 0.9}}],
    "cannot_see_enough": [{"strides": 5}],
    "learning_rate_too_high": [],
    "learning_rate_too_low": [{"optimizer": {"learning_rate": 1e-5}}],
}


@pytest.mark.parametrize(("code", "fault"), [(code, fault) for code, faults in SEEN.items() for fault in faults])
def test_each_fault_is_named_right_after_what_is_broken(code, fault):
    found = judge(**fault)
    assert [cause.code for cause in found.causes][:2] == ["underfitting", code]
    assert found.verdict == "underfitting"
    assert found.headline == judge().headline
    assert found.summary != judge().summary
    assert len(found.summary.split()) <= 40


@pytest.mark.parametrize(("code", "fault"), [(code, fault) for code, faults in SEEN.items() for fault in faults])
def test_no_fault_is_named_while_training_works(code, fault):
    learned = [2.3 * 0.6**epoch for epoch in range(12)]
    found = judge(train=0.99, loss=[*learned, *[learned[-1]] * 8], **fault)
    assert code not in {finding.code for finding in found.findings}


@pytest.mark.parametrize(("code", "fault"), [(code, fault) for code, faults in SEEN.items() for fault in faults])
def test_what_layers_say_for_certain_is_also_named_where_only_new_images_are_answered_poorly(code, fault):
    learned = [2.3 * 0.6**epoch for epoch in range(12)]
    found = judge(train=0.99, validation=0.6, loss=[*learned, *[learned[-1]] * 8], **fault)
    assert found.verdict == "too_little_data"
    is_certain = code in ("no_activation", "wrong_output", "unscaled_input")
    assert [(cause.code, cause.tier) for cause in found.causes[1:] if cause.code in FAULTS] == (
        [(code, "other")] if is_certain else []
    )
    assert [cause.code for cause in found.causes][1:2] == ([code] if is_certain else [])


def test_a_broken_training_without_a_fault_is_named_none():
    assert [cause.code for cause in judge().causes if cause.code in FAULTS] == []
    cut = judge(start={"gradients": [0.0, 0.1]})
    assert "vanishing_gradients" not in {cause.code for cause in cut.causes}, "the last layer begins as zeros"


def test_a_high_rate_is_only_blamed_for_a_divergence():
    high, rising = {"learning_rate": 0.1}, [2.3, *[4.0] * 11]
    assert "learning_rate_too_high" not in {finding.code for finding in judge(optimizer=high).findings}
    diverged = judge(optimizer=high, loss=rising)
    assert [cause.code for cause in diverged.causes] == ["diverged", "learning_rate_too_high"]
    by_steps = judge(look={"steps": [0.2, 0.3]}, loss=rising)
    assert "a step changes 25.0% of the weights" in by_steps.findings[1].explanation


def test_what_is_set_comes_before_what_was_only_seen():
    found = judge(deviation=0.0, initializer="Constant", start={"loss": 30.0})
    assert [cause.code for cause in found.causes] == ["underfitting", "dead_units", "exploding_gradients"]
    scaled = judge(network={"pixels": "bytes"}, start={"loss": 30.0})
    assert [cause.code for cause in scaled.causes] == ["underfitting", "unscaled_input"], (
        "pixels explain the first loss"
    )


def test_a_fault_comes_with_the_line_of_code_and_the_request_that_fix_it():
    [_, frozen] = judge(is_trained=False).findings
    assert frozen.remedies[-1].name == "change_code"
    assert 'model.get_layer("conv").trainable = True' in frozen.remedies[-1].reason
    [_, slow] = judge(optimizer={"learning_rate": 1e-5}).findings
    assert slow.remedies[0].patch == {"training": {"optimizer": {"learning_rate": 1e-4}}}
    [_, pixels] = judge(network={"pixels": "bytes"}).findings
    assert pixels.remedies[0].patch == {"network": {"pixels": None}}


def test_a_fault_goes_with_the_finding_that_an_experiment_refutes():
    refuted = Judgement("refuted", "It is large enough.", {"underfitting": "refuted"})
    outcomes = Outcomes((Tried("larger", "Larger network", "Too small?", refuted),))
    found = judge(is_trained=False, outcomes=outcomes)
    assert "nothing_trainable" not in {cause.code for cause in found.causes}


def test_every_check_with_a_fault_exists():
    assert FAULT_OF_CHECK.keys() <= CHECKS.keys()
    assert set(FAULT_OF_CHECK.values()) <= FAULTS.keys() <= FINDING_KINDS.keys()
    assert SEEN.keys() == FAULTS.keys()
