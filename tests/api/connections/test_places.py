"""Who may connect when many do, and who gives way."""

import pytest

from api.connections import places
from api.connections.places import Limits, Place, Places


class Played:
    """A connection that does nothing but what a test says."""

    def __init__(self, address: str = "10.0.0.1", *, is_waiting: bool = True) -> None:
        self.address = address
        self.is_waiting = is_waiting
        self.gave_way = False

    def give_way(self) -> None:
        self.gave_way = True


def entered(open_places: Places, count: int, address: str = "10.0.0.1", *, is_waiting: bool = True) -> list[Played]:
    connections = [Played(address, is_waiting=is_waiting) for _ in range(count)]
    for one in connections:
        assert open_places.enter(one) is Place.FULL
    return connections


def test_an_address_that_opens_too_many_drives_out_its_own_oldest():
    open_places = Places(Limits(in_all=100, per_address=3))
    [other] = entered(open_places, 1, "10.0.0.2")
    own = entered(open_places, 3)
    assert open_places.enter(Played()) is Place.FULL
    assert [one.gave_way for one in (other, *own)] == [False, True, False, False]


def test_the_longest_waiting_of_all_gives_way_when_all_places_are_taken():
    open_places = Places(Limits(in_all=3, per_address=3))
    busy, first, second = [Played(f"10.0.0.{number}", is_waiting=number > 1) for number in (1, 2, 3)]
    for one in (busy, first, second):
        open_places.enter(one)
    assert open_places.enter(Played("10.0.0.4")) is Place.FULL
    assert [one.gave_way for one in (busy, first, second)] == [False, True, False]


def test_who_asks_again_and_again_does_not_give_way_to_who_says_nothing():
    open_places = Places(Limits(in_all=3, per_address=2))
    [active] = entered(open_places, 1, "10.0.0.2")
    for number in range(10):
        open_places.has_asked(active)
        assert open_places.enter(Played(f"10.1.0.{number}")) is Place.FULL
    assert not active.gave_way
    assert len(open_places._all) == 3


@pytest.mark.parametrize("limits", [Limits(in_all=2, per_address=9), Limits(in_all=9, per_address=2)])
def test_probes_have_room_where_everything_is_busy(limits, monkeypatch):
    monkeypatch.setattr(places, "PLACES_FOR_PROBES", 2)
    open_places = Places(limits)
    busy = entered(open_places, 2, is_waiting=False)
    [first, second, third] = [Played() for _ in range(3)]
    assert open_places.enter(first) is Place.PROBES_ONLY
    assert open_places.enter(second) is Place.PROBES_ONLY
    assert open_places.enter(third) is Place.PROBES_ONLY
    assert first.gave_way, "one that says nothing holds no probe up"
    second.is_waiting = third.is_waiting = False
    assert open_places.enter(Played()) is Place.NONE
    open_places.leave(busy[0])
    assert open_places.enter(Played()) is Place.FULL
    assert not any(one.gave_way for one in busy)


def test_many_clients_come_through_a_proxy():
    open_places = Places(Limits(in_all=100, per_address=2, proxies=("10.9.0.0/16", "::1")))
    for address in ("10.9.1.2", "::1"):
        assert not any(one.gave_way for one in entered(open_places, 10, address, is_waiting=False))
    entered(open_places, 2, is_waiting=False)
    assert open_places.enter(Played()) is Place.PROBES_ONLY


def test_nothing_is_kept_of_connections_that_have_ended():
    open_places = Places(Limits(in_all=10, per_address=10))
    for one in entered(open_places, 5):
        open_places.leave(one)
        open_places.leave(one)
    assert not open_places._by_address
    assert not open_places._all
