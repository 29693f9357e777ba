"""Jobs are found by id, in pages and by filters, and owners do not see each other's."""

import pytest

from tests.api.support import assert_problem, sqlite_only, submit, with_field

# tests/models/store proves the SQL on both databases.
pytestmark = sqlite_only

NO_JOB = "job_01jd0000000000000000000000"


def get_ids(page) -> list[str]:
    assert page.status_code == 200, page.text
    return [job["id"] for job in page.json()["data"]]


def test_pages_show_every_job_once_newest_first(client, spec):
    made = [submit(client, spec)["id"] for _ in range(7)]
    seen, after = [], ""
    while True:
        page = client.get(f"/v1/jobs?limit=3{after}")
        seen += get_ids(page)
        submit(client, spec)  # later jobs do not shift the pages
        answer = page.json()
        assert list(answer) == ["object", "data", "has_more", "next"]
        assert answer["object"] == "list"
        assert answer["has_more"] == (answer["next"] is not None)
        if not answer["has_more"]:
            break
        assert answer["next"] == seen[-1]
        after = f"&after={answer['next']}"
    assert seen == sorted(made, reverse=True)


def test_lists_can_be_filtered_by_dataset_and_metadata(client, spec):
    digits = submit(client, {**spec, "dataset": "digits@1", "network": {"blocks": [{"filters": 4}]}})
    both = submit(client, with_field(spec, "metadata", {"team": "a b", "run": "1"}))
    single = submit(client, with_field(spec, "metadata", {"team": "a b", "run": "2"}))
    assert get_ids(client.get("/v1/jobs?dataset=digits")) == [digits["id"]]
    assert get_ids(client.get(f"/v1/jobs?dataset={digits['dataset']['id']}")) == [digits["id"]]
    assert get_ids(client.get("/v1/jobs?dataset=nobody")) == []
    assert get_ids(client.get("/v1/jobs?metadata[team]=a%20b")) == [single["id"], both["id"]]
    assert get_ids(client.get("/v1/jobs?metadata[team]=a%20b&metadata[run]=1")) == [both["id"]]
    assert get_ids(client.get("/v1/jobs?metadata[team]=a&metadata[run]=1")) == []
    assert get_ids(client.get("/v1/jobs?metadata[other]=")) == []


def test_lists_can_be_filtered_by_any_metadata_key(client, spec):
    for name in ['a"b', "a.b", "a[0]", "0", "a\\b", "a'b", "$", "*", "ключ", "a]b", "%"]:
        marked = submit(client, with_field(spec, "metadata", {name: "v"}))
        submit(client, with_field(spec, "metadata", {"b": "v", "other": "v"}))
        assert get_ids(client.get("/v1/jobs", params={f"metadata[{name}]": "v"})) == [marked["id"]]
    assert_problem(client.get("/v1/jobs?metadata[]=v"), 400, "invalid_parameter")


def test_unknown_and_out_of_range_parameters_are_refused(client):
    for query in [
        *("limit=0", "limit=201", "limit=x", "limit=", "limit=1e9", f"limit={'9' * 5000}", "limit=-1", "limit=NaN"),
        *("status=done", "status=", "page=2", "metadata=x", "metadata[a=1", "metadata[a]x=1", "Limit=1"),
        *("dataset=%00", f"dataset={'d' * 161}", "metadata[a]=%00", "metadata[%00]=a", f"metadata[{'k' * 65}]=a"),
        "&".join(f"metadata[k{i}]=v" for i in range(17)),
    ]:
        assert_problem(client.get(f"/v1/jobs?{query}"), 400, "invalid_parameter")


def test_invalid_cursors_are_refused(client):
    for cursor in ["", "x", "job_", "ds_01jd0000000000000000000000", f"{NO_JOB}x", "null", "' or 1=1"]:
        assert_problem(client.get("/v1/jobs", params={"after": cursor}), 400, "invalid_cursor")


def test_invalid_ids_are_not_found(client):
    for path in [
        "x",
        NO_JOB,
        NO_JOB.upper(),
        "job_" + "é" * 26,
        "%00",
        "job_%00",
        "j" * 5000,
        "%2e%2e",
        "..%2fkeys",
        "*",
    ]:
        answer = client.get(f"/v1/jobs/{path}")
        assert answer.status_code == 404
        assert answer.json()["code"] in {"job_not_found", "route_not_found"}


def test_another_owners_job_is_not_found_on_any_route(client, stranger, worker, spec):
    running = submit(client, spec)["id"]
    held = worker.claim()
    worker.begin(held, client.get(f"/v1/jobs/{running}").json()["spec"])
    before = client.get(f"/v1/jobs/{running}").json()
    for method, route, body in [
        *(("GET", f"/{room}", None) for room in ("metrics", "events", "queue", "model", "predictions")),
        *(("POST", f"/{verb}", None) for verb in ("cancel", "pause", "resume", "retry")),
        *(("GET", "", None), ("GET", "?wait=5", None), ("DELETE", "", None), ("PATCH", "", {"priority": 1})),
    ]:
        answer = stranger.request(method, f"/v1/jobs/{running}{route}", json=body)
        problem = assert_problem(answer, 404, "job_not_found")
        missing = stranger.request(method, f"/v1/jobs/{NO_JOB}{route}", json=body).json()
        assert problem["detail"] == missing["detail"].replace(NO_JOB, running), (
            "the message reveals that the job exists"
        )
    assert get_ids(stranger.get("/v1/jobs")) == []
    assert get_ids(stranger.get(f"/v1/jobs?after={NO_JOB.replace('01jd', 'zzzz')}")) == []
    assert client.get(f"/v1/jobs/{running}").json() == before


def test_a_jobs_etag_is_its_version(client, worker, spec):
    job = submit(client, spec)["id"]
    first = client.get(f"/v1/jobs/{job}")
    assert first.headers["etag"] == '"1"'
    same = client.get(f"/v1/jobs/{job}", headers={"If-None-Match": '"1"'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"1"')
    for matching in ("*", 'W/"1"', '"7", "1"'):
        assert client.get(f"/v1/jobs/{job}", headers={"If-None-Match": matching}).status_code == 304
    held = worker.claim()
    changed = client.get(f"/v1/jobs/{job}", headers={"If-None-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert changed.json()["status"] == "running"
    worker.epoch(held, 1)
    assert client.get(f"/v1/jobs/{job}", headers={"If-None-Match": '"2"'}).json()["progress"]["epoch"] == 1
    assert client.get(f"/v1/jobs/{job}", headers={"If-None-Match": "garbage"}).status_code == 200


def test_lists_can_leave_out_the_trainings_of_studies(client, spec):
    alone = submit(client, spec)["id"]
    asked = {"spec": spec, "remedies": ["dropout"], "splits": "fixed", "seeds": 2}
    assert client.post("/v1/studies", json=asked).status_code == 201
    of_studies = set(get_ids(client.get("/v1/jobs"))) - {alone}
    assert of_studies
    for narrowed in ("", "&status=queued", "&sort=name", "&dataset=mnist5k", "&search=a"):
        everything = get_ids(client.get(f"/v1/jobs?limit=200{narrowed}"))
        assert get_ids(client.get(f"/v1/jobs?study=none{narrowed}")) == [
            job_id for job_id in everything if job_id == alone
        ]


def test_a_list_can_include_thinned_curves_and_queue_positions(client, worker, spec):
    long, *waiting = (submit(client, with_field(spec, "priority", 9 - place))["id"] for place in range(3))
    held = worker.claim()
    for epoch in range(1, 51):
        worker.epoch(held, epoch, train_loss=1 / epoch, validation_loss=None if epoch == 50 else 2 / epoch)
    plain = {job["id"]: job for job in client.get("/v1/jobs").json()["data"]}
    assert {"curve", "queue_position"} & {name for job in plain.values() for name in job} == set()
    listed = {job["id"]: job for job in client.get("/v1/jobs?curves=10&queue=true").json()["data"]}
    assert [listed[job].get("queue_position") for job in (long, *waiting)] == [None, 1, 2]
    assert listed[waiting[0]]["queue_position"] == client.get(f"/v1/jobs/{waiting[0]}/queue").json()["position"]
    curve = listed[long]["curve"]
    assert curve["epochs"] == [1, 7, 13, 19, 25, 31, 37, 43, 49, 50]
    assert curve["train_loss"] == [pytest.approx(1 / epoch) for epoch in curve["epochs"]]
    assert curve["validation_loss"][-1] is None
    assert "curve" not in listed[waiting[0]]
    for points in (2, 3, 26, 49, 50, 59):  # one more than a half, all but one, all, and more than there are
        few = client.get(f"/v1/jobs?curves={points}&limit=3").json()["data"][-1]["curve"]["epochs"]
        assert len(few) <= points
        assert (few[0], few[-1]) == (1, 50)
