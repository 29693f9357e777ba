"""uvicorn's HTTP protocol, extended by connection limits, deadlines and strict parsing of heads."""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import h11
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from api.connections.heads import find_refusal
from api.connections.places import ConnectionPlaces, Group, Place
from api.http.problems import make_problem_response
from api.http.request_id import HAS_VALID_KEY, PROBED_PATHS
from api.turns import Turns
from heldout.errors import HeldoutError, MalformedRequest, RequestTimeout, TooManyConnections
from models.ids import make_id

MAX_UNSENT_BYTES = 128 * 1024
READ_BYTES = 64 * 1024
# Answers are handed on in pieces of this size, the next one when the client has taken most of the last.
PIECE_BYTES = 64 * 1024
# A client with this much of an answer still to read must read it at the minimum rate of bodies.
BACKLOG_BYTES = 16 * 1024
# How long a client may pause while sending a body or reading an answer.
PATIENCE_S = 30.0
TURNS_AT_ONCE = 24
# A turn ends when the answer starts, or after this time: waiting for a client or for a change is not work.
LONGEST_TURN_S = 0.2
# The turn of a request without a valid key lasts this much longer: at most TURNS_AT_ONCE / 0.1 s = 240 per second.
STRANGERS_REST_S = 0.1


class ReceivePace:
    """A minimum rate over any stretch of a body. Having been fast earlier earns a client no longer pause."""

    def __init__(self, bytes_per_s: float, patience_s: float = PATIENCE_S) -> None:
        self._bytes_per_s = bytes_per_s
        self._patience_s = patience_s
        self._left_s = patience_s

    def note(self, received_bytes: int, waited_s: float) -> None:
        """Count the bytes received during a time in which the server was ready to receive more."""
        earned_s = received_bytes / self._bytes_per_s
        self._left_s = min(self._patience_s, self._left_s + earned_s) - waited_s

    @property
    def is_too_slow(self) -> bool:
        return self._left_s < 0


class GuardedProtocol(H11Protocol):
    """One connection. The server calls `check` every second."""

    def __init__(
        self,
        *uvicorns: Any,
        places: ConnectionPlaces,
        turns: Turns | None,
        group_of: Callable[[Scope], Group] | None = None,
        head_s: float,
        min_body_rate: float,
        **named: Any,
    ) -> None:
        """
        Args:
            group_of: tells who takes a turn for a request. None: the client of the connection.
            head_s: time from the start of the connection, or the first byte of a later request, to the end of the
                headers.
            min_body_rate: bytes per second of a body, over any stretch longer than PATIENCE_S.
        """
        super().__init__(*uvicorns, **named)
        self.conn = _StrictConnection(h11.SERVER)
        self.address = ""
        self._places = places
        self._turns, self._group_of = turns, group_of
        self._head_s, self._min_body_rate = head_s, min_body_rate
        self._head_began_at: float | None = None
        self._checked_at = 0.0
        self._received_bytes = 0  # since the last check
        self._paced_cycle: RequestResponseCycle | None = None
        self._pace = ReceivePace(min_body_rate)
        self._written_bytes = 0  # of answers, since the last check
        self._taking_pace = ReceivePace(min_body_rate)
        self._unsent_bytes = 0
        self._sent_at = 0.0  # when the client last read something, or had nothing to read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        # asyncio sets this itself, except for connections of a socket passed to it. Without it, an answer's body would
        # wait 40 ms for the client to acknowledge the head.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Unsent bytes wait here, where they can be counted and bounded, instead of in the system's large buffers.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
        # asyncio's default is four times as large; many clients together could fill the memory.
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # of the selector loop's transports
        self.address = self.client[0] if self.client else ""
        self._head_began_at = self._checked_at = self._sent_at = self.loop.time()
        place = self._places.enter(self)
        if place is Place.PROBES_ONLY:
            self.app = _restrict_to_probes(self.app)
        elif place is Place.NONE:
            transport.abort()
        self.app = self._send_in_pieces(self.app)
        if self._turns is not None:
            client = self._places.group_of(self)
            self.app = wrap_in_turns(self.app, self._turns, self._group_of or (lambda _: client))

    def connection_lost(self, exc: Exception | None) -> None:
        self._places.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._head_began_at is None and self.is_waiting:
            self._head_began_at = self.loop.time()
        super().data_received(data)
        if self._head_began_at is not None and not self.is_waiting:
            self._head_began_at = None
            self._places.set_idle(self, is_idle=False)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.is_waiting:  # else the next request had come already
            self._places.set_idle(self, is_idle=True)

    @property
    def is_waiting(self) -> bool:
        """Whether the connection is waiting for a request or for the rest of its head."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # None at first

    @property
    def has_valid_key(self) -> bool:
        """Whether the request being answered has a valid key. The app notes that."""
        return not self.is_waiting and HAS_VALID_KEY in self.scope["state"]

    def give_way(self) -> None:
        """Close the connection to free its place. Unsent bytes are dropped."""
        self._cut()

    def _cut(self) -> None:
        if self.transport.get_write_buffer_size():
            # Otherwise the operating system would keep trying to send the rest of an answer for minutes.
            no_patience = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_patience)
        self.transport.abort()

    def check(self, now: float) -> None:
        """Close the connection if its client is too slow."""
        waited_s, self._checked_at = now - self._checked_at, now
        received_bytes, self._received_bytes = self._received_bytes, 0
        if self._takes_too_slowly(now, waited_s):
            self._cut()
        elif self.transport.is_closing():
            return
        elif self.is_waiting:
            if self._head_began_at is not None and now - self._head_began_at > self._head_s:
                self._refuse(RequestTimeout(f"The headers were not complete within {self._head_s:g} s."))
        elif self.cycle.more_body and self._is_too_slow(received_bytes, waited_s):
            rate = self._min_body_rate
            self._refuse(
                RequestTimeout(
                    f"The body arrived at less than {rate:g} bytes per second. Pauses may last {PATIENCE_S:g} s."
                )
            )

    def _is_too_slow(self, received_bytes: int, waited_s: float) -> bool:
        if self._paced_cycle is not self.cycle:
            self._paced_cycle, self._pace = self.cycle, ReceivePace(self._min_body_rate)
        elif not self.flow.read_paused:  # otherwise the server is the slow side
            self._pace.note(received_bytes, waited_s)
        return self._pace.is_too_slow

    def _takes_too_slowly(self, now: float, waited_s: float) -> bool:
        """Return whether the client has stopped reading an answer, or reads it below the minimum rate."""
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes:
            unsent_bytes += self._count_unacknowledged_bytes()
        if unsent_bytes == 0 or unsent_bytes < self._unsent_bytes:
            self._sent_at = now
        taken_bytes = max(0, self._unsent_bytes + self._written_bytes - unsent_bytes)
        if min(unsent_bytes, self._unsent_bytes) < BACKLOG_BYTES:
            self._taking_pace = ReceivePace(self._min_body_rate)
        else:
            self._taking_pace.note(taken_bytes, waited_s)
        self._unsent_bytes, self._written_bytes = unsent_bytes, 0
        return now - self._sent_at > PATIENCE_S or self._taking_pace.is_too_slow

    def _send_in_pieces(self, app: ASGIApp) -> ASGIApp:
        """Wrap the app so that the connection never buffers more than one or two pieces of an answer.

        Otherwise an answer that the app keeps in memory for many clients would be copied for each of them.
        """

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_in_pieces(message: Message) -> None:
                body = message.get("body", b"")
                pieces = memoryview(body)
                while len(pieces) > PIECE_BYTES:
                    await send({"type": message["type"], "body": pieces[:PIECE_BYTES], "more_body": True})
                    self._written_bytes += PIECE_BYTES
                    pieces = pieces[PIECE_BYTES:]
                await send(message if len(pieces) == len(body) else {**message, "body": pieces})
                self._written_bytes += len(pieces)

            await app(scope, receive, send_in_pieces)

        return answer

    def _count_unacknowledged_bytes(self) -> int:
        """Bytes in the system's large buffers. Without this count, a slow client would seem to read nothing."""
        with suppress(OSError, AttributeError):
            found = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0" * 4)
            return int(struct.unpack("i", found)[0])
        return 0

    def _should_upgrade(self) -> bool:
        return False  # uvicorn would log three lines for each request that asks for it

    def send_400_response(self, msg: str) -> None:
        """Answer with a problem. uvicorn calls this while handling h11's error, which says more than `msg`."""
        error = sys.exception()
        # Some of h11's messages end with the received bytes as Python's repr.
        text = str(error or msg).partition(": bytearray(")[0]
        self._refuse(error.refusal if isinstance(error, _HeadRefused) else MalformedRequest(f"{text}."))

    def _refuse(self, error: HeldoutError) -> None:
        """Send a problem, unless an answer has begun or there is no request, and close the connection."""
        if self.transport.is_closing():
            return
        # h11 has already dropped a head that it cannot parse.
        has_head = bool(self.conn.trailing_data[0]) or self.conn.their_state is h11.ERROR
        is_asked = not self.is_waiting or has_head
        if is_asked and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(self._encode_error(error))
        self.transport.close()
        if not self.is_waiting:
            # Tells the app that its client is gone, so that it sends nothing after this answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _encode_error(self, error: HeldoutError) -> bytes:
        answer = make_problem_response(error, "" if self.is_waiting else self.scope["path"])
        answer.headers["X-Request-ID"] = make_id("req")
        answer.headers["X-Content-Type-Options"] = "nosniff"
        events: list[h11.Event] = [
            h11.Response(
                status_code=answer.status_code, headers=answer.raw_headers, reason=HTTPStatus(answer.status_code).phrase
            ),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ]
        return b"".join(self.conn.send(event) or b"" for event in events)


class _HeadRefused(h11.RemoteProtocolError):
    def __init__(self, refusal: HeldoutError) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


class _StrictConnection(h11.Connection):
    """h11's connection, which raises before it parses a head that `find_refusal` refuses."""

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE and (refusal := find_refusal(self.trailing_data[0])) is not None:
            raise _HeadRefused(refusal)
        return super().next_event()


def _restrict_to_probes(app: ASGIApp) -> ASGIApp:
    """Wrap the app for a connection that found all places taken: it answers a single probe."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        chosen = app if scope["path"] in PROBED_PATHS else make_problem_response(TooManyConnections(), scope["path"])
        await chosen(scope, receive, send_and_close)

    return answer


def wrap_in_turns(app: ASGIApp, turns: Turns, group_of: Callable[[Scope], Group]) -> ASGIApp:
    """Wrap the app for one client's connections, so that clients, or other groups of requests, take turns.

    One thread reads and writes all requests, and those that query the database wait for it repeatedly. So only
    TURNS_AT_ONCE requests run at once, and waiting clients are served in turn. The turn of a request without a valid
    key lasts longer than its work: no number of unauthenticated clients can keep the thread busy.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        turn = await turns.take(group_of(scope))

        def end() -> None:
            turn.end(0 if HAS_VALID_KEY in scope["state"] else STRANGERS_REST_S)

        async def send_and_end(message: Message) -> None:
            end()
            await send(message)

        try:
            # Requests that arrived together all ask for a turn first. A cheap one would otherwise be answered at once,
            # and the next one of its group after it, before another group has asked.
            await asyncio.sleep(0)
            await app(scope, receive, send_and_end)
        finally:
            end()

    return answer
