"""Webhooks: what owners can do with them, what is sent and when it is repeated, and that nothing is lost or shared."""

import json
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from pydantic import SecretStr
from standardwebhooks import WebhookVerificationError

from api.webhooks.sender import LEASE_S, Sender
from heldout.access.webhooks import OLD_SECRET_SIGNS_FOR_S, WEBHOOK_EVENTS
from models.store import events, ingests, models, outbox, transitions, uploads, webhooks
from models.store.outbox import SenderRoom
from models.tables import DeliveryRow, WebhookRow
from tests.api.routes.models.test_models_served import end, ordered, ready, uploaded
from tests.api.support import assert_problem, bearer, serving, sqlite_only, submitted, with_field
from tests.api.webhooks.receiving import Receiver, receiving

NO_WEBHOOK = "wh_01jd0000000000000000000000"


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"webhook_allow": ("127.0.0.1",), "poll_s": 3600.0})


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


class Clock:
    """The database's time, moved on by worker."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self, session) -> datetime:
        return transitions.get_now(session) + timedelta(seconds=self.ahead_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sender(database, settings, clock) -> Sender:
    return Sender(database, settings, clock=clock)


def made(client, receiver: Receiver, *events: str) -> dict:
    wanted = list(events) or ["job.started", "job.succeeded", "job.failed", "job.cancelled"]
    answer = client.post("/v1/webhooks", json={"url": f"{receiver.url}/hook?token=t", "events": wanted})
    assert answer.status_code == 201, answer.text
    return answer.json()


def sent(sender: Sender) -> int:
    """How many messages one look at the outbox sends."""
    count = sender.run_once()
    assert sender.join(60)
    return count


def deliveries(client, webhook: dict) -> list[dict]:
    return client.get(f"/v1/webhooks/{webhook['id']}/deliveries").json()["data"]


def cancelled(client, spec) -> dict:
    return client.post(f"/v1/jobs/{submitted(client, spec)['id']}/cancel").json()


def pending(database) -> list[DeliveryRow]:
    with database.read() as session:
        return [row for row in session.query(DeliveryRow) if row.status == "pending"]


# --- the routes ----------------------------------------------------------------------------------


def test_a_secret_is_shown_when_it_is_made_and_never_again(client, receiver, log_lines):
    began = log_lines.tell()
    webhook = made(client, receiver)
    assert webhook["secret"].startswith("whsec_")
    shown = {name: value for name, value in webhook.items() if name != "secret"}
    path = f"/v1/webhooks/{webhook['id']}"
    assert client.get(path).json() == shown
    assert client.get("/v1/webhooks").json() == {"object": "list", "data": [shown], "has_more": False, "next": None}
    changed = client.patch(path, json={"events": ["job.failed", "job.failed"], "enabled": False}).json()
    assert (changed["events"], changed["enabled"], changed["url"]) == (["job.failed"], False, webhook["url"])
    assert client.delete(path).status_code == 204
    assert_problem(client.get(path), 404, "webhook_not_found")
    assert webhook["secret"] not in log_lines.getvalue()[began:]


def test_what_another_owner_has_is_not_found(client, stranger, receiver, spec, sender):
    webhook = made(client, receiver)
    cancelled(client, spec)
    [delivery] = deliveries(client, webhook)
    path = f"/v1/webhooks/{webhook['id']}"
    for method, route, body in (
        *(("GET", "", None), ("PATCH", "", {"enabled": False}), ("DELETE", "", None), ("POST", "/rotate", None)),
        *(
            ("GET", "/deliveries", None),
            ("POST", f"/deliveries/{delivery['id']}/redeliver", None),
            ("POST", "/ping", None),
        ),
    ):
        assert_problem(stranger.request(method, path + route, json=body), 404, "webhook_not_found")
    own = made(stranger, receiver)
    crossed = f"/v1/webhooks/{own['id']}/deliveries/{delivery['id']}/redeliver"
    assert_problem(stranger.post(crossed), 404, "delivery_not_found")
    assert stranger.get("/v1/webhooks").json()["data"] == [{k: v for k, v in own.items() if k != "secret"}]
    assert deliveries(stranger, own) == [], "another owner's job was sent to it"


@sqlite_only
@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"url": "http://example.org/", "events": ["job.failed"]}, "webhook_url_refused", "/url"),
        ({"url": "https://10.0.0.1/", "events": ["job.failed"]}, "webhook_url_refused", "/url"),
        ({"url": "https://example.org/", "events": ["job.queued"]}, "invalid_spec", "/events/0"),
        ({"url": "https://example.org/", "events": []}, "invalid_spec", "/events"),
        ({"url": "https://example.org/", "events": ["job.failed"], "secret": "x"}, "invalid_spec", "/secret"),
        ({"events": ["job.failed"]}, "invalid_spec", "/url"),
    ],
)
def test_what_is_no_webhook_is_refused(client, body, code, pointer):
    assert_problem(client.post("/v1/webhooks", json=body), 422, code, pointer)


@sqlite_only
def test_a_change_is_checked_as_a_new_one_is(client, receiver):
    path = f"/v1/webhooks/{made(client, receiver)['id']}"
    assert_problem(client.patch(path, json={"url": "http://192.168.0.1/"}), 422, "webhook_url_refused", "/url")
    assert_problem(client.patch(path, json={"events": ["nothing"]}), 422, "invalid_spec", "/events/0")
    assert_problem(client.get(f"{path}/deliveries?after=x"), 400, "invalid_cursor")
    for wrong in ("x", NO_WEBHOOK, "%00", "job_01jd0000000000000000000000"):
        assert_problem(client.get(f"/v1/webhooks/{wrong}"), 404, "webhook_not_found")
        again = client.post(f"{path}/deliveries/{wrong}/redeliver")
        assert_problem(again, 404, "delivery_not_found")


@sqlite_only
def test_what_never_happens_cannot_be_subscribed_to_and_the_refusal_lists_what_can(client):
    body = {"url": "https://example.org/", "events": ["job.failed", "study.forgotten"]}
    problem = assert_problem(client.post("/v1/webhooks", json=body), 422, "invalid_spec", "/events/1")
    for name in WEBHOOK_EVENTS:
        assert f"'{name}'" in problem["errors"][0]["detail"]


def test_an_owner_has_twenty_webhooks_at_most(client, stranger, receiver):
    for _ in range(20):
        made(client, receiver)
    body = {"url": receiver.url, "events": ["job.failed"]}
    problem = assert_problem(client.post("/v1/webhooks", json=body), 429, "quota_exceeded")
    assert "20 used, 20 allowed" in problem["detail"]
    made(stranger, receiver)


# --- the outbox ----------------------------------------------------------------------------------


def test_each_event_that_is_wanted_is_in_the_outbox_with_the_job_as_it_was_then(
    client, receiver, database, worker, spec
):
    webhook = made(client, receiver)
    made(client, receiver, "job.overfitting")
    off = made(client, receiver)
    client.patch(f"/v1/webhooks/{off['id']}", json={"enabled": False})
    job = submitted(client, spec)["id"]
    held = worker.claim()
    worker.begin(held, client.get(f"/v1/jobs/{job}").json()["spec"])
    started = client.get(f"/v1/jobs/{job}").json()
    worker.succeed(held)
    waiting = sorted(pending(database), key=lambda row: row.id)
    assert [(row.webhook_id, row.type) for row in waiting] == [
        (webhook["id"], "job.started"),
        (webhook["id"], "job.succeeded"),
    ]
    first, last = (row.payload for row in waiting)
    assert (first["status"], first["version"]) == ("running", started["version"] - 1), "before its worker wrote back"
    assert last == client.get(f"/v1/jobs/{job}").json()
    assert deliveries(client, off) == []


def test_models_and_evaluations_tell_of_themselves_in_the_stream_and_in_the_outbox(client, receiver, database, worker):
    wanted = ("model.ready", "model.rejected", "model.deleted", "evaluation.started", "evaluation.succeeded")
    made(client, receiver, *wanted)
    model = ready(client, worker)
    evaluation = ordered(client, model)["id"]
    end(worker, worker.claim())
    refused = uploaded(client)["id"]
    error = {"code": "not_a_model", "detail": "It is no model."}
    held = worker.claim()
    with database.write() as session:
        models.reject(session, held, error)
    assert client.delete(f"/v1/models/{model}").status_code == 204
    told = client.get("/v1/events?limit=200").json()["data"]
    assert [(one["subject"]["object"], one["subject"]["id"], one["type"]) for one in told] == [
        ("model", model, "model.checking"),
        ("model", model, "model.ready"),
        ("evaluation", evaluation, "evaluation.queued"),
        ("evaluation", evaluation, "evaluation.started"),
        ("evaluation", evaluation, "evaluation.succeeded"),
        ("model", refused, "model.checking"),
        ("model", refused, "model.rejected"),
        ("model", model, "model.deleted"),
    ]
    assert (told[6]["level"], told[6]["data"]) == ("error", {"error": error})
    waiting = {row.type: row.payload for row in pending(database)}
    assert waiting.keys() == set(wanted)
    assert waiting["model.ready"]["parameters"] == 7850
    assert waiting["model.rejected"] == client.get(f"/v1/models/{refused}").json()
    assert waiting["evaluation.started"]["metrics"] is None
    assert waiting["evaluation.succeeded"] == client.get(f"/v1/evaluations/{evaluation}").json()


def test_an_event_that_is_not_committed_is_in_no_outbox(client, receiver, database, spec):
    made(client, receiver)
    job = submitted(client, spec)["id"]
    with suppress(InterruptedError), database.write() as session:
        events.add(session, job, "job.cancelled", "It is cancelled.")
        assert outbox.is_any_due(session, transitions.get_now(session))
        raise InterruptedError
    assert client.get(f"/v1/jobs/{job}/events").json()["data"][-1]["type"] == "job.queued"
    assert pending(database) == []


def test_a_delivery_outlives_its_job(client, receiver, sender, spec):
    secret = made(client, receiver)["secret"]
    job = cancelled(client, spec)
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert sent(sender) == 1
    assert receiver.received[0].verified(secret)["data"] == job


def test_a_job_that_is_paused_or_requeued_is_reported_with_its_state_then(client, receiver, database, worker, spec):
    made(client, receiver, "job.paused", "job.requeued")
    job = submitted(client, spec)["id"]
    client.post(f"/v1/jobs/{job}/pause")
    client.post(f"/v1/jobs/{job}/resume")
    worker.fail(worker.claim(), code="process_died")
    waiting = sorted(pending(database), key=lambda row: row.id)
    assert [(row.type, row.payload["status"], row.payload["failures"]) for row in waiting] == [
        ("job.paused", "paused", 0),
        ("job.requeued", "queued", 1),
    ]


def test_a_dataset_is_sent_as_the_service_showed_it_and_its_check_is_not(
    client, stranger, receiver, database, worker, sender
):
    webhook = made(client, receiver, "dataset.uploading", "dataset.checking", "dataset.rejected", "job.started")
    others = made(stranger, receiver, "dataset.rejected", "job.started")
    dataset = client.post("/v1/datasets", json={"name": "pets"}).json()
    with database.write() as session:
        uploads.receive(session, "ada", dataset["id"], key="uploads/x", sha256="1" * 64, max_runtime_s=60)
    with database.write() as session:
        error = {"code": "no_images", "detail": "It holds no images.", "member": None}
        ingests.reject(session, worker.claim(), error)
    while pending(database):
        sent(sender)
    messages = {event["type"]: event for event in (one.verified(webhook["secret"]) for one in receiver.received)}
    assert set(messages) == {"dataset.uploading", "dataset.checking", "dataset.rejected"}, "a check was told as a job"
    assert messages["dataset.uploading"]["data"] == dataset
    assert messages["dataset.checking"]["data"]["status"] == "checking"
    assert messages["dataset.rejected"]["data"] == client.get(f"/v1/datasets/{dataset['id']}").json()
    subject = {"object": "dataset", "id": dataset["id"]}
    assert [delivery["subject"] for delivery in deliveries(client, webhook)] == [subject] * 3
    assert deliveries(stranger, others) == []


# --- sending -------------------------------------------------------------------------------------


def test_a_message_is_signed_and_shows_the_job_as_the_service_does(client, receiver, sender, worker, spec):
    webhook = made(client, receiver, "job.failed")
    submitted(client, with_field(spec, "metadata", {"naïve": "ключ"}))
    worker.fail(worker.claim())
    assert sent(sender) == 1
    [message] = receiver.received
    event = message.verified(webhook["secret"])
    [job] = client.get("/v1/jobs").json()["data"]
    assert event == {"type": "job.failed", "timestamp": event["timestamp"], "data": job}
    with pytest.raises(WebhookVerificationError):
        message.verified("whsec_" + "A" * 44)
    [delivery] = deliveries(client, webhook)
    assert (delivery["id"], delivery["created_at"]) == (message.headers["webhook-id"], event["timestamp"])
    assert (delivery["status"], delivery["next_attempt_at"]) == ("delivered", None)
    assert delivery["subject"] == {"object": "job", "id": job["id"]}
    [attempt] = delivery["attempts"]
    assert (attempt["status"], attempt["error"]) == (204, None)
    assert message.headers["content-type"] == "application/json"
    assert message.headers["host"] == receiver.url.removeprefix("http://")
    assert message.path == "/hook?token=t"
    assert sent(sender) == 0


def test_attempts_follow_the_schedule_and_then_end(client, receiver, sender, clock, spec):
    webhook = made(client, receiver)
    cancelled(client, spec)
    receiver.status = [500, 301, 404, 429, 503, 400, 500, 599]
    assert sent(sender) == 1
    for pause_s in (5, 300, 1800, 7200, 18000, 36000, 36000):
        clock.ahead_s += pause_s - 1.5
        assert sent(sender) == 0, f"sent before {pause_s} seconds were over"
        clock.ahead_s += 3
        assert sent(sender) == 1, f"not sent after {pause_s} seconds"
    clock.ahead_s += 10 * 86_400
    assert sent(sender) == 0
    [delivery] = deliveries(client, webhook)
    assert [one["status"] for one in delivery["attempts"]] == [500, 301, 404, 429, 503, 400, 500, 599]
    assert (delivery["status"], delivery["next_attempt_at"]) == ("failed", None)
    assert len({message.headers["webhook-id"] for message in receiver.received}) == 1
    assert len({message.body for message in receiver.received}) == 1


def test_a_later_attempt_can_succeed(client, receiver, sender, clock, spec):
    webhook = made(client, receiver)
    cancelled(client, spec)
    receiver.status = [500, 200]
    sent(sender)
    clock.ahead_s = 6
    sent(sender)
    assert [one["status"] for one in deliveries(client, webhook)[0]["attempts"]] == [500, 200]
    assert deliveries(client, webhook)[0]["status"] == "delivered"


def test_410_disables_the_webhook_and_ends_what_waits(client, receiver, sender, clock, spec, database):
    webhook = made(client, receiver)
    receiver.status = [410]
    cancelled(client, spec)
    sent(sender)
    gone = client.get(f"/v1/webhooks/{webhook['id']}").json()
    assert (gone["enabled"], gone["disabled_reason"]) == (False, "Its receiver answered 410 Gone.")
    cancelled(client, spec)
    assert pending(database) == []
    [delivery] = deliveries(client, webhook)
    again = f"/v1/webhooks/{webhook['id']}/deliveries/{delivery['id']}/redeliver"
    assert_problem(client.post(again), 409, "webhook_disabled")
    back = client.patch(f"/v1/webhooks/{webhook['id']}", json={"enabled": True}).json()
    assert (back["enabled"], back["disabled_reason"]) == (True, None)
    receiver.status = 204
    assert client.post(again).status_code == 202
    assert sent(sender) == 1


def test_disabling_gives_up_what_waits(client, receiver, sender, spec, database):
    webhook = made(client, receiver)
    cancelled(client, spec)
    client.patch(f"/v1/webhooks/{webhook['id']}", json={"enabled": False})
    assert pending(database) == []
    assert sent(sender) == 0
    assert deliveries(client, webhook)[0]["status"] == "failed"


def test_a_redelivery_is_the_same_message_with_all_its_attempts_before_it(client, receiver, sender, clock, spec):
    webhook = made(client, receiver)
    cancelled(client, spec)
    sent(sender)
    [delivery] = deliveries(client, webhook)
    answer = client.post(f"/v1/webhooks/{webhook['id']}/deliveries/{delivery['id']}/redeliver")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    receiver.status = [500, 204]
    assert sent(sender) == 1
    clock.ahead_s = 6
    assert sent(sender) == 1
    first, second, third = receiver.received
    assert first.body == second.body == third.body
    assert first.headers["webhook-id"] == third.headers["webhook-id"]
    assert [one["status"] for one in deliveries(client, webhook)[0]["attempts"]] == [204, 500, 204]


def test_a_redelivery_that_is_asked_for_during_an_attempt_is_not_lost(client, receiver, sender, clock, spec):
    webhook = made(client, receiver)
    cancelled(client, spec)
    receiver.may_answer.clear()
    sender.run_once()
    assert receiver.came.wait(60)
    [delivery] = deliveries(client, webhook)
    client.post(f"/v1/webhooks/{webhook['id']}/deliveries/{delivery['id']}/redeliver")
    assert sender.run_once() == 0, "the attempt under way has its lease"
    receiver.may_answer.set()
    assert sender.join(60)
    assert deliveries(client, webhook)[0]["status"] == "pending"
    clock.ahead_s = LEASE_S + 1
    assert sent(sender) == 1
    assert deliveries(client, webhook)[0]["status"] == "delivered"


def test_after_a_rotation_both_secrets_sign_for_a_day(client, receiver, sender, clock, spec):
    webhook = made(client, receiver)
    rotated = client.post(f"/v1/webhooks/{webhook['id']}/rotate").json()
    assert rotated["secret"] != webhook["secret"]
    assert rotated["previous_secret_until"] > datetime.now(UTC).isoformat()
    job = cancelled(client, spec)
    sent(sender)
    for secret in (webhook["secret"], rotated["secret"]):
        assert receiver.received[0].verified(secret)["data"]["id"] == job["id"]
    cancelled(client, spec)
    clock.ahead_s = OLD_SECRET_SIGNS_FOR_S + 1
    sent(sender)
    assert len(receiver.received[1].headers["webhook-signature"].split()) == 1


def test_two_senders_send_each_message_once(client, receiver, database, settings, spec):
    made(client, receiver)
    jobs = [cancelled(client, spec)["id"] for _ in range(30)]
    senders = [Sender(database, settings) for _ in range(4)]

    def drain(sender: Sender) -> None:
        while pending(database):
            sender.run_once()
            sender.join(60)

    threads = [threading.Thread(target=drain, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert sorted(json.loads(message.body)["data"]["id"] for message in receiver.received) == sorted(jobs)


def test_a_sender_that_dies_leaves_its_message_to_another(client, receiver, database, settings, clock, sender, spec):
    webhook = made(client, receiver)
    cancelled(client, spec)
    with database.write() as session:
        [due] = outbox.claim(session, clock(session), SenderRoom(free=8, per_webhook=2, per_owner=8), lease_s=LEASE_S)
    assert sent(sender) == 0
    clock.ahead_s = LEASE_S + 1
    assert sent(sender) == 1
    with database.write() as session:
        late = webhooks.settle(session, due, clock(session), status=500, error=None, milliseconds=1)
    assert late is None, "the first claim no longer counts"
    assert [one["status"] for one in deliveries(client, webhook)[0]["attempts"]] == [204]


def test_a_slow_receiver_does_not_hold_up_the_others(client, receiver, sender, spec, database):
    made(client, receiver, "job.cancelled")
    receiver.may_answer.clear()
    for _ in range(5):
        cancelled(client, spec)
    assert sender.run_once() == 2, "so many at a time"
    with receiving() as brisk:
        made(client, brisk, "job.cancelled")
        cancelled(client, spec)
        assert sender.run_once() == 1
        assert brisk.came.wait(60)
    receiver.may_answer.set()
    assert sender.join(60)


def test_the_log_pages_and_is_forgotten_after_a_week(client, receiver, sender, spec, database):
    webhook = made(client, receiver)
    for _ in range(5):
        cancelled(client, spec)
    path = f"/v1/webhooks/{webhook['id']}/deliveries?limit=3"
    first = client.get(path).json()
    rest = client.get(f"{path}&after={first['next']}").json()
    ids = [one["id"] for one in first["data"] + rest["data"]]
    assert (len(ids), ids, rest["has_more"]) == (5, sorted(ids, reverse=True), False)
    with database.write() as session:
        outbox.forget_old(session, transitions.get_now(session) + timedelta(days=6))
        assert outbox.is_any_due(session, transitions.get_now(session))
        outbox.forget_old(session, transitions.get_now(session) + timedelta(days=8))
    assert deliveries(client, webhook) == []


@sqlite_only
def test_neither_address_nor_secret_nor_body_is_logged(client, receiver, sender, spec, log_lines):
    began = log_lines.tell()
    webhook = made(client, receiver)
    cancelled(client, with_field(spec, "name", "confidential"))
    sent(sender)
    logged = log_lines.getvalue()[began:]
    assert "webhook_sent" in logged
    for secret in (webhook["secret"], "token=t", "confidential", receiver.received[0].headers["webhook-signature"]):
        assert secret not in logged


def test_a_service_sends_what_its_workers_did(app, key, receiver, worker, spec):
    """The whole way: a real service, whose sender looks by itself."""
    app_context = app.state.context
    app.state.context = replace(app_context, settings=app_context.settings.model_copy(update={"poll_s": 0.05}))
    with serving(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key)) as client:
        secret = made(client, receiver, "job.started")["secret"]
        submitted(client, spec)
        worker.claim()
        assert receiver.came.wait(60)
    assert receiver.received[0].verified(secret)["data"]["status"] == "running"
    assert "webhooks" not in {thread.name for thread in threading.enumerate()}


# --- many owners, receivers that fail ------------------------------------------------------------


def test_twenty_hooks_to_a_mute_host_hold_up_no_one_elses_message(client, stranger, receiver, spec, sender):
    with receiving() as mute:
        mute.may_answer.clear()
        for _ in range(20):
            made(client, mute, "job.cancelled")
        for _ in range(3):
            cancelled(client, spec)
        while sender.run_once():
            pass
        theirs = made(stranger, receiver, "job.cancelled")
        cancelled(stranger, spec)
        assert sender.run_once() == 1
        assert receiver.came.wait(12), "a mute host of another owner holds it up"
        assert len(mute.received) <= 6
        mute.may_answer.set()
        assert sender.join(60)
    assert deliveries(stranger, theirs)[0]["status"] == "delivered"


def test_a_webhook_that_fails_for_a_day_is_disabled_and_its_owner_told(client, receiver, spec, sender, clock):
    receiver.status = 500
    with receiving() as other:
        broken = made(client, receiver, "job.cancelled")
        made(client, other, "webhook.disabled")
        for _ in range(3):
            cancelled(client, spec)
        for _ in range(30):
            sent(sender)
            clock.ahead_s += 3 * 3600
        now = client.get(f"/v1/webhooks/{broken['id']}").json()
        assert not now["enabled"]
        assert "in a row failed" in now["disabled_reason"]
        assert now["failures"] >= 10
        [event] = [one for one in client.get("/v1/events").json()["data"] if one["type"] == "webhook.disabled"]
        assert event["subject"] == {"object": "webhook", "id": broken["id"]}
        [told] = [json.loads(one.body) for one in other.received]
        assert (told["type"], told["data"]["id"]) == ("webhook.disabled", broken["id"])
    assert {delivery["status"] for delivery in deliveries(client, broken)} == {"failed"}, "what waited is given up"
    again = client.patch(f"/v1/webhooks/{broken['id']}", json={"enabled": True}).json()
    assert (again["enabled"], again["failures"], again["failing_since"]) == (True, 0, None)


@sqlite_only
def test_a_success_between_failures_keeps_a_webhook_enabled(client, receiver, spec, sender, clock):
    webhook = made(client, receiver, "job.cancelled")
    for _ in range(12):
        receiver.status = [500, 204]
        cancelled(client, spec)
        sent(sender)
        clock.ahead_s += 3 * 3600
        sent(sender)
    assert client.get(f"/v1/webhooks/{webhook['id']}").json()["enabled"]


def test_a_ping_is_sent_whatever_a_webhook_is_for_and_one_at_a_time(client, receiver, sender):
    webhook = made(client, receiver, "job.failed")
    path = f"/v1/webhooks/{webhook['id']}"
    first, second = client.post(f"{path}/ping"), client.post(f"{path}/ping")
    assert (first.status_code, first.json()["id"]) == (202, second.json()["id"])
    assert sent(sender) == 1
    message = receiver.received[0].verified(webhook["secret"])
    assert (message["type"], message["data"]["id"]) == ("webhook.ping", webhook["id"])
    assert deliveries(client, webhook)[0]["status"] == "delivered"
    client.patch(path, json={"enabled": False})
    assert_problem(client.post(f"{path}/ping"), 409, "webhook_disabled")


def test_secrets_are_sealed_in_the_database_those_of_earlier_releases_too(client, receiver, database, sender):
    webhook, rotated = made(client, receiver), made(client, receiver)
    with database.write() as session:
        row = session.get_one(WebhookRow, webhook["id"])
        assert webhook["secret"] not in row.secret
        assert row.secret.startswith("sealed_")
        row.secret = webhook["secret"]  # as an earlier release has stored it
        # Rotated by this release before it was sealed.
        session.get_one(WebhookRow, rotated["id"]).previous_secret = rotated["secret"]
    client.post(f"/v1/webhooks/{webhook['id']}/ping")
    sender.seal_secrets()
    with database.read() as session:
        assert session.get_one(WebhookRow, webhook["id"]).secret.startswith("sealed_")
        assert session.get_one(WebhookRow, rotated["id"]).previous_secret.startswith("sealed_")
    assert sent(sender) == 1
    assert receiver.received[0].verified(webhook["secret"])


@sqlite_only
def test_a_secret_that_another_key_has_sealed_is_reported_in_the_attempt(client, receiver, database, settings, clock):
    webhook = made(client, receiver)
    client.post(f"/v1/webhooks/{webhook['id']}/ping")
    stranger = Sender(database, settings.model_copy(update={"secrets_key": SecretStr("x" * 32)}), clock=clock)
    assert sent(stranger) == 1
    [delivery] = deliveries(client, webhook)
    assert "different key" in delivery["attempts"][0]["error"]
    assert receiver.received == []
