"""Whose request is worked on next: clients take turns, so that one with many connections does not hold up others.

Requests are read and written by one thread, which those that ask the database must wait for again and again. So only
some are under way at once, the others wait, and of those each client's come in turn. One without a valid key takes
little; its turn lasts longer than it does, so that no number of strangers keeps that thread busy.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.connections.places import Group
from api.http.known import KNOWN
from api.turns import Turns

AT_ONCE = 24
# A turn ends with the start of the answer, or after so long: what waits for its client or for a change is no work.
LONGEST_S = 0.2
# How much longer the turn of a request lasts that bears no valid key: AT_ONCE / 0.1 s are 240 of those a second.
STRANGERS_REST_S = 0.1


def in_turn(app: ASGIApp, turns: Turns, group: Group) -> ASGIApp:
    """The app for the connections of one client."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        turn = await turns.take(group)

        def end() -> None:
            turn.end(0 if KNOWN in scope["state"] else STRANGERS_REST_S)

        async def send_and_end(message: Message) -> None:
            end()
            await send(message)

        try:
            await app(scope, receive, send_and_end)
        finally:
            end()

    return answer
