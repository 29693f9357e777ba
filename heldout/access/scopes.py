"""What a key may do: read, change, and manage keys and the activity log."""

from typing import Literal, get_args

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
# The scopes that a route can require; `any` accepts every key.
NeededScope = Scope | Literal["any"]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def get_method_scope(method: str) -> Scope:
    """The scope that a request needs unless its route says otherwise."""
    return "read" if method in SAFE_METHODS else "write"
