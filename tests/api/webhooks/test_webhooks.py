"""Webhooks: routes, deliveries, retries, and isolation between owners."""

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
from models.store import claims, events, outbox, transitions, uploads, webhooks
from models.tables import DeliveryRow, WebhookRow
from tests.api.routes.models.test_models_served import add_model, finish_evaluation, order_evaluation, upload
from tests.api.support import assert_problem, bearer, run_server, sqlite_only, submit, with_field
from tests.api.webhooks.receiving import Receiver, run_receiver

NO_WEBHOOK = "wh_01jd0000000000000000000000"


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"webhook_allow": ("127.0.0.1",), "poll_s": 3600.0})


@pytest.fixture
def receiver():
    with run_receiver() as receiver:
        yield receiver


class Clock:
    """The database's time, which tests can advance."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.stopped_at: datetime | None = None

    def __call__(self, session) -> datetime:
        return (self.stopped_at or transitions.get_now(session)) + timedelta(seconds=self.ahead_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sender(database, settings, clock) -> Sender:
    return Sender(database, settings, clock=clock)


def make_webhook(client, receiver: Receiver, *events: str) -> dict:
    wanted = list(events) or ["job.started", "job.succeeded", "job.failed", "job.cancelled"]
    answer = client.post("/v1/webhooks", json={"url": f"{receiver.url}/hook?token=t", "events": wanted})
    assert answer.status_code == 201, answer.text
    return answer.json()


def send_due(sender: Sender) -> int:
    """Send all due messages and return how many there were."""
    count = sender.run_once()
    assert sender.join(60)
    return count


def list_deliveries(client, webhook: dict) -> list[dict]:
    return client.get(f"/v1/webhooks/{webhook['id']}/deliveries").json()["data"]


def cancel_new_job(client, spec) -> dict:
    return client.post(f"/v1/jobs/{submit(client, spec)['id']}/cancel").json()


def list_pending(database) -> list[DeliveryRow]:
    with database.read() as session:
        return [row for row in session.query(DeliveryRow) if row.status == "pending"]


# --- the routes ----------------------------------------------------------------------------------


@sqlite_only
def test_a_secret_is_shown_once(client, receiver, log_lines):
    began = log_lines.tell()
    webhook = make_webhook(client, receiver)
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


def test_another_owners_resources_are_not_found(client, stranger, receiver, spec, sender):
    webhook = make_webhook(client, receiver)
    cancel_new_job(client, spec)
    [delivery] = list_deliveries(client, webhook)
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
    own = make_webhook(stranger, receiver)
    crossed = f"/v1/webhooks/{own['id']}/deliveries/{delivery['id']}/redeliver"
    assert_problem(stranger.post(crossed), 404, "delivery_not_found")
    assert stranger.get("/v1/webhooks").json()["data"] == [{k: v for k, v in own.items() if k != "secret"}]
    assert list_deliveries(stranger, own) == [], "it received another owner's job"


@sqlite_only
def test_invalid_webhooks_are_refused(client):
    for body, code, pointer in [
        ({"url": "http://example.org/", "events": ["job.failed"]}, "webhook_url_refused", "/url"),
        ({"url": "https://10.0.0.1/", "events": ["job.failed"]}, "webhook_url_refused", "/url"),
        ({"url": "https://example.org/", "events": ["job.queued"]}, "invalid_spec", "/events/0"),
        ({"url": "https://example.org/", "events": []}, "invalid_spec", "/events"),
        ({"url": "https://example.org/", "events": ["job.failed"], "secret": "x"}, "invalid_spec", "/secret"),
        ({"events": ["job.failed"]}, "invalid_spec", "/url"),
    ]:
        assert_problem(client.post("/v1/webhooks", json=body), 422, code, pointer)


@sqlite_only
def test_changes_are_validated_like_new_webhooks(client, receiver):
    path = f"/v1/webhooks/{make_webhook(client, receiver)['id']}"
    assert_problem(client.patch(path, json={"url": "http://192.168.0.1/"}), 422, "webhook_url_refused", "/url")
    assert_problem(client.patch(path, json={"events": ["nothing"]}), 422, "invalid_spec", "/events/0")
    assert_problem(client.get(f"{path}/deliveries?after=x"), 400, "invalid_cursor")
    for wrong in ("x", NO_WEBHOOK, "%00", "job_01jd0000000000000000000000"):
        assert_problem(client.get(f"/v1/webhooks/{wrong}"), 404, "webhook_not_found")
        again = client.post(f"{path}/deliveries/{wrong}/redeliver")
        assert_problem(again, 404, "delivery_not_found")


@sqlite_only
def test_unknown_events_are_refused_with_a_list_of_the_known_ones(client):
    body = {"url": "https://example.org/", "events": ["job.failed", "study.forgotten"]}
    problem = assert_problem(client.post("/v1/webhooks", json=body), 422, "invalid_spec", "/events/1")
    for name in WEBHOOK_EVENTS:
        assert f"'{name}'" in problem["errors"][0]["detail"]


@sqlite_only
def test_an_owner_has_at_most_twenty_webhooks(client, stranger, receiver):
    for _ in range(20):
        make_webhook(client, receiver)
    body = {"url": receiver.url, "events": ["job.failed"]}
    problem = assert_problem(client.post("/v1/webhooks", json=body), 429, "quota_exceeded")
    assert "20 used, 20 allowed" in problem["detail"]
    make_webhook(stranger, receiver)


# --- the outbox ----------------------------------------------------------------------------------


def test_subscribed_events_are_in_the_outbox_with_the_job_at_that_time(client, receiver, database, worker, spec):
    webhook = make_webhook(client, receiver)
    make_webhook(client, receiver, "job.overfitting")
    off = make_webhook(client, receiver)
    client.patch(f"/v1/webhooks/{off['id']}", json={"enabled": False})
    job = submit(client, spec)["id"]
    held = worker.claim()
    worker.begin(held, client.get(f"/v1/jobs/{job}").json()["spec"])
    started = client.get(f"/v1/jobs/{job}").json()
    worker.succeed(held)
    waiting = sorted(list_pending(database), key=lambda row: row.id)
    assert [(row.webhook_id, row.type) for row in waiting] == [
        (webhook["id"], "job.started"),
        (webhook["id"], "job.succeeded"),
    ]
    first, last = (row.payload for row in waiting)
    assert (first["status"], first["version"]) == ("running", started["version"] - 1), (
        "before its worker recorded the start"
    )
    assert last == client.get(f"/v1/jobs/{job}").json()
    assert list_deliveries(client, off) == []


def test_events_of_models_and_evaluations_are_in_stream_and_outbox(client, receiver, database, worker):
    wanted = ("model.ready", "model.rejected", "model.deleted", "evaluation.started", "evaluation.succeeded")
    make_webhook(client, receiver, *wanted)
    model = add_model(client, worker)
    evaluation = order_evaluation(client, model)["id"]
    finish_evaluation(worker, worker.claim())
    refused = upload(client)["id"]
    error = {"code": "not_a_model", "detail": "It is no model."}
    held = worker.claim()
    with database.write() as session:
        claims.reject(session, held, error)
    assert client.delete(f"/v1/models/{model}").status_code == 204
    events_of_owner = client.get("/v1/events?limit=200").json()["data"]
    assert [(event["subject"]["object"], event["subject"]["id"], event["type"]) for event in events_of_owner] == [
        ("model", model, "model.checking"),
        ("model", model, "model.ready"),
        ("evaluation", evaluation, "evaluation.queued"),
        ("evaluation", evaluation, "evaluation.started"),
        ("evaluation", evaluation, "evaluation.succeeded"),
        ("model", refused, "model.checking"),
        ("model", refused, "model.rejected"),
        ("model", model, "model.deleted"),
    ]
    assert (events_of_owner[6]["level"], events_of_owner[6]["data"]) == ("error", {"error": error})
    waiting = {row.type: row.payload for row in list_pending(database)}
    assert waiting.keys() == set(wanted)
    assert waiting["model.ready"]["parameters"] == 7850
    assert waiting["model.rejected"] == client.get(f"/v1/models/{refused}").json()
    assert waiting["evaluation.started"]["metrics"] is None
    assert waiting["evaluation.succeeded"] == client.get(f"/v1/evaluations/{evaluation}").json()


@sqlite_only
def test_an_uncommitted_event_is_not_in_the_outbox(client, receiver, database, spec):
    make_webhook(client, receiver)
    job = submit(client, spec)["id"]
    with suppress(InterruptedError), database.write() as session:
        events.add(session, job, "job.cancelled", "It is cancelled.")
        assert outbox.is_any_due(session, transitions.get_now(session))
        raise InterruptedError
    assert client.get(f"/v1/jobs/{job}/events").json()["data"][-1]["type"] == "job.queued"
    assert list_pending(database) == []


@sqlite_only
def test_a_delivery_outlives_its_job(client, receiver, sender, spec):
    secret = make_webhook(client, receiver)["secret"]
    job = cancel_new_job(client, spec)
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert send_due(sender) == 1
    assert receiver.received[0].verified(secret)["data"] == job


@sqlite_only
def test_paused_and_requeued_jobs_are_reported_with_their_state_at_that_time(client, receiver, database, worker, spec):
    make_webhook(client, receiver, "job.paused", "job.requeued")
    job = submit(client, spec)["id"]
    client.post(f"/v1/jobs/{job}/pause")
    client.post(f"/v1/jobs/{job}/resume")
    worker.fail(worker.claim(), code="process_died")
    waiting = sorted(list_pending(database), key=lambda row: row.id)
    assert [(row.type, row.payload["status"], row.payload["failures"]) for row in waiting] == [
        ("job.paused", "paused", 0),
        ("job.requeued", "queued", 1),
    ]


@sqlite_only
def test_datasets_are_sent_as_the_api_shows_them_and_their_checks_are_not(
    client, stranger, receiver, database, worker, sender
):
    webhook = make_webhook(client, receiver, "dataset.uploading", "dataset.checking", "dataset.rejected", "job.started")
    others = make_webhook(stranger, receiver, "dataset.rejected", "job.started")
    dataset = client.post("/v1/datasets", json={"name": "pets"}).json()
    with database.write() as session:
        uploads.receive(session, "ada", dataset["id"], key="uploads/x", sha256="1" * 64, max_runtime_s=60)
    with database.write() as session:
        error = {"code": "no_images", "detail": "It holds no images.", "member": None}
        claims.reject(session, worker.claim(), error)
    while list_pending(database):
        send_due(sender)
    messages = {
        event["type"]: event for event in (message.verified(webhook["secret"]) for message in receiver.received)
    }
    assert set(messages) == {"dataset.uploading", "dataset.checking", "dataset.rejected"}, (
        "a check was reported as a job"
    )
    assert messages["dataset.uploading"]["data"] == dataset
    assert messages["dataset.checking"]["data"]["status"] == "checking"
    assert messages["dataset.rejected"]["data"] == client.get(f"/v1/datasets/{dataset['id']}").json()
    subject = {"object": "dataset", "id": dataset["id"]}
    assert [delivery["subject"] for delivery in list_deliveries(client, webhook)] == [subject] * 3
    assert list_deliveries(stranger, others) == []


# --- sending -------------------------------------------------------------------------------------


@sqlite_only
def test_a_message_is_signed_and_shows_the_job_as_the_api_does(client, receiver, sender, worker, spec):
    webhook = make_webhook(client, receiver, "job.failed")
    submit(client, with_field(spec, "metadata", {"naïve": "ключ"}))
    worker.fail(worker.claim())
    assert send_due(sender) == 1
    [message] = receiver.received
    event = message.verified(webhook["secret"])
    [job] = client.get("/v1/jobs").json()["data"]
    assert event == {"type": "job.failed", "timestamp": event["timestamp"], "data": job}
    with pytest.raises(WebhookVerificationError):
        message.verified("whsec_" + "A" * 44)
    [delivery] = list_deliveries(client, webhook)
    assert (delivery["id"], delivery["created_at"]) == (message.headers["webhook-id"], event["timestamp"])
    assert (delivery["status"], delivery["next_attempt_at"]) == ("delivered", None)
    assert delivery["subject"] == {"object": "job", "id": job["id"]}
    [attempt] = delivery["attempts"]
    assert (attempt["status"], attempt["error"]) == (204, None)
    assert message.headers["content-type"] == "application/json"
    assert message.headers["host"] == receiver.url.removeprefix("http://")
    assert message.path == "/hook?token=t"
    assert send_due(sender) == 0


def test_attempts_follow_the_schedule_and_then_stop(client, receiver, sender, clock, database, spec):
    webhook = make_webhook(client, receiver)
    cancel_new_job(client, spec)
    with database.read() as session:
        clock.stopped_at = transitions.get_now(session)  # a busy machine takes longer than the shortest pause
    receiver.status = [500, 301, 404, 429, 503, 400, 500, 599]
    assert send_due(sender) == 1
    for pause_s in (5, 300, 1800, 7200, 18000, 36000, 36000):
        clock.ahead_s += pause_s - 1
        assert send_due(sender) == 0, f"sent before {pause_s} seconds had passed"
        clock.ahead_s += 2
        assert send_due(sender) == 1, f"not sent after {pause_s} seconds"
    clock.ahead_s += 10 * 86_400
    assert send_due(sender) == 0
    [delivery] = list_deliveries(client, webhook)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 301, 404, 429, 503, 400, 500, 599]
    assert (delivery["status"], delivery["next_attempt_at"]) == ("failed", None)
    assert len({message.headers["webhook-id"] for message in receiver.received}) == 1
    assert len({message.body for message in receiver.received}) == 1


@sqlite_only
def test_a_later_attempt_can_succeed(client, receiver, sender, clock, spec):
    webhook = make_webhook(client, receiver)
    cancel_new_job(client, spec)
    receiver.status = [500, 200]
    send_due(sender)
    clock.ahead_s = 6
    send_due(sender)
    assert [attempt["status"] for attempt in list_deliveries(client, webhook)[0]["attempts"]] == [500, 200]
    assert list_deliveries(client, webhook)[0]["status"] == "delivered"


def test_a_410_disables_the_webhook_and_cancels_pending_deliveries(client, receiver, sender, clock, spec, database):
    webhook = make_webhook(client, receiver)
    receiver.status = [410]
    cancel_new_job(client, spec)
    send_due(sender)
    gone = client.get(f"/v1/webhooks/{webhook['id']}").json()
    assert (gone["enabled"], gone["disabled_reason"]) == (False, "Its receiver answered 410 Gone.")
    cancel_new_job(client, spec)
    assert list_pending(database) == []
    [delivery] = list_deliveries(client, webhook)
    again = f"/v1/webhooks/{webhook['id']}/deliveries/{delivery['id']}/redeliver"
    assert_problem(client.post(again), 409, "webhook_disabled")
    back = client.patch(f"/v1/webhooks/{webhook['id']}", json={"enabled": True}).json()
    assert (back["enabled"], back["disabled_reason"]) == (True, None)
    receiver.status = 204
    assert client.post(again).status_code == 202
    assert send_due(sender) == 1


@sqlite_only
def test_disabling_cancels_pending_deliveries(client, receiver, sender, spec, database):
    webhook = make_webhook(client, receiver)
    cancel_new_job(client, spec)
    client.patch(f"/v1/webhooks/{webhook['id']}", json={"enabled": False})
    assert list_pending(database) == []
    assert send_due(sender) == 0
    assert list_deliveries(client, webhook)[0]["status"] == "failed"


def test_a_redelivery_repeats_the_message_and_keeps_its_attempts(client, receiver, sender, clock, spec):
    webhook = make_webhook(client, receiver)
    cancel_new_job(client, spec)
    send_due(sender)
    [delivery] = list_deliveries(client, webhook)
    answer = client.post(f"/v1/webhooks/{webhook['id']}/deliveries/{delivery['id']}/redeliver")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    receiver.status = [500, 204]
    assert send_due(sender) == 1
    clock.ahead_s = 6
    assert send_due(sender) == 1
    first, second, third = receiver.received
    assert first.body == second.body == third.body
    assert first.headers["webhook-id"] == third.headers["webhook-id"]
    assert [attempt["status"] for attempt in list_deliveries(client, webhook)[0]["attempts"]] == [204, 500, 204]


def test_a_redelivery_requested_during_an_attempt_is_not_lost(client, receiver, sender, clock, spec):
    webhook = make_webhook(client, receiver)
    cancel_new_job(client, spec)
    receiver.may_answer.clear()
    sender.run_once()
    assert receiver.has_received.wait(60)
    [delivery] = list_deliveries(client, webhook)
    client.post(f"/v1/webhooks/{webhook['id']}/deliveries/{delivery['id']}/redeliver")
    assert sender.run_once() == 0, "the current attempt holds the lease"
    receiver.may_answer.set()
    assert sender.join(60)
    assert list_deliveries(client, webhook)[0]["status"] == "pending"
    clock.ahead_s = LEASE_S + 1
    assert send_due(sender) == 1
    assert list_deliveries(client, webhook)[0]["status"] == "delivered"


def test_after_a_rotation_both_secrets_sign_for_a_day(client, receiver, sender, clock, spec):
    webhook = make_webhook(client, receiver)
    rotated = client.post(f"/v1/webhooks/{webhook['id']}/rotate").json()
    assert rotated["secret"] != webhook["secret"]
    assert rotated["previous_secret_until"] > datetime.now(UTC).isoformat()
    job = cancel_new_job(client, spec)
    send_due(sender)
    for secret in (webhook["secret"], rotated["secret"]):
        assert receiver.received[0].verified(secret)["data"]["id"] == job["id"]
    cancel_new_job(client, spec)
    clock.ahead_s = OLD_SECRET_SIGNS_FOR_S + 1
    send_due(sender)
    assert len(receiver.received[1].headers["webhook-signature"].split()) == 1


def test_concurrent_senders_send_each_message_once(client, receiver, database, settings, spec):
    make_webhook(client, receiver)
    jobs = [cancel_new_job(client, spec)["id"] for _ in range(30)]
    senders = [Sender(database, settings) for _ in range(4)]

    def drain(sender: Sender) -> None:
        while list_pending(database):
            sender.run_once()
            sender.join(60)

    threads = [threading.Thread(target=drain, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert sorted(json.loads(message.body)["data"]["id"] for message in receiver.received) == sorted(jobs)


def test_the_message_of_a_dead_sender_is_sent_by_another(client, receiver, database, settings, clock, sender, spec):
    webhook = make_webhook(client, receiver)
    cancel_new_job(client, spec)
    with database.write() as session:
        [due] = outbox.claim(session, clock(session), lease_s=LEASE_S)
    assert send_due(sender) == 0
    clock.ahead_s = LEASE_S + 1
    assert send_due(sender) == 1
    with database.write() as session:
        late = webhooks.settle(session, due, clock(session), status=500, error=None, milliseconds=1)
    assert late is None, "the first claim no longer counts"
    assert [attempt["status"] for attempt in list_deliveries(client, webhook)[0]["attempts"]] == [204]


def test_a_slow_receiver_does_not_delay_others(client, receiver, sender, spec, database):
    make_webhook(client, receiver, "job.cancelled")
    receiver.may_answer.clear()
    for _ in range(5):
        cancel_new_job(client, spec)
    assert sender.run_once() == 2, "the limit per webhook"
    with run_receiver() as brisk:
        make_webhook(client, brisk, "job.cancelled")
        cancel_new_job(client, spec)
        assert sender.run_once() == 1
        assert brisk.has_received.wait(60)
    receiver.may_answer.set()
    assert sender.join(60)


def test_deliveries_are_listed_in_pages_and_deleted_after_a_week(client, receiver, sender, spec, database):
    webhook = make_webhook(client, receiver)
    for _ in range(5):
        cancel_new_job(client, spec)
    path = f"/v1/webhooks/{webhook['id']}/deliveries?limit=3"
    first = client.get(path).json()
    rest = client.get(f"{path}&after={first['next']}").json()
    ids = [delivery["id"] for delivery in first["data"] + rest["data"]]
    assert (len(ids), ids, rest["has_more"]) == (5, sorted(ids, reverse=True), False)
    with database.write() as session:
        outbox.forget_old(session, transitions.get_now(session) + timedelta(days=6))
        assert outbox.is_any_due(session, transitions.get_now(session))
        outbox.forget_old(session, transitions.get_now(session) + timedelta(days=8))
    assert list_deliveries(client, webhook) == []


@sqlite_only
def test_addresses_secrets_and_bodies_are_never_logged(client, receiver, sender, spec, log_lines):
    began = log_lines.tell()
    webhook = make_webhook(client, receiver)
    cancel_new_job(client, with_field(spec, "name", "confidential"))
    send_due(sender)
    logged = log_lines.getvalue()[began:]
    assert "webhook_sent" in logged
    for secret in (webhook["secret"], "token=t", "confidential", receiver.received[0].headers["webhook-signature"]):
        assert secret not in logged


@sqlite_only
def test_a_running_service_sends_messages_by_itself(app, key, receiver, worker, spec):
    """A real service polls the outbox by itself."""
    app_context = app.state.context
    app.state.context = replace(app_context, settings=app_context.settings.model_copy(update={"poll_s": 0.05}))
    with run_server(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key)) as client:
        secret = make_webhook(client, receiver, "job.started")["secret"]
        submit(client, spec)
        worker.claim()
        assert receiver.has_received.wait(60)
    assert receiver.received[0].verified(secret)["data"]["status"] == "running"
    assert "webhooks" not in {thread.name for thread in threading.enumerate()}


# --- many owners, receivers that fail ------------------------------------------------------------


def test_twenty_webhooks_of_a_mute_host_do_not_delay_other_owners(client, stranger, receiver, spec, sender):
    with run_receiver() as mute:
        mute.may_answer.clear()
        for _ in range(20):
            make_webhook(client, mute, "job.cancelled")
        for _ in range(3):
            cancel_new_job(client, spec)
        while sender.run_once():
            pass
        theirs = make_webhook(stranger, receiver, "job.cancelled")
        cancel_new_job(stranger, spec)
        assert sender.run_once() == 1
        assert receiver.has_received.wait(12), "another owner's mute host delays it"
        assert len(mute.received) <= 6
        mute.may_answer.set()
        assert sender.join(60)
    assert list_deliveries(stranger, theirs)[0]["status"] == "delivered"


def test_a_webhook_that_fails_for_a_day_is_disabled_and_its_owner_notified(client, receiver, spec, sender, clock):
    receiver.status = 500
    with run_receiver() as other:
        broken = make_webhook(client, receiver, "job.cancelled")
        make_webhook(client, other, "webhook.disabled")
        for _ in range(3):
            cancel_new_job(client, spec)
        for _ in range(30):
            send_due(sender)
            clock.ahead_s += 3 * 3600
        now = client.get(f"/v1/webhooks/{broken['id']}").json()
        assert not now["enabled"]
        assert "in a row failed" in now["disabled_reason"]
        assert now["failures"] >= 10
        [event] = [event for event in client.get("/v1/events").json()["data"] if event["type"] == "webhook.disabled"]
        assert event["subject"] == {"object": "webhook", "id": broken["id"]}
        [notice] = [json.loads(message.body) for message in other.received]
        assert (notice["type"], notice["data"]["id"]) == ("webhook.disabled", broken["id"])
    assert {delivery["status"] for delivery in list_deliveries(client, broken)} == {"failed"}, (
        "pending deliveries are cancelled"
    )
    again = client.patch(f"/v1/webhooks/{broken['id']}", json={"enabled": True}).json()
    assert (again["enabled"], again["failures"], again["failing_since"]) == (True, 0, None)


@sqlite_only
def test_a_success_between_failures_keeps_a_webhook_enabled(client, receiver, spec, sender, clock):
    webhook = make_webhook(client, receiver, "job.cancelled")
    for _ in range(12):
        receiver.status = [500, 204]
        cancel_new_job(client, spec)
        send_due(sender)
        clock.ahead_s += 3 * 3600
        send_due(sender)
    assert client.get(f"/v1/webhooks/{webhook['id']}").json()["enabled"]


def test_pings_are_sent_for_any_subscription_and_one_at_a_time(client, receiver, sender):
    webhook = make_webhook(client, receiver, "job.failed")
    path = f"/v1/webhooks/{webhook['id']}"
    first, second = client.post(f"{path}/ping"), client.post(f"{path}/ping")
    assert (first.status_code, first.json()["id"]) == (202, second.json()["id"])
    assert send_due(sender) == 1
    message = receiver.received[0].verified(webhook["secret"])
    assert (message["type"], message["data"]["id"]) == ("webhook.ping", webhook["id"])
    assert list_deliveries(client, webhook)[0]["status"] == "delivered"
    client.patch(path, json={"enabled": False})
    assert_problem(client.post(f"{path}/ping"), 409, "webhook_disabled")


def test_secrets_are_encrypted_at_rest(client, receiver, database, sender):
    webhook = make_webhook(client, receiver)
    with database.read() as session:
        row = session.get_one(WebhookRow, webhook["id"])
        assert webhook["secret"] not in row.secret
        assert row.secret.startswith("sealed_")
    client.post(f"/v1/webhooks/{webhook['id']}/ping")
    assert send_due(sender) == 1
    assert receiver.received[0].verified(webhook["secret"])


@sqlite_only
def test_a_secret_encrypted_with_another_key_is_reported_in_the_attempt(client, receiver, database, settings, clock):
    webhook = make_webhook(client, receiver)
    client.post(f"/v1/webhooks/{webhook['id']}/ping")
    stranger = Sender(database, settings.model_copy(update={"secrets_key": SecretStr("x" * 32)}), clock=clock)
    assert send_due(stranger) == 1
    [delivery] = list_deliveries(client, webhook)
    assert "different key" in delivery["attempts"][0]["error"]
    assert receiver.received == []
