"""Who may connect when there are many clients, and whose connections are closed."""

import sys
from collections import Counter

import pytest

from api.connections import places
from api.connections.places import ConnectionLimits, ConnectionPlaces, Place


class Played:
    """A connection that does nothing but what a test says."""

    def __init__(self, address: str = "10.0.0.1") -> None:
        self.address = address
        self.gave_way = False
        self.has_valid_key = False

    def give_way(self) -> None:
        self.gave_way = True


def entered(
    open_places: ConnectionPlaces, count: int, address: str = "10.0.0.1", *, is_busy: bool = False
) -> list[Played]:
    connections = [Played(address) for _ in range(count)]
    for connection in connections:
        assert open_places.enter(connection) is Place.FULL
        if is_busy:
            connection.has_valid_key = True
            open_places.has_asked(connection)
    return connections


def test_an_address_that_opens_too_many_drives_out_its_own_oldest():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=100, per_address=3))
    [other] = entered(open_places, 1, "10.0.0.2")
    own = entered(open_places, 3)
    assert open_places.enter(Played()) is Place.FULL
    assert [one.gave_way for one in (other, *own)] == [False, True, False, False]


def test_the_longest_waiting_of_all_gives_way_where_each_address_has_one():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=3, per_address=3))
    [busy] = entered(open_places, 1, "10.0.0.1", is_busy=True)
    [answered] = entered(open_places, 1, "10.0.0.2", is_busy=True)
    [mute] = entered(open_places, 1, "10.0.0.3")
    open_places.is_answered(answered)
    assert open_places.enter(Played("10.0.0.4")) is Place.FULL
    assert [one.gave_way for one in (busy, answered, mute)] == [False, False, True]
    assert open_places.enter(Played("10.0.0.5")) is Place.FULL
    assert [one.gave_way for one in (busy, answered)] == [False, True]


@pytest.mark.parametrize("has_asked", [False, True])
def test_a_client_with_few_connections_keeps_them_whatever_forty_addresses_open(has_asked):
    open_places = ConnectionPlaces(ConnectionLimits(in_all=2000, per_address=500))
    own = entered(open_places, 2, "10.0.0.1", is_busy=has_asked)
    for one in own:
        open_places.is_answered(one)
    strangers = [Played(f"10.1.0.{number % 40}") for number in range(3000)]
    for stranger in strangers:
        assert open_places.enter(stranger) is Place.FULL
    assert not any(one.gave_way for one in own)
    assert sum(stranger.gave_way for stranger in strangers) == 2 + 3000 - 2000
    kept = Counter(stranger.address for stranger in strangers if not stranger.gave_way)
    assert max(kept.values()) - min(kept.values()) <= 1, "strangers drive out each other in equal parts"


def test_what_is_being_answered_does_not_stand_for_what_waits():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=10, per_address=10))
    entered(open_places, 5, "10.0.0.1", is_busy=True)
    entered(open_places, 1, "10.0.0.1")
    mute = entered(open_places, 4, "10.0.0.2")
    assert open_places.enter(Played("10.0.0.3")) is Place.FULL
    assert [one.gave_way for one in mute] == [True, False, False, False]


def test_strangers_who_are_being_answered_give_way_where_no_one_waits_and_owners_do_not():
    """They may take an answer as slowly as they like."""
    open_places = ConnectionPlaces(ConnectionLimits(in_all=6, per_address=4))
    owners = entered(open_places, 2, "10.0.0.1", is_busy=True)
    strangers = [*entered(open_places, 3, "10.0.0.2"), *entered(open_places, 1, "10.0.0.3")]
    for stranger in strangers:
        open_places.has_asked(stranger)
    assert open_places.enter(Played("10.0.0.4")) is Place.FULL
    assert [stranger.gave_way for stranger in strangers] == [True, False, False, False], "of the address that has most"
    mute = entered(open_places, 1, "10.0.0.5")
    assert [stranger.gave_way for stranger in strangers] == [True, False, False, False], "who waits comes first"
    strangers[1].has_valid_key = True
    entered(open_places, 3, "10.0.0.6", is_busy=True)
    assert [stranger.gave_way for stranger in (*strangers, *mute)] == [True, False, True, True, True]
    assert not any(owner.gave_way for owner in owners)
    assert open_places.enter(Played("10.0.0.7")) is Place.PROBES_ONLY


def test_one_host_has_all_addresses_of_its_network_in_ipv6_and_counts_once():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=100, per_address=3))
    [neighbour] = entered(open_places, 1, "2001:db8:0:2::1")
    own = [Played(f"2001:db8:0:1:{number}::1") for number in range(5)]
    for one in own:
        assert open_places.enter(one) is Place.FULL
    assert [one.gave_way for one in (neighbour, *own)] == [False, True, True, False, False, False]
    assert open_places.group_of(Played("10.0.0.1")) != open_places.group_of(Played("10.0.0.2"))


def test_clients_behind_a_proxy_do_not_count_as_one():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=10, per_address=2, proxies=("10.9.0.0/16",)))
    behind = entered(open_places, 8, "10.9.1.2")
    first, second = entered(open_places, 2, "10.0.0.1")
    assert open_places.enter(Played("10.0.0.2")) is Place.FULL
    assert first.gave_way
    assert open_places.enter(Played("10.9.1.2")) is Place.FULL
    assert [one.gave_way for one in behind] == [True] + [False] * 7, "the longest waiting of clients with one each"
    assert not second.gave_way


def test_a_place_is_found_as_quickly_among_many_as_among_few():
    def steps_for(strangers: int) -> int:
        open_places = ConnectionPlaces(ConnectionLimits(in_all=strangers, per_address=strangers))
        entered(open_places, strangers // 2, "10.0.0.1", is_busy=True)
        entered(open_places, strangers - strangers // 2, "10.0.0.2")
        steps = 0

        def count(*_: object) -> object:
            nonlocal steps
            steps += 1
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            entered(open_places, 20, "10.0.0.3")
        finally:
            sys.settrace(before)
        return steps

    assert steps_for(4000) <= steps_for(100)


@pytest.mark.parametrize(
    "limits", [ConnectionLimits(in_all=2, per_address=9), ConnectionLimits(in_all=9, per_address=2)]
)
def test_probes_have_room_where_everything_is_busy(limits, monkeypatch):
    monkeypatch.setattr(places, "PLACES_FOR_PROBES", 2)
    open_places = ConnectionPlaces(limits)
    busy = entered(open_places, 2, is_busy=True)
    [first, second, third] = [Played() for _ in range(3)]
    assert open_places.enter(first) is Place.PROBES_ONLY
    assert open_places.enter(second) is Place.PROBES_ONLY
    assert open_places.enter(third) is Place.PROBES_ONLY
    assert first.gave_way, "one that says nothing holds no probe up"
    for one in (second, third):
        one.has_valid_key = True
        open_places.has_asked(one)
    assert open_places.enter(Played()) is Place.NONE
    open_places.leave(busy[0])
    assert open_places.enter(Played()) is Place.FULL
    assert not any(one.gave_way for one in busy)


def test_many_clients_come_through_a_proxy():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=100, per_address=2, proxies=("10.9.0.0/16", "::1")))
    for address in ("10.9.1.2", "::1"):
        assert not any(one.gave_way for one in entered(open_places, 10, address, is_busy=True))
    entered(open_places, 2, is_busy=True)
    assert open_places.enter(Played()) is Place.PROBES_ONLY


def test_nothing_is_kept_of_connections_that_have_ended():
    open_places = ConnectionPlaces(ConnectionLimits(in_all=10, per_address=10))
    first, second, *others = entered(open_places, 5)
    open_places.has_asked(first)
    open_places.has_asked(second)
    open_places.is_answered(second)
    for one in (first, second, *others):
        open_places.leave(one)
        open_places.leave(one)
        open_places.is_answered(one)
    for room in (open_places._full, open_places._for_probes):
        for among in (room._idle, room._answered):
            kept = (room._groups, room._sizes, among._groups, among._by_size, among._largest)
            assert not any(kept), kept
