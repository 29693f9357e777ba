"""Diagnoses of other programs' trainings can be kept, each at its own URL."""

from models.store import diagnoses
from tests.api.support import sqlite_only

HISTORY = {"loss": [1, 0.5, 0.2, 0.1, 0.05, 0.02], "val_loss": [1, 0.6, 0.5, 0.6, 0.8, 1.0]}


def diagnose(client):
    return client.post("/v1/diagnoses", json={"history": HISTORY}).json()


def test_a_kept_diagnosis_is_unchanged_until_deleted(client):
    made = diagnose(client)
    kept = client.post("/v1/diagnoses/kept", json=made)
    assert kept.status_code == 201
    found = client.get(f"/v1/diagnoses/{kept.json()['id']}")
    assert found.json() == kept.json()
    assert {name: value for name, value in found.json().items() if name not in ("id", "created_at")} == made
    assert client.delete(f"/v1/diagnoses/{kept.json()['id']}").status_code == 204
    gone = client.get(f"/v1/diagnoses/{kept.json()['id']}")
    assert (gone.status_code, gone.json()["code"]) == (404, "diagnosis_not_found")
    assert client.get("/v1/diagnoses/none").json()["code"] == "diagnosis_not_found"


@sqlite_only
def test_a_diagnosis_of_another_owner_is_not_found(client, stranger):
    kept = client.post("/v1/diagnoses/kept", json=diagnose(client)).json()["id"]
    assert stranger.get(f"/v1/diagnoses/{kept}").status_code == 404
    assert stranger.delete(f"/v1/diagnoses/{kept}").status_code == 404
    assert client.get(f"/v1/diagnoses/{kept}").status_code == 200


def test_kept_diagnoses_are_listed_newest_first(client, stranger):
    kept = [client.post("/v1/diagnoses/kept", json=diagnose(client)).json() for _ in range(3)]
    stranger.post("/v1/diagnoses/kept", json=diagnose(stranger))
    first = client.get("/v1/diagnoses", params={"limit": 2}).json()
    assert (first["data"], first["has_more"]) == (kept[:0:-1], True)
    second = client.get("/v1/diagnoses", params={"limit": 2, "after": first["next"]}).json()
    assert (second["data"], second["has_more"]) == (kept[:1], False)
    assert client.get("/v1/diagnoses", params={"after": "job_1"}).json()["code"] == "invalid_cursor"


def test_only_the_newest_diagnoses_are_kept(client, monkeypatch):
    monkeypatch.setattr(diagnoses, "MAX_KEPT", 2)
    made = diagnose(client)
    first, second, third = (client.post("/v1/diagnoses/kept", json=made).json()["id"] for _ in range(3))
    answers = [client.get(f"/v1/diagnoses/{kept}").status_code for kept in (first, second, third)]
    assert answers == [404, 200, 200]


@sqlite_only
def test_invalid_diagnoses_are_refused(client):
    refused = client.post("/v1/diagnoses/kept", json={"verdict": "fine"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_spec")
    converted = client.post("/v1/diagnoses/kept", json={**diagnose(client), "best_epoch": "3"})
    assert (converted.status_code, converted.json()["code"]) == (422, "invalid_spec")
    assert converted.json()["errors"] == [
        {"pointer": "/best_epoch", "detail": 'Received "3"; input should be a valid integer.'}
    ]
