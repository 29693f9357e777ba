"""Bodies that arrive too slowly are recognized."""

from api.connections.protocol import ReceivePace


def test_a_steady_client_at_the_minimum_rate_may_take_forever():
    pace = ReceivePace(bytes_per_s=1000, patience_s=30)
    for _ in range(100_000):
        pace.note(1000, waited_s=1)
    assert not pace.is_too_slow


def test_a_client_below_the_minimum_rate_is_too_slow():
    pace = ReceivePace(bytes_per_s=1000, patience_s=30)
    seconds = 0
    while not pace.is_too_slow:
        pace.note(500, waited_s=1)
        seconds += 1
    assert 60 <= seconds <= 62, "each second, half of the minimum is missing"


def test_a_client_may_pause_as_long_after_a_gigabyte_as_at_the_start():
    for before in (0, 10**9):
        pace = ReceivePace(bytes_per_s=1000, patience_s=30)
        pace.note(before, waited_s=1)
        pace.note(0, waited_s=28)
        assert not pace.is_too_slow
        pace.note(0, waited_s=3)
        assert pace.is_too_slow
