"""Strangers and hostile tenants, each a separate program: `python -m tests.faults.attacks NAME… PORT SECONDS KEY`.

Their loopback addresses differ from that of the measured client, so that limits per address can tell them apart.
Each prints what it did as JSON.
"""

import io
import json
import resource
import secrets
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import count

import numpy as np

MIB = 1024 * 1024
ATTACKER = "127.0.0.66"
CLIENTS = 48


def connect(
    port: int, address: str = ATTACKER, timeout_s: float = 5.0, receive_bytes: int | None = None
) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(timeout_s)
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.bind((address, 0))
    connection.connect(("127.0.0.1", port))
    return connection


def request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *headers, *length, "", ""]).encode() + body


def json_request(target: str, key: str, body: bytes) -> bytes:
    bearer = [f"Authorization: Bearer {key}"] if key else []
    return request("POST", target, "Content-Type: application/json", *bearer, body=body)


# --- connections that stay open ------------------------------------------------------------------------


def hold(
    port: int,
    until: float,
    addresses: list[str],
    wanted: int,
    first: bytes,
    then: bytes,
    receive_bytes: int | None = None,
) -> Counter[str]:
    """Keep this many connections open. Each has sent `first`, and sends `then` every second."""
    counts: Counter[str] = Counter()
    held: list[socket.socket] = []
    turn = count()
    while time.monotonic() < until or not counts:
        began = time.monotonic()
        kept = []
        for connection in held:
            try:
                connection.send(then)
                kept.append(connection)
            except OSError:
                counts["closed on us"] += 1
                connection.close()
        held = kept
        while len(held) < wanted and (time.monotonic() < min(until, began + 1) or not counts):
            try:
                connection = connect(
                    port, addresses[next(turn) % len(addresses)], timeout_s=1, receive_bytes=receive_bytes
                )
                connection.setblocking(False)
                connection.send(first)
                held.append(connection)
                counts["opened"] += 1
            except OSError:
                counts["not let in"] += 1
        counts["most held"] = max(counts["most held"], len(held))
        time.sleep(max(0.0, min(until - time.monotonic(), began + 1 - time.monotonic())))
    for connection in held:
        connection.close()
    return counts


HALF_A_HEAD = b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-A: "


def half_open(port: int, until: float, key: str) -> Counter[str]:
    return hold(port, until, [ATTACKER], 1100, HALF_A_HEAD, b"a")


def half_open_from_many_addresses(port: int, until: float, key: str) -> Counter[str]:
    return hold(port, until, [f"127.0.1.{number}" for number in range(1, 41)], 2600, HALF_A_HEAD, b"a")


def bodies_without_a_key(port: int, until: float, key: str) -> Counter[str]:
    head = json_request("/v1/jobs", "", b"[" * MIB)[:-MIB]
    return hold(port, until, [ATTACKER], 400, head + b"[" * 60_000, b"[" * 1000)


def dripping_bodies(port: int, until: float, key: str) -> Counter[str]:
    head = json_request("/v1/jobs", key, b"[" * MIB)[:-MIB]
    return hold(port, until, [ATTACKER], 400, head, b"[")


def large_bodies_of_a_tenant(port: int, until: float, key: str) -> Counter[str]:
    """Send with a valid key, from four addresses, as much of each body as the service accepts, but never its end."""
    head = json_request("/v1/jobs", key, b"[" * MIB)[:-MIB]
    return hold(port, until, [f"127.0.3.{number}" for number in range(1, 5)], 1900, head, b"[" * 60_000)


def unread_answers(port: int, until: float, key: str) -> Counter[str]:
    return hold(port, until, [ATTACKER], 400, request("GET", "/openapi.json") * 8, b"", receive_bytes=2048)


# --- as many requests as the service takes --------------------------------------------------------


def flood(
    port: int, until: float, requests: Iterator[bytes], clients: int = CLIENTS, patience_s: float = 20
) -> Counter[str]:
    """Send requests with this many clients, each on a new connection, and count the responses."""
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def work() -> None:
        while time.monotonic() < until or not counts:
            with lock:
                sent = next(requests)
            found = "no answer"
            with suppress(OSError), connect(port, timeout_s=patience_s) as connection:
                with suppress(OSError):
                    connection.sendall(sent)
                found = connection.recv(4096)[9:12].decode() or found
            with lock:
                counts[found] += 1

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def made_up_methods(port: int, until: float, key: str) -> Counter[str]:
    made_up = (request(f"M{secrets.token_hex(6)}", f"/{secrets.token_hex(4)}", "Connection: close") for _ in count())
    return flood(port, until, made_up)


def long_paths(port: int, until: float, key: str) -> Counter[str]:
    return flood(port, until, (request("GET", f"/{number}" + "p" * 60_000) for number in count()))


def probes(port: int, until: float, key: str) -> Counter[str]:
    return flood(port, until, (request("GET", "/readyz", "Connection: close") for _ in count()))


def requests_without_a_key(port: int, until: float, key: str) -> Counter[str]:
    """Send cheap requests on connections that stay open, as many as the service answers."""
    return keep_asking(port, until, request("GET", "/v1/jobs"))


def keep_asking(port: int, until: float, sent: bytes, clients: int = 300) -> Counter[str]:
    counts: Counter[str] = Counter()
    with selectors.DefaultSelector() as selector, ExitStack() as connections:
        for _ in range(clients):
            with suppress(OSError):
                connection = connections.enter_context(connect(port))
                connection.sendall(sent)
                selector.register(connection, selectors.EVENT_READ)
        while (time.monotonic() < until or not counts) and selector.get_map():
            for ready, _ in selector.select(1):
                found = b""
                with suppress(OSError):
                    found = ready.fileobj.recv(65_536)  # type: ignore[union-attr]  # a socket
                    if found.endswith(b"}"):  # the body may come after the head
                        counts["answered"] += 1
                        ready.fileobj.sendall(sent)  # type: ignore[union-attr]
                if not found:
                    counts["closed on us"] += 1
                    selector.unregister(ready.fileobj)
    return counts


def scrapes(port: int, until: float, key: str) -> Counter[str]:
    return flood(port, until, (request("GET", "/metrics", "Connection: close") for _ in count()))


def unknown_keys(port: int, until: float, key: str) -> Counter[str]:
    made_up = (f"ho_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}" for _ in count())
    return flood(port, until, (json_request("/v1/jobs", unknown, b"{}") for unknown in made_up))


def hostile_framing(port: int, until: float, key: str) -> Counter[str]:
    both = request(
        "POST", "/v1/jobs", "Transfer-Encoding: chunked", "Connection: close", body=b"0\r\n\r\nGET / HTTP/1.1"
    )
    twice = request("GET", "/v1/jobs", "Authorization: Bearer a", "Authorization: Bearer b", "Connection: close")
    return flood(port, until, (twice if number % 2 else both for number in count()))


# Plausible JSON of some 781 KB, which each route must read before it can refuse it.
LARGE_BODIES: dict[str, tuple[str, Callable[[], object]]] = {
    "unknown fields": ("/v1/jobs", lambda: {f"field{number}": number for number in range(40_000)}),
    "class weights": (
        "/v1/jobs",
        lambda: {
            "dataset": "digits",
            "network": {"blocks": [{"filters": 4}]},
            "training": {"class_weights": {f"class{number}": "x" for number in range(35_000)}},
        },
    ),
    "blocks": ("/v1/jobs", lambda: {"dataset": "digits", "network": {"blocks": [{"filters": "x"}] * 40_000}}),
    "numbers": ("/v1/jobs", lambda: {"dataset": ["x"] * 190_000}),
    "objects": ("/v1/jobs", lambda: {"dataset": [{}] * 190_000}),
    "a history": ("/v1/diagnoses", lambda: {"history": {"loss": ["x"] * 150_000, "val_loss": [1] * 20_000}}),
    "relabelled": ("/v1/datasets/digits/versions", lambda: {"relabel": {f"i{number}": 1 for number in range(50_000)}}),
}


def large_json(port: int, until: float, key: str) -> Counter[str]:
    bodies = [json_request(path, key, json.dumps(make()).encode()) for path, make in LARGE_BODIES.values()]
    return flood(port, until, (bodies[number % len(bodies)] for number in count()), clients=6)


def large_json_without_a_key(port: int, until: float, key: str) -> Counter[str]:
    body = json.dumps({f"field{number}": number for number in range(40_000)}).encode()
    paths = ("/v1/session", "/v1/jobs", "/v1/diagnoses")
    return flood(port, until, (json_request(paths[number % 3], "", body) for number in count()), clients=12)


# --- a tenant with what `hostile_tenant.py` has stored --------------------------------------------


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


def job_named(port: int, key: str, name: str) -> str:
    """Return the id of the tenant's job of this name."""
    sent = request("GET", "/v1/jobs?limit=200", bearer(key), "Connection: close")
    jobs = json.loads(read_answer(port, sent).partition(b"\r\n\r\n")[2])["data"]
    return next(job["id"] for job in jobs if job["name"] == name)


def read_answer(port: int, sent: bytes) -> bytes:
    with connect(port, timeout_s=60) as connection, connection.makefile("rb") as answer:
        connection.sendall(sent)
        return answer.read()


def form_request(target: str, key: str, file: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.npz"\r\n\r\n'
    kind = "Content-Type: multipart/form-data; boundary=b"
    return request("POST", target, bearer(key), kind, body=head + file + b"\r\n--b--\r\n")


def slow_readers(port: int, until: float, key: str) -> Counter[str]:
    asked = request("GET", "/v1/datasets/large/splits", bearer(key))
    return hold(port, until, [ATTACKER], 300, asked, asked, receive_bytes=2048)


def large_tables(port: int, until: float, key: str) -> Counter[str]:
    """Request tables of predictions, and read them as fast as they arrive."""
    target = f"/v1/jobs/{job_named(port, key, 'table')}/predictions?format=csv"
    sent = request("GET", target, bearer(key), "Connection: close")
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def work() -> None:
        while time.monotonic() < until or not counts:
            found, taken = b"", 0
            with suppress(OSError), connect(port) as connection:
                connection.sendall(sent)
                while (time.monotonic() < until or not found) and (chunk := connection.recv(65_536)):
                    found, taken = found or chunk, taken + len(chunk)
            with lock:
                counts[found[9:12].decode() or "no answer"] += 1
                counts["bytes"] += taken

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def predictions_of_a_tenant(port: int, until: float, key: str) -> Counter[str]:
    """Send a slow model the largest number of images that a request may have."""
    content = io.BytesIO()
    np.save(content, np.ones((1024, 8, 8, 1), np.uint8))
    target = f"/v1/jobs/{job_named(port, key, 'slow')}/predict"
    sent = request("POST", target, bearer(key), "Content-Type: application/octet-stream", body=content.getvalue())
    return flood(port, until, (sent for _ in count()), patience_s=max(2, until - time.monotonic()))


def refused_predictions(port: int, until: float, key: str) -> Counter[str]:
    """Request, on 300 open connections, predictions that are refused as soon as they are read."""
    content = io.BytesIO()
    np.save(content, np.ones((1, 8, 8, 7), np.uint8))  # of channels that no dataset has
    target = f"/v1/jobs/{job_named(port, key, 'slow')}/predict"
    sent = request("POST", target, bearer(key), "Content-Type: application/octet-stream", body=content.getvalue())
    return keep_asking(port, until, sent)


def images_of_empty_scans(port: int, until: float, key: str) -> Counter[str]:
    """Send JPEGs that would take a minute to decode, and forms of JPEGs with the most scans that one may have."""
    from PIL import Image  # only this attack needs it

    def add_scans(side: int, scans: int) -> bytes:
        content = io.BytesIO()
        Image.new("L", (side, side), 128).save(content, "JPEG", progressive=True)
        data = content.getvalue()
        last = data[data.rindex(b"\xff\xda") : -2]
        return data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]

    target = f"/v1/jobs/{job_named(port, key, 'photos')}/predict"
    sent = [
        request("POST", target, bearer(key), "Content-Type: image/jpeg", body=add_scans(side, scans))
        for side, scans in ((2000, 40_000), (7000, 50))
    ]
    part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n%s\r\n'
    form = (part % add_scans(4000, 50)) * 12 + b"--b--\r\n"
    sent.append(request("POST", target, bearer(key), "Content-Type: multipart/form-data; boundary=b", body=form))
    return flood(port, until, (sent[number % 3] for number in count()), patience_s=max(2, until - time.monotonic()))


def studies_of_large_patches(port: int, until: float, key: str) -> Counter[str]:
    """Patch metadata with 60,000 keys until that is refused, then list all studies."""
    spec = {"dataset": "digits", "network": {"blocks": [{"filters": 4}]}, "training": {"epochs": 2}}
    sent = []
    for keys in (60_000, 4_000):
        patch = {"training": {"epochs": 3, **{f"k{number:05}": None for number in range(keys)}}}
        study = {"spec": spec, "remedies": [{"name": "mine", "patch": patch}], "splits": "fixed", "seeds": 2}
        sent.append(json_request("/v1/studies", key, json.dumps(study).encode()))
    lists = request("GET", "/v1/studies?limit=200", bearer(key), "Connection: close")
    return flood(port, until, ((*sent, lists)[number % 3] for number in count()), clients=4)


def packed_predictions(port: int, until: float, key: str) -> Counter[str]:
    """Send predictions that compress to a thousandth of their size, as many as are read from a file of that size."""
    sent = []
    for images in (4000, 350):
        chances = np.zeros((images, 1000), np.float32)
        chances[:, 0] = 1
        content, labels = io.BytesIO(), np.arange(images) % 1000
        np.savez_compressed(
            content, train_labels=labels, train_answers=labels, test_labels=labels, test_probabilities=chances
        )
        sent.append(form_request("/v1/diagnoses/predictions", key, content.getvalue()))
    return flood(port, until, (sent[number % 2] for number in count()), clients=8)


ATTACKS: dict[str, Callable[[int, float, str], Counter[str]]] = {
    attack.__name__.replace("_", "-"): attack
    for attack in (
        half_open,
        half_open_from_many_addresses,
        bodies_without_a_key,
        dripping_bodies,
        unread_answers,
        made_up_methods,
        long_paths,
        probes,
        scrapes,
        unknown_keys,
        requests_without_a_key,
        hostile_framing,
        large_json,
        large_bodies_of_a_tenant,
        large_json_without_a_key,
        slow_readers,
        large_tables,
        predictions_of_a_tenant,
        refused_predictions,
        packed_predictions,
        images_of_empty_scans,
        studies_of_large_patches,
    )
}


def main(names: list[str], port: str, seconds: str, key: str) -> None:
    """Print `begun` before the first attack, and after each attack the responses and times."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    print("begun", flush=True)
    for name in names:
        used = time.process_time()
        counts = ATTACKS[name](int(port), time.monotonic() + float(seconds), key)
        did = {"attack": name, "answers": counts, "processor_s": round(time.process_time() - used, 2)}
        print(json.dumps(did), flush=True)


if __name__ == "__main__":
    *chosen, to_port, for_seconds, with_key = sys.argv[1:]
    main(chosen, to_port, for_seconds, with_key)
