"""POST …/versions, and the bodies that audits and diagnoses offer for it."""

from pathlib import Path

import numpy as np
import pytest

from analysis.arrays.dataset import save_beside
from heldout.fixes.offers import make_finding
from heldout.stored.audit import AuditExample, AuditFinding, IngestedContent, SplitCounts, StoredAudit, audit_key
from models.blobs import Blobs
from models.store import claims, ingests, versions
from models.store.claims import Capacity
from tests.api.support import assert_problem, sqlite_only

pytestmark = sqlite_only
ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"blobs": (settings.home / "blobs").as_uri()})


@pytest.fixture
def pets(client, database, settings) -> dict:
    """Return a ready dataset whose audit found a leak, reordered labels and class imbalance."""
    dataset = client.post("/v1/datasets", json={"name": "pets"}).json()
    client.put(f"/v1/datasets/{dataset['id']}/content", content=b"not looked at")
    splits = {name: {"count": 4, "per_class": [2, 2], "sha256": "1" * 64} for name in ("train", "validation", "test")}
    with database.write() as session:
        claimed = claims.claim(session, "worker", Capacity(["cpu"]), 60)
        ingests.reserve_content(session, claimed.held, dataset["id"], "a" * 64)
        content = IngestedContent("a" * 64, 6, (8, 8, 1), "uint8", (0, 255), ("cat", "dog"), splits)
        ingests.mark_ready(session, claimed.held, dataset["id"], content)
    findings = [
        ("leakage", {}),
        ("label_order_mismatch", {"split": "test", "renamed": {"cat": "dog", "dog": "cat"}}),
        ("class_imbalance", {"ratio": 3.0}),
    ]
    audit = StoredAudit(
        sha256="a" * 64,
        splits={name: SplitCounts(count=4, per_class=(2, 2)) for name in splits},
        statistics={},
        findings=tuple(
            AuditFinding(code=code, severity="critical", numbers=numbers, explanation="So.", what_to_do="Fix.")
            for code, numbers in findings
        ),
        checks={},
        source={},
    )
    Blobs(settings.blobs_url).put(audit_key(dataset["id"]), audit.to_bytes())
    return client.get("/v1/datasets/pets").json()


def test_splits_that_share_copies_and_differ_are_offered_one_division_of_all_images(client, pets, settings):
    blobs = Blobs(settings.blobs_url)
    audit = StoredAudit.from_bytes(blobs.read(audit_key(pets["id"])))
    leak = audit.findings[0].model_copy(update={"numbers": {"test_in_train": {"images": 2}}})
    shift = AuditFinding(
        code="split_shift", severity="warning", numbers={"split": "test"}, explanation="", what_to_do=""
    )
    source = {"splits": {"train": "upload", "validation": "cut from train: at random", "test": "upload"}}
    changed = audit.model_copy(update={"findings": (leak, shift), "source": source})
    blobs.put(audit_key(pets["id"]), changed.to_bytes())

    found = client.get("/v1/datasets/pets/audit").json()

    assert found["findings"][0]["fix"] == {"resplit": True}
    assert found["findings"][0]["what_to_do"].startswith(
        "Split all 12 images again: the 2 images with a copy in another split stay together"
    )
    assert found["summary"].endswith(
        "Split all images again, with copies kept together, then look at the other finding."
    )


def test_an_audit_asks_whether_images_belong_together_if_they_were_split_at_random(client, pets, settings):
    blobs = Blobs(settings.blobs_url)
    audit = StoredAudit.from_bytes(blobs.read(audit_key(pets["id"])))
    rule = "cut from train: of each class the last 0.15"

    def ask(splits: dict, groups: int | None = None):
        changed = audit.model_copy(update={"findings": (), "source": {"splits": splits, "groups": groups}})
        blobs.put(audit_key(pets["id"]), changed.to_bytes())
        return client.get("/v1/datasets/pets/audit").json()

    asked = ask({"test": rule, "validation": rule})
    assert asked["question"]["text"].startswith("Do some of these images belong together")
    assert "in training and in test" in asked["question"]["text"]
    page, _, part = asked["question"]["page"].partition("#")
    heading = part.replace("-", " ").capitalize()
    assert f"## {heading}\n" in (ROOT / "docs" / page.replace(".html", ".md")).read_text("utf-8")
    assert asked["findings"] == []  # it is a question, not a fault
    assert asked["headline"] == "The audit found nothing."
    assert ask({"test": "upload", "validation": "upload"})["question"] is None
    assert ask({"test": rule, "validation": rule}, groups=7)["question"] is None


def post_version(client, reference: str, body: dict, **headers: str):
    return client.post(f"/v1/datasets/{reference}/versions", json=body, headers=headers)


def test_the_fixes_of_an_audit_are_valid_bodies_for_new_versions(client, pets):
    found = client.get("/v1/datasets/pets/audit").json()["findings"]
    renaming = {"rename_classes": {"test": {"cat": "dog", "dog": "cat"}}}
    assert [finding["fix"] for finding in found] == [{"drop_copies": True, **renaming}, renaming, None]
    for version, finding in enumerate(found[:2], 2):
        answer = post_version(client, "pets", finding["fix"])
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert answer.headers["location"] == f"/v1/datasets/{made['id']}"
        assert (made["name"], made["version"], made["status"]) == ("pets", version, "checking")
        of_base = {"id": pets["id"], "name": "pets", "version": 1}
        assert made["derived_from"] == {"dataset": of_base, "changes": finding["fix"]}
        found_again = client.get(f"/v1/datasets/{made['id']}").json()
        assert found_again == {**made, "queue_position": found_again["queue_position"]}
    assert client.get("/v1/datasets/pets").json() == {**pets, "derived_from": None}
    newest, *_ = client.get("/v1/datasets").json()["data"]
    assert newest["derived_from"] == {"dataset": of_base, "changes": None}
    assert client.get("/v1/jobs").json()["data"] == []


REFUSED = [
    ({}, ""),
    ({"drop_copies": False}, ""),
    ({"drop": True}, "/drop"),
    ({"exclude": [12]}, "/exclude/0"),
    ({"exclude": [True]}, "/exclude/0"),
    ({"relabel": {"0": "cow"}}, "/relabel/0"),
    ({"relabel": {"99": "cat"}}, "/relabel/99"),
    ({"rename_classes": {"cow": "bull"}}, "/rename_classes/cow"),
    ({"rename_classes": {"cat": "cat"}}, "/rename_classes/cat"),
    ({"rename_classes": {"cat": "dog"}}, "/rename_classes"),
    ({"rename_classes": {"test": {"cat": "cow"}}}, "/rename_classes/test/cat"),
    ({"rename_classes": {"holdout": {"cat": "dog"}}}, "/rename_classes"),
    ({"pixel_values": {"test": "swap_channels"}}, "/pixel_values/test"),
    ({"pixel_values": {"test": {"factor": 1.0}}}, "/pixel_values/test"),
    ({"resplit": {"test": 0.9}}, "/resplit/test"),
    ({"drop_copies": True, "name": "ds_1"}, "/name"),
]


def test_impossible_changes_are_refused_before_a_worker_tries(client, pets):
    for body, pointer in REFUSED:
        problem = assert_problem(post_version(client, "pets", body), 422, "invalid_spec")
        assert pointer in [error["pointer"] for error in problem["errors"]], body
    assert len(client.get("/v1/datasets?limit=200").json()["data"]) == 3


def add_look_alikes(settings, pets, pairs):
    """Store labels, splits and an audit that asks about these pairs."""
    blobs, rows = Blobs(settings.blobs_url), np.arange(12)
    splits = dict(zip(("train", "validation", "test"), np.split(rows, 3), strict=True))
    of_row = {int(row): split for split, of_split in splits.items() for row in of_split}
    shown = [tuple(AuditExample(split=of_row[row], index=row, member=f"{row}.png") for row in pair) for pair in pairs]
    audit = StoredAudit.from_bytes(blobs.read(audit_key(pets["id"])))
    asked = audit.model_copy(update={"findings": (make_finding(shown, len(shown)),)})
    blobs.put(audit_key(pets["id"]), asked.to_bytes())
    folder = settings.home / "made"
    folder.mkdir()
    save_beside(folder, (rows % 2).astype(np.int32), splits, ("cat", "dog"), (0, 255))
    for name in ("labels.npy", "splits.npz"):
        blobs.put(f"datasets/{'a' * 64}/{name}", folder / name)


def test_confirmed_different_look_alikes_are_no_longer_reported(client, settings, pets, database):
    add_look_alikes(settings, pets, [(0, 5), (1, 9), (2, 3)])

    def asked():
        return client.get("/v1/datasets/pets/audit").json()["findings"]

    [before] = asked()
    assert before["fix"] == {"exclude": [0, 1, 2, 3, 5, 9]}
    effect = before["effect"]
    assert effect["removes"] == {"train": 4, "validation": 1, "test": 1}
    assert effect["summary"] == ("Removes 1 of 4 test images, 1 of 4 validation images and 4 of 4 training images.")
    assert [image["index"] for image in effect["removed"]] == [9, 5, 0, 1, 2, 3]
    assert effect["removed"][0]["thumbnail"] == f"/v1/datasets/{pets['id']}/preview/9"
    assert client.post("/v1/datasets/pets/versions/effect", json=before["fix"]).json()["summary"] == effect["summary"]

    noted = client.post("/v1/datasets/pets/different", json={"pairs": [[5, 0], [9, 1]]})
    assert (noted.status_code, noted.json()["pairs"]) == (200, [[0, 5], [1, 9]])
    [left] = asked()
    assert [[first["index"], second["index"]] for first, second in left["pairs"]] == [[2, 3]]
    assert left["numbers"] == {"pairs": 1, "images": 2, "train": 2, "validation": 0, "test": 0}
    assert left["fix"] == {"exclude": [2, 3]}
    client.post("/v1/datasets/pets/different", json={"pairs": [[2, 3]]})
    assert asked() == []
    forgotten = client.post("/v1/datasets/pets/different", json={"pairs": [[2, 3], [0, 5]], "different": False})
    assert forgotten.json()["pairs"] == [[1, 9]]
    assert [finding["numbers"]["pairs"] for finding in asked()] == [2]
    with database.read() as session:
        assert versions.find_different(session, pets["id"]) == [(1, 9)]


def test_only_pairs_of_existing_images_can_be_marked_as_different(client, stranger, pets):
    for body, pointer in (
        ({"pairs": []}, "/pairs"),
        ({"pairs": [[3, 3]]}, "/pairs/0"),
        ({"pairs": [[0, 1], [0, 12]]}, "/pairs/1"),
        ({"pairs": [[0, -1]]}, "/pairs/0/1"),
        ({"pairs": [[0, 1, 2]]}, "/pairs/0"),
    ):
        problem = assert_problem(client.post("/v1/datasets/pets/different", json=body), 422, "invalid_spec")
        assert pointer in [error["pointer"] for error in problem["errors"]], body
    pair = {"pairs": [[0, 1]]}
    assert_problem(stranger.post(f"/v1/datasets/{pets['id']}/different", json=pair), 404, "dataset_not_found")
    assert_problem(client.post("/v1/datasets/digits/different", json=pair), 409, "not_ready")


def test_previews_of_changes_are_refused_like_the_changes(client, pets):
    for body, pointer in REFUSED:
        answer = client.post("/v1/datasets/pets/versions/effect", json=body)
        assert pointer in [error["pointer"] for error in assert_problem(answer, 422, "invalid_spec")["errors"]], body
    lost = client.post("/v1/datasets/pets/versions/effect", json={"exclude": [0]})
    assert_problem(lost, 410, "dataset_lost")
