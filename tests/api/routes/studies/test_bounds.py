"""Limits of studies: patches, plans, the number kept, and pages of large ones."""

import json

import pytest

from heldout.access.rights import Quota
from models import study_creation
from models.store import owners
from tests.api.support import assert_problem, sqlite_only, submit, with_field

pytestmark = sqlite_only
MAX_PATCHES_BYTES = 65_536


@pytest.fixture
def asked(spec) -> dict:
    return {"spec": spec, "remedies": ["dropout"], "splits": "fixed", "seeds": 2}


def set_limits(worker, **bounds):
    with worker.database.write() as session:
        owners.limit(session, "ada", changes={Quota(name): value for name, value in bounds.items()})


def make_patch(name: str, nulls: int) -> dict:
    """Return a patch that changes one field and removes this many unknown ones."""
    patch = {"training": {"epochs": 3, **{f"k{number:05}": None for number in range(nulls)}}}
    return {"name": name, "patch": patch}


def make_large_metadata(text: str = "é" * 512) -> dict:
    """Return the largest possible metadata."""
    return {f"{number:02}" + "é" * 62: text for number in range(16)}


def get_used_spec_bytes(client) -> float:
    return next(quota["used"] for quota in client.get("/v1/usage").json()["quotas"] if quota["quota"] == "spec_bytes")


def test_a_patch_with_60_000_keys_is_refused(client, asked):
    answer = client.post("/v1/studies", json=asked | {"remedies": ["dropout", make_patch("mine", 60_000)]})
    problem = assert_problem(answer, 422, "invalid_spec", "/remedies/1/patch")
    assert "840,0" in problem["detail"]
    assert "65,536" in problem["detail"]
    assert len(answer.content) < 1000
    assert client.get("/v1/studies").json()["data"] == []


def test_the_patches_of_a_study_share_one_limit(client, asked):
    half = make_patch("one", 2400)
    assert MAX_PATCHES_BYTES / 2 < len(json.dumps(half["patch"], separators=(",", ":"))) < MAX_PATCHES_BYTES
    other = {"name": "two", "patch": {"training": {**half["patch"]["training"], "epochs": 4}}}
    answer = client.post("/v1/studies", json=asked | {"remedies": [half, "dropout", other]})
    assert_problem(answer, 422, "invalid_spec", "/remedies/2/patch")
    assert client.post("/v1/studies", json=asked | {"remedies": [half, "dropout"]}).status_code == 201


def test_the_size_of_a_studys_plan_is_limited(client, asked, monkeypatch):
    """Each candidate of a search repeats its patch. This one is small, so the test lowers the limit."""
    block = {**asked["spec"]["network"]["blocks"][0], "dropout": 0.123456789012345}
    mine = {"name": "own", "patch": {"network": {"blocks": [block] * 2, "l2": 0.01}}}
    answer = client.post("/v1/studies?dry_run=true", json=asked | {"remedies": [mine, "own+retune"]})
    assert answer.status_code == 200, answer.text
    monkeypatch.setattr(study_creation, "MAX_PLAN_BYTES", 2048)
    answer = client.post("/v1/studies", json=asked | {"remedies": [mine, "own+retune"]})
    assert "at most 2,048" in assert_problem(answer, 422, "invalid_spec", "/remedies")["detail"]
    assert client.post("/v1/studies", json=asked | {"remedies": [mine]}).status_code == 201


def test_a_refusal_shows_only_some_of_many_unknown_classes(client, spec):
    weights = {f"no{number}": 1.0 for number in range(1000)}
    answer = client.post("/v1/jobs", json=with_field(spec, "training.class_weights", weights))
    assert_problem(answer, 422, "invalid_spec")
    assert len(answer.content) < 10_000
    too_many = {**weights, "one more": 1.0}
    answer = client.post("/v1/jobs", json=with_field(spec, "training.class_weights", too_many))
    assert_problem(answer, 422, "invalid_spec", "/training/class_weights")


def test_studies_count_toward_their_quota_until_deleted(client, worker, asked):
    set_limits(worker, studies=1)
    study = client.post("/v1/studies", json=asked).json()
    answer = client.post("/v1/studies", json=asked)
    assert "`studies`" in assert_problem(answer, 429, "quota_exceeded")["detail"]
    assert client.post("/v1/studies?dry_run=true", json=asked).status_code == 200
    client.post(f"/v1/studies/{study['id']}/cancel")
    assert client.post("/v1/studies", json=asked).status_code == 429
    assert client.delete(f"/v1/studies/{study['id']}").status_code == 204
    assert client.post("/v1/studies", json=asked).status_code == 201


def test_only_large_specs_count_toward_spec_bytes(client, stranger, worker, asked, spec):
    large = with_field(spec, "metadata", make_large_metadata())
    job = submit(client, large)
    used = {quota["quota"]: quota["used"] for quota in client.get("/v1/usage").json()["quotas"]}["spec_bytes"]
    assert used == pytest.approx(
        len(json.dumps(job["spec"], ensure_ascii=False, separators=(",", ":")).encode()), abs=5
    )
    set_limits(worker, spec_bytes=int(1.5 * used))
    for path, body in (("/v1/jobs", large), ("/v1/studies", asked | {"metadata": make_large_metadata()})):
        assert "`spec_bytes`" in assert_problem(client.post(path, json=body), 429, "quota_exceeded")["detail"]
        assert stranger.post(path, json=body).status_code == 201
    client.post(f"/v1/jobs/{job['id']}/cancel")
    set_limits(worker, spec_bytes=0)
    answer = client.post(f"/v1/jobs/{job['id']}/retry")
    assert_problem(answer, 429, "quota_exceeded")
    submit(client, spec)
    assert client.post("/v1/studies", json=asked).status_code == 201
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert get_used_spec_bytes(client) == 0


def test_pages_of_large_studies_are_shorter_but_cover_all(client, asked):
    body = asked | {"remedies": [make_patch("mine", 4000)], "metadata": make_large_metadata()}
    ids = [client.post("/v1/studies", json=body).json()["id"] for _ in range(14)]
    found, after, pages = [], "", []
    while True:
        answer = client.get(f"/v1/studies?limit=200{after}")
        page = answer.json()
        assert len(answer.content) <= 1_000_100
        found += [study["id"] for study in page["data"]]
        pages.append(len(page["data"]))
        assert page["has_more"] is (page["next"] is not None)
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == sorted(ids, reverse=True)
    assert len(pages) == 2
    assert page["data"][-1]["arms"][1]["patch"] == body["remedies"][0]["patch"]


def test_other_writes_continue_while_a_studys_arms_are_examined(client, worker, asked, monkeypatch):
    """SQLite allows one writing transaction at a time, and examining many arms takes a while."""
    examined = study_creation.examine_arm

    def write_and_examine(*arguments):
        set_limits(worker, datasets=7)
        return examined(*arguments)

    monkeypatch.setattr(study_creation, "examine_arm", write_and_examine)
    assert client.post("/v1/studies", json=asked).status_code == 201
