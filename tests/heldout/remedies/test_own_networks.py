"""The effect of remedies on an uploaded network, and why some of them do not apply."""

from typing import Any

import pytest

from heldout.diagnosis import diagnose
from heldout.remedies.arms import BY_VERDICT, MAX_ARMS, MIN_ARMS, choose_remedies, resolve_remedy
from heldout.remedies.change import Change, NoChange, RemedyBase
from heldout.spec.job import JobSpec
from heldout.spec.model_facts import NetworkFacts, NetworkLayer
from tests.heldout.diagnosis.made import OVERFIT
from tests.merge_patch import merged

LAYERS = tuple(NetworkLayer(name=name, shape=(5,), parameters=10) for name in ("first", "second", "third", "output"))
COUNTS: dict[str, Any] = {"scales_pixels": False, "figures_at": (8, 8), "flops": 9, "values": 9, "largest": 9}
HALF = NetworkFacts(**COUNTS)
PLAIN = NetworkFacts(**COUNTS, layers=LAYERS, half=HALF)


def make_base(facts: NetworkFacts | None = PLAIN, **network: Any) -> RemedyBase:
    spec = JobSpec.model_validate({"dataset": "digits", "network": {"model": "mod_1"} | network})
    return RemedyBase(spec.model_dump(mode="json"), 3600, facts)


def change(name: str, base: RemedyBase) -> tuple[dict[str, Any], str]:
    outcome = resolve_remedy(name, base)
    assert isinstance(outcome, Change)
    JobSpec.model_validate(merged(base.spec, outcome.patch))
    return outcome.patch["network"], outcome.did


def explain(name: str, base: RemedyBase) -> str:
    outcome = resolve_remedy(name, base)
    assert isinstance(outcome, NoChange)
    return outcome.why


@pytest.mark.parametrize("facts", [PLAIN, None])
def test_the_network_gets_dropout_penalties_or_half_the_width(facts):
    base = make_base(facts)
    assert change("dropout", base) == (
        {"dropout": 0.25},
        "Adds dropout of 0.25 after pooling layers and before the output.",
    )
    assert change("l2", base) == (
        {"l2": 0.001},
        "Adds an L2 penalty of 0.001 on the kernels of convolutions and dense layers.",
    )
    assert change("smaller_network", base) == (
        {"width": 0.5},
        "Halves the network: all filters and units except those of the last layer.",
    )
    assert change("dropout+l2", base)[0] == {"dropout": 0.25, "l2": 0.001}
    assert change("larger_network", make_base(facts, width=0.5))[0] == {"width": 1}
    assert change("less_regularisation", make_base(facts, dropout=0.5, l2=0.1)) == (
        {"dropout": 0, "l2": 0},
        "Removes dropout, L2 penalties.",
    )


def test_layers_of_the_uploaded_model_count():
    assert "dropout layers of its own" in explain("dropout", make_base(PLAIN.model_copy(update={"drops_out": True})))
    assert "penalties of their own" in explain("l2", make_base(PLAIN.model_copy(update={"penalizes": True})))
    refused = PLAIN.model_copy(update={"half": None, "half_refusal": "Layer `rows` (Reshape) does not fit."})
    assert explain("smaller_network", make_base(refused)) == (
        "The uploaded model cannot be halved. Layer `rows` (Reshape) does not fit."
    )


def test_changes_that_an_uploaded_model_cannot_take_are_explained():
    assert "Upload one with more filters" in explain("larger_network", make_base())
    assert "Upload one with batch normalization" in explain("batch_norm", make_base())
    assert "already has half the width" in explain("smaller_network", make_base(width=0.5))
    assert "cannot start from the uploaded weights" in explain("smaller_network", make_base(weights="uploaded"))
    assert "already has dropout" in explain("dropout", make_base(dropout=0.1))
    assert "already has an L2 penalty" in explain("l2", make_base(l2=0.1))


def test_uploaded_weights_can_be_frozen():
    uploaded = make_base(weights="uploaded")
    assert change("transfer", uploaded) == (
        {"freeze": 2},
        "Leaves the first 2 of 4 layers as uploaded, and trains the rest.",
    )
    assert change("transfer", make_base(weights="uploaded", head="replace"))[0] == {"trainable": False}
    assert "Fresh weights have learned nothing" in explain("transfer", make_base())
    assert "already freezes layers" in explain("transfer", make_base(weights="uploaded", freeze=1))
    assert "no second layer" in explain("transfer", make_base(HALF, weights="uploaded"))


@pytest.mark.parametrize("verdict", [None, *BY_VERDICT])
def test_auto_finds_enough_remedies_for_any_uploaded_network(verdict):
    for base in (make_base(), make_base(PLAIN.model_copy(update={"drops_out": True, "penalizes": True, "half": None}))):
        names = choose_remedies(base, verdict)
        assert MIN_ARMS <= len(names) <= MAX_ARMS
        assert all(isinstance(resolve_remedy(name, base), Change) for name in names)


def test_a_diagnosis_suggests_only_what_the_model_lacks():
    def advise(facts: NetworkFacts) -> set[str]:
        found = diagnose(OVERFIT, spec=make_base(facts).spec, network=facts)
        return {remedy.name for finding in found.findings for remedy in finding.remedies}

    assert {"dropout", "l2", "smaller_network"} <= advise(PLAIN)
    own = PLAIN.model_copy(update={"drops_out": True, "penalizes": True, "half": None, "half_refusal": "No."})
    assert advise(PLAIN) - advise(own) == {"dropout", "l2", "smaller_network"}
