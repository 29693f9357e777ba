"""Shares a fixed number of places among owners, so that none keeps the others out. Pure."""


def has_room(own: int, free: int, limit_per_owner: int) -> bool:
    """Return whether an owner with `own` places may take one of the `free` ones.

    The fewer places are free, the fewer an owner may have. So it takes many greedy owners to fill the last ones, and an
    owner without a place gets one while there is one.
    """
    return own < min(limit_per_owner, free)
