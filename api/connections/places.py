"""Limits how many connections may be open: in total, per address, and a few extra reserved for probes.

When all places are taken, an idle connection is closed to make room, starting with the address that has the most idle
ones. A client that opens many connections and sends nothing thus only displaces its own. If no connection is idle, the
oldest unauthenticated request is closed instead. Requests with a valid key are never cut off.
"""

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

# Extra places for when all others are taken. Only probes are answered there.
PLACES_FOR_PROBES = 64
# A host with one IPv6 address usually owns its whole network of this size.
HOST_PREFIX_V6 = 64

# Identifies a client. Hashable.
Group = object


class TrackedConnection(Protocol):
    """The part of a connection that this module needs."""

    address: str

    @property
    def has_valid_key(self) -> bool:
        """Whether the request being answered has a valid key."""

    def give_way(self) -> None:
        """Close it."""


class Place(Enum):
    """The place that a new connection gets."""

    FULL = auto()
    PROBES_ONLY = auto()
    NONE = auto()


@dataclass(frozen=True)
class ConnectionLimits:
    """Maximum numbers of connections."""

    in_all: int
    per_address: int
    # `per_address` does not apply to these addresses and networks, because many clients share each of them.
    proxies: tuple[str, ...] = ()


class ConnectionPlaces:
    """The open connections. A new connection is idle until its first request."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._proxies = tuple(ipaddress.ip_network(proxy, strict=False) for proxy in limits.proxies)
        self._full = _Room(limits.in_all, limits.per_address)
        self._for_probes = _Room(PLACES_FOR_PROBES, PLACES_FOR_PROBES)

    def enter(self, connection: TrackedConnection) -> Place:
        """Give a new connection a place, closing an idle connection if needed."""
        group = self.group_of(connection)
        if self._full.enter(connection, group):
            return Place.FULL
        if self._for_probes.enter(connection, group):
            return Place.PROBES_ONLY
        return Place.NONE

    def group_of(self, connection: TrackedConnection) -> Group:
        """Identify the client by its address, or by its host's whole network for IPv6.

        Clients behind a proxy are indistinguishable, so each of their connections counts as a separate client.
        """
        try:
            address = ipaddress.ip_address(connection.address)
        except ValueError:
            return connection.address
        if any(address in network for network in self._proxies):
            return connection
        if isinstance(address, ipaddress.IPv6Address):
            return ipaddress.ip_network((int(address), HOST_PREFIX_V6), strict=False)
        return connection.address

    def set_idle(self, connection: TrackedConnection, *, is_idle: bool) -> None:
        """Note that a request was read, or answered. If its key is valid, the connection stays open until then.

        All other idle connections are closed before one that has become idle again.
        """
        for room in (self._full, self._for_probes):
            room.set_idle(connection, is_idle=is_idle)

    def leave(self, connection: TrackedConnection) -> None:
        """Forget a connection. Does nothing if it has no place."""
        for room in (self._full, self._for_probes):
            room.leave(connection)


class _Room:
    """A fixed number of places, with a limit per group of connections."""

    def __init__(self, places: int, per_group: int) -> None:
        self._places = places
        self._per_group = per_group
        self._groups: dict[TrackedConnection, Group] = {}
        self._sizes: Counter[Group] = Counter()
        self._idle = OldestFirst()
        # Whether these have a valid key is checked only when one of them has to be closed.
        self._answered = OldestFirst()

    def enter(self, connection: TrackedConnection, group: Group) -> bool:
        """Give the connection a place if there is one, closing an idle connection if needed. Returns success."""
        if self._sizes[group] >= self._per_group:
            has_room = self._make_room(lambda among: among.find_oldest(group))
        else:
            has_room = len(self._groups) < self._places or self._make_room(OldestFirst.find_oldest_of_largest)
        if has_room:
            self._groups[connection] = group
            self._sizes[group] += 1
            self._idle.add(connection, group)
        return has_room

    def set_idle(self, connection: TrackedConnection, *, is_idle: bool) -> None:
        group = self._groups.get(connection)
        if group is not None:
            (self._answered if is_idle else self._idle).discard(connection, group)
            (self._idle if is_idle else self._answered).add(connection, group)

    def leave(self, connection: TrackedConnection) -> None:
        group = self._groups.pop(connection, None)
        if group is not None:
            self._idle.discard(connection, group)
            self._answered.discard(connection, group)
            self._sizes[group] -= 1
            if not self._sizes[group]:
                del self._sizes[group]

    def _make_room(self, find: Callable[["OldestFirst"], TrackedConnection | None]) -> bool:
        """Close an idle or else an unauthenticated connection. Returns False if there is neither."""
        connection = find(self._idle)
        while connection is None and (connection := find(self._answered)) is not None and connection.has_valid_key:
            # Its key is valid, so it stays, and is not considered again until its next request.
            self._answered.discard(connection, self._groups[connection])
            connection = None
        if connection is None:
            return False
        self.leave(connection)
        connection.give_way()
        return True


class OldestFirst:
    """Connections in the order of their arrival, grouped by client.

    Each method takes constant time, because unauthenticated clients decide how often they are called.
    """

    def __init__(self) -> None:
        # The oldest connection comes first. A plain dict would scan past deleted entries to find it.
        self._groups: dict[Group, OrderedDict[TrackedConnection, None]] = {}
        # Groups by size; among those of equal size, the group that has had it longest comes first.
        self._by_size: dict[int, OrderedDict[Group, None]] = {}
        self._largest = 0

    def add(self, connection: TrackedConnection, group: Group) -> None:
        members = self._groups.setdefault(group, OrderedDict())
        if connection not in members:
            members[connection] = None
            self._resize(group, len(members) - 1, len(members))

    def discard(self, connection: TrackedConnection, group: Group) -> None:
        members = self._groups.get(group, OrderedDict())
        if connection in members:
            del members[connection]
            self._resize(group, len(members) + 1, len(members))
            if not members:
                del self._groups[group]

    def find_oldest(self, group: Group) -> TrackedConnection | None:
        """Find the oldest connection of a group."""
        return next(iter(self._groups.get(group, ())), None)

    def find_oldest_of_largest(self) -> TrackedConnection | None:
        """Find the oldest connection of the largest group. If all groups have one connection, the oldest of all."""
        if not self._largest:
            return None
        return self.find_oldest(next(iter(self._by_size[self._largest])))

    def _resize(self, group: Group, before: int, after: int) -> None:
        """Update the size of a group after one connection was added or removed."""
        if before:
            same_size = self._by_size[before]
            del same_size[group]
            if not same_size:
                del self._by_size[before]
                if before == self._largest:
                    self._largest = after
        if after:
            self._by_size.setdefault(after, OrderedDict())[group] = None
            self._largest = max(self._largest, after)
