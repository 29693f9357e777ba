"""Who of the connections that wait for a request gives way first: fair to clients, whatever strangers open."""

from collections import OrderedDict
from typing import Generic, TypeVar

# What a client is known by; hashable.
Group = object
Connection = TypeVar("Connection")


class Waiting(Generic[Connection]):
    """Connections that wait, in groups: one for each client, as far as clients can be told apart.

    Each method takes the same time however many wait, since strangers decide how often they are called.
    """

    def __init__(self) -> None:
        # The one that has waited longest comes first. OrderedDict finds it at once; a dict passes over what has left.
        self._groups: dict[Group, OrderedDict[Connection, None]] = {}
        # Groups by how many of theirs wait; the one that has been that large for longest comes first.
        self._by_size: dict[int, OrderedDict[Group, None]] = {}
        self._largest = 0

    def add(self, connection: Connection, group: Group) -> None:
        members = self._groups.setdefault(group, OrderedDict())
        if connection not in members:
            members[connection] = None
            self._resize(group, len(members) - 1, len(members))

    def discard(self, connection: Connection, group: Group) -> None:
        members = self._groups.get(group, OrderedDict())
        if connection in members:
            del members[connection]
            self._resize(group, len(members) + 1, len(members))
            if not members:
                del self._groups[group]

    def oldest_of(self, group: Group) -> Connection | None:
        """The connection of a group that has waited longest."""
        return next(iter(self._groups.get(group, ())), None)

    def oldest_of_largest(self) -> Connection | None:
        """The same of the group of which most wait; where each has one connection, the longest waiting of all."""
        if not self._largest:
            return None
        return self.oldest_of(next(iter(self._by_size[self._largest])))

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
