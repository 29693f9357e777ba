"""Heldout explains why a CNN's training results are good and its test results poor."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heldout.client.client import ApiProblem, AsyncClient, Client, NoService

__all__ = ["ApiProblem", "AsyncClient", "Client", "NoService"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Load the client on first access, because the command line and the service do not need it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from heldout.client import client

    return getattr(client, name)
