"""Own networks over HTTP are counted before they run, copied, and refused with advice."""

from typing import Any

from heldout.lifecycle.resources import ModelFormat
from heldout.spec.model_facts import ModelFacts, NetworkFacts, NetworkLayer
from heldout.spec.outline import NetworkStep
from models.store import claims
from models.store.claims import Capacity
from tests.api.routes.models.test_models_served import FILE, add_model
from tests.api.support import assert_problem, sqlite_only, submit, with_field

pytestmark = sqlite_only

LAYERS = (
    NetworkLayer(name="conv", type="Conv2D", shape=(26, 26, 6), parameters=60),
    NetworkLayer(name="norm", type="BatchNormalization", shape=(26, 26, 6), parameters=24, fixed=12),
    NetworkLayer(name="pool", type="GlobalAveragePooling2D", shape=(6,), parameters=0),
    NetworkLayer(name="dense", type="Dense", shape=(10,), parameters=70),
)
COST = NetworkFacts(
    scales_pixels=False,
    output="softmax",
    head_inputs=6,
    normalizes=True,
    figures_at=(28, 28),
    flops=80_000,
    values=8000,
    largest=4056,
    layers=LAYERS,
)
FACTS = ModelFacts(format=ModelFormat.KERAS, input_shape=(28, 28, 1), output_shape=(10,), parameters=154, network=COST)


def with_model(spec: dict[str, Any], model: str, **network: Any) -> dict[str, Any]:
    return {**spec, "network": {"model": model, **network}}


def test_a_dry_run_counts_an_own_network_and_names_its_layers(client, worker, spec):
    model = add_model(client, worker, FACTS)
    whole = client.post("/v1/jobs?dry_run=true", json=with_model(spec, model)).json()
    assert [layer["name"] for layer in whole["layers"]] == ["conv", "norm", "pool", "dense"]
    assert (whole["parameters"], whole["trainable_parameters"], whole["flops_per_image"]) == (154, 142, 80_000)
    frozen = with_model(spec, model, weights="uploaded", freeze="norm")
    assert client.post("/v1/jobs?dry_run=true", json=frozen).json()["trainable_parameters"] == 70
    by_number = with_model(spec, model, weights="uploaded", freeze=2)
    assert client.post("/v1/jobs?dry_run=true", json=by_number).json()["trainable_parameters"] == 70


def test_notes_about_the_layers_are_on_the_model_and_in_a_dry_run(client, worker, spec):
    conv = {"type": "Conv2D", "kernel": 3, "weights": (3, 3, 1, 6), "initializer": "Zeros"}
    outline = (
        NetworkStep(name="conv", is_map=True, deviation=0.0, activation="relu", **conv),
        NetworkStep(name="norm", type="BatchNormalization", sources=(0,), is_map=True, momentum=0.99),
        NetworkStep(name="pool", type="GlobalAveragePooling2D", sources=(1,)),
        NetworkStep(name="dense", type="Dense", sources=(2,), weights=(6, 10), activation="softmax"),
    )
    network = COST.model_copy(update={"outline": outline})
    model = add_model(client, worker, FACTS.model_copy(update={"network": network}))
    shown = client.get(f"/v1/models/{model}").json()["notes"]
    assert next((note["check"], note["layer"]) for note in shown) == ("equal_weights", "conv")
    assert "Equal first weights" in client.get(f"/v1/models/{model}", headers={"Accept": "text/markdown"}).text
    short = with_field(with_model(spec, model), "training.epochs", 1)
    dry = client.post("/v1/jobs?dry_run=true", json=short).json()["notes"]
    assert {note["check"] for note in dry} == {note["check"] for note in shown} | {"momentum"}
    assert dry[-1]["line"].startswith("`keras.layers.BatchNormalization(momentum=0.9)`")
    assert client.get("/v1/models").json()["data"][0]["notes"] is None, "lists are short"
    older = add_model(client, worker, FACTS)
    assert client.get(f"/v1/models/{older}").json()["notes"] is None, "an earlier release has read it"
    assert client.post("/v1/jobs?dry_run=true", json=with_model(spec, older)).json()["notes"] is None
    assert client.post("/v1/jobs?dry_run=true", json=spec).json()["notes"] == []


def test_the_cost_of_a_size_independent_network_follows_its_images(client, worker, spec):
    free = FACTS.model_copy(update={"input_shape": (None, None, 1)})
    larger = free.model_copy(update={"network": COST.model_copy(update={"figures_at": (56, 56)})})
    flops = [
        client.post("/v1/jobs?dry_run=true", json=with_model(spec, add_model(client, worker, facts))).json()[
            "flops_per_image"
        ]
        for facts in (free, larger)
    ]
    assert flops == [80_000, 20_000]


def test_a_job_states_its_pixel_values_and_can_be_retried_without_the_model(client, worker, spec):
    model = add_model(client, worker, FACTS)
    body = with_model(spec, model)
    del body["name"]
    job = submit(client, body)
    assert job["name"].startswith("mnist5k own network · ")
    assert (job["spec"]["network"]["pixels"], "blocks" in job["spec"]["network"]) == ("unit", False)
    scaling = FACTS.model_copy(update={"network": COST.model_copy(update={"scales_pixels": True})})
    other = submit(client, with_model(spec, add_model(client, worker, scaling)))
    assert other["spec"]["network"]["pixels"] == "bytes"
    assert client.delete(f"/v1/models/{model}").status_code == 204
    with worker.database.write() as session:
        claimed = claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60)
    assert (claimed.begins.backbone.known.pixels, worker.blobs.read(claimed.begins.backbone.key)) == ("unit", FILE)
    worker.fail(claimed.held)
    again = client.post(f"/v1/jobs/{job['id']}/retry", json={})
    assert (again.status_code, again.json()["parameters"]) == (201, 154), again.text
    changed = client.post(f"/v1/jobs/{job['id']}/retry", json={"patch": {"network": {"dropout": 0.3}}})
    assert (changed.status_code, changed.json()["parameters"]) == (201, 154), changed.text
    changed = client.post(f"/v1/jobs/{job['id']}/retry", json={"patch": {"network": {"width": 0.5}}})
    assert_problem(changed, 422, "model_not_found", "/network/model")
    assert_problem(client.post("/v1/jobs", json=body), 422, "model_not_found", "/network/model")


def test_every_training_of_a_study_gets_the_network(client, worker, spec):
    model = add_model(client, worker, FACTS)
    asked = {"spec": with_model(spec, model), "remedies": ["dropout"], "seeds": 2, "splits": "fixed"}
    study = client.post("/v1/studies", json=asked)
    assert study.status_code == 201, study.text
    assert client.delete(f"/v1/models/{model}").status_code == 204
    with worker.database.write() as session:
        found = [claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60) for _ in range(4)]
    assert len({claim.spec.network.dropout for claim in found}) == 2
    assert [worker.blobs.read(claim.begins.backbone.key) for claim in found] == [FILE] * 4


def with_network(**changes: Any) -> dict[str, Any]:
    return {"network": COST.model_copy(update=changes)}


def test_impossible_requests_for_own_networks_are_refused_with_advice(client, worker, spec):
    for facts, asked, pointer, advice in [
        ({"output_shape": (7,)}, {}, "head", "has 7 classes, but the dataset has 10"),
        ({"output_shape": (7,)}, {"head": "replace"}, None, None),
        ({"output_shape": (26, 26, 6)}, {}, "head", "gives a feature map"),
        ({"output_shape": (26, 26, 6)}, {"head": "replace"}, None, None),
        (with_network(output="sigmoid"), {}, "head", "one label per image"),
        (with_network(output="sigmoid"), {"head": "replace"}, None, None),
        (with_network(head_inputs=None), {"head": "replace"}, "head", "is not dense"),
        ({"network": None}, {}, "model", "Upload it again"),
        ({"format": ModelFormat.ONNX}, {}, "model", "Upload a .keras file"),
        ({"weights": False}, {"weights": "uploaded"}, "weights", "without weights"),
        ({"input_shape": (28, 28, 4)}, {}, None, None),  # a single channel is repeated as needed
        ({}, {"weights": "uploaded", "freeze": "body"}, "freeze", "no layer `body`. Its first layers are `conv`"),
        ({}, {"weights": "uploaded", "freeze": 4}, "trainable", "Nothing would be trained"),
        ({}, {"weights": "fresh", "freeze": 1}, "freeze", "set `weights` to `uploaded`"),
        ({}, {"width": 0.7}, "width", "expected 1 or 0.5"),
        ({}, {"blocks": []}, "blocks", "no such field"),
    ]:
        model = add_model(client, worker, FACTS.model_copy(update=facts))
        answer = client.post("/v1/jobs?dry_run=true", json=with_model(spec, model, **asked))
        if pointer is None:
            assert answer.status_code == 200, answer.text
        else:
            assert advice in assert_problem(answer, 422, "invalid_spec", f"/network/{pointer}")["detail"]


def test_options_that_an_own_network_rules_out_are_refused_by_pointer(client, stranger, worker, spec):
    body = with_model(spec, add_model(client, worker, FACTS))
    source = submit(client, spec)["id"]
    worker.succeed(worker.claim())
    assert_problem(
        client.post("/v1/jobs", json=with_field(body, "resources.gpus", 2)), 422, "invalid_spec", "/resources/gpus"
    )
    assert_problem(client.post("/v1/jobs", json={**body, "initial": {"job": source}}), 422, "invalid_spec", "/initial")
    assert_problem(stranger.post("/v1/jobs", json=body), 422, "model_not_found", "/network/model")
    own = submit(client, body)["id"]
    worker.succeed(worker.claim())
    starts_there = client.post("/v1/jobs", json={**spec, "initial": {"job": own}})
    assert "has an own network" in assert_problem(starts_there, 422, "invalid_spec", "/initial/job")["detail"]
    script = client.get(f"/v1/jobs/{own}/model?format=python")
    assert_problem(script, 422, "not_supported", "/network/model")


def test_a_lost_file_of_an_own_network_is_reported_at_the_model_of_the_network(client, worker, spec):
    model = add_model(client, worker, FACTS)
    worker.blobs.delete_all(f"models/{model}")
    answer = client.post("/v1/jobs", json=with_model(spec, model))
    assert "no longer exists" in assert_problem(answer, 422, "invalid_spec", "/network/model")["detail"]
