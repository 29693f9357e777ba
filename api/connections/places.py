"""How many connections may be open at once: in all, from one address, and some more for probes alone.

A connection that waits for a request gives way to a new one, the one that has asked nothing for longest first: who
opens many and says nothing only drives out their own. One that is being answered stays.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

# Places for connections that find all others taken; only probes are answered there.
PLACES_FOR_PROBES = 64


class Connection(Protocol):
    """What the bookkeeping needs of a connection."""

    address: str

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a request, or for the rest of its head."""

    def give_way(self) -> None:
        """Close it."""


class Place(Enum):
    """What a new connection may do."""

    FULL = auto()
    PROBES_ONLY = auto()
    NONE = auto()


@dataclass(frozen=True)
class Limits:
    """Numbers of connections."""

    in_all: int
    per_address: int
    # Addresses and networks to which `per_address` does not apply: many clients come through each.
    proxies: tuple[str, ...] = ()


class Places:
    """The open connections, by address; those that have asked nothing for longest come first."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._proxies = tuple(ipaddress.ip_network(one, strict=False) for one in limits.proxies)
        self._all: dict[Connection, None] = {}
        self._by_address: dict[str, dict[Connection, None]] = {}
        self._for_probes: dict[Connection, None] = {}

    def enter(self, connection: Connection) -> Place:
        """Give a new connection a place, if need be that of one that waits."""
        same_address = self._by_address.get(connection.address, {})
        if len(same_address) >= self._limits.per_address and not self._is_proxy(connection.address):
            has_room = self._make_room_among(same_address)
        else:
            has_room = len(self._all) < self._limits.in_all or self._make_room_among(self._all)
        if has_room:
            self._all[connection] = None
            self._by_address.setdefault(connection.address, {})[connection] = None
            return Place.FULL
        if len(self._for_probes) < PLACES_FOR_PROBES or self._make_room_among(self._for_probes):
            self._for_probes[connection] = None
            return Place.PROBES_ONLY
        return Place.NONE

    def has_asked(self, connection: Connection) -> None:
        """Put a connection behind all others: a request of it has been read."""
        same_address = self._by_address.get(connection.address, {})
        for connections in (self._all, same_address, self._for_probes):
            if connection in connections:
                del connections[connection]
                connections[connection] = None

    def leave(self, connection: Connection) -> None:
        """Forget a connection; one that has no place is none of ours."""
        self._for_probes.pop(connection, None)
        self._all.pop(connection, None)
        same_address = self._by_address.get(connection.address, {})
        same_address.pop(connection, None)
        if not same_address:
            self._by_address.pop(connection.address, None)

    def _make_room_among(self, connections: Iterable[Connection]) -> bool:
        oldest = next((one for one in connections if one.is_waiting), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.give_way()
        return True

    def _is_proxy(self, address: str) -> bool:
        if not self._proxies:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)
