"""How a fixed number of places is shared by owners, so that none keeps the others out. Pure."""


def has_room(own: int, free: int, limit_per_owner: int) -> bool:
    """Whether an owner who has `own` places may take one of the `free` ones.

    The fewer places are free, the fewer an owner may have: it takes many greedy owners to fill the last ones, and
    whoever has none gets one as long as there is one.
    """
    return own < min(limit_per_owner, free)
