"""What type checkers know about clients. This is never run: `make check-types` reports unused ignores."""

from heldout import AsyncClient, Client


def call_deprecated_methods(client: Client) -> None:
    client.submit({}, at=1)
    client.jobs()
    client.sbmit({})  # type: ignore[attr-defined]


async def await_deprecated_methods(client: AsyncClient) -> None:
    await client.submit({})
    await client.sbmit({})  # type: ignore[attr-defined]
