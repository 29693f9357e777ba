"""Suspected labels over HTTP: the first request starts a search, and later ones read its results."""

import pytest

from heldout.stored.audit import (
    ClassLabels,
    PlantedLabels,
    SplitLabels,
    StoredSuspects,
    Suspect,
    WrongLabels,
    make_suspects_key,
)
from models.store import claims, searches
from models.store.claims import Capacity
from models.views.suspects import build_label_check_view
from tests.api.routes.datasets.test_ledger import get_counts, get_ledger
from tests.api.support import assert_problem, sqlite_only, submit, with_field

pytestmark = sqlite_only

ROUTE = "/v1/datasets/mnist5k/suspects"


def make_suspects(count: int = 5, **changes) -> StoredSuspects:
    suspected = [
        Suspect(index=10 * row, split="test", member=f"{row}.png", label=row, suggested=row + 1, probability=0.9)
        for row in range(count)
    ]
    fields = {
        "images": 5000,
        "agreement": 0.9,
        "surest_agreement": 0.97,
        "wrong": WrongLabels(count=250, low=200, high=300),
    }
    how = {"networks": 10, "trained_on": 4000, "seen_as": (28, 28)}
    checked = {
        "verdict": "can_tell",
        "splits": {
            "train": SplitLabels(images=3000, count=150, low=120, high=180),
            "test": SplitLabels(images=2000, count=100, low=80, high=120),
        },
        "planted": PlantedLabels(planted=5000, found=0.97, right_class=0.96, accused=0.05, in_first=14.2),
        "classes": tuple(
            ClassLabels(label=label, images=500, agreement=0.9, found=0.97, wrong=25) for label in range(10)
        ),
    }
    return StoredSuspects(**{**fields, **how, **checked, "suspects": tuple(suspected), **changes})


def describe_classes(wrong: float) -> tuple[ClassLabels, ...]:
    """Return classes of which two are unknown, and one has nearly all wrong labels."""
    known = dict.fromkeys(range(10), 2.0) | {1: None, 7: None, 3: wrong}
    return tuple(
        ClassLabels(label=label, images=45 if of is None else 600, agreement=0.8, found=0.9, wrong=of)
        for label, of in known.items()
    )


def make_too_hard(count: int = 3, **changes) -> StoredSuspects:
    """Return a search whose networks learned too little, so that its suspects have no probabilities."""
    odd = tuple(suspect.model_copy(update={"probability": None}) for suspect in make_suspects(count).suspects)
    return make_suspects(
        **{"verdict": "too_hard", "wrong": None, "splits": {}, "agreement": 0.4, "suspects": odd, **changes}
    )


def make_rotated(**counts: int) -> StoredSuspects:
    """Return a search of a dataset whose test labels are all wrong."""
    test = SplitLabels(**{"images": 600, "count": 438, "low": 413, "high": 468, **counts})
    train = SplitLabels(images=3000, count=60, low=24, high=110)
    return make_suspects(3, splits={"train": train, "test": test})


def finish_search(worker, client, stored: StoredSuspects) -> None:
    """Store the results as a worker does."""
    dataset_id = client.get("/v1/datasets/mnist5k").json()["id"]
    held = worker.claim()
    worker.blobs.put(make_suspects_key(dataset_id), stored.to_bytes())
    with worker.database.write() as session:
        searches.mark_stored(session, searches.SUSPECTS, held, dataset_id)


def test_the_first_request_starts_a_search_and_later_ones_wait_for_it(client, worker):
    first = client.get(ROUTE)
    assert (first.status_code, first.headers["retry-after"]) == (202, "5")
    answer = first.json()
    assert (answer["object"], answer["status"], answer["data"], answer["has_more"]) == ("suspects", "queued", [], False)
    assert client.get(ROUTE).json() == answer
    held = worker.claim()
    running = client.get(ROUTE, params={"wait": 0.1})
    assert (running.status_code, running.json()["status"]) == (202, "running")
    assert client.get("/v1/jobs").json()["data"] == []
    assert client.get(f"/v1/jobs/{held.job_id}").status_code == 404
    with worker.database.write() as session:
        assert not claims.is_any_claimable(session, Capacity(("cpu",)))  # no second search was queued


def test_suspects_are_listed_in_pages_and_count_as_a_look(client, worker):
    client.get(ROUTE)
    assert get_counts(get_ledger(client), "test") == (0, 0, 0, 0)
    finish_search(worker, client, make_suspects())
    answer = client.get(ROUTE, params={"limit": 2})
    assert answer.status_code == 200
    page = answer.json()
    assert (page["status"], page["error"], page["has_more"], page["next"]) == ("ready", None, True, 2)
    assert page["wrong"] == {"count": 250, "share": 0.05, "low": 200, "high": 300}
    assert page["explanation"].startswith("About 250 of 5,000 images (5%) have a wrong label, 200 to 300 with 95%")
    assert page["verdict"] == "can_tell"
    assert page["splits"] == {
        "train": {"images": 3000, "count": 150, "share": 0.05, "low": 120, "high": 180},
        "test": {"images": 2000, "count": 100, "share": 0.05, "low": 80, "high": 120},
    }
    assert page["search"]["planted"] == {
        "planted": 5000,
        "found": 0.97,
        "right_class": 0.96,
        "accused": 0.05,
        "in_first": 14.2,
    }
    assert page["search"]["surest_agreement"] == 0.97
    assert page["search"]["classes"][0] == {
        "name": "0",
        "images": 500,
        "agreement": 0.9,
        "found": 0.97,
        "wrong": 25.0,
    }
    dataset_id = page["dataset"]["id"]
    assert page["data"][1] == {
        "rank": 2,
        "index": 10,
        "split": "test",
        "member": "1.png",
        "label": "1",
        "suggested": "2",
        "probability": 0.9,
        "thumbnail": f"/v1/datasets/{dataset_id}/preview/10",
    }
    rest = client.get(ROUTE, params={"limit": 200, "after": page["next"]}).json()
    assert [suspect["rank"] for suspect in rest["data"]] == [3, 4, 5]
    assert (rest["has_more"], rest["next"]) == (False, None)
    assert client.get(ROUTE, params={"after": 77}).json()["data"] == []
    for split in ("validation", "test"):
        assert get_counts(get_ledger(client), split) == (1, 0, 1, 0)


def test_a_failed_search_says_why_and_is_only_repeated_on_request(client, worker):
    client.get(ROUTE)
    worker.fail(worker.claim(), "out_of_memory")
    for _ in range(2):
        answer = client.get(ROUTE)
        assert (answer.status_code, answer.json()["status"]) == (200, "failed")
        assert answer.json()["error"] == {"code": "out_of_memory", "detail": "The loss is not finite."}
        assert "again=true" in answer.json()["explanation"]
    assert client.get(ROUTE, params={"again": True}).status_code == 202
    finish_search(worker, client, make_suspects())
    assert client.get(ROUTE, params={"again": True}).json()["status"] == "ready"


@pytest.mark.parametrize(
    ("stored", "explanation"),
    [
        (
            make_suspects(0, wrong=WrongLabels(count=0, low=0, high=25)),
            "No label of 5,000 images is probably wrong; at most 25",
        ),
        (make_too_hard(), "too hard for the networks that check labels (they agree with 40% of the labels)"),
        (
            make_too_hard(),
            "Where they are surest, they agree with 97% of the labels. So the oddest images are shown anyway, but most "
            "of their labels may be right. As a trial, the search changed a tenth of the labels itself: of the first "
            "20 images of such a list, 14 were changed ones.",
        ),
        (
            make_too_hard(surest_agreement=0.78, agreement=0.6),
            "Many labels seem wrong: where the networks that check labels are surest, they still disagree with 22% "
            "(they agree with 60% of the labels in all).",
        ),
        (make_too_hard(surest_agreement=0.78), "Look at the oddest images first. As a trial"),
        (make_too_hard(surest_agreement=0.3), "but many of their labels may be right"),
        (
            make_suspects(classes=describe_classes(wrong=120)),
            "Most are labeled 3 (about 120 of 600). The 90 labels of 1 and 7 were not judged, because the networks do "
            "not know these classes. Look at the first images",
        ),
        (make_suspects(3, verdict=None), "did not check its own accuracy"),
        (
            make_rotated(),
            "Most labels of the test split do not match its images, as if its classes were in another order.",
        ),
    ],
    ids=["clean", "hard", "hard-list", "wrong", "wrong-list", "neither", "by-class", "of-before", "rotated"],
)
def test_searches_explain_themselves(client, worker, stored, explanation):
    client.get(ROUTE)
    finish_search(worker, client, stored)
    assert explanation in client.get(ROUTE).json()["explanation"]


@pytest.mark.parametrize(
    "stored", [make_too_hard(), make_suspects(3, verdict=None), make_rotated()], ids=["hard", "of-before", "rotated"]
)
def test_inconclusive_searches_give_no_counts_and_no_probabilities(client, worker, stored):
    client.get(ROUTE)
    finish_search(worker, client, stored)
    page = client.get(ROUTE).json()
    assert (page["wrong"], page["splits"]) == (None, None)
    assert [suspect["probability"] for suspect in page["data"]] == [None] * 3


def test_a_search_of_an_earlier_release_is_repeated_on_request(client, worker):
    client.get(ROUTE)
    finish_search(worker, client, make_suspects(verdict=None))
    assert client.get(ROUTE).json()["verdict"] is None
    assert client.get(ROUTE, params={"again": True}).status_code == 202
    finish_search(worker, client, make_suspects())
    assert client.get(ROUTE, params={"again": True}).json()["verdict"] == "can_tell"


def test_an_audit_counts_wrong_labels_but_never_those_of_test(client):
    """Reading an audit must not count as a look at test labels."""
    view = build_label_check_view(make_suspects())
    assert view is not None
    assert list(view.splits) == ["train"]
    assert "about 150 of 3,000 training labels (120 to 180)" in view.explanation
    hard = build_label_check_view(make_too_hard())
    assert (hard.verdict, hard.splits) == ("too_hard", None)
    assert build_label_check_view(make_suspects(verdict=None)) is None


def test_a_split_with_mostly_wrong_labels_invalidates_every_count(client):
    """Networks also learn the labels of that split, which makes the counts of the other splits wrong."""
    check = build_label_check_view(make_rotated())
    assert (check.verdict, check.splits) == ("split_disagrees", None)
    assert check.explanation.startswith("Most labels of the test split do not match")
    assert build_label_check_view(make_rotated(low=300)).verdict == "can_tell"  # half of them for certain, not more


def test_a_diagnosis_that_uses_wrong_test_labels_counts_as_a_look(client, worker, spec):
    client.get(ROUTE)
    finish_search(worker, client, make_suspects())
    shown = submit(client, with_field(spec, "dataset", "mnist5k"))
    job, held = shown["id"], worker.claim()
    worker.begin(held, shown["spec"])
    worker.epoch(held, 1)
    assert get_counts(get_ledger(client), "test") == (0, 0, 0, 0)
    for _ in range(2):
        codes = [finding["code"] for finding in client.get(f"/v1/jobs/{job}/diagnosis").json()["findings"]]
        assert "label_noise" in codes
        assert get_counts(get_ledger(client), "test") == (1, 0, 1, 0)


def test_only_ready_datasets_are_searched(client, stranger):
    client.post("/v1/datasets", json={"name": "pets"})
    assert_problem(client.get("/v1/datasets/pets/suspects"), 409, "not_ready")
    assert_problem(stranger.get("/v1/datasets/pets/suspects"), 404, "dataset_not_found")
