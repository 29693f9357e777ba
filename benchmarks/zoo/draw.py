"""Which sets of the zoo are sealed, and the guard that keeps them shut.

Half of the first sets were sealed by lot, then all sets of each later lot. Those of the first five lots have judged
once, and are open since; rules may not be tuned on the sixth.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.zoo.manifest import load_built, read_manifest
from benchmarks.zoo.sets import Built

DRAWN = Path(__file__).with_name("drawn.json")
SEALED_LOT = 6


class Sealed(Exception):
    """The set judges once, at the end, and is shut until then."""


def draw(manifest: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the sets of the first lot that were sealed.

    Sets that resemble each other in channels, expected difficulty and number of images are paired, and the lot takes
    one of each pair. It is seeded by the names alone, so anyone who knows the sets can draw it again.
    """
    names = sorted(name for name, entry in manifest.items() if not entry["tuned_on"] and entry["lot"] == 1)
    seed = int.from_bytes(hashlib.sha256("\n".join(names).encode()).digest()[:8])
    rng = np.random.default_rng(seed)
    alike = sorted(names, key=lambda name: (_kind(manifest[name]), manifest[name]["images"], name))
    drawn = []
    for first in range(0, len(alike), 2):
        pair = alike[first : first + 2]
        place = int(rng.integers(2))
        drawn += pair[place : place + 1]
    return sorted(drawn)


def drawn_sets() -> list[str]:
    """Names of the sets that were sealed first, and judged the rules of then."""
    names: list[str] = json.loads(DRAWN.read_text("utf-8"))
    return names


def sealed_sets() -> list[str]:
    """Names of the sets that no rule has seen."""
    return sets_of_lot(SEALED_LOT)


def sets_of_lot(lot: int) -> list[str]:
    """Names of a lot's sets, sorted; those on which rules were tuned before the zoo are not among them."""
    return [name for name, entry in read_manifest().items() if entry["lot"] == lot and not entry["tuned_on"]]


def check_open(name: str, *, unseal: bool = False) -> None:
    """Raise `Sealed` if the set is sealed, unless it is to judge now."""
    if not unseal and name in sealed_sets():
        raise Sealed(f"{name} is sealed: no rule may be tuned on it; `unseal=True` is for the one judgement at the end")


def open_set(name: str, *, unseal: bool = False) -> Built:
    """The built set from the cache folder.

    Args:
        unseal: whether a sealed set is opened all the same, to judge with it once.

    Raises:
        Sealed: if the set is sealed and shall stay so.
        NotBuilt: if it is not in the cache folder, or differs from the manifest.
    """
    check_open(name, unseal=unseal)
    return load_built(name)


def write_drawn() -> list[str]:
    """Draw and write the file of the sets that were sealed first."""
    drawn = draw(read_manifest())
    DRAWN.write_text(json.dumps(drawn, indent=1) + "\n", "utf-8")
    return drawn


def _kind(entry: Mapping[str, Any]) -> tuple[int, int]:
    return entry["channels"], ("easy", "medium", "hard").index(entry["guess"])
