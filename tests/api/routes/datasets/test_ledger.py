"""The ledger over HTTP: what jobs and previews have looked at, once each, for its owner alone."""

import numpy as np
import pytest
from sqlalchemy import event, text

from models.database import db_now
from models.ids import make_id
from models.tables import DatasetRow
from tests.api.support import EPOCH, FINAL, assert_problem, sqlite_only, submitted, with_field

# Their SQL is proven on both databases by tests/models/store.
pytestmark = sqlite_only

SPLIT = {"count": 20, "per_class": [10, 10]}


def ledger_of(client, dataset: str = "mnist5k", **params) -> dict:
    answer = client.get(f"/v1/datasets/{dataset}/ledger", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def counts(ledger: dict, split: str) -> tuple[int, ...]:
    """Reads, selections, labels shown and jobs of a split."""
    return tuple(ledger["splits"][split][name] for name in ("reads", "selections", "handed_out", "jobs"))


def rows(database) -> int:
    with database.engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM label_reads")).scalar_one()


def trained(client, worker, spec: dict, epochs: int = 2) -> str:
    """A job that has succeeded."""
    job = submitted(client, spec)
    held = worker.claim()
    for epoch in range(1, epochs + 1):
        worker.epoch(held, epoch)
    worker.succeed(held)
    return job["id"]


@pytest.fixture
def pets(client, database, worker, tmp_path) -> str:
    """A dataset of `ada` with contact sheets of its two classes."""
    with database.write() as session:
        row = DatasetRow(
            id=make_id("ds"),
            owner="ada",
            name="pets",
            version=1,
            status="ready",
            sha256="e" * 64,
            shape=[8, 8, 1],
            dtype="uint8",
            value_range=[0, 255],
            classes=["cat", "dog"],
            splits={"train": SPLIT, "validation": SPLIT, "test": SPLIT},
            size_bytes=1,
            created_at=db_now(),
        )
        session.add(row)
        session.flush()
        dataset_id = row.id
    for name in ("0", "1"):
        worker.blobs.put(f"datasets/{dataset_id}/preview/{name}.png", b"a picture")
    np.save(tmp_path / "images.npy", np.zeros((4, 8, 8, 1), np.uint8))
    worker.blobs.put(f"datasets/{'e' * 64}/images.npy", tmp_path / "images.npy")
    return dataset_id


def test_a_dataset_that_no_one_has_looked_at_says_so(client):
    ledger = ledger_of(client)
    dataset = client.get("/v1/datasets/mnist5k").json()
    assert list(ledger) == ["object", "dataset", "explanation", "splits", "fold_reads", "entries"]
    assert ledger["object"] == "ledger"
    assert ledger["dataset"] == {name: dataset[name] for name in ("id", "name", "version")}
    for split, images in (("validation", 400), ("test", 1000)):
        assert counts(ledger, split) == (0, 0, 0, 0)
        assert ledger["splits"][split]["images"] == images
        assert f"None of your jobs has looked at the {images:,} {split} labels yet" in ledger["explanation"]
    assert ledger["entries"] == {"object": "list", "data": [], "has_more": False, "next": None}


def test_a_job_is_counted_with_its_epochs_and_its_one_look_at_test(client, worker, spec):
    job_id = trained(client, worker, spec)
    ledger = ledger_of(client)
    assert counts(ledger, "validation") == (2, 0, 0, 1)
    assert counts(ledger, "test") == (1, 0, 0, 1)
    entries = ledger["entries"]["data"]
    assert all(entry["subject"] == {"object": "job", "id": job_id} for entry in entries)
    assert {(entry["split"], entry["epoch"], entry["what"]) for entry in entries} == {
        ("validation", 1, "measured"),
        ("validation", 2, "measured"),
        ("test", 2, "measured"),
    }
    assert [entry["id"] for entry in entries] == sorted((entry["id"] for entry in entries), reverse=True)
    assert all(entry["dataset_id"] == ledger["dataset"]["id"] for entry in entries)
    assert ledger["explanation"] == (
        "Your job has looked at the 400 validation labels twice. The more often validation results guide your "
        "choices, the better they look by chance. Your job has looked at the 1,000 test labels once. The more often "
        "test results guide your choices, the better they look by chance."
    )


def test_reading_a_jobs_results_again_and_again_adds_nothing(client, worker, spec, database):
    job_id = trained(client, worker, spec)
    before = ledger_of(client)
    for _ in range(2):
        for route in ("predictions", "confusion", "metrics", "diagnosis", "model", "events"):
            client.get(f"/v1/jobs/{job_id}/{route}")
        for route in ("", "/splits", "/ledger"):
            assert client.get(f"/v1/datasets/mnist5k{route}").status_code == 200
    assert ledger_of(client) == before
    assert rows(database) == 3


def test_a_retried_job_is_another_training_that_counts(client, worker, spec):
    job_id = trained(client, worker, spec)
    assert client.post(f"/v1/jobs/{job_id}/retry").status_code == 201
    assert counts(ledger_of(client), "test") == (1, 0, 0, 1)
    held = worker.claim()
    worker.epoch(held, 1)
    worker.succeed(held, {**FINAL, "epoch": 1})
    assert counts(ledger_of(client), "test") == (2, 0, 0, 2)


def test_test_at_every_epoch_counts_each_and_early_stopping_selects(client, worker, spec):
    early = with_field(spec, "training.early_stopping", {"monitor": "validation_loss", "patience": 2})
    submitted(client, with_field(early, "evaluation", {"test": "every_epoch"}))
    held = worker.claim()
    for epoch in (1, 2, 3):
        worker.epoch(held, epoch, test_loss=EPOCH["validation_loss"], test_accuracy=0.7)
    worker.succeed(held)
    ledger = ledger_of(client)
    assert counts(ledger, "validation") == (3, 3, 0, 1)
    assert counts(ledger, "test") == (3, 0, 0, 1)
    assert "3 times; each of these looks could decide" in ledger["explanation"]


def test_a_deleted_job_stays_in_the_ledger(client, worker, spec):
    job_id = trained(client, worker, spec)
    before = ledger_of(client)
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert ledger_of(client) == before


def test_another_owner_sees_none_of_it(client, stranger, worker, spec):
    trained(client, worker, spec)
    theirs = ledger_of(stranger)
    assert [counts(theirs, split) for split in ("validation", "test")] == [(0, 0, 0, 0)] * 2
    assert theirs["entries"]["data"] == []


def test_a_contact_sheet_shows_labels_and_is_counted_once_for_each_split(client, pets, database):
    for name in ("cat", "dog", "cat"):
        assert client.get("/v1/datasets/pets/preview", params={"class": name}).content == b"a picture"
    ledger = ledger_of(client, "pets")
    for split in ("validation", "test"):
        assert counts(ledger, split) == (1, 0, 1, 0)
    assert {(one["split"], one["epoch"], one["what"], one["subject"]["id"]) for one in ledger["entries"]["data"]} == {
        (split, None, "handed_out", pets) for split in ("validation", "test")
    }
    assert (
        "at the 20 test labels yet, but they were shown to you once, in a preview of the dataset."
        in ledger["explanation"]
    )
    assert rows(database) == 2


def test_a_contact_sheet_that_was_shown_before_is_served_without_a_write(client, app, pets):
    client.get("/v1/datasets/pets/preview")
    said: list[str] = []
    event.listen(app.state.context.database.engine, "before_cursor_execute", lambda *args: said.append(args[2]))
    assert client.get("/v1/datasets/pets/preview").status_code == 200
    assert [one for one in said if "label_reads" in one and not one.startswith("SELECT")] == []
    assert len([one for one in said if "label_reads" in one]) == 1


def test_what_shows_no_label_of_its_own_is_not_counted(client, pets, database):
    assert client.get("/v1/datasets/pets/preview/3").status_code == 200
    assert client.get("/v1/datasets/pets/preview", params={"class": "bird"}).status_code == 404
    assert client.get("/v1/datasets/pets").status_code == 200
    assert rows(database) == 0


def test_looks_come_in_pages(client, worker, spec):
    trained(client, worker, spec, epochs=4)
    whole = ledger_of(client)["entries"]["data"]
    first = ledger_of(client, limit=3)["entries"]
    assert (first["data"], first["has_more"], first["next"]) == (whole[:3], True, whole[2]["id"])
    rest = ledger_of(client, limit=3, after=first["next"])
    assert (rest["entries"]["data"], rest["entries"]["has_more"], rest["entries"]["next"]) == (whole[3:], False, None)
    assert counts(rest, "validation") == (4, 0, 0, 1)


def test_a_ledger_that_cannot_be_had_is_refused(client, stranger, pets, database):
    assert_problem(client.get("/v1/datasets/mnist5k/ledger?after=job_1"), 400, "invalid_cursor")
    assert_problem(client.get("/v1/datasets/mnist5k/ledger?limit=201"), 400, "invalid_parameter")
    assert_problem(stranger.get(f"/v1/datasets/{pets}/ledger"), 404, "dataset_not_found")
    assert_problem(client.get("/v1/datasets/nobody/ledger"), 404, "dataset_not_found")
    with database.write() as session:
        session.get_one(DatasetRow, pets).status = "checking"
    assert_problem(client.get(f"/v1/datasets/{pets}/ledger"), 409, "not_ready")


def test_a_version_knows_what_was_looked_at_before_it_was_made(client, database, worker, spec, pets):
    shallow = with_field(spec, "network.blocks", [{"filters": 4}])
    trained(client, worker, with_field(shallow, "dataset", "pets"))
    before = ledger_of(client, "pets@1")["splits"]

    def derive(version: int, source: str, changes: dict, **splits: dict) -> str:
        """A version with other digests for some splits."""
        with database.write() as session:
            base = session.get_one(DatasetRow, source)
            about = {"id": base.id, "name": base.name, "version": base.version}
            columns = (
                "owner",
                "name",
                "status",
                "shape",
                "dtype",
                "value_range",
                "classes",
                "size_bytes",
                "created_at",
            )
            row = DatasetRow(
                **{name: getattr(base, name) for name in columns},
                id=make_id("ds"),
                version=version,
                sha256=str(version) * 64,
                splits={split: {**SPLIT, **splits.get(split, {})} for split in ("train", "validation", "test")},
                derived_from={"dataset": about},
                changes=changes,
            )
            session.add(row)
            return row.id

    own = {split: {"sha256": split[0] * 64} for split in ("validation", "test")}
    second = derive(2, pets, {"relabel": {"0": "cat"}}, **own)
    third = derive(3, second, {"drop_copies": True}, **own)
    fourth = derive(4, third, {"resplit": True}, validation={"sha256": "x" * 64}, test={"sha256": "y" * 64})
    reads = {split: before[split]["reads"] for split in ("validation", "test")}
    assert min(reads.values()) > 0
    for version in (second, third):
        found = ledger_of(client, version)
        assert {split: found["splits"][split]["earlier_reads"] for split in reads} == reads
        assert counts(found, "test") == (0, 0, 0, 0)
        assert "In the versions that this one was made from, test labels were looked at" in found["explanation"]
    anew = ledger_of(client, fourth)["splits"]
    assert anew["test"]["earlier_reads"] == anew["validation"]["earlier_reads"] == sum(reads.values())
    assert before["test"]["earlier_reads"] == 0
