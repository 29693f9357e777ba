"""Remedies for uploaded networks are accepted, counted or refused at once, without Keras."""

import pytest

from heldout.lifecycle.resources import ModelFormat
from heldout.spec.model_facts import ModelFacts, NetworkFacts, NetworkLayer
from models.store import claims
from models.store.claims import Capacity
from tests.api.routes.models.test_models_served import FILE, add_model
from tests.api.support import assert_problem, sqlite_only, submit, with_field

pytestmark = sqlite_only

COUNTS = {"scales_pixels": False, "figures_at": (28, 28), "flops": 9000, "values": 900, "largest": 400}


def make_facts(channels: int, **more) -> NetworkFacts:
    layers = (
        NetworkLayer(name="conv", type="Conv2D", shape=(26, 26, channels), parameters=10 * channels),
        NetworkLayer(name="output", type="Dense", shape=(10,), parameters=(channels + 1) * 10),
    )
    return NetworkFacts(**COUNTS, head_inputs=channels, layers=layers, **more)


WHOLE, HALF = 10 * 8 + 9 * 10, 10 * 4 + 5 * 10
FACTS = ModelFacts(
    format=ModelFormat.KERAS,
    input_shape=(28, 28, 1),
    output_shape=(10,),
    parameters=WHOLE,
    network=make_facts(8, half=make_facts(4)),
)


def with_model(spec, model: str, **changes):
    return {**spec, "network": {"model": model, **changes}}


def test_parameters_are_counted_for_half_the_width(client, worker, spec):
    model = add_model(client, worker, FACTS)
    assert submit(client, with_model(spec, model))["parameters"] == WHOLE
    assert submit(client, with_model(spec, model, width=0.5))["parameters"] == HALF


def test_a_model_that_cannot_be_halved_is_refused_naming_the_layer(client, worker, spec):
    why = "Layer `rows` (Reshape) does not fit layers of half the width."
    facts = FACTS.model_copy(update={"network": make_facts(8, half_refusal=why)})
    model = add_model(client, worker, facts)
    problem = assert_problem(
        client.post("/v1/jobs", json=with_model(spec, model, width=0.5)), 422, "invalid_spec", "/network/width"
    )
    assert why in problem["detail"]
    asked = {"spec": with_model(spec, model), "remedies": ["smaller_network"], "splits": "fixed"}
    problem = assert_problem(client.post("/v1/studies", json=asked), 422, "invalid_spec", "/remedies/0")
    assert why in problem["detail"]


def test_a_study_compares_changes_of_an_own_network(client, worker, spec):
    model = add_model(client, worker, FACTS)
    names = ["dropout", "l2", "smaller_network", "dropout+l2"]
    answer = client.post(
        "/v1/studies", json={"spec": with_model(spec, model), "remedies": names, "seeds": 2, "splits": "fixed"}
    )
    assert answer.status_code == 201, answer.text
    arms = {arm["name"]: arm for arm in answer.json()["arms"]}
    assert {name: arms[name]["patch"]["network"] for name in names} == {
        "dropout": {"dropout": 0.25},
        "l2": {"l2": 0.001},
        "smaller_network": {"width": 0.5},
        "dropout+l2": {"dropout": 0.25, "l2": 0.001},
    }
    assert client.delete(f"/v1/models/{model}").status_code == 204
    with worker.database.write() as session:
        found = [claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60) for _ in range(10)]
    networks = {(claim.spec.network.width, claim.spec.network.dropout, claim.spec.network.l2) for claim in found}
    assert networks == {(1, 0, 0), (1, 0.25, 0), (1, 0, 0.001), (0.5, 0, 0), (1, 0.25, 0.001)}
    assert {worker.blobs.read(claim.begins.backbone.key) for claim in found} == {FILE}


@pytest.mark.parametrize(("has", "asked"), [({}, True), ({"drops_out": True}, False)])
def test_auto_adds_no_dropout_to_a_model_that_already_has_it(client, worker, spec, has, asked):
    facts = FACTS.model_copy(update={"network": make_facts(8, **has)})
    body = {"spec": with_model(spec, add_model(client, worker, facts)), "remedies": "auto"}
    answer = client.post("/v1/studies?dry_run=true", json=body)
    assert answer.status_code == 200, answer.text
    assert ("dropout" in answer.json()["remedies"]) == asked


def test_a_job_can_be_retried_with_a_remedy_after_its_model_was_deleted(client, worker, spec):
    model = add_model(client, worker, FACTS)
    job = submit(client, with_model(spec, model))
    assert client.delete(f"/v1/models/{model}").status_code == 204
    worker.fail(worker.claim())
    again = client.post(f"/v1/jobs/{job['id']}/retry", json={"remedy": "dropout"})
    assert (again.status_code, again.json()["spec"]["network"]["dropout"]) == (201, 0.25), again.text
    refused = client.post(f"/v1/jobs/{job['id']}/retry", json={"remedy": "larger_network"})
    assert "Upload one with more filters" in assert_problem(refused, 422, "invalid_spec", "/remedy")["detail"]


def test_only_own_networks_have_a_configuration(client, worker, spec):
    job = submit(client, with_field(spec, "training.epochs", 1))["id"]
    held = worker.claim()
    worker.begin(held, client.get(f"/v1/jobs/{job}").json()["spec"])
    worker.epoch(held, 1)
    worker.succeed(held)
    answer = client.get(f"/v1/jobs/{job}/model?format=keras_config")
    assert_problem(answer, 422, "not_supported", "/network")
