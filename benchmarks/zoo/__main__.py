"""The zoo of real image sets: `python -m benchmarks.zoo COMMAND`.

fetch [SET…]   download and unpack the packages of all sets, or of these, into the cache folder (HELDOUT_ZOO)
build [SET…]   build all sets, or these, with a contact sheet each, and compare them with the manifest
build --write [SET…]   the same, and write what was built into the manifest
list           a table of all sets, and which are sealed
draw           draw the sealed half again and write it
suspects …     what the search for wrong labels says of the sets, beside the truth; `suspects --help` has the choices
"""

import json
import sys

from benchmarks.zoo.draw import SEALED, write_sealed
from benchmarks.zoo.manifest import build, read_manifest, write_manifest
from benchmarks.zoo.packages import fetch
from benchmarks.zoo.registry import ZOO


def main(arguments: list[str]) -> None:
    match arguments:
        case ["fetch", *names] if set(names) <= set(ZOO):
            fetch(package for name in names or ZOO for package in ZOO[name].packages)
        case ["build", "--write", *names] if set(names) <= set(ZOO):
            for name in names or ZOO:
                write_manifest({name: build(ZOO[name])})
                print(name, flush=True)
        case ["build", *names] if set(names) <= set(ZOO):
            known = read_manifest()
            differ = [name for name in names or ZOO if build(ZOO[name]) != known.get(name)]
            if differ:
                raise SystemExit(f"These differ from the manifest: {', '.join(differ)}")
        case ["list"]:
            print("\n".join(table()))
        case ["draw"]:
            print("\n".join(write_sealed()))
        case ["suspects", *rest]:
            from benchmarks.zoo import suspects  # imports TensorFlow

            suspects.main(rest)
        case _:
            raise SystemExit(__doc__)


def table() -> list[str]:
    """Markdown: a row for each set."""
    sealed = json.loads(SEALED.read_text("utf-8")) if SEALED.exists() else []
    lines = [
        "| set | images | classes | groups | pixels | imbalance | guess | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in read_manifest().items():
        pixels = f"{entry['size']}, {'grey' if entry['channels'] == 1 else 'colour'}"
        mark = "sealed" if name in sealed else "tuned on" if entry["tuned_on"] else ""
        lines.append(
            f"| {name} | {entry['images']:,} | {entry['classes']} | {entry['groups']:,} | {pixels} | "
            f"1:{entry['imbalance']:g} | {entry['guess']} | {mark} |"
        )
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
