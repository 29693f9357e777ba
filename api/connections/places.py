"""How many connections may be open at once: in all, from one address, and some more for probes alone.

A connection that waits for a request gives way to a new one, first among those of the address of which most wait: who
opens many and says nothing only drives out their own. Where none waits, one gives way in the same order that is being
answered, but bears no valid key. One that does stays until it is answered.
"""

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

# Places for connections that find all others taken; only probes are answered there.
PLACES_FOR_PROBES = 64
# Whoever has one address of IPv6 usually has all of its network of this size.
HOST_PREFIX_V6 = 64

# What a client is known by; hashable.
Group = object


class TrackedConnection(Protocol):
    """What the bookkeeping needs of a connection."""

    address: str

    @property
    def is_known(self) -> bool:
        """Whether the request that is being answered bears a valid key."""

    def give_way(self) -> None:
        """Close it."""


class Place(Enum):
    """What a new connection may do."""

    FULL = auto()
    PROBES_ONLY = auto()
    NONE = auto()


@dataclass(frozen=True)
class ConnectionLimits:
    """Numbers of connections."""

    in_all: int
    per_address: int
    # Addresses and networks to which `per_address` does not apply: many clients come through each.
    proxies: tuple[str, ...] = ()


class ConnectionPlaces:
    """The open connections. A new one waits for its first request."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._proxies = tuple(ipaddress.ip_network(proxy, strict=False) for proxy in limits.proxies)
        self._full = _Room(limits.in_all, limits.per_address)
        self._for_probes = _Room(PLACES_FOR_PROBES, PLACES_FOR_PROBES)

    def enter(self, connection: TrackedConnection) -> Place:
        """Give a new connection a place, if need be that of one that waits."""
        group = self.group_of(connection)
        if self._full.enter(connection, group):
            return Place.FULL
        if self._for_probes.enter(connection, group):
            return Place.PROBES_ONLY
        return Place.NONE

    def group_of(self, connection: TrackedConnection) -> Group:
        """What the client is known by: its address, of IPv6 the network that one host has for itself.

        Clients behind a proxy cannot be told apart: each connection counts as a client of its own.
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

    def has_asked(self, connection: TrackedConnection) -> None:
        """Let a connection stay until it is answered, if it bears a valid key: a request of it has been read."""
        for room in (self._full, self._for_probes):
            room.set_waiting(connection, waits=False)

    def is_answered(self, connection: TrackedConnection) -> None:
        """Put a connection behind all others that wait."""
        for room in (self._full, self._for_probes):
            room.set_waiting(connection, waits=True)

    def leave(self, connection: TrackedConnection) -> None:
        """Forget a connection; one that has no place is none of ours."""
        for room in (self._full, self._for_probes):
            room.leave(connection)


class _Room:
    """So many places, and how many of them one group of connections may have."""

    def __init__(self, places: int, per_group: int) -> None:
        self._places = places
        self._per_group = per_group
        self._groups: dict[TrackedConnection, Group] = {}
        self._sizes: Counter[Group] = Counter()
        self._waiting: Waiting = Waiting()
        # Being answered. Whether they bear a valid key is asked when one has to give way.
        self._answered: Waiting = Waiting()

    def enter(self, connection: TrackedConnection, group: Group) -> bool:
        """Whether the connection has found a place; one that waits may have lost it."""
        if self._sizes[group] >= self._per_group:
            has_room = self._make_room(lambda among: among.find_oldest(group))
        else:
            has_room = len(self._groups) < self._places or self._make_room(Waiting.find_oldest_of_largest)
        if has_room:
            self._groups[connection] = group
            self._sizes[group] += 1
            self._waiting.add(connection, group)
        return has_room

    def set_waiting(self, connection: TrackedConnection, *, waits: bool) -> None:
        group = self._groups.get(connection)
        if group is not None:
            (self._answered if waits else self._waiting).discard(connection, group)
            (self._waiting if waits else self._answered).add(connection, group)

    def leave(self, connection: TrackedConnection) -> None:
        group = self._groups.pop(connection, None)
        if group is not None:
            self._waiting.discard(connection, group)
            self._answered.discard(connection, group)
            self._sizes[group] -= 1
            if not self._sizes[group]:
                del self._sizes[group]

    def _make_room(self, find: Callable[["Waiting"], TrackedConnection | None]) -> bool:
        """Close a connection that waits, or one of a stranger; False where there is none."""
        connection = find(self._waiting)
        while connection is None and (connection := find(self._answered)) is not None and connection.is_known:
            # It stays; until its next request it is not asked again.
            self._answered.discard(connection, self._groups[connection])
            connection = None
        if connection is None:
            return False
        self.leave(connection)
        connection.give_way()
        return True


class Waiting:
    """Idle connections, grouped by client as far as clients can be told apart.

    Each method takes the same time however many wait, since strangers decide how often they are called.
    """

    def __init__(self) -> None:
        # The one that has waited longest comes first. OrderedDict finds it at once; a dict passes over what has left.
        self._groups: dict[Group, OrderedDict[TrackedConnection, None]] = {}
        # Largest groups first; of equal ones, the group that has had that size for longest.
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
        """The connection of a group that has waited longest."""
        return next(iter(self._groups.get(group, ())), None)

    def find_oldest_of_largest(self) -> TrackedConnection | None:
        """The same of the group of which most wait; where each has one connection, the longest waiting of all."""
        if not self._largest:
            return None
        return self.find_oldest(next(iter(self._by_size[self._largest])))

    def _resize(self, group: Group, before: int, after: int) -> None:
        """Note that one connection has come or gone: `after` is `before` plus or minus 1."""
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
