"""With many clients, places decide who may connect and whose connections are closed."""

import sys
from collections import Counter

import pytest

from api.connections import places
from api.connections.places import ConnectionLimits, ConnectionPlaces, Place


class FakeConnection:
    """A connection that only records whether it was closed."""

    def __init__(self, address: str = "10.0.0.1") -> None:
        self.address = address
        self.gave_way = False
        self.has_valid_key = False

    def give_way(self) -> None:
        self.gave_way = True


def enter(
    open_places: ConnectionPlaces, count: int, address: str = "10.0.0.1", *, is_busy: bool = False
) -> list[FakeConnection]:
    connections = [FakeConnection(address) for _ in range(count)]
    for connection in connections:
        assert open_places.enter(connection) is Place.FULL
        if is_busy:
            connection.has_valid_key = True
            open_places.set_idle(connection, is_idle=False)
    return connections


def test_an_address_that_opens_too_many_connections_loses_its_oldest():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=100, per_address=3))
    [other] = enter(open_places, 1, "10.0.0.2")
    own = enter(open_places, 3)
    assert open_places.enter(FakeConnection()) is Place.FULL
    assert [connection.gave_way for connection in (other, *own)] == [False, True, False, False]


def test_the_longest_idle_connection_is_closed_if_each_address_has_one():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=3, per_address=3))
    [busy] = enter(open_places, 1, "10.0.0.1", is_busy=True)
    [answered] = enter(open_places, 1, "10.0.0.2", is_busy=True)
    [mute] = enter(open_places, 1, "10.0.0.3")
    open_places.set_idle(answered, is_idle=True)
    assert open_places.enter(FakeConnection("10.0.0.4")) is Place.FULL
    assert [connection.gave_way for connection in (busy, answered, mute)] == [False, False, True]
    assert open_places.enter(FakeConnection("10.0.0.5")) is Place.FULL
    assert [connection.gave_way for connection in (busy, answered)] == [False, True]


@pytest.mark.parametrize("has_asked", [False, True])
def test_a_client_with_few_connections_keeps_them_whatever_forty_addresses_open(has_asked):
    open_places = ConnectionPlaces(ConnectionLimits(in_all=2000, per_address=500))
    own = enter(open_places, 2, "10.0.0.1", is_busy=has_asked)
    for connection in own:
        open_places.set_idle(connection, is_idle=True)
    strangers = [FakeConnection(f"10.1.0.{number % 40}") for number in range(3000)]
    for stranger in strangers:
        assert open_places.enter(stranger) is Place.FULL
    assert not any(connection.gave_way for connection in own)
    assert sum(stranger.gave_way for stranger in strangers) == 2 + 3000 - 2000
    kept = Counter(stranger.address for stranger in strangers if not stranger.gave_way)
    assert max(kept.values()) - min(kept.values()) <= 1, "strangers displace one another evenly"


def test_connections_being_answered_do_not_count_as_idle():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=10, per_address=10))
    enter(open_places, 5, "10.0.0.1", is_busy=True)
    enter(open_places, 1, "10.0.0.1")
    mute = enter(open_places, 4, "10.0.0.2")
    assert open_places.enter(FakeConnection("10.0.0.3")) is Place.FULL
    assert [connection.gave_way for connection in mute] == [True, False, False, False]


def test_strangers_being_answered_are_closed_if_no_connection_is_idle_but_owners_are_not():
    """Strangers may read a response as slowly as they like."""
    open_places = ConnectionPlaces(ConnectionLimits(in_all=6, per_address=4))
    owners = enter(open_places, 2, "10.0.0.1", is_busy=True)
    strangers = [*enter(open_places, 3, "10.0.0.2"), *enter(open_places, 1, "10.0.0.3")]
    for stranger in strangers:
        open_places.set_idle(stranger, is_idle=False)
    assert open_places.enter(FakeConnection("10.0.0.4")) is Place.FULL
    assert [stranger.gave_way for stranger in strangers] == [True, False, False, False], (
        "the address with the most connections loses one"
    )
    mute = enter(open_places, 1, "10.0.0.5")
    assert [stranger.gave_way for stranger in strangers] == [True, False, False, False], (
        "idle connections are closed first"
    )
    strangers[1].has_valid_key = True
    enter(open_places, 3, "10.0.0.6", is_busy=True)
    assert [stranger.gave_way for stranger in (*strangers, *mute)] == [True, False, True, True, True]
    assert not any(owner.gave_way for owner in owners)
    assert open_places.enter(FakeConnection("10.0.0.7")) is Place.PROBES_ONLY


def test_an_ipv6_network_counts_as_one_client():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=100, per_address=3))
    [neighbor] = enter(open_places, 1, "2001:db8:0:2::1")
    own = [FakeConnection(f"2001:db8:0:1:{number}::1") for number in range(5)]
    for connection in own:
        assert open_places.enter(connection) is Place.FULL
    assert [connection.gave_way for connection in (neighbor, *own)] == [False, True, True, False, False, False]
    assert open_places.group_of(FakeConnection("10.0.0.1")) != open_places.group_of(FakeConnection("10.0.0.2"))


def test_clients_behind_a_proxy_do_not_share_one_limit():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=10, per_address=2, proxies=("10.9.0.0/16",)))
    behind = enter(open_places, 8, "10.9.1.2")
    first, second = enter(open_places, 2, "10.0.0.1")
    assert open_places.enter(FakeConnection("10.0.0.2")) is Place.FULL
    assert first.gave_way
    assert open_places.enter(FakeConnection("10.9.1.2")) is Place.FULL
    assert [connection.gave_way for connection in behind] == [True] + [False] * 7, (
        "the longest idle among clients with one connection each"
    )
    assert not second.gave_way


def test_finding_a_place_takes_no_longer_with_many_connections():
    def steps_for(strangers: int) -> int:
        open_places = ConnectionPlaces(ConnectionLimits(in_all=strangers, per_address=strangers))
        enter(open_places, strangers // 2, "10.0.0.1", is_busy=True)
        enter(open_places, strangers - strangers // 2, "10.0.0.2")
        steps = 0

        def count(*_: object) -> object:
            nonlocal steps
            steps += 1
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            enter(open_places, 20, "10.0.0.3")
        finally:
            sys.settrace(before)
        return steps

    assert steps_for(4000) <= steps_for(100)


@pytest.mark.parametrize(
    "limits", [ConnectionLimits(in_all=2, per_address=9), ConnectionLimits(in_all=9, per_address=2)]
)
def test_probes_have_places_when_all_others_are_busy(limits, monkeypatch):
    monkeypatch.setattr(places, "PLACES_FOR_PROBES", 2)
    open_places = ConnectionPlaces(limits)
    busy = enter(open_places, 2, is_busy=True)
    [first, second, third] = [FakeConnection() for _ in range(3)]
    assert open_places.enter(first) is Place.PROBES_ONLY
    assert open_places.enter(second) is Place.PROBES_ONLY
    assert open_places.enter(third) is Place.PROBES_ONLY
    assert first.gave_way, "a silent connection delays no probe"
    for connection in (second, third):
        connection.has_valid_key = True
        open_places.set_idle(connection, is_idle=False)
    assert open_places.enter(FakeConnection()) is Place.NONE
    open_places.leave(busy[0])
    assert open_places.enter(FakeConnection()) is Place.FULL
    assert not any(connection.gave_way for connection in busy)


def test_a_proxy_may_open_more_connections_than_one_client():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=100, per_address=2, proxies=("10.9.0.0/16", "::1")))
    for address in ("10.9.1.2", "::1"):
        assert not any(connection.gave_way for connection in enter(open_places, 10, address, is_busy=True))
    enter(open_places, 2, is_busy=True)
    assert open_places.enter(FakeConnection()) is Place.PROBES_ONLY


def test_closed_connections_leave_no_records():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=10, per_address=10))
    first, second, *others = enter(open_places, 5)
    open_places.set_idle(first, is_idle=False)
    open_places.set_idle(second, is_idle=False)
    open_places.set_idle(second, is_idle=True)
    for connection in (first, second, *others):
        open_places.leave(connection)
        open_places.leave(connection)
        open_places.set_idle(connection, is_idle=True)
    for room in (open_places._full, open_places._for_probes):
        for among in (room._idle, room._answered):
            kept = (room._groups, room._sizes, among._groups, among._by_size, among._largest)
            assert not any(kept), kept
