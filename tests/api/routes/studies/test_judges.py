"""A judge keeps labels, answers with one bit, spends looks, and notes every attempt."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from heldout.access.rights import Quota
from heldout.errors import CandidateRefused
from heldout.studies.judge import CandidateSpec
from models import judges
from models.blobs import Blobs
from models.store import keys, owners
from tests.api.support import bearer

IMAGES, CLASSES = 400, ["cat", "dog", "owl"]
TRUTH = np.random.default_rng(0).integers(0, 3, IMAGES)
IDS = [f"image-{place}.png" for place in range(IMAGES)]


def answer(seed: int, right: float = 0.6) -> list[int]:
    draw = np.random.default_rng(seed)
    return np.where(draw.random(IMAGES) < right, TRUTH, (TRUTH + 1) % 3).tolist()


def make_order(**changes):
    labels = {"ids": IDS, "labels": [CLASSES[label] for label in TRUTH]}
    return {"kind": "judge", "classes": CLASSES, "validation": labels, "test": labels, "looks": 3, **changes}


def make_arm(name, seed, right=0.6, **changes):
    answers = {"answers": [answer(seed, right)]}
    return {"name": name, "validation": answers, "test": answers, **changes}


@pytest.fixture
def send(client):
    """Open a judge with a base, and return its id and what sends it a candidate."""
    study = client.post("/v1/studies", json=make_order()).json()["id"]
    path = f"/v1/studies/{study}"
    assert client.post(f"{path}/arms", json=make_arm("base", 1)).json()["answer"] == "base"
    return study, lambda *given, **changes: client.post(f"{path}/arms", json=make_arm(*given, **changes))


def test_candidates_spend_looks_and_only_sure_improvements_replace_the_best(client, send):
    study, post = send
    luck = post("luck", 2).json()
    assert (luck["answer"], luck["look"], luck["gain"]) == ("cannot_tell", 1, None)
    assert luck["explanation"].endswith("points or more would have told.")
    better = post("better", 3, 0.9).json()
    assert (better["answer"], better["look"], better["gain"]) == ("better", 2, 0.2)
    assert post("again", 4, 0.9).json()["answer"] == "cannot_tell"
    spent = post("late", 5, 1.0)
    assert (spent.status_code, spent.json()["code"]) == (409, "looks_spent")
    view = client.get(f"/v1/studies/{study}").json()
    assert (view["judge"]["spent"], view["judge"]["best"]) == (3, "better")
    noted = [
        (tried["arm"], tried["answer"], bool(tried["by"]), bool(tried["at"])) for tried in view["judge"]["attempts"]
    ]
    assert noted == [
        ("base", "base", True, True),
        ("luck", "cannot_tell", True, True),
        ("better", "better", True, True),
        ("again", "cannot_tell", True, True),
        ("late", "spent", True, True),
    ]
    assert view["headline"] == "All looks of this judge are spent."


def test_what_cannot_be_judged_is_refused_with_a_sentence_and_spends_no_look(client, send):
    study, post = send
    near = answer(1)
    near[:5] = [(label + 1) % 3 for label in near[:5]]
    hostile = "../../x<script>|`\n"
    names = [hostile, *IDS[1:]]
    refused = {
        "on 0 images": post("same", 1),
        "on 5 images; an answer needs at least 7": post("near", 1, validation={"answers": [near]}),
        "this judge has 400": post("few", 2, validation={"answers": [answer(2)[:300]]}),
        "for other validation images": post("other", 2, validation={"answers": [answer(2)], "ids": names}),
        "expected a class from 0 to 2": post("class", 2, validation={"answers": [[7] * IMAGES]}),
        "answers of 2 seeds; expected 1": post("seeds", 2, validation={"answers": [answer(2), answer(3)]}),
        "no answers to test images": post("sealed", 2, test=None),
    }
    for why, response in refused.items():
        assert (response.status_code, response.json()["code"]) == (409, "candidate_refused"), response.text
        assert why in response.json()["detail"]
    assert post("name<script>", 2).status_code == 422
    judge = client.get(f"/v1/studies/{study}").json()["judge"]
    assert (judge["spent"], judge["tried"]) == (0, 8)
    assert [tried["answer"] for tried in judge["attempts"]] == ["base"] + 7 * ["refused"]
    assert judge["attempts"][2]["explanation"] == refused["on 5 images; an answer needs at least 7"].json()["detail"]


def test_the_same_candidate_sent_again_gets_its_answer_again_and_spends_nothing(client, send):
    study, post = send
    first, better = post("luck", 2).json(), post("better", 3, 0.9).json()
    assert (post("luck", 2).json(), post("better", 3, 0.9).json()) == (first, better)
    other = post("luck", 4)
    assert (other.status_code, other.json()["code"]) == (409, "candidate_refused")
    post("last", 5)
    assert post("luck", 2).json() == first, "even if no look is left"
    judge = client.get(f"/v1/studies/{study}").json()["judge"]
    assert (judge["spent"], judge["tried"]) == (3, 5)


def test_candidates_that_are_sent_at_once_never_spend_more_looks_than_there_are(client, send):
    study, post = send
    with ThreadPoolExecutor(5) as pool:
        sent = [answer.json() for answer in pool.map(lambda seed: post(f"c{seed}", seed, 0.9), range(2, 7))]
    judged = sorted(answer["look"] for answer in sent if "look" in answer)
    view = client.get(f"/v1/studies/{study}").json()
    attempts = [tried for tried in view["judge"]["attempts"] if tried["look"]]
    assert judged == sorted(tried["look"] for tried in attempts) == list(range(1, len(judged) + 1))
    assert view["judge"]["spent"] == view["ledger"]["validation_reads"] == len(judged) <= 3
    assert {answer["code"] for answer in sent if "code" in answer} <= {"looks_spent", "candidate_refused"}


class Overtaken(Blobs):
    """A blob store that runs `first` before the first read of such a key."""

    first = part = None

    def read(self, key, expected=None):
        if self.first is not None and self.part in key:
            first, self.first = self.first, None
            first()
        return super().read(key, expected)


def test_what_another_candidate_overtakes_is_judged_again_and_a_close_is_refused(client, send, settings, database):
    study, post = send
    post("good", 3, 0.8)
    blobs = Overtaken(settings.blobs_url)
    blobs.part, blobs.first = "/arms/", lambda: post("best", 4, 1.0)
    attempt = judges.judge_candidate(database, blobs, "ada", study, CandidateSpec(**make_arm("slow", 5, 0.9)), None)
    assert (attempt.answer, attempt.look) == ("cannot_tell", 3), "it is compared with the new best"
    blobs.part, blobs.first = "sealed", lambda: post("late", 6)
    with pytest.raises(CandidateRefused, match="Close the judge again"):
        judges.close_judge(database, blobs, "ada", study)


def test_a_candidate_that_others_overtake_each_time_is_refused_and_noted(client, send, settings, database):
    study, post = send
    blobs = Overtaken(settings.blobs_url)
    blobs.part = "sealed"

    def overtake():
        blobs.first = overtake
        post("same", 1)

    blobs.first = overtake
    with pytest.raises(CandidateRefused, match="Send it again"):
        judges.judge_candidate(database, blobs, "ada", study, CandidateSpec(**make_arm("slow", 5, 0.9)), "key")
    judge = client.get(f"/v1/studies/{study}").json()["judge"]
    last = judge["attempts"][-1]
    assert (judge["tried"], judge["spent"], last["number"]) == (2 + judges.MOST_TRIES, 0, 2 + judges.MOST_TRIES)
    assert (last["arm"], last["answer"], last["by"], bool(last["at"])) == ("slow", "refused", "key", True)
    blobs.first = None
    again = judges.judge_candidate(database, blobs, "ada", study, CandidateSpec(**make_arm("slow", 5, 0.9)), "key")
    assert (again.answer, again.look) == ("better", 1)


def test_only_an_open_judge_takes_candidates_and_closes(client, send):
    study, _ = send
    assert client.post(f"/v1/studies/{study}/cancel").status_code == 200
    arms = [{"name": name, "runs": [{"seed": n, "value": 0.8} for n in range(2)]} for name in ("base", "other")]
    recorded = {"kind": "recorded", "arms": arms, "metric": "accuracy"}
    other = client.post("/v1/studies", json=recorded).json()["id"]
    for part, body in (("arms", make_arm("late", 2)), ("close", None)):
        late = client.post(f"/v1/studies/{study}/{part}", json=body).json()
        assert (late["code"], "A new judge needs images" in late["detail"]) == ("study_finished", True)
        wrong = client.post(f"/v1/studies/{other}/{part}", json=body)
        assert (wrong.status_code, "Only a judge takes candidates" in wrong.json()["detail"]) == (422, True)
    assert client.get(f"/v1/studies/{study}").json()["judge"]["tried"] == 1


def test_seeds_with_equal_answers_are_refused_and_others_make_no_promise_of_what_would_have_told(client):
    study = client.post("/v1/studies", json=make_order(seeds=2)).json()["id"]
    twice = {"answers": [answer(1), answer(1)]}
    refused = client.post(f"/v1/studies/{study}/arms", json=make_arm("base", 1, validation=twice, test=twice))
    assert "Two seeds gave exactly the same answers" in refused.json()["detail"]
    for name, first in (("base", 1), ("luck", 3)):
        seeds = {"answers": [answer(first), answer(first + 1)]}
        sent = client.post(f"/v1/studies/{study}/arms", json=make_arm(name, 1, validation=seeds, test=seeds)).json()
    assert "could not have told. The more trainings differ, the more it takes." in sent["explanation"]


def test_only_the_base_and_the_best_are_stored_and_nothing_once_the_judge_is_deleted(client, send, settings):
    study, post = send

    def count():
        return len(list(Blobs(settings.blobs_url).stored(f"studies/{study}")))

    assert count() == 2, "labels and base"
    assert post("good", 3, 0.8).json()["answer"] == "better"
    near = [*((label + 1) % 3 for label in answer(3, 0.8)[:5]), *answer(3, 0.8)[5:]]
    refused = post("near", 3, validation={"answers": [near]}).json()["detail"]
    assert "on 5 images; an answer needs at least 12" in refused, "each improvement costs the later ones"
    assert post("best", 4, 1.0).json()["answer"] == "better"
    assert count() == 3, "labels, base and best"
    client.post(f"/v1/studies/{study}/close")
    assert client.delete(f"/v1/studies/{study}").status_code == 204
    assert count() == 0


def test_older_attempts_that_were_not_judged_are_counted_and_the_list_says_that_it_lacks_them(client, send):
    study, post = send
    for seed in range(53):
        post(f"same-{seed}", 1)
    judge = client.get(f"/v1/studies/{study}").json()["judge"]
    assert (judge["tried"], len(judge["attempts"]), judge["attempts"][0]["arm"]) == (54, 51, "base")
    page = client.get(f"/v1/studies/{study}/report", headers={"Accept": "text/html"}).text
    assert "Not listed: 3 older attempts" in page


def test_a_judge_counts_as_one_study_and_needs_no_room_for_jobs(client, database):
    with database.write() as session:
        owners.limit(session, "ada", changes={Quota.STUDIES: 1, Quota.QUEUED_JOBS: 0})
    assert client.post("/v1/studies", json=make_order()).status_code == 201
    assert client.post("/v1/studies", json=make_order()).json()["code"] == "quota_exceeded"


def test_no_route_tells_labels_or_figures_before_the_close(client, send):
    study, post = send
    post("better", 3, 0.9)
    shown = [
        client.get(f"/v1/studies/{study}{part}") for part in ("", "/events", "/runs", "/report", "/results", "/ledger")
    ]
    digits = f"{np.mean(np.asarray(answer(3, 0.9)) == TRUTH):.4f}"[2:]
    for response in shown:
        assert "image-7.png" not in response.text
        assert digits not in response.text
    view = shown[0].json()
    assert view["arms"][0]["validation"] is None
    assert view["conclusion"] is None
    assert view["ledger"] == {"validation_reads": 1, "test_reads": 0, "jobs": 0, "seconds": 0.0}


def test_only_a_key_with_the_right_to_administer_closes_it_and_test_is_read_once(client, send, database):
    study, post = send
    post("better", 3, 0.9)
    with database.write() as session:
        weak = bearer(keys.make(session, "ada", scopes=("read", "write")))
    for part in ("close", "cancel"):
        refused = client.post(f"/v1/studies/{study}/{part}", headers=weak)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    closed = client.post(f"/v1/studies/{study}/close").json()
    assert (closed["status"], closed["conclusion"]["kind"], closed["conclusion"]["remedy"]) == (
        "succeeded",
        "better",
        "better",
    )
    assert closed["headline"] == 'On test, "better" is better than the base.'
    assert closed["ledger"]["test_reads"] == 2
    assert client.post(f"/v1/studies/{study}/close").json()["code"] == "study_finished"
    assert client.delete(f"/v1/studies/{study}", headers=weak).json()["code"] == "insufficient_scope"
    late = post("late", 9).json()
    assert (late["code"], "A new judge needs images" in late["detail"]) == ("study_finished", True)


def test_a_judge_without_a_better_candidate_never_reads_test(client, send):
    study, post = send
    post("luck", 2)
    closed = client.post(f"/v1/studies/{study}/close").json()
    assert closed["headline"] == "No candidate was surely better than the base."
    assert closed["ledger"]["test_reads"] == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"classes": ["cat", "dog", "cat"]}, "a class occurs twice"),
        ({"classes": ["cat", "dog"]}, "`owl` is none of the classes"),
        ({"validation": {"ids": [IDS[0], *IDS[:-1]], "labels": ["cat"] * IMAGES}}, "an id occurs twice"),
        ({"looks": 2000}, "equal to 200"),
    ],
)
def test_an_order_that_contradicts_itself_is_refused(client, change, why):
    response = client.post("/v1/studies", json=make_order(**change))
    assert response.status_code == 422
    assert why.lower() in json.dumps(response.json()).lower()
