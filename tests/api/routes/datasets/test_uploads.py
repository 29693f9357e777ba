"""New datasets are announced, accepted or refused completely, checked once, and deleted when unused."""

import base64
import hashlib
import io

import httpx2
import pytest
from sqlalchemy import text, update

from analysis.arrays.relations import make_relations_key
from heldout.lifecycle.resources import DatasetStatus
from heldout.service.settings import Settings
from heldout.stored.audit import IngestedContent
from heldout.work.memory import CHECK_BYTES, SMALL_CHECK_BYTES
from models.blobs import Blobs
from models.database import db_now
from models.reconcile import discard_files
from models.store import claims, ingests, uploads
from models.store.claims import Capacity, HeldAttempt
from models.tables import DatasetRow
from tests.api.support import assert_problem, sqlite_only, submit, wait_until

pytestmark = sqlite_only

LIMIT = 3_000_000
CONTENT = b"not looked at here" * 1000


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_upload_bytes": LIMIT, "blobs": (settings.home / "blobs").as_uri()})


@pytest.fixture
def blobs(settings: Settings) -> Blobs:
    return Blobs(settings.blobs_url)


def announce(client, **spec) -> dict:
    answer = client.post("/v1/datasets", json={"name": "pets", **spec})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/datasets/{answer.json()['id']}"
    return answer.json()


def send(client, dataset: dict, content: bytes = CONTENT, **headers: str) -> dict:
    answer = client.put(f"/v1/datasets/{dataset['id']}/content", content=content, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


def make_digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def list_stored(blobs: Blobs) -> set[str]:
    root = blobs.get_local_folder("")
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def claim(database) -> claims.Claimed:
    with database.write() as session:
        found = claims.claim(session, "worker", Capacity(["auto", "cpu"]), 60)
    assert found is not None
    return found


def make_ready(database, blobs: Blobs, sha256: str = "a" * 64) -> HeldAttempt:
    """Finish a check as a worker does once it has the report."""
    check = claim(database)
    with database.write() as session:
        ingests.reserve_content(session, check.held, check.dataset.id, sha256)
    blobs.put(f"datasets/{sha256}/images.npy", b"pixels")
    blobs.put(f"datasets/{check.dataset.id}/audit.json", b"{}")
    blobs.put(make_relations_key(check.dataset.id), b"copies and groups")
    splits = {name: {"count": 2, "per_class": [1, 1]} for name in ("train", "validation", "test")}
    taken = IngestedContent(sha256, 6, (8, 8, 1), "uint8", (0, 255), ("cat", "dog"), splits)
    with database.write() as session:
        assert ingests.mark_ready(session, check.held, check.dataset.id, taken) == "succeeded"
    return check.held


# --- announced and sent ------------------------------------------------------------------------------


def test_a_new_dataset_waits_for_its_content_and_then_for_its_check(client, blobs):
    dataset = announce(client, description="Cats and dogs.")
    assert (dataset["name"], dataset["version"], dataset["status"]) == ("pets", 1, "uploading")
    assert (dataset["description"], dataset["bundled"], dataset["sha256"]) == ("Cats and dogs.", False, None)
    assert send(client, dataset)["status"] == "checking"
    assert client.get("/v1/datasets/pets").json()["status"] == "checking"
    [key] = list_stored(blobs)
    assert blobs.read(key) == CONTENT
    assert client.get("/v1/jobs").json()["data"] == []  # checks are not listed as jobs


def test_a_small_check_needs_little_memory_so_that_it_can_run_beside_trainings(client, blobs, database, monkeypatch):
    send(client, announce(client))
    assert claim(database).needs.memory_bytes == SMALL_CHECK_BYTES
    monkeypatch.setattr("heldout.work.memory.SMALL_UPLOAD_BYTES", len(CONTENT) - 1)
    send(client, announce(client))
    assert claim(database).needs.memory_bytes == CHECK_BYTES


def test_versions_are_numbered_per_owner_and_name(client, stranger):
    assert [announce(client)["version"] for _ in range(3)] == [1, 2, 3]
    assert announce(client, name="birds")["version"] == 1
    assert announce(stranger)["version"] == 1
    assert client.get("/v1/datasets/pets@2").json()["version"] == 2


def test_a_bad_spec_is_refused_with_its_field(client):
    for spec, pointer in [
        ({}, "/name"),
        ({"name": "Pets"}, "/name"),
        ({"name": "pets", "colour": "sepia"}, "/colour"),
        ({"name": "ds_pets"}, "/name"),
        ({"name": "pets", "group_by": "cat"}, "/group_by"),
        ({"name": "pets", "group_by": "("}, "/group_by"),
        ({"name": "pets", "splits": {"test": 0.9}}, "/splits/test"),
        ({"name": "pets", "resize": {"height": 4, "width": 8, "rule": "pad"}}, "/resize/height"),
        ({"name": "pets", "tags": []}, "/tags"),
        ([], ""),
    ]:
        assert_problem(client.post("/v1/datasets", json=spec), 422, "invalid_spec", pointer)
        assert len(client.get("/v1/datasets").json()["data"]) == 2


def test_a_body_that_is_neither_json_nor_a_form_is_refused(client):
    assert_problem(client.post("/v1/datasets", content=b"{"), 415, "unsupported_media_type")
    headers = {"content-type": "application/json"}
    assert_problem(client.post("/v1/datasets", content=b"{", headers=headers), 400, "invalid_json")


def test_content_may_be_sent_in_chunks_without_a_length(service, blobs):
    dataset = announce(service)
    pieces = [bytes([number]) * 100_000 for number in range(20)]
    answer = service.put(f"/v1/datasets/{dataset['id']}/content", content=iter(pieces))
    assert answer.request.headers["transfer-encoding"] == "chunked"
    assert answer.status_code == 202
    [key] = list_stored(blobs)
    assert blobs.read(key) == b"".join(pieces)


def test_a_digest_is_checked(client, blobs):
    dataset = announce(client)
    route = f"/v1/datasets/{dataset['id']}/content"
    wrong = client.put(route, content=CONTENT, headers={"Content-Digest": make_digest(b"other")})
    problem = assert_problem(wrong, 422, "digest_mismatch")
    assert hashlib.sha256(CONTENT).hexdigest() in problem["detail"]
    assert list_stored(blobs) == set()
    for nonsense in ("sha-256=:AAAA:", "md5=:AAAA:", "x"):
        answer = client.put(route, content=CONTENT, headers={"Content-Digest": nonsense})
        assert_problem(answer, 400, "invalid_parameter")
    assert client.get(f"/v1/datasets/{dataset['id']}").json()["status"] == "uploading"
    assert (
        send(client, dataset, **{"Content-Digest": f"sha-512=:AAAA:, {make_digest(CONTENT)}"})["status"] == "checking"
    )


@pytest.mark.parametrize("has_length", [True, False])
def test_content_above_the_limit_is_refused_and_not_kept(service, blobs, has_length):
    dataset = announce(service)
    body = b"x" * (LIMIT + 1)
    content = body if has_length else iter([body[:LIMIT], body[LIMIT:]])
    answer = service.put(f"/v1/datasets/{dataset['id']}/content", content=content)
    assert str(LIMIT) in assert_problem(answer, 413, "body_too_large")["detail"]
    assert list_stored(blobs) == set()
    assert send(service, dataset, b"x" * LIMIT)["status"] == "checking"


def test_an_interrupted_upload_leaves_nothing_and_can_be_repeated(service, blobs):
    dataset = announce(service)

    def broken():
        yield CONTENT
        raise RuntimeError("the client's disk is gone")

    with pytest.raises(RuntimeError):
        service.put(f"/v1/datasets/{dataset['id']}/content", content=broken())
    assert send(service, dataset)["status"] == "checking"
    wait_until(lambda: len(list_stored(blobs)) == 1, "the removal of what was interrupted")


def test_repeated_content_changes_nothing_and_other_content_is_refused(client, blobs, database):
    dataset = announce(client)
    first = send(client, dataset)
    assert send(client, dataset) == first
    other = client.put(f"/v1/datasets/{dataset['id']}/content", content=b"other")
    assert_problem(other, 409, "upload_finished")
    assert len(list_stored(blobs)) == 1
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM jobs")) == 1


def test_content_is_only_accepted_for_ones_own_datasets(client, stranger, blobs):
    dataset = announce(client)
    assert_problem(stranger.put(f"/v1/datasets/{dataset['id']}/content", content=b"x"), 404, "dataset_not_found")
    assert_problem(client.put("/v1/datasets/digits/content", content=b"x"), 409, "dataset_is_bundled")
    assert_problem(client.put("/v1/datasets/none/content", content=b"x"), 404, "dataset_not_found")
    assert list_stored(blobs) == set()


# --- in one form -------------------------------------------------------------------------------------


def test_one_form_can_carry_spec_and_content(client, blobs):
    fields = {"name": "pets", "description": "é", "splits": '{"test": 0.5}', "group_by": "(cat)", "skip_broken": "true"}
    answer = client.post("/v1/datasets", data=fields, files={"file": ("pets.zip", io.BytesIO(CONTENT))})
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{dataset['id']}"
    assert (dataset["status"], dataset["description"]) == ("checking", "é")
    [key] = list_stored(blobs)
    assert blobs.read(key) == CONTENT


def test_a_form_with_an_idempotency_key_is_not_repeated_with_other_content(client, blobs):
    def send(content: bytes) -> httpx2.Response:
        file = {"file": ("pets.zip", io.BytesIO(content))}
        return client.post("/v1/datasets", data={"name": "pets"}, files=file, headers={"Idempotency-Key": "k"})

    made = send(CONTENT)
    assert send(CONTENT).json()["id"] == made.json()["id"]
    assert_problem(send(CONTENT + b"x"), 422, "idempotency_key_reused")
    assert len(list_stored(blobs)) == 1


def test_a_bad_form_is_refused_and_leaves_nothing(client, blobs):
    for fields, files, status, code in [
        ({"name": "pets"}, {"content": b"x"}, 400, "invalid_form"),
        ({"name": "pets", "tag": "x"}, {"file": b"x"}, 400, "invalid_form"),
        ({"name": ["pets", "pets"]}, {"file": b"x"}, 400, "invalid_form"),
        ({"name": "pets", "splits": "{"}, {"file": b"x"}, 400, "invalid_json"),
        ({"name": "pets", "splits": "[]"}, {"file": b"x"}, 422, "invalid_spec"),
        ({"name": "a\0b"}, {"file": b"x"}, 422, "invalid_spec"),
        ({}, {"file": b"x"}, 422, "invalid_spec"),
        ({"name": "pets"}, {"file": b"x" * (LIMIT + 1)}, 413, "body_too_large"),
    ]:
        assert_problem(client.post("/v1/datasets", data=fields, files=files), status, code)
        assert list_stored(blobs) == set()
        assert len(client.get("/v1/datasets").json()["data"]) == 2


# How curl 8 sends `-F group_by='(cat)' -F name=pets`, and `-F name=pets -F group_by='(cat)'`: as a group of fields.
SWALLOWED = b"""--B\r
Content-Disposition: form-data; name="group_by"\r
Content-Type: multipart/mixed; boundary=I\r
\r
--I\r
Content-Disposition: attachment; name="name"\r
\r
pets\r
--I--\r
\r
--B--\r
"""
EMPTY = b"""--B\r
Content-Disposition: form-data; name="name"\r
\r
pets\r
--B\r
Content-Disposition: form-data; name="group_by"\r
Content-Type: multipart/mixed; boundary=I\r
\r
--I--\r
\r
--B--\r
"""
CUT = {"data": {"name": "pets", "group_by": "^(c["}, "files": {"file": b"x"}}  # -F group_by='^(c[;a]t)'
AS_FILE = {"data": {"name": "pets"}, "files": {"group_by": b"(cat)"}}  # -F group_by=@rule.txt


def test_mangled_group_rules_from_curl_are_explained(client, blobs):
    for sent in [SWALLOWED, EMPTY, CUT, AS_FILE]:
        if isinstance(sent, bytes):
            sent = {"content": sent, "headers": {"content-type": "multipart/form-data; boundary=B"}}
        answer = client.post("/v1/datasets", **sent)
        assert answer.json()["code"] in {"invalid_form", "invalid_spec"}
        assert "--form-string 'group_by=" in answer.json()["detail"]
        assert list_stored(blobs) == set()


def test_malformed_forms_are_refused(client):
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = client.post("/v1/datasets", content=b"--y\r\nnothing", headers={"content-type": content_type})
        assert_problem(answer, 400, "invalid_form")


# --- checked -----------------------------------------------------------------------------------------


def test_a_ready_dataset_is_described_and_can_be_trained_on(client, blobs, database, spec):
    dataset = announce(client)
    send(client, dataset)
    make_ready(database, blobs)
    ready = client.get(f"/v1/datasets/{dataset['id']}").json()
    assert (ready["status"], ready["sha256"], ready["shape"]) == ("ready", "a" * 64, [8, 8, 1])
    network = {"blocks": [{"filters": 4}]}
    job = submit(client, {**spec, "dataset": "pets", "network": network})
    assert job["dataset"] == {"id": dataset["id"], "name": "pets", "version": 1}


def test_identical_content_under_the_same_name_is_the_same_dataset(client, blobs, database):
    first = announce(client)
    send(client, first)
    make_ready(database, blobs)
    again = announce(client)
    send(client, again)
    make_ready(database, blobs)
    assert client.get(f"/v1/datasets/{again['id']}").json() == client.get(f"/v1/datasets/{first['id']}").json()
    assert client.get("/v1/datasets/pets@2").json()["version"] == 1
    assert [dataset["name"] for dataset in client.get("/v1/datasets").json()["data"]].count("pets") == 1


def test_owners_share_only_blobs(client, stranger, blobs, database):
    for someone in (client, stranger):
        dataset = announce(someone)
        send(someone, dataset)
        make_ready(database, blobs)
    mine, theirs = client.get("/v1/datasets/pets").json(), stranger.get("/v1/datasets/pets").json()
    assert mine["sha256"] == theirs["sha256"]
    assert mine["id"] != theirs["id"]
    assert_problem(stranger.get(f"/v1/datasets/{mine['id']}"), 404, "dataset_not_found")
    assert stranger.delete("/v1/datasets/pets").status_code == 204
    discard_files(database, blobs)
    assert f"datasets/{mine['sha256']}/images.npy" in list_stored(blobs)
    assert client.delete("/v1/datasets/pets").status_code == 204
    discard_files(database, blobs)
    assert list_stored(blobs) == set()


def test_the_time_of_a_deletion_does_not_reveal_other_owners_content(client, stranger, blobs, database):
    """The duration would reveal whether files were removed, so no request removes them."""
    for someone in (client, stranger):
        send(someone, announce(someone))
        make_ready(database, blobs)
    before = list_stored(blobs)
    for someone in (client, stranger):
        assert someone.delete("/v1/datasets/pets").status_code == 204
        assert list_stored(blobs) == before


def test_a_rejected_upload_says_why_and_its_file_is_deleted(client, blobs, database):
    dataset = announce(client)
    send(client, dataset)
    error = {"code": "unreadable_member", "detail": "It is no image.", "member": "cat/1.png"}
    held = claim(database).held
    with database.write() as session:
        assert claims.reject(session, held, error) == "failed"
    rejected = client.get(f"/v1/datasets/{dataset['id']}").json()
    assert (rejected["status"], rejected["error"]) == ("rejected", error)
    discard_files(database, blobs)
    assert list_stored(blobs) == set()


def refuse(database, code: str) -> None:
    held = claim(database).held
    with database.write() as session:
        claims.reject(session, held, {"code": code, "detail": "They have two sizes.", "member": None})


def test_an_upload_refused_for_its_sizes_is_read_again_with_one_size(client, stranger, blobs, database):
    dataset = announce(client)
    send(client, dataset)
    resize = f"/v1/datasets/{dataset['id']}/resize"
    size = {"height": 64, "width": 64, "rule": "pad"}
    assert_problem(client.post(resize, json=size), 409, "upload_not_kept")  # it is not refused yet
    refuse(database, "mixed_sizes")
    discard_files(database, blobs)
    rejected = client.get(f"/v1/datasets/{dataset['id']}").json()
    assert (rejected["status"], rejected["upload_kept_until"] > rejected["created_at"]) == ("rejected", True)
    assert_problem(stranger.post(resize, json=size), 404, "dataset_not_found")
    assert_problem(client.post(resize, json={**size, "height": 4}), 422, "invalid_spec")
    for _ in range(2):  # the second changes nothing
        again = client.post(resize, json=size)
        assert again.status_code == 202, again.text
        assert (again.json()["status"], again.json()["error"], again.json()["version"]) == ("checking", None, 1)
    check = claim(database)
    assert blobs.read(check.spec.upload) == CONTENT
    assert check.spec.dataset.resize.model_dump() == size
    with database.write() as session:
        claims.reject(session, check.held, {"code": "no_images", "detail": "None.", "member": None})
    discard_files(database, blobs)
    assert list_stored(blobs) == set(), "no size would help"
    assert_problem(client.post(resize, json=size), 409, "upload_not_kept")


def test_a_kept_upload_counts_until_it_expires_or_is_deleted(client, blobs, database):
    def count_bytes() -> int:
        quotas = client.get("/v1/usage").json()["quotas"]
        return next(quota["used"] for quota in quotas if quota["quota"] == "stored_bytes")

    def keep() -> str:
        dataset = announce(client)
        send(client, dataset)
        refuse(database, "size_out_of_bounds")
        discard_files(database, blobs)
        assert (count_bytes(), len(list_stored(blobs))) == (len(CONTENT), 1)
        return f"/v1/datasets/{dataset['id']}"

    client.delete(keep())
    discard_files(database, blobs)
    assert (count_bytes(), list_stored(blobs)) == (0, set())
    route = keep()
    with database.write() as session:
        session.execute(update(DatasetRow).values(upload_kept_until=db_now(-1)))
    answer = client.post(f"{route}/resize", json={"height": 64, "width": 64, "rule": "pad"})
    assert_problem(answer, 409, "upload_not_kept")
    discard_files(database, blobs)
    assert (count_bytes(), list_stored(blobs)) == (0, set())


def test_content_that_arrives_too_late_is_refused_and_not_kept(client, blobs, database):
    dataset = announce(client)
    with database.write() as session:
        session.execute(update(DatasetRow).values(created_at=db_now(-uploads.ANNOUNCED_FOR_S - 1)))
        assert uploads.reject_unsent(session) == [dataset["id"]]
    answer = client.put(f"/v1/datasets/{dataset['id']}/content", content=CONTENT)
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_finished")
    assert "arrived too late" in answer.json()["detail"]
    discard_files(database, blobs)
    assert list_stored(blobs) == set()
    assert client.get(f"/v1/datasets/{dataset['id']}").json()["error"]["code"] == "never_sent"


def test_a_form_that_repeats_an_expired_announcement_is_too_late_and_not_another_request(client, blobs, database):
    key = {"Idempotency-Key": "k"}
    dataset = client.post("/v1/datasets", json={"name": "pets"}, headers=key).json()
    with database.write() as session:
        session.execute(update(DatasetRow).values(created_at=db_now(-uploads.ANNOUNCED_FOR_S - 1)))
        assert uploads.reject_unsent(session) == [dataset["id"]]
    answer = client.post("/v1/datasets", data={"name": "pets"}, files={"file": ("a.zip", CONTENT)}, headers=key)
    assert "arrived too late" in assert_problem(answer, 409, "upload_finished")["detail"]
    discard_files(database, blobs)
    assert list_stored(blobs) == set()


# --- deleted -----------------------------------------------------------------------------------------


def test_a_dataset_that_a_job_needs_cannot_be_deleted(client, blobs, database, spec):
    send(client, announce(client))
    make_ready(database, blobs)
    job = submit(client, {**spec, "dataset": "pets", "network": {"blocks": [{"filters": 4}]}})
    assert job["id"] in assert_problem(client.delete("/v1/datasets/pets"), 409, "dataset_in_use")["detail"]
    client.post(f"/v1/jobs/{job['id']}/cancel")
    assert client.delete("/v1/datasets/pets").status_code == 204
    assert_problem(client.get("/v1/datasets/pets"), 404, "dataset_not_found")
    assert client.get(f"/v1/jobs/{job['id']}").json()["dataset"]["name"] == "pets"
    assert_problem(client.post(f"/v1/jobs/{job['id']}/retry"), 422, "dataset_unavailable", "/dataset")
    assert announce(client)["version"] == 2  # numbers are not reused


def test_deleting_a_dataset_cancels_its_check(client, blobs, database):
    waiting, running = announce(client), announce(client, name="birds")
    send(client, running)
    held = claim(database).held
    send(client, waiting)
    for dataset in (waiting, running):
        assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    with database.write() as session:
        assert claims.is_any_claimable(session, Capacity(["auto"])) is False
        assert claims.stop_as_requested(session, held) == "cancelled"
    discard_files(database, blobs)
    assert list_stored(blobs) == set()


def test_only_ones_own_datasets_can_be_deleted(client, stranger):
    dataset = announce(client)
    assert_problem(stranger.delete(f"/v1/datasets/{dataset['id']}"), 404, "dataset_not_found")
    assert_problem(client.delete("/v1/datasets/digits"), 409, "dataset_is_bundled")
    assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    assert_problem(client.delete(f"/v1/datasets/{dataset['id']}"), 404, "dataset_not_found")


# --- not ready yet -----------------------------------------------------------------------------------


def test_results_of_a_check_are_not_ready_before_it(client, stranger):
    dataset = announce(client)
    for route in ["audit", "preview", "preview/0", "splits"]:
        assert_problem(client.get(f"/v1/datasets/{dataset['id']}/{route}"), 409, "not_ready")
        assert_problem(stranger.get(f"/v1/datasets/{dataset['id']}/{route}"), 404, "dataset_not_found")
        if route in {"audit", "preview"}:
            assert_problem(client.get(f"/v1/datasets/digits/{route}"), 409, "not_ready")


def test_a_rejected_versions_number_is_reused_unless_something_refers_to_it(client, database, blobs):
    def reject() -> dict:
        made = announce(client)
        send(client, made)
        check = claim(database)
        with database.write() as session:
            claims.reject(session, check.held, {"code": "not_images", "detail": "It has none.", "member": None})
        return made

    first, second = reject(), reject()
    assert (first["version"], second["version"]) == (1, 1)
    assert_problem(client.get(f"/v1/datasets/{first['id']}"), 404, "dataset_not_found")
    assert client.get("/v1/datasets/pets@1").json()["id"] == second["id"]
    kept = announce(client)
    send(client, kept)
    make_ready(database, blobs)
    third, fourth = reject(), announce(client)
    assert (kept["version"], third["version"], fourth["version"]) == (1, 2, 2)
    with database.write() as session:
        derived_from = {"dataset": {"id": fourth["id"], "name": "pets", "version": 2}}
        row = DatasetRow.id == fourth["id"]
        session.execute(update(DatasetRow).where(row).values(status=DatasetStatus.REJECTED))
        session.execute(update(DatasetRow).where(DatasetRow.id == kept["id"]).values(derived_from=derived_from))
    assert announce(client)["version"] == 3


def test_a_waiting_check_reports_its_queue_position(client, database):
    first, second = (announce(client, name=name) for name in ("cats", "dogs"))
    assert first["queue_position"] is None
    for made in (first, second):
        send(client, made)

    def places() -> list[int | None]:
        return [client.get(f"/v1/datasets/{made['id']}").json()["queue_position"] for made in (first, second)]

    assert places() == [1, 2]
    claim(database)
    assert places() == [None, 1]
