"""How long jobs wait for one of several slots: Erlang's formula, its correction for other spreads, and the queue
itself.

Rates are per second, times in seconds. Arrivals are independent (Poisson) unless stated otherwise.
"""

import heapq
from collections.abc import Sequence


def probability_of_waiting(load: float, slots: int) -> float:
    """Erlang's C: the share of jobs that find every slot taken.

    Args: load is arrival rate × mean job length, 0 <= load < slots.
    Raises: ValueError where the queue would grow without end.
    Source: Erlang 1917; the recursion of Erlang's B keeps it exact for hundreds of slots.
    """
    if slots < 1 or load < 0 or load >= slots:
        raise ValueError(f"{slots} slots cannot carry a load of {load:g}; expected 0 <= load < slots.")
    blocked = 1.0
    for servers in range(1, slots + 1):
        blocked = load * blocked / (servers + load * blocked)
    return blocked / (1 - (load / slots) * (1 - blocked))


def mean_wait_s(
    arrivals_per_s: float, job_s: float, slots: int, *, spread: float = 1.0, arrival_spread: float = 1.0
) -> float:
    """Mean time from queued to started in an M/G/c queue (Allen and Cunneen).

    Exact for one slot with Poisson arrivals (Pollaczek and Khinchine) and for exponential lengths, close otherwise.

    Args: spread and arrival_spread are variance / mean², of job lengths and of times between arrivals; 1 where they are
        exponential, 0 where they are all the same.
    Source: Allen, Probability, Statistics, and Queueing Theory, 2nd edition, section 5.4.
    """
    load = arrivals_per_s * job_s
    exponential = probability_of_waiting(load, slots) * job_s / (slots - load)
    return exponential * (spread + arrival_spread) / 2


def waits_of(arrivals_s: Sequence[float], lengths_s: Sequence[float], slots: int) -> list[float]:
    """What each job waits, first come, first served: the queue itself, without assumptions.

    Args: arrivals_s are times in ascending order; lengths_s belong to them.
    """
    free_at = [0.0] * slots
    waits = []
    for arrival, length in zip(arrivals_s, lengths_s, strict=True):
        begin = max(arrival, heapq.heappop(free_at))
        heapq.heappush(free_at, begin + length)
        waits.append(begin - arrival)
    return waits
