"""Uploaded backbones over HTTP are counted before they run, copied, and refused with advice."""

from typing import Any

from heldout.lifecycle.resources import ModelFormat
from heldout.spec.model_facts import FeatureMapFacts, MapLayer, ModelFacts
from models.store import claims
from models.store.claims import Capacity
from tests.api.routes.models.test_models_served import FILE, add_model
from tests.api.support import assert_problem, sqlite_only, submit, with_field

pytestmark = sqlite_only

LAYERS = (
    MapLayer(name="conv", shape=(10, 9, 6), parameters=162),
    MapLayer(name="norm", shape=(10, 9, 6), parameters=24),
)
COST = FeatureMapFacts(
    scales_pixels=True, trainable_parameters=174, flops=29_000, values=5000, largest=540, layers=LAYERS
)
FACTS = ModelFacts(
    format=ModelFormat.KERAS, input_shape=(20, 18, 3), output_shape=(10, 9, 6), parameters=186, feature_map=COST
)


def add_backbone(spec: dict[str, Any], model: str, *blocks: dict[str, Any], **backbone: Any) -> dict[str, Any]:
    network = {"backbone": {"model": model, **backbone}, "blocks": list(blocks), "head": "global_average"}
    return {**spec, "network": network}


def test_a_dry_run_counts_a_backbone_and_names_its_layers(client, worker, spec):
    model = add_model(client, worker, FACTS)
    frozen = client.post("/v1/jobs?dry_run=true", json=add_backbone(spec, model)).json()
    assert [layer["name"] for layer in frozen["layers"]] == [
        *("backbone_size", "backbone_channels", "backbone_pixels", "backbone/conv", "backbone/norm"),
        *("global_average", "output"),
    ]
    head = 6 * 10 + 10
    assert (frozen["parameters"], frozen["trainable_parameters"]) == (186 + head, head)
    along = client.post("/v1/jobs?dry_run=true", json=add_backbone(spec, model, trainable=True)).json()
    assert along["trainable_parameters"] == 174 + head
    large = {**spec, "training": {**spec["training"], "batch_size": 1024}}
    needed = [
        client.post("/v1/jobs?dry_run=true", json=add_backbone(large, model, trainable=trainable)).json()[
            "memory_bytes"
        ]
        for trainable in (False, True)
    ]
    assert needed[0] < needed[1]
    assert frozen["flops_per_image"] > COST.flops
    deeper = client.post("/v1/jobs?dry_run=true", json=add_backbone(spec, model, {"filters": 4})).json()
    assert deeper["parameters"] == 186 + (9 * 6 + 1) * 4 + 4 * 10 + 10


def test_a_job_copies_its_backbone_and_can_be_retried_without_the_model(client, worker, spec):
    model = add_model(client, worker, FACTS)
    body = add_backbone(spec, model)
    del body["name"]
    job = submit(client, body)
    assert job["name"].startswith("mnist5k backbone · ")
    assert job["trainable_parameters"] == 70
    assert client.delete(f"/v1/models/{model}").status_code == 204
    with worker.database.write() as session:
        claimed = claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60)
    assert (claimed.begins.backbone.known.pixels, worker.blobs.read(claimed.begins.backbone.key)) == ("bytes", FILE)
    worker.fail(claimed.held)
    again = client.post(f"/v1/jobs/{job['id']}/retry", json={"patch": {"network": {"backbone": {"trainable": True}}}})
    assert (again.status_code, again.json()["trainable_parameters"]) == (201, 244), again.text
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    with worker.database.write() as session:
        claimed = claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60)
    assert worker.blobs.read(claimed.begins.backbone.key) == FILE
    assert_problem(client.post("/v1/jobs", json=body), 422, "model_not_found", "/network/backbone/model")


def test_a_retry_with_a_backbone_leaves_the_number_of_towers_to_the_worker_again(client, worker, spec):
    before = submit(client, spec | {"resources": {"towers": 2}})["id"]
    worker.fail(worker.claim())
    model = add_model(client, worker, FACTS)
    patch = {"network": {"backbone": {"model": model}, "blocks": []}}
    again = client.post(f"/v1/jobs/{before}/retry", json={"patch": patch})
    assert (again.status_code, again.json()["spec"]["resources"]["towers"]) == (201, "auto"), again.text
    asked = {"patch": patch | {"resources": {"towers": 2}}}
    assert_problem(client.post(f"/v1/jobs/{before}/retry", json=asked), 422, "invalid_spec", "/resources/towers")
    other = {"patch": {"training": {"epochs": 2}}}
    assert client.post(f"/v1/jobs/{before}/retry", json=other).json()["spec"]["resources"]["towers"] == 2


def test_a_job_for_more_epochs_inherits_the_earlier_state_and_backbone(client, worker, spec):
    model = add_model(client, worker, FACTS)
    body = with_field(add_backbone(spec, model, trainable=True), "training.epochs", 1)
    before = submit(client, body)["id"]
    held = worker.claim()
    worker.begin(held, client.get(f"/v1/jobs/{before}").json()["spec"])
    worker.epoch(held, 1)
    state = f"jobs/{before}/1/state"
    worker.blobs.put(state, b"state")
    with worker.database.write() as session:
        claims.add_checkpoint(session, held, claims.Checkpoint(1, 0, state))
    worker.succeed(held)
    assert client.delete(f"/v1/models/{model}").status_code == 204
    again = client.post(f"/v1/jobs/{before}/retry", json={"epochs": 3})
    assert (again.status_code, again.json()["progress"]["epoch"]) == (201, 1), again.text
    assert client.delete(f"/v1/jobs/{before}").status_code == 204
    with worker.database.write() as session:
        claimed = claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60)
    assert claimed.spec.network.backbone.trainable
    assert worker.blobs.read(claimed.begins.backbone.key) == FILE
    assert [worker.blobs.read(checkpoint.key) for checkpoint in claimed.begins.checkpoints] == [b"state"]


def test_every_training_of_a_study_gets_the_backbone(client, worker, spec):
    model = add_model(client, worker, FACTS)
    along = {"name": "along", "patch": {"network": {"backbone": {"trainable": True}}}}
    asked = {"spec": add_backbone(spec, model), "remedies": [along], "seeds": 2}
    assert_problem(client.post("/v1/studies", json=asked | {"splits": "resampled"}), 422, "invalid_spec", "/splits")
    study = client.post("/v1/studies", json=asked)
    assert (study.status_code, study.json()["splits"]) == (201, "fixed"), study.text
    assert client.delete(f"/v1/models/{model}").status_code == 204
    with worker.database.write() as session:
        found = [claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60) for _ in range(4)]
    assert sorted(claim.spec.network.backbone.trainable for claim in found) == [False, False, True, True]
    assert [worker.blobs.read(claim.begins.backbone.key) for claim in found] == [FILE] * 4
    only = client.post("/v1/studies?dry_run=true", json=asked | {"remedies": ["larger_network", "dropout"]})
    assert_problem(only, 422, "invalid_spec")


def test_unsuitable_backbones_are_refused_with_advice(client, worker, spec):
    for changes, pointer, advice in [
        ({"output_shape": (1000,), "feature_map": None}, "model", "gives 1,000 figures for an image"),
        ({"input_shape": (None, None, 3), "feature_map": None}, "model", "Save it for one size"),
        ({"feature_map": None}, "model", "Upload it again"),
        ({"format": ModelFormat.ONNX}, "model", "Upload a .keras file"),
        ({"input_shape": (20, 18, 4)}, None, None),  # a single channel is repeated as needed
        ({"feature_map": COST.model_copy(update={"scales_pixels": False})}, "pixels", "Say which pixel values"),
    ]:
        body = add_backbone(spec, add_model(client, worker, FACTS.model_copy(update=changes)))
        answer = client.post("/v1/jobs?dry_run=true", json=body)
        if pointer is None:
            assert answer.status_code == 200, answer.text
        else:
            assert advice in assert_problem(answer, 422, "invalid_spec", f"/network/backbone/{pointer}")["detail"]
    submit(client, with_field(body, "network.backbone.pixels", "symmetric"))


ANY_SIZE = FACTS.model_copy(
    update={
        "input_shape": (None, None, 3),
        "output_shape": (None, None, 6),
        "feature_map": COST.model_copy(
            update={
                "figures_at": (224, 224),
                "stride": 32,
                "layers": (MapLayer(name="conv", shape=(7, 7, 6), parameters=186),),
            }
        ),
    }
)


def test_a_backbone_for_any_size_gets_twice_the_size_of_the_images_or_the_requested_one(client, worker, spec):
    model = add_model(client, worker, ANY_SIZE)

    def estimate(**backbone):
        answer = client.post("/v1/jobs?dry_run=true", json=add_backbone(spec, model, **backbone))
        assert answer.status_code == 200, answer.text
        return {layer["name"]: layer["shape"] for layer in answer.json()["layers"]}

    assert estimate()["backbone_size"] == [64, 64, 1], "28 pixels are fewer than half of the smallest size"
    large = estimate(size=160)
    assert (large["backbone_size"], large["backbone/conv"]) == ([160, 160, 1], [5, 5, 6])
    job = submit(client, add_backbone(spec, model))
    assert job["spec"]["network"]["backbone"]["size"] == 64
    worker.fail(worker.claim())
    larger = {"patch": {"network": {"backbone": {"size": 96}}}}
    assert client.post(f"/v1/jobs/{job['id']}/retry", json=larger).json()["spec"]["network"]["backbone"]["size"] == 96
    fixed = add_backbone(spec, add_model(client, worker, FACTS), size=96)
    refused = client.post("/v1/jobs", json=fixed)
    detail = assert_problem(refused, 422, "invalid_spec", "/network/backbone/size")["detail"]
    assert "only takes images of 20×18" in detail


def test_options_that_a_backbone_rules_out_are_refused_by_pointer(client, stranger, worker, spec):
    model = add_model(client, worker, FACTS)
    body = add_backbone(spec, model)
    source = submit(client, spec)["id"]
    worker.succeed(worker.claim())
    for changed, pointer in (
        (with_field(body, "resources.gpus", 2), "/resources/gpus"),
        (with_field(body, "resources.towers", 2), "/resources/towers"),
        (with_field(body, "training.precision", "mixed"), "/training/precision"),
        ({**body, "initial": {"job": source}}, "/initial"),
        (with_field(body, "network.backbone", None), "/network/blocks"),
    ):
        assert_problem(client.post("/v1/jobs", json=changed), 422, "invalid_spec", pointer)
    deep = add_backbone(spec, model, {"filters": 4, "kernel_size": 11})
    assert_problem(client.post("/v1/jobs", json=deep), 422, "network_too_deep", "/network/blocks/0")
    assert_problem(stranger.post("/v1/jobs", json=body), 422, "model_not_found", "/network/backbone/model")
    with_backbone = submit(client, body)["id"]
    held = worker.claim()
    worker.succeed(held)
    starts_there = client.post("/v1/jobs", json={**spec, "initial": {"job": with_backbone}})
    assert "has a backbone" in assert_problem(starts_there, 422, "invalid_spec", "/initial/job")["detail"]
    script = client.get(f"/v1/jobs/{with_backbone}/model?format=python")
    assert_problem(script, 422, "not_supported", "/network/backbone")


def test_a_second_phase_begins_within_the_training_and_after_frozen_layers(client, worker, spec):
    model = add_model(client, worker, FACTS)
    at = {"epoch": spec["training"]["epochs"], "learning_rate": 0.0001}
    assert client.post("/v1/jobs?dry_run=true", json=add_backbone(spec, model, unfreeze_at=at)).status_code == 200
    late = add_backbone(spec, model, unfreeze_at={**at, "epoch": at["epoch"] + 1})
    trained = add_backbone(spec, model, unfreeze_at=at, trainable=True)
    for body, pointer in ((late, "/unfreeze_at/epoch"), (trained, "/unfreeze_at")):
        refused = client.post("/v1/jobs?dry_run=true", json=body)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == f"/network/backbone{pointer}"
