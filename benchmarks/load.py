"""Load from keep-alive clients over raw sockets, cheap enough not to be what is measured."""

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """Requests per second, and the times of single requests in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float


def request(method: str, path: str, *, key: str = "", body: bytes = b"") -> bytes:
    """The bytes of one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def load(port: int, message: bytes, *, clients: int, seconds: float, status: int) -> Measured:
    """Send `message` repeatedly from this many connections; every answer must have `status`."""
    return load_in_turn(port, [(message, status)], clients=clients, seconds=seconds)[0]


def load_in_turn(port: int, messages: list[tuple[bytes, int]], *, clients: int, seconds: float) -> list[Measured]:
    """Send the messages in turn on each connection, and return figures for each. A message comes with its expected
    status.
    """
    times = asyncio.run(_all(port, messages, clients, seconds))
    return [_measured(sorted(of_one), seconds) for of_one in times]


def _measured(ordered: list[float], seconds: float) -> Measured:
    return Measured(
        per_second=len(ordered) / seconds,
        p50_ms=1000 * ordered[len(ordered) // 2],
        p99_ms=1000 * ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
    )


async def _all(port: int, messages: list[tuple[bytes, int]], clients: int, seconds: float) -> list[list[float]]:
    until = time.perf_counter() + seconds
    times: list[list[float]] = [[] for _ in messages]
    await asyncio.gather(*(_one(port, messages, first, until, times) for first in range(clients)))
    return times


async def _one(
    port: int, messages: list[tuple[bytes, int]], first: int, until: float, times: list[list[float]]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    turn = first
    while (began := time.perf_counter()) < until:
        which = turn % len(messages)
        message, status = messages[which]
        turn += 1
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        if int(head.split(b" ", 2)[1]) != status:
            raise SystemExit(f"A request was answered with: {head.decode(errors='replace')}")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        times[which].append(time.perf_counter() - began)
    writer.close()
