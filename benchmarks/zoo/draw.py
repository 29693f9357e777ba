"""The lot that seals half of the zoo, and the guard that keeps sealed sets shut."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.zoo.manifest import load_built, read_manifest
from benchmarks.zoo.sets import Built

SEALED = Path(__file__).with_name("sealed.json")


class Sealed(Exception):
    """The set judges once, at the end, and is shut until then."""


def draw(manifest: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the sealed sets.

    Sets that resemble each other in channels, expected difficulty and number of images are paired, and the lot takes
    one of each pair. It is seeded by the names alone, so whoever knows the sets can draw it again.
    """
    names = sorted(name for name, entry in manifest.items() if not entry["tuned_on"])
    seed = int.from_bytes(hashlib.sha256("\n".join(names).encode()).digest()[:8])
    rng = np.random.default_rng(seed)
    alike = sorted(names, key=lambda name: (_kind(manifest[name]), manifest[name]["images"], name))
    sealed = []
    for first in range(0, len(alike), 2):
        pair = alike[first : first + 2]
        place = int(rng.integers(2))
        sealed += pair[place : place + 1]
    return sorted(sealed)


def sealed_sets() -> list[str]:
    """Names of the sets that the lot has sealed."""
    names: list[str] = json.loads(SEALED.read_text("utf-8"))
    return names


def open_set(name: str, *, unseal: bool = False) -> Built:
    """The built set from the cache folder.

    Args:
        unseal: whether a sealed set is opened all the same, to judge with it once.

    Raises:
        Sealed: if the set is sealed and shall stay so.
        NotBuilt: if it is not in the cache folder, or differs from the manifest.
    """
    if not unseal and name in sealed_sets():
        raise Sealed(f"{name} is sealed: no rule may be tuned on it; `unseal=True` is for the one judgement at the end")
    return load_built(name)


def write_sealed() -> list[str]:
    """Draw and write the file of sealed sets."""
    sealed = draw(read_manifest())
    SEALED.write_text(json.dumps(sealed, indent=1) + "\n", "utf-8")
    return sealed


def _kind(entry: Mapping[str, Any]) -> tuple[int, int]:
    return entry["channels"], ("easy", "medium", "hard").index(entry["guess"])
