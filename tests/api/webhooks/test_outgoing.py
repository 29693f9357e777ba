"""Calls to addresses chosen by strangers reach only checked addresses, follow no redirects and time out."""

import gc
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from api.webhooks.outgoing import post, resolve_by_system
from heldout.access.webhooks import Allowed
from tests.api.webhooks.receiving import run_receiver

LOCAL = Allowed.of(["127.0.0.0/8"])
NAMED = Allowed.of(["hooks.test"])


@pytest.fixture
def receiver():
    with run_receiver() as receiver:
        yield receiver


class Resolver:
    """Returns the given lists of addresses in turn and records the queries."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def get_port(url: str) -> int:
    return int(url.rpartition(":")[2])


def call(url: str, resolve=lambda host, port: [host], allowed=LOCAL, **options):
    return post(url, b"{}", {"X-Test": "1"}, allowed=allowed, resolve=resolve, **options)


def test_a_name_is_resolved_once_and_only_the_checked_address_is_called(receiver):
    """A name server that changes its answer after the check (rebinding) is not asked again."""
    resolver = Resolver(["127.0.0.1"], ["10.0.0.1"])
    port = get_port(receiver.url)
    answer = call(f"http://hooks.test:{port}/path?q=1", resolver, NAMED)
    assert (answer.status, answer.error) == (204, None)
    assert resolver.asked == [("hooks.test", port)]
    [message] = receiver.received
    assert (message.path, message.headers["host"]) == ("/path?q=1", f"hooks.test:{port}")


@pytest.mark.parametrize(
    "addresses",
    [
        *(["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], ["fe80::1%lo"], ["0.0.0.0"]),
        *(["100.64.0.1"], ["224.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["64:ff9b::7f00:1"], []),
    ],
    ids=str,
)
def test_names_with_internal_addresses_are_never_called(receiver, addresses):
    answer = call(f"https://hooks.test:{get_port(receiver.url)}/", Resolver(addresses), Allowed())
    assert answer.status is None
    assert "hooks.test" in answer.error
    assert receiver.received == []
    assert not any(address in answer.error for address in addresses), "the message reveals internal addresses"


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_no_spelling_of_an_internal_address_gets_through(receiver, host):
    answer = call(f"https://{host}:{get_port(receiver.url)}/", resolve_by_system, Allowed())
    assert answer.status is None
    assert receiver.received == []


def test_addresses_are_checked_again_at_every_call(receiver):
    assert call(receiver.url, allowed=LOCAL).status == 204
    assert "https" in call(receiver.url, allowed=Allowed()).error
    assert len(receiver.received) == 1


def test_redirects_are_not_followed(receiver):
    with run_receiver() as other:
        receiver.status, receiver.headers = 302, {"Location": f"{other.url}/"}
        assert call(receiver.url).status == 302
        assert other.received == []


def test_proxies_from_the_environment_are_ignored(receiver, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert call(receiver.url).status == 204


def test_only_a_little_of_an_endless_response_is_read(receiver):
    receiver.body = b"x" * 50_000_000
    began = time.monotonic()
    assert call(receiver.url).status == 204
    assert time.monotonic() - began < 15


def test_the_next_address_is_tried_if_one_does_not_answer(receiver):
    resolver = Resolver(["127.0.0.2", "127.0.0.1"])  # nothing listens at the first
    assert call(f"http://hooks.test:{get_port(receiver.url)}/", resolver, NAMED).status == 204


@contextmanager
def run_server_sending(*parts: bytes, pause_s: float = 0.0):
    """Run a server that sends these bytes to every client and keeps the connection open."""
    over = threading.Event()

    def answer_all() -> None:
        while not over.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                try:
                    for part in parts:
                        connection.sendall(part)
                        over.wait(pause_s)
                    over.wait(20 if pause_s else 0)
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_all)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_host_that_never_answers_is_abandoned_after_the_time_limit():
    with run_server_sending(pause_s=1) as url:
        began = time.monotonic()
        answer = call(url, timeout_s=0.5)
    assert (answer.status, answer.error) == (None, "No answer within 0.5 seconds.")
    assert 0.4 < time.monotonic() - began < 10


def test_a_host_that_trickles_its_response_is_abandoned_after_the_time_limit():
    with run_server_sending(b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n"] * 200, pause_s=0.1) as url:
        began = time.monotonic()
        answer = call(url, timeout_s=1)
    assert (answer.status, answer.error) == (None, "No answer within 1 seconds.")
    assert time.monotonic() - began < 15


def test_a_host_that_reads_a_large_message_slowly_is_abandoned_after_the_time_limit():
    over = threading.Event()

    def take() -> None:
        with server.accept()[0] as connection, suppress(OSError):
            while not over.wait(0.1) and connection.recv(200_000):
                pass

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        thread = threading.Thread(target=take)
        thread.start()
        began = time.monotonic()
        answer = post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"x" * 50_000_000, {}, allowed=LOCAL, timeout_s=1)
        took = time.monotonic() - began
        over.set()
        thread.join()
    assert (answer.status, answer.error) == (None, "No answer within 1 seconds.")
    assert took < 15


def test_a_response_with_a_slow_body_is_still_a_response():
    with run_server_sending(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"x"] * 50, pause_s=0.1) as url:
        assert call(url, timeout_s=1).status == 200


def test_the_connection_to_a_host_that_never_shakes_hands_is_closed_at_once():
    received = []

    def accept() -> None:
        with server.accept()[0] as connection:
            connection.settimeout(60)
            with suppress(TimeoutError):
                while received.append(connection.recv(65536)) or received[-1]:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept)
        thread.start()
        gc.disable()  # it would close the connection some time later
        try:
            answer = call(f"https://127.0.0.1:{server.getsockname()[1]}/", timeout_s=0.5)
            thread.join()
        finally:
            gc.enable()
    assert (answer.status, answer.error) == (None, "No answer within 0.5 seconds.")
    assert received[-1] == b"", "the end of the connection"


@pytest.mark.parametrize("response", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 99999 X\r\n\r\n", b"\0" * 200_000], ids=len)
def test_invalid_http_is_an_error_in_words(response):
    with run_server_sending(response) as url:
        answer = call(url)
    assert answer.status is None
    assert answer.error.endswith(".")


def test_a_closed_port_is_an_error_in_words():
    assert call("http://127.0.0.1:1/").error == "The host refused the connection or cannot be reached."


def test_a_name_without_addresses_is_an_error_in_words():
    def fails(host, port):
        raise socket.gaierror("Name or service not known")

    assert call("https://hooks.test/", fails).error == "The name hooks.test has no address."


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return a folder with a certificate for the name hooks.test."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate for this test, and is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hooks.test"]
    command += ["-addext", "subjectAltName=DNS:hooks.test", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def test_tls_verifies_the_name_at_the_checked_address(certificate):
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    context.sni_callback = lambda connection, name, _: names.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    with run_receiver(context) as receiver:
        port = get_port(receiver.url)
        resolver = Resolver(["127.0.0.1"])
        assert call(f"https://hooks.test:{port}/", resolver, NAMED, tls=trusting).status == 204
        assert names == ["hooks.test"]
        both = Allowed.of(["hooks.test", "other.test"])
        wrong = call(f"https://other.test:{port}/", resolver, both, tls=trusting)
        unknown = call(f"https://hooks.test:{port}/", resolver, both)
        assert len(receiver.received) == 1
    for answer in (wrong, unknown):
        assert answer.status is None
        assert answer.error.startswith("TLS failed")


def test_a_response_whose_body_breaks_tls_is_still_a_response(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def answer_once() -> None:
        connection = context.wrap_socket(server.accept()[0], server_side=True)
        message = b""
        while not message.endswith(b"{}"):  # bytes left unread would reset the connection
            message += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        with socket.socket(fileno=connection.detach()) as plain:
            plain.sendall(b"not encrypted" * 10)
            plain.recv(1)

    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_once)
        thread.start()
        url = f"https://hooks.test:{server.getsockname()[1]}/"
        assert call(url, Resolver(["127.0.0.1"]), NAMED, tls=trusting).status == 200
        thread.join()
