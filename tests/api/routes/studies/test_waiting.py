"""Studies whose data have to be fixed first: what a refusal offers, and studies that wait for their data."""

import pytest
from sqlalchemy import select, update

from heldout.lifecycle.resources import DatasetStatus, RelationsStatus
from heldout.service.settings import Settings
from heldout.stored.gap import PairedTally, PixelsUndone, Tally
from models.reconcile import Reconciler
from models.tables import DatasetRow
from tests.api.routes.test_damaged_files import dataset  # noqa: F401 - a dataset with all of its files
from tests.api.support import FINAL, sqlite_only, submitted, with_field
from tests.heldout.served import GAP

pytestmark = sqlite_only


def undone(tally: Tally) -> dict:
    """A gap whose test images are inverted."""
    pixels = PixelsUndone(
        choices=("inversion", "inversion"),
        parameters=({}, {}),
        tally=tally,
        change=PairedTally(count=300, gained=225, lost=0, loss=-1.84, loss_variance=0.1),
    )
    wrong = Tally(count=300, correct=60, loss=2.0, loss_variance=0.1)
    return {"test": wrong, "pixels": pixels}


@pytest.fixture
def order(client, worker, spec) -> dict:
    """A study of a job on data with a fault that is sure."""
    job = submitted(client, spec)["id"]
    held = worker.claim()
    worker.begin(held, client.get(f"/v1/jobs/{job}").json()["spec"])
    worker.epoch(held, 1)
    worker.succeed(held, FINAL, gap=GAP.model_copy(update=undone(GAP.test)))
    return {"job": job, "remedies": ["dropout"], "splits": "fixed", "seeds": 2}


def reconcile(worker) -> None:
    Reconciler(worker.database, Settings(), blobs=worker.blobs).run_once()


def end_version(worker, version: str, status: DatasetStatus) -> None:
    """What a worker leaves that has made the version: its images are those of the one that it is made from."""
    with worker.database.write() as session:
        made = session.get_one(DatasetRow, version)
        base = session.get_one(DatasetRow, made.derived_from["dataset"]["id"])
        for name in ("sha256", "splits", "classes", "shape", "value_range"):
            setattr(made, name, getattr(base, name))
        made.status = status


def choices_of(client, order: dict) -> dict:
    answer = client.post("/v1/studies", json=order)
    assert (answer.status_code, answer.json()["code"]) == (409, "data_first"), answer.text
    return {choice["name"]: choice for choice in answer.json()["choices"]}


def test_a_refusal_offers_three_ways_on(client, order):
    offered = choices_of(client, order)
    assert [choice["title"] for choice in offered.values()] == [
        "Show the images",
        "Fix the data and continue",
        "Compare on the data as they are",
    ]
    shown = offered["show_images"]["request"]
    assert (shown["method"], shown["path"].partition("?")[0].rsplit("/", 1)[1]) == ("GET", "images")
    for name in ("fix", "as_they_are"):
        assert offered[name]["request"] == {"method": "POST", "path": "/v1/studies", "body": order | {"data": name}}


def test_a_study_on_the_data_as_they_are_begins_at_once(client, order):
    asked = choices_of(client, order)["as_they_are"]["request"]
    assert client.post("/v1/studies?dry_run=true", json=asked["body"]).status_code == 200
    study = client.post(asked["path"], json=asked["body"]).json()
    assert (study["status"], study["waits_for"], study["progress"]["jobs"]) == ("running", None, 4)
    assert study["job"] == order["job"]


def test_a_study_that_fixes_the_data_begins_once_the_version_is_made(client, worker, order):
    asked = choices_of(client, order)["fix"]["request"]["body"]
    assert client.post("/v1/studies?dry_run=true", json=asked).json()["jobs"] == 4
    answer = client.post("/v1/studies", json=asked)
    assert answer.status_code == 201, answer.text
    study = answer.json()
    version = study["dataset"]
    assert (study["status"], study["started_at"], version["name"]) == ("running", None, "mnist5k")
    assert study["waits_for"] == f"the fixed version mnist5k@{version['version']} is being made"
    assert client.get(f"/v1/datasets/{version['id']}").json()["status"] == "checking"
    assert client.get(f"/v1/studies/{study['id']}/report").status_code == 200
    reconcile(worker)
    assert client.get(f"/v1/studies/{study['id']}").json()["progress"]["jobs"] == 0

    end_version(worker, version["id"], DatasetStatus.READY)
    reconcile(worker)
    begun = client.get(f"/v1/studies/{study['id']}").json()
    assert (begun["waits_for"], begun["dataset"], begun["job"]) == (None, version, order["job"])
    assert (begun["progress"]["jobs"], begun["remedies"]) == (4, ["dropout"])
    jobs = client.get(f"/v1/jobs?study={study['id']}").json()["data"]
    assert {job["dataset"]["id"] for job in jobs} == {version["id"]}
    reconcile(worker)
    assert len(client.get(f"/v1/jobs?study={study['id']}").json()["data"]) == 4
    types = [event["type"] for event in client.get(f"/v1/studies/{study['id']}/events").json()["data"]]
    assert types == ["study.waiting", "study.started"]


def test_a_study_whose_version_cannot_be_made_fails_and_one_that_waits_can_be_cancelled(client, worker, order):
    fails, ends = (client.post("/v1/studies", json=order | {"data": "fix"}).json() for _ in range(2))
    assert client.post(f"/v1/studies/{ends['id']}/cancel").status_code in {200, 202}
    end_version(worker, fails["dataset"]["id"], DatasetStatus.REJECTED)
    reconcile(worker)
    failed, cancelled = (client.get(f"/v1/studies/{one['id']}").json() for one in (fails, ends))
    assert (failed["status"], failed["error"]["code"], failed["waits_for"]) == ("failed", "dataset_not_ready", None)
    assert (cancelled["status"], cancelled["waits_for"]) == ("cancelled", None)
    assert client.get(f"/v1/studies/{fails['id']}/report").status_code == 200
    assert client.delete(f"/v1/studies/{fails['id']}").status_code == 204


def test_a_study_waits_while_copies_are_still_being_looked_for(client, worker, spec, dataset):  # noqa: F811
    def know(status: RelationsStatus) -> None:
        with worker.database.write() as session:
            session.execute(
                update(DatasetRow).where(DatasetRow.id == dataset["dataset"]).values(relations_status=status)
            )

    know(RelationsStatus.QUEUED)
    with worker.database.read() as session:
        name = session.scalar(select(DatasetRow.name).where(DatasetRow.id == dataset["dataset"]))
    body = {"spec": with_field(spec, "dataset", name), "remedies": ["dropout"], "seeds": 2}
    for validation in (None, {"folds": 3}):
        for splits in ("auto", "fixed") if validation else ("auto",):
            asked = body | {"spec": body["spec"] | {"validation": validation}, "splits": splits}
            answer = client.post("/v1/studies?dry_run=true", json=asked)
            assert answer.status_code == 200, answer.text
            plan = answer.json()
            assert plan["waits_for"] == f"the search for copies in {name}@1 has not ended"
            assert (plan["splits"], plan["jobs"]) == ("fixed" if splits == "fixed" else "resampled", 4)
    study = client.post("/v1/studies", json=body).json()
    assert (study["status"], study["splits"], study["progress"]["jobs"]) == ("running", "resampled", 0)
    assert study["waits_for"] == f"the search for copies in {name}@1 has not ended"
    reconcile(worker)
    assert client.get(f"/v1/studies/{study['id']}").json()["waits_for"] is not None
    know(RelationsStatus.STORED)
    reconcile(worker)
    begun = client.get(f"/v1/studies/{study['id']}").json()
    assert (begun["status"], begun["waits_for"], begun["error"]) == ("running", None, None)
    assert begun["progress"]["jobs"] == 4
