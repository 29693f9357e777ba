"""The client against the real API, and with a transport that fails on demand."""

import json
import os
import socket
import stat
import threading
import time
from contextlib import suppress
from itertools import islice

import httpx2
import pytest

from heldout.client.client import ApiProblem, Client, NoService
from heldout.views.base import dump_json
from tests.heldout import made_views
from tests.heldout.relay import Relay
from tests.heldout.served import SPEC, until

KEY = "ho_1_secret"


# --- each route ------------------------------------------------------------------------------------


def test_a_submitted_job_is_queued_and_can_be_read(client):
    job = client.jobs.create(SPEC)
    assert (job.object, job.status, job.name) == ("job", "queued", "small")
    assert client.jobs.get(job.id) == job


def test_an_idempotency_key_that_is_not_valid_in_a_header_is_refused(client):
    for key in ("", "a" * 256, "tab\t", "ü"):
        with pytest.raises(ValueError, match="printable ASCII"):
            client.jobs.create(SPEC, idempotency_key=key)
    assert list(client.jobs.list()) == []


def test_jobs_are_listed_newest_first_over_several_pages(client):
    made = [client.jobs.create(SPEC).id for _ in range(5)]
    assert [job.id for job in client.jobs.list(page_size=2)] == made[::-1]


def test_jobs_are_filtered_by_status_dataset_and_metadata(client):
    marked = client.jobs.create(SPEC | {"metadata": {"team": "a & b=c"}}).id
    paused = client.jobs.pause(client.jobs.create(SPEC).id).id
    assert [job.id for job in client.jobs.list(metadata={"team": "a & b=c"})] == [marked]
    assert [job.id for job in client.jobs.list(statuses=["paused"])] == [paused]
    assert [job.id for job in client.jobs.list(statuses=["paused", "queued"])] == [paused, marked]
    assert len(list(client.jobs.list(dataset="digits"))) == 2
    assert list(client.jobs.list(dataset="mnist5k")) == []


def test_listed_jobs_have_queue_positions_and_can_be_cancelled_by_id(client):
    first, second = client.jobs.create(SPEC).id, client.jobs.create(SPEC).id
    assert [
        (job.id, job.queue_position, job.curve) for job in client.jobs.list(study="none", queue=True, curves=5)
    ] == [*((second, 2, None), (first, 1, None))]
    done = client.jobs.cancel_many(ids=[first, "job_nobody"])
    assert [(job.id, job.status, job.code) for job in done.jobs] == [
        *((first, "cancelled", None), ("job_nobody", None, "job_not_found"))
    ]
    assert client.jobs.get(second).status == "queued"


def test_a_job_is_paused_resumed_changed_cancelled_retried_and_deleted(client):
    job_id = client.jobs.create(SPEC).id
    assert client.jobs.pause(job_id).status == "paused"
    assert client.jobs.resume(job_id).status == "queued"
    changed = client.jobs.update(job_id, priority=5, name="other", metadata={"a": "b"})
    assert (changed.name, changed.spec.priority, changed.spec.metadata) == ("other", 5, {"a": "b"})
    with pytest.raises(ApiProblem) as stale:
        client.jobs.update(job_id, name="late", version=changed.version - 1)
    assert stale.value.code == "changed_meanwhile"
    assert client.jobs.cancel(job_id).status == "cancelled"
    assert client.jobs.update(job_id, metadata={"a": None, "c": "d"}).spec.metadata == {"c": "d"}
    again = client.jobs.retry(job_id)
    assert (again.retry_of, again.status) == (job_id, "queued")
    client.jobs.delete(job_id)
    with pytest.raises(ApiProblem, match="No job") as gone:
        client.jobs.get(job_id)
    assert gone.value.code == "job_not_found"


def test_events_are_listed_over_several_pages(service, client):
    job_id = client.jobs.create(SPEC).id
    for number in range(201):
        service.warn(job_id, str(number))
    dataset_id = client.datasets.create({"name": "pets"}).id
    client.jobs.cancel(job_id)
    assert [event.id for event in client.jobs.events(job_id)] == list(range(1, 204))
    events = list(client.events.list())
    assert [event.id for event in events] == list(range(1, 205))
    assert [(event.subject.object, event.subject.id) for event in events[201:]] == [
        ("job", job_id),
        ("dataset", dataset_id),
        ("job", job_id),
    ]
    assert list(client.events.list(after=1)) == events[1:]


def test_following_a_job_gives_each_event_once_and_ends_with_the_job(service, client):
    job_id = client.jobs.create(SPEC).id
    events = client.jobs.follow_events(job_id, after=0)
    assert next(events).type == "job.queued"
    held = service.begin(job_id)
    # Python splits text at these characters, but a stream of events does not.
    service.warn(job_id, "one\u2028two\x85three")
    service.fail(held)
    assert [event.type for event in events] == ["job.started", "job.warning", "job.failed"]
    assert list(client.jobs.follow_events(job_id, after=1)) == list(client.jobs.events(job_id, after=1))
    assert list(client.jobs.follow_events(job_id)) == []


def test_following_all_events_starts_now_and_survives_broken_connections(service, client):
    job_id = client.jobs.create(SPEC).id
    relay = Relay(service.url)
    with Client(relay.url, service.key) as afar:
        events = afar.events.follow()
        heard = []
        reader = threading.Thread(target=lambda: heard.extend(islice(events, 3)))
        reader.start()
        until(lambda: b"id: 1\n" in relay.received, "the stream has begun")
        relay.cut()
        service.warn(job_id, "one")
        until(lambda: heard, "the first event")
        relay.cut()
        service.warn(job_id, "two")
        service.warn(job_id, "three")
        reader.join(240)
        assert not reader.is_alive()
        events.close()
    relay.close()
    assert [event.message for event in heard] == ["one", "two", "three"]
    assert [event.id for event in heard] == [2, 3, 4]


def test_a_web_page_in_response_to_a_request_for_events_means_no_service():
    def page(request):
        return httpx2.Response(200, html="<p>Welcome</p>")

    with Client("http://127.0.0.1:9", KEY, transport=httpx2.MockTransport(page)) as client, pytest.raises(NoService):
        next(client.events.follow())


def test_a_ledger_has_pages(service, client):
    held = service.begin(client.jobs.create(SPEC).id)
    for epoch in (1, 2):
        service.measure(held, epoch)
    service.succeed(held)
    ledger = client.datasets.ledger("digits", limit=2)
    assert (ledger.splits.validation.reads, ledger.splits.test.reads, ledger.splits.test.jobs) == (2, 1, 1)
    assert ledger.entries.has_more
    rest = client.datasets.ledger("digits", limit=2, after=ledger.entries.next).entries
    assert (len(rest.data), rest.next) == (1, None)
    assert {entry.subject.id for entry in [*ledger.entries.data, *rest.data]} == {held.job_id}


# --- waiting ---------------------------------------------------------------------------------------


def test_waiting_ends_when_the_job_changes(service, client):
    job = client.jobs.create(SPEC)
    later = threading.Timer(0.3, service.begin, [job.id])
    later.start()
    began = time.monotonic()
    changed = client.jobs.poll(job.id, version=job.version, wait_s=60)
    later.join()
    assert changed is not None
    assert changed.status == "running"
    assert time.monotonic() - began < 30


def test_waiting_without_a_change_returns_nothing(client):
    job = client.jobs.create(SPEC)
    assert client.jobs.poll(job.id, version=job.version, wait_s=0) is None


def test_watching_shows_every_state_until_the_end(service, client):
    job_id = client.jobs.create(SPEC).id
    seen = []
    for job in client.jobs.watch(job_id):
        seen.append(job.status)
        match job.status, job.progress.epoch:
            case "queued", _:
                held = service.begin(job_id)
            case "running", 0:
                service.measure(held, 1)
            case "running", 1:
                service.succeed(held)
    assert seen == ["queued", "running", "running", "succeeded"]


# --- downloads -------------------------------------------------------------------------------------


@pytest.fixture
def succeeded(service, client):
    job_id = client.jobs.create(SPEC).id
    service.succeed(service.begin(job_id))
    return job_id


def test_a_downloaded_model_has_the_user_s_default_permissions(client, succeeded, tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    for download in (client.jobs.download_model, client.jobs.download_predictions):
        target = tmp_path / "file"
        size = download(succeeded, target)
        assert target.stat().st_size == size > 0
        assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["file", "usual"]


def test_a_missing_model_leaves_the_old_file(client, tmp_path):
    target = tmp_path / "model.keras"
    target.write_bytes(b"old")
    with pytest.raises(ApiProblem) as refused:
        client.jobs.download_model(client.jobs.create(SPEC).id, target)
    assert refused.value.code == "not_ready"
    assert target.read_bytes() == b"old"


def test_a_broken_download_leaves_only_the_old_file(tmp_path):
    target = tmp_path / "model.keras"
    target.write_bytes(b"old")
    with broken_server() as url, Client(url, KEY) as client, pytest.raises(NoService):
        client.jobs.download_model("job_1", target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_a_pipe_is_written_to_and_not_replaced(client, succeeded, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    size = client.jobs.download_model(succeeded, pipe)
    reader.join()
    assert len(read[0]) == size
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_is_kept_and_its_target_is_written(client, succeeded, tmp_path):
    (tmp_path / "link").symlink_to("real")
    client.jobs.download_model(succeeded, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_size > 0


def test_a_missing_folder_is_an_os_error(client, succeeded, tmp_path):
    with pytest.raises(FileNotFoundError):
        client.jobs.download_model(succeeded, tmp_path / "none" / "file")


class broken_server:  # noqa: N801  (reads as the server that it is)
    """Promises 100 bytes and sends 10."""

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self):
        with self._listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")

    def __exit__(self, *_):
        self._thread.join()
        self._listener.close()


# --- ids that users type ---------------------------------------------------------------------------


def test_any_text_as_an_id_means_a_job_that_does_not_exist(client):
    client.jobs.create(SPEC)
    for job_id in ("", ".", "..", "../jobs", "a/b", "a?b=c", "ü", "a b", "%2e%2e", "job_" + "0" * 300):
        with pytest.raises(ApiProblem) as refused:
            client.jobs.get(job_id)
        assert refused.value.code == "job_not_found", job_id
        with pytest.raises(ApiProblem):
            client.jobs.delete(job_id)


# --- failures --------------------------------------------------------------------------------------


class Wire(httpx2.BaseTransport):
    """Returns the given responses in order, each an exception or a status with headers, and then 200 with a job."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def handle_request(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else (200, {})
        if isinstance(answer, Exception):
            raise answer
        status, headers = answer
        content = json.dumps({"code": "some_code", "title": "Title", "detail": "Detail."} if status >= 400 else JOB)
        return httpx2.Response(status, headers=headers, content=content, request=request)


@pytest.fixture
def pauses(monkeypatch):
    """Record the client's pauses, which take no time."""
    pauses = []
    clock = [0.0]

    def sleep(seconds):
        pauses.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("heldout.client.connection.time.sleep", sleep)
    monkeypatch.setattr("heldout.client.connection.time.monotonic", lambda: clock[0])
    return pauses


def client_on(wire, **options):
    return Client("http://127.0.0.1:9", KEY, transport=wire, **options)


JOB = dump_json(made_views.job())
BROKEN = httpx2.ReadError("broken off")
REFUSED = httpx2.ConnectError("refused")
OK = (200, {})


@pytest.mark.parametrize("call", ["get", "submit", "retry", "change"])
def test_safe_requests_are_sent_again_after_a_broken_connection(pauses, call):
    wire = Wire(OK, BROKEN, BROKEN)
    with client_on(wire) as client:
        client.jobs.get("a")
        {
            "get": lambda: client.jobs.get("a"),
            "submit": lambda: client.jobs.create(SPEC),
            "retry": lambda: client.jobs.retry("a"),
            "change": lambda: client.jobs.update("a", priority=1),
        }[call]()
    assert len(wire.requests) == 4
    assert pauses == [0.2, 0.4]


@pytest.mark.parametrize(
    "make",
    [
        lambda client: client.jobs.create(SPEC),
        lambda client: client.studies.create({"job": "a"}),
        lambda client: client.datasets.create({"name": "pets"}),
        lambda client: client.keys.create(),
        lambda client: client.webhooks.create("https://example.com", ["job.succeeded"]),
    ],
    ids=["job", "study", "dataset", "key", "webhook"],
)
def test_a_repeated_creation_has_the_same_idempotency_key(pauses, make):
    wire = Wire(BROKEN)
    with client_on(wire) as client, suppress(NoService):  # the response is always a job
        make(client)
    first, second = wire.requests
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.content == second.content


def test_a_truncated_response_is_requested_again(pauses):
    class HalfBody(httpx2.SyncByteStream):
        def __iter__(self):
            yield b"{"
            raise httpx2.RemoteProtocolError("peer closed connection")

    answers = [httpx2.Response(200, stream=HalfBody()), httpx2.Response(200, json=JOB)]
    transport = httpx2.MockTransport(lambda request: answers.pop(0))
    with client_on(transport) as client:
        assert client.jobs.get("a").view == made_views.job()
    assert answers == []


@pytest.mark.parametrize("call", ["cancel", "pause", "resume", "delete"])
def test_a_request_that_may_have_been_executed_is_not_sent_twice(pauses, call):
    wire = Wire(BROKEN)
    with client_on(wire) as client, pytest.raises(NoService, match="broken off"):
        getattr(client.jobs, call)("a")
    assert len(wire.requests) == 1


@pytest.mark.parametrize("call", ["cancel", "delete"])
def test_a_request_that_never_reached_the_service_is_sent_again(pauses, call):
    wire = Wire(REFUSED)
    with client_on(wire) as client:
        getattr(client.jobs, call)("a")
    assert len(wire.requests) == 2


@pytest.mark.parametrize("status", [503, 429])
@pytest.mark.parametrize("call", ["cancel", "get"])
def test_a_busy_service_is_asked_again_after_the_time_that_it_names(pauses, call, status):
    wire = Wire((status, {"Retry-After": "2"}), (status, {"Retry-After": "3"}))
    with client_on(wire) as client:
        getattr(client.jobs, call)("a")
    assert pauses == [2.0, 3.0]


def test_safe_requests_are_sent_again_while_a_proxy_finds_no_service(pauses):
    wire = Wire(OK, (502, {}), (504, {}), OK, (502, {}), OK, (502, {}))
    with client_on(wire) as client:
        client.jobs.get("a")
        client.jobs.get("a")
        client.jobs.create(SPEC)
        with pytest.raises(ApiProblem):
            client.jobs.cancel("a")
    assert (len(wire.requests), pauses) == (7, [0.2, 0.4, 0.2])


def test_a_busy_service_is_not_asked_forever(pauses):
    wire = Wire(*[(503, {"Retry-After": "2"})] * 100)
    with client_on(wire, patience_s=9) as client, pytest.raises(ApiProblem, match=r"Detail\."):
        client.jobs.get("a")
    assert pauses == [2.0] * 4


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500])
def test_a_refusal_is_final(pauses, status):
    wire = Wire((status, {}))
    with client_on(wire) as client, pytest.raises(ApiProblem) as refused:
        client.jobs.get("a")
    assert (refused.value.code, refused.value.status, pauses) == ("some_code", status, [])


def test_the_client_soon_gives_up_on_a_service_that_never_answered(pauses):
    wire = Wire(*[REFUSED] * 100)
    with client_on(wire) as client, pytest.raises(NoService, match=r"No Heldout service answers at http://127.0.0.1:9"):
        client.jobs.get("a")
    assert sum(pauses) <= 1


def test_the_client_waits_for_a_service_that_answered_before(pauses):
    wire = Wire(OK, *[REFUSED] * 8)
    with client_on(wire) as client:
        client.jobs.get("a")
        client.jobs.get("a")
    assert 10 < sum(pauses) <= 30


@pytest.mark.parametrize("answer", [b"<html>hello</html>", b"[]", b"\xff"])
def test_another_program_at_the_address_is_recognized(answer):
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, content=answer))
    with client_on(transport) as client, pytest.raises(NoService, match="is not a Heldout service"):
        client.jobs.get("a")


def test_a_job_that_this_release_cannot_read_is_reported_with_the_field():
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=JOB | {"status": "dreaming"}))
    with client_on(transport) as client, pytest.raises(NoService, match=r"does not understand \(status: ") as failure:
        client.jobs.get("a")
    assert "the service's own release" in str(failure.value)


def test_fields_that_a_newer_service_adds_are_kept_at_every_depth():
    newer = json.loads(json.dumps(JOB))
    for part in (newer, newer["progress"], newer["spec"], newer["spec"]["network"]["blocks"][0]):
        part["mood"] = {"is": ["new"]}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=newer))
    with client_on(transport) as client:
        found = client.jobs.get("a")
    assert (found.status, found.progress.mood, found.spec.network.blocks[0].mood) == ("running", *2 * [{"is": ["new"]}])
    assert dump_json(found.view) == newer


def test_a_spec_can_be_sent_again_with_the_fields_of_a_newer_service(pauses):
    newer = JOB | {"spec": JOB["spec"] | {"mood": "new"}}
    sent = []

    def answer(request):
        sent.append(request)
        return httpx2.Response(200, json=newer)

    with client_on(httpx2.MockTransport(answer)) as client:
        client.jobs.create(client.jobs.get("a").spec)
    assert json.loads(sent[1].content) == newer["spec"]


@pytest.mark.parametrize("content", [b"abc", [b"ab", b"c"], iter([b"a", b"bc"])])
def test_bytes_and_chunks_are_sent_as_one_body(content):
    bodies = []

    def answer(request):
        bodies.append(request.read())
        return httpx2.Response(404, content=b"no such dataset")

    with client_on(httpx2.MockTransport(answer)) as client, suppress(ApiProblem):
        client.datasets.upload("a", content)
    assert bodies == [b"abc"]


def test_a_proxy_s_error_page_is_a_problem():
    transport = httpx2.MockTransport(lambda request: httpx2.Response(502, content=b"<html>bad gateway</html>"))
    with client_on(transport) as client, pytest.raises(ApiProblem, match="HTTP 502") as refused:
        client.jobs.get("a")
    assert refused.value.code == "unexpected_answer"


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://[", "http://a:b"])
def test_an_invalid_address_is_reported(url):
    with pytest.raises(NoService, match="address"), Client(url, KEY) as client:
        client.jobs.get("a")


@pytest.mark.parametrize("key", ["ho_ü", "ho_\nX-Evil: 1"])
def test_a_key_that_is_not_valid_in_a_header_is_reported_and_not_shown(key):
    with pytest.raises(NoService, match="characters that no key has") as failure:
        Client("http://127.0.0.1:9", key)
    assert key not in str(failure.value)


def test_no_proxy_is_used_for_this_machine(service, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Client(service.url, service.key) as client:
        assert list(client.jobs.list()) == []
