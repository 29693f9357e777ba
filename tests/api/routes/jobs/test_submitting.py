"""POST /v1/jobs queues valid specs and refuses others without leaving anything behind."""

import json

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from api.app import create_app
from heldout.service.settings import Settings
from models.database import Database
from models.migrations import upgrade
from models.store import workers
from tests.api.support import EXAMPLES, assert_problem, bearer, make_key, sqlite_only, submit, with_field


def list_jobs(client) -> list[dict]:
    return client.get("/v1/jobs?limit=200").json()["data"]


def test_submitting_a_spec_queues_a_job_with_all_settings_filled_in(client, spec):
    answer = client.post("/v1/jobs", json=spec)
    job = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert client.get(answer.headers["location"]).json() == job
    assert list(job) == [
        *("id", "object", "name", "status", "stop_reason", "spec", "dataset", "parameters", "trainable_parameters"),
        *("progress", "summary", "attempt", "failures", "error", "retry_of", "study_id", "engine", "version"),
        *("created_at", "queued_at", "started_at", "finished_at"),
    ]
    assert job["id"].startswith("job_")
    assert (job["object"], job["status"], job["version"]) == ("job", "queued", 1)
    assert job["name"] == "overfit"
    assert job["parameters"] == job["trainable_parameters"] == 93_962
    assert job["progress"] == {"epoch": 0, "epochs": 10, "eta_s": None}
    assert job["dataset"]["name"] == "mnist5k"
    assert job["dataset"]["id"].startswith("ds_")
    assert job["engine"] is None
    assert job["created_at"].endswith("Z")
    assert job["started_at"] is None
    assert job["spec"]["training"]["schedule"] == {"name": "constant"}
    assert job["spec"]["network"]["blocks"][0]["kernel_size"] == 3
    assert job["spec"]["training"]["seed"] == 7


@sqlite_only
@pytest.mark.parametrize(
    ("example", "parameters"), [("overfit", 93_962), ("regularized", 34_826), ("augmented", 27_210)]
)
def test_the_reference_specs_are_accepted_with_their_parameters(client, example, parameters):
    job = submit(client, json.loads((EXAMPLES / f"{example}.json").read_text()))
    assert job["parameters"] == parameters


@sqlite_only
def test_missing_names_and_seeds_are_generated(client, spec):
    del spec["name"], spec["training"]["seed"]
    first, second = submit(client, spec), submit(client, spec)
    assert first["name"] == f"mnist5k 32-64-128 · {first['id'][-6:]}"
    assert first["spec"]["name"] == first["name"]
    assert first["name"] != second["name"]
    assert 0 <= first["spec"]["training"]["seed"] < 2**31
    assert first["spec"]["training"]["seed"] != second["spec"]["training"]["seed"]


@sqlite_only
def test_optional_parts_may_be_null(client, spec):
    nulls = {"augmentation": None, "evaluation": None, "limits": None, "priority": None, "metadata": None}
    job = submit(client, {**spec, **nulls, "resources": {"towers": None}})
    usual = {"train": "every_epoch", "test": "final", "recount_batch_norm": False}
    assert job["spec"]["evaluation"] == usual
    assert job["spec"]["metadata"] == {}
    assert job["spec"]["resources"]["towers"] == "auto"


@sqlite_only
def test_a_dry_run_estimates_the_cost_and_stores_nothing(client, spec):
    answer = client.post("/v1/jobs?dry_run=true", json=spec, headers={"Idempotency-Key": "dry"})
    estimate = answer.json()
    assert answer.status_code == 200
    assert list(estimate) == [
        *("object", "spec", "parameters", "trainable_parameters", "layers", "notes", "initial"),
        *("flops_per_image", "memory_bytes", "seconds_per_epoch"),
    ]
    assert estimate["object"] == "estimate"
    assert estimate["parameters"] == sum(layer["parameters"] for layer in estimate["layers"]) == 93_962
    assert estimate["layers"][0] == {"name": "block1_conv1", "shape": [26, 26, 32], "parameters": 320}
    assert estimate["flops_per_image"] > 2 * 93_962
    assert estimate["memory_bytes"] > 4 * 93_962
    assert estimate["seconds_per_epoch"] is None
    assert list_jobs(client) == []
    assert estimate["spec"] == submit(client, spec, **{"Idempotency-Key": "dry"})["spec"]


@sqlite_only
def test_a_dry_run_is_refused_like_a_job(client, spec):
    refused = client.post("/v1/jobs?dry_run=true", json=with_field(spec, "dataset", "nobody"))
    assert_problem(refused, 422, "dataset_not_found", "/dataset")


REFUSED = [
    # --- types and bounds
    ("network.blocks.0.filters", "32", "invalid_spec", "/network/blocks/0/filters"),
    ("network.blocks.0.filters", 10**400, "invalid_spec", "/network/blocks/0/filters"),
    ("network.blocks", [], "invalid_spec", "/network/blocks"),
    ("network.dense", [{"units": 4097}], "invalid_spec", "/network/dense/0/units"),
    ("training.optimizer.learning_rate", 10**400, "invalid_spec", "/training/optimizer/learning_rate"),
    ("training.schedule", {"name": "cosine", "warmup_epochs": 10}, "invalid_spec", "/training/schedule/warmup_epochs"),
    ("training.class_weights", {"a/b~c": 1.0}, "invalid_spec", "/training/class_weights/a~1b~0c"),
    ("resources.towers", True, "invalid_spec", "/resources/towers"),
    ("metadata", {str(i): "v" for i in range(17)}, "invalid_spec", "/metadata"),
    # --- unknown fields at every level
    ("epochs", 10, "invalid_spec", "/epochs"),
    ("network.blocks.0.Filters", 1, "invalid_spec", "/network/blocks/0/Filters"),
    ("~/", 1, "invalid_spec", "/~0~1"),
    # --- texts that cannot be stored
    ("name", "a\0b", "invalid_spec", "/name"),
    ("metadata", {"a\0b": "v"}, "invalid_spec", "/metadata/a\0b"),
    # --- values that depend on the dataset
    ("dataset", "nobody", "dataset_not_found", "/dataset"),
    ("dataset", "ds_01jd0000000000000000000000", "dataset_not_found", "/dataset"),
    ("dataset", "mnist5k@99999999999999999999", "dataset_not_found", "/dataset"),
    ("dataset", "cifar10", "dataset_unavailable", "/dataset"),
    ("network.blocks", [{"filters": 8}] * 5, "network_too_deep", "/network/blocks/3"),
    ("network.dense", [{"units": 4096}] * 4, "too_many_parameters", "/network"),
    ("augmentation", {"hue": 0.1}, "invalid_spec", "/augmentation/hue"),
    # --- GPUs on a CPU
    ("resources", {"gpus": 2, "device": "cpu"}, "invalid_spec", "/resources/gpus"),
]


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory, stored_sets):
    """Share one service among all refusals, which must leave nothing in it."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('refusals') / 'heldout.db'}")
    upgrade(database)
    stored_sets[1](database)
    url = database.engine.url.render_as_string(hide_password=False)
    settings = Settings(database_url=SecretStr(url), redis_url=None, blobs=stored_sets[0])
    with TestClient(create_app(settings), headers=bearer(make_key(database, "ada"))) as client:
        yield client
        assert list_jobs(client) == []
    database.dispose()


@pytest.mark.parametrize(("path", "value", "code", "pointer"), REFUSED)
def test_a_refusal_names_the_value_by_its_pointer(shared_service, spec, path, value, code, pointer):
    answer = shared_service.post(
        "/v1/jobs", content=json.dumps(with_field(spec, path, value)), headers={"Content-Type": "application/json"}
    )
    assert_problem(answer, 422, code, pointer)


@pytest.mark.parametrize("body", ["null", "[]", "3", '"spec"', "true"])
def test_a_body_that_is_not_an_object_is_refused_entirely(shared_service, body):
    answer = shared_service.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert_problem(answer, 422, "invalid_spec", "")


def test_all_invalid_values_are_named_at_once(shared_service, spec):
    wrong = with_field(with_field(spec, "network.blocks.2.filters", "x"), "training.epochs", 0)
    problem = assert_problem(
        shared_service.post("/v1/jobs", json=wrong),
        422,
        "invalid_spec",
        "/network/blocks/2/filters",
        "/training/epochs",
    )
    assert problem["errors"][0]["detail"] == 'Received "x"; input should be a valid integer.'
    assert problem["errors"][1]["detail"] == "Received 0; input should be greater than or equal to 1."


@sqlite_only
def test_several_gpus_are_refused_only_with_batch_normalization(client, spec):
    several = with_field(spec, "resources.gpus", 2)
    refused = client.post("/v1/jobs", json=with_field(several, "network.blocks.1.batch_norm", True))
    assert_problem(refused, 422, "invalid_spec", "/resources/gpus")
    job = client.post("/v1/jobs", json=several).json()
    assert (job["spec"]["resources"]["device"], job["spec"]["resources"]["gpus"]) == ("auto", 2)
    assert client.get(f"/v1/jobs/{job['id']}/queue").json()["waiting_for"] == "gpu"


@sqlite_only
def test_mixed_precision_is_accepted(client, spec):
    estimates = [
        client.post("/v1/jobs?dry_run=true", json=with_field(spec, "training.precision", precision)).json()
        for precision in ("auto", "float32", "mixed")
    ]
    assert [estimate["spec"]["training"]["precision"] for estimate in estimates] == ["auto", "float32", "mixed"]


@sqlite_only
def test_towers_are_accepted_with_batch_normalization(client, spec):
    towers = with_field(with_field(spec, "resources.towers", 4), "network.blocks.1.batch_norm", True)
    assert submit(client, towers)["spec"]["resources"]["towers"] == 4


# --- idempotency ------------------------------------------------------------------------------------


@sqlite_only
def test_a_repeated_key_returns_the_stored_response_and_no_second_job(client, spec):
    first = client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "k1"})
    client.patch(f"/v1/jobs/{first.json()['id']}", json={"name": "changed since"})
    again = client.post("/v1/jobs", json=dict(reversed(spec.items())), headers={"Idempotency-Key": "k1"})
    assert (again.status_code, again.text) == (201, first.text)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(list_jobs(client)) == 1


@sqlite_only
def test_a_key_reused_for_another_body_or_route_is_refused(client, spec):
    first, second = submit(client, spec, **{"Idempotency-Key": "k1"}), submit(client, spec)
    other = client.post("/v1/jobs", json=with_field(spec, "training.epochs", 11), headers={"Idempotency-Key": "k1"})
    assert_problem(other, 422, "idempotency_key_reused")
    for job in (first, second):
        client.post(f"/v1/jobs/{job['id']}/cancel")
        assert_problem(retry(client, job, "k1"), 422, "idempotency_key_reused")
    assert retry(client, first, "k2").status_code == 201
    assert_problem(retry(client, second, "k2"), 422, "idempotency_key_reused")
    assert len(list_jobs(client)) == 3


def retry(client, job: dict, key: str):
    return client.post(f"/v1/jobs/{job['id']}/retry", headers={"Idempotency-Key": key})


@sqlite_only
@pytest.mark.parametrize("text", ["", "k" * 256, "naïve", "a\tb"], ids=["empty", "long", "accent", "tab"])
def test_keys_that_are_not_short_printable_text_are_refused(client, spec, text):
    answer = client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": text.encode("latin-1")})
    assert_problem(answer, 400, "invalid_parameter")
    assert list_jobs(client) == []


# --- GPUs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("needed", "is_warned"), [(1, False), (2, True)])
def test_a_job_that_needs_more_gpus_than_any_worker_has_is_flagged_at_once(client, spec, database, needed, is_warned):
    with database.write() as session:
        workers.note_gpus(session, "machine", 1)
    job = submit(client, spec | {"resources": {"device": "gpu", "gpus": needed}})
    warnings = [
        event for event in client.get(f"/v1/jobs/{job['id']}/events").json()["data"] if event["level"] == "warning"
    ]
    assert [warning["data"] for warning in warnings] == [{"needed_gpus": 2, "most_gpus": 1}] * is_warned
    assert client.get(f"/v1/jobs/{job['id']}/queue").json()["waiting_for"] == "gpu"
