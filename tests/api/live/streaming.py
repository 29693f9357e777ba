"""Follow streams of server-sent events as an unrelated client does: bytes from a socket, split at blank lines."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

import httpx2

from api.connections.server import Server
from models.database import Database
from models.store import events

STREAM = {"Accept": "text/event-stream"}


@dataclass
class Message:
    """One block of a stream: its fields, or a comment."""

    id: str | None = None
    event: str | None = None
    data: dict | None = None
    comment: str | None = None


def parse_message(block: str) -> Message:
    message = Message()
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        setattr(message, name or "comment", json.loads(value) if name == "data" else value)
    return message


@contextmanager
def follow_job(client: httpx2.Client, job_id: str, query: str = "", **headers: str) -> Iterator[Iterator[Message]]:
    """Yield the messages of an open stream."""
    with client.stream("GET", f"/v1/jobs/{job_id}/events{query}", headers={**STREAM, **headers}, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-request-id"]
        yield read_messages(answer)


def read_messages(answer: httpx2.Response) -> Iterator[Message]:
    rest = ""
    for text in answer.iter_text():
        *blocks, rest = (rest + text).split("\n\n")
        yield from map(parse_message, blocks)
    assert rest == "", "the stream ends in the middle of a block"


def add_warnings(database: Database, job_id: str, count: int = 1, message: str = "news") -> None:
    with database.write() as session:
        for _ in range(count):
            events.add(session, job_id, "job.warning", message, level="warning", data={"sent_at": monotonic()})


def connect_without_reading(url: str, job_id: str, key: str) -> socket.socket:
    """Open a stream that the client never reads."""
    address = urlsplit(url)
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((address.hostname, address.port))
    reader.sendall(build_request(job_id, key))
    return reader


def build_request(job_id: str, key: str) -> bytes:
    lines = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    return f"{lines}Accept: text/event-stream\r\nConnection: close\r\n\r\n".encode()


async def follow(url: str, job_id: str, key: str, heard: list[tuple[float, dict]], count: int) -> None:
    """Record `count` events with the time at which each was read, then disconnect."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(build_request(job_id, key))
    while count:
        line = await reader.readline()
        if line.startswith(b"data: "):
            heard.append((monotonic(), json.loads(line[6:])))
            count -= 1
        assert line, "the stream ended"
    writer.close()
    await writer.wait_closed()


def count_unsent_bytes(server: Server) -> int:
    """Return how much the server has written but no client has taken, in the fullest of its buffers."""
    return max(connection.transport.get_write_buffer_size() for connection in list(server.server_state.connections))
