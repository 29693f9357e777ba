"""Every check by name, and the notes of all of them."""

from collections.abc import Mapping
from dataclasses import replace

from heldout.network_check import layers, maps, training
from heldout.network_check.checked import Check, Checked, Note
from heldout.words import pluralize

CHECKS: Mapping[str, Check] = {**layers.CHECKS, **maps.CHECKS, **training.CHECKS}
# A check lists at most this many notes.
MAX_ALIKE = 3


def check_network(network: Checked) -> list[Note]:
    """List what looks wrong, at most a few notes of a check."""
    notes = list[Note]()
    for name, check in CHECKS.items():
        found = [replace(note, check=name) for note in check.find(network)]
        notes += found[:MAX_ALIKE]
        if len(found) > MAX_ALIKE:
            rest = pluralize(len(found) - MAX_ALIKE, "more layer")
            notes.append(Note("", f"The same holds for {rest}.", check=name))
    return notes
