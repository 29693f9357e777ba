"""Models shared by the operator are listed and used by all owners, and deleted by none."""

import pytest
from sqlalchemy import update

from heldout.access.rights import Quota
from heldout.lifecycle.resources import ModelRejectionCode
from heldout.spec.pretrained import PRETRAINED_MODEL
from models.ids import make_id
from models.store import claims, models, quotas
from models.store.claims import Capacity
from models.store.models import SharedModel
from models.tables import ModelRow
from tests.api.routes.jobs.test_backbones import FACTS, add_backbone
from tests.api.routes.models.test_models_served import FILE
from tests.api.support import assert_problem, sqlite_only, submit

pytestmark = sqlite_only

ABOUT = SharedModel("small net", "Apache-2.0", "https://example.org/weights | seen by all")


@pytest.fixture
def shared(worker) -> str:
    model_id = make_id("mod")
    key = f"models/{model_id}/shared"
    worker.blobs.put(key, FILE)
    stored = {"key": key, "sha256": "0" * 64, "size_bytes": len(FILE), "max_parameters": None}
    with worker.database.write() as session:
        models.add(session, None, model_id, ABOUT.name, **stored, shared=ABOUT)
    return model_id


def end_check(worker, model_id: str, refusal: ModelRejectionCode | None = None) -> None:
    held = worker.claim()
    with worker.database.write() as session:
        if refusal is None:
            models.mark_ready(session, held, model_id, FACTS)
        else:
            claims.reject(session, held, {"code": refusal.value, "detail": refusal.meaning})


def list_models(client) -> list[str]:
    return [model["id"] for model in client.get("/v1/models").json()["data"]]


def test_all_owners_see_and_use_a_shared_model_once_it_is_checked(client, stranger, worker, spec, shared):
    assert list_models(client) == []
    assert client.get(f"/v1/models/{shared}").json()["status"] == "checking"
    end_check(worker, shared)
    for caller in (client, stranger):
        assert list_models(caller) == [shared]
        found = caller.get(f"/v1/models/{shared}").json()
        assert (found["shared"], found["license"], found["source"]) == (True, ABOUT.license, ABOUT.source)
        submit(caller, add_backbone(spec, shared))
        assert_problem(caller.delete(f"/v1/models/{shared}"), 409, "model_is_shared")
    with worker.database.read() as session:
        assert quotas.get_used(session, "alice", Quota.STORED_BYTES) == 0


def test_pretrained_features_are_a_remedy_by_name_once_the_service_has_its_network(client, worker, spec, shared):
    job = submit(client, spec)["id"]
    end_check(worker, shared)
    worker.fail(worker.claim())
    study, body = {"spec": spec, "remedies": ["pretrained"], "splits": "fixed"}, {"remedy": "pretrained"}
    refused = assert_problem(client.post("/v1/studies", json=study), 422, "model_not_found", "/remedies/0")
    assert "`HELDOUT_PRETRAINED=none`" in refused["detail"]
    assert_problem(client.post(f"/v1/jobs/{job}/retry", json=body), 422, "model_not_found", "/network/backbone/model")
    with worker.database.write() as session:
        session.execute(update(ModelRow).values(name=PRETRAINED_MODEL))
    again = client.post(f"/v1/jobs/{job}/retry", json=body)
    assert (again.status_code, again.json()["spec"]["network"]["blocks"]) == (201, []), again.text
    planned = client.post("/v1/studies?dry_run=true", json=study | {"splits": "resampled"})
    assert (planned.status_code, planned.json()["splits"]) == (200, "resampled"), planned.text  # folds as in other arms
    started = client.post("/v1/studies", json=study)
    assert (started.status_code, started.json()["remedies"]) == (201, ["pretrained"]), started.text
    with worker.database.write() as session:
        found = [claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60) for _ in range(3)]
    assert {claim.begins.backbone and worker.blobs.read(claim.begins.backbone.key) for claim in found} == {None, FILE}


def test_an_own_model_is_not_shared_and_has_no_license(client):
    own = client.post("/v1/models", content=FILE).json()
    assert (own["shared"], own["license"], own["source"]) == (False, None, None)


def test_rejected_shared_models_are_not_listed(client, worker, shared):
    end_check(worker, shared, ModelRejectionCode.NOT_FOR_IMAGES)
    assert list_models(client) == []
    assert client.get(f"/v1/models/{shared}").json()["error"]["code"] == "not_for_images"


def test_a_withdrawn_model_is_no_longer_offered_but_stays_on_model_cards(client, worker, spec, shared):
    end_check(worker, shared)
    job, waiting = (submit(client, add_backbone(spec, shared))["id"] for _ in range(2))
    with worker.database.write() as session:
        [key] = models.withdraw(session, shared)
        assert models.withdraw(session, shared) == []
    worker.blobs.delete(key)
    assert list_models(client) == []
    problem = assert_problem(
        client.post("/v1/jobs", json=add_backbone(spec, shared)), 422, "model_unavailable", "/network/backbone/model"
    )
    assert f"GET /v1/models/{shared} says" in problem["detail"]
    assert client.get(f"/v1/models/{shared}").json()["error"]["code"] == "withdrawn"
    worker.succeed(worker.claim())
    card = client.get(f"/v1/jobs/{job}/card").text
    assert "## What is it built on?" in card
    assert f"small net ({shared})" in card
    assert "Apache-2.0" in card
    assert r"example.org/weights \| seen by all" in card, "the operator's text must not break the table"
    held = worker.claim()
    assert held.job_id == waiting
    with worker.database.read() as session:
        assert models.find(session, "anyone", shared).license == "Apache-2.0"


def test_a_network_names_a_shared_model_and_its_card_says_where_that_is_from(client, stranger, worker, spec, shared):
    named = add_backbone(spec, ABOUT.name)
    refused = assert_problem(client.post("/v1/jobs", json=named), 422, "model_unavailable", "/network/backbone/model")
    assert "The network small net" in refused["detail"]
    assert "is still being prepared" in refused["detail"]
    assert f"GET /v1/models/{shared}?wait=60" in refused["detail"]
    assert [client.get(f"/v1/models/{name}").json()["id"] for name in (shared, ABOUT.name)] == [shared] * 2
    for name in ("no such net", "%00", "x" * 129):
        assert_problem(client.get(f"/v1/models/{name}"), 404, "model_not_found")
    end_check(worker, shared)
    job = submit(stranger, named)
    worker.blobs.delete(f"models/{shared}/shared")
    gone = assert_problem(client.post("/v1/jobs", json=named), 422, "invalid_spec", "/network/backbone/model")
    assert "operator can restore it" in gone["detail"], "who did not upload it cannot upload it again"
    assert job["spec"]["network"]["backbone"]["model"] == ABOUT.name
    worker.succeed(worker.claim())
    card = stranger.get(f"/v1/jobs/{job['id']}/card").text
    assert f"small net ({shared})" in card
    assert "Apache-2.0" in card
    unknown = client.post("/v1/jobs", json=add_backbone(spec, "efficientnet_lite0"))
    detail = assert_problem(unknown, 422, "model_not_found", "/network/backbone/model")["detail"]
    assert "HELDOUT_PRETRAINED=none" in detail


def test_a_card_without_a_shared_model_does_not_name_one(client, worker, spec):
    job = submit(client, spec)["id"]
    worker.succeed(worker.claim())
    assert "built on" not in client.get(f"/v1/jobs/{job}/card").text
