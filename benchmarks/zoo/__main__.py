"""The zoo of real image sets: `python -m benchmarks.zoo COMMAND`.

fetch [SET…]   download and unpack the packages of all sets, or of these, into the cache folder (HELDOUT_ZOO)
build [SET…]   build all sets, or these, with a contact sheet each, and compare them with the manifest
build --write [SET…]   the same, and write what was built into the manifest
list           a table of all sets, and which are sealed
draw           draw again which sets of the first lot were sealed, and write it
suspects …     the search for wrong labels on the sets, compared with the truth; `suspects --help` has the choices
train [--sets open|drawn|second|…|sixth] [--minutes N]   train what the collection lacks; prints no results
unlearned [SET…]   train a few networks that learn little, with copies and without, of all open sets or of these
noise [SET…]   train a drawn sample again for its answers to training images, with wrong labels and without
plan           write the list of the sixth lot's trainings with its digest, before any of them has begun
audit [SET…]   audit the trainings of all open sets, or of these, again, as today's audit does it
score [second|third|fourth|fifth]   tables of the first lot, or of another open one
groups LOT     the tables of a lot whose sets are built, if the datasets had groups
calibrate      fit how often a verdict is right on all lots, and write it into heldout/diagnosis/verdict_fit.py
prove [MINUTES]  train the experiments that proofs of a drawn sample ask for; without minutes, score what is kept
score --sealed --unseal   tables of the sealed sets, which judge once, after the rules are committed
copies [SET…]  measure how well copies and look-alikes are separated, on all open sets or these (--unseal: sealed too)
"""

import sys
import time
from typing import get_args

from benchmarks.zoo import copies, proofs
from benchmarks.zoo.cuts import NotApplicable
from benchmarks.zoo.draw import SEALED_LOT, Sealed, sealed_sets, sets_of_lot, write_drawn
from benchmarks.zoo.manifest import build, read_manifest, write_manifest
from benchmarks.zoo.packages import fetch
from benchmarks.zoo.registry import ZOO
from benchmarks.zoo.trainings import LATER_LOTS, Part

OPEN_LOTS = {name: lot for name, lot in LATER_LOTS.items() if lot < SEALED_LOT}


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
        case ["copies", *options] if set(options) - {"--unseal"} <= set(ZOO):
            unseal = "--unseal" in options
            shut = () if unseal else sealed_sets()
            names = [name for name in options if name in ZOO] or [name for name in ZOO if name not in shut]
            copies.main(names, unseal=unseal)
        case ["prove"]:
            print("\n".join(proofs.score()))
        case ["prove", minutes]:
            proofs.train(float(minutes))
        case ["draw"]:
            print("\n".join(write_drawn()))
        case ["suspects", *rest]:
            from benchmarks.zoo import suspects  # imports TensorFlow

            suspects.main(rest)
        case ["train", *options]:
            chosen = _options(options, {"--sets": "open", "--minutes": "inf"})
            for part in get_args(Part):
                if part == chosen["--sets"]:
                    train(part, float(chosen["--minutes"]))
        case ["unlearned", *names] if set(names) <= set(ZOO):
            _use_one_core()
            from benchmarks.zoo.unlearned import train_unlearned

            train_unlearned(frozenset(names or ZOO))
        case ["noise", *names] if set(names) <= set(ZOO):
            _use_one_core()
            from benchmarks.zoo.noise import sample_sets, train_sample

            train_sample(names or sample_sets())
        case ["plan"]:
            from benchmarks.zoo.trainings import PLAN_OF_SIXTH, all_trainings, digest_of_plan

            planned = all_trainings("sixth")
            lines = [digest_of_plan(planned), *(training.key for training in planned)]
            PLAN_OF_SIXTH.write_text("\n".join(lines) + "\n", "utf-8")
        case ["audit", *names] if set(names) <= set(ZOO):
            from benchmarks.zoo.audited import audit_again

            for name in names or [name for lot in range(1, SEALED_LOT) for name in sets_of_lot(lot)]:
                audit_again(name)
                print(name, flush=True)
        case ["groups", lot] if lot in map(str, LATER_LOTS.values()):
            from benchmarks.zoo.audited import add_groups
            from benchmarks.zoo.record import read_set
            from benchmarks.zoo.score import judge, tables_of

            grouped = (add_groups(record) for name in sets_of_lot(int(lot)) for record in read_set(name, unseal=True))
            print("\n".join(tables_of([judge(record) for record in grouped], with_confusions=False)))
        case ["calibrate"]:
            from benchmarks.zoo.calibrate import calibrate

            print("\n".join(calibrate()))
        case ["score", *flags] if flags in ([], *([lot] for lot in OPEN_LOTS)) or {*flags} <= {"--sealed", "--unseal"}:
            from benchmarks.zoo.score import tables

            lot = SEALED_LOT if "--sealed" in flags else OPEN_LOTS.get("".join(flags), 1)
            try:
                print("\n".join(tables(lot, unseal="--unseal" in flags)))
            except Sealed as error:
                raise SystemExit(str(error)) from error
        case _:
            raise SystemExit(__doc__)


def _options(given: list[str], defaults: dict[str, str]) -> dict[str, str]:
    if len(given) % 2 or not {*given[::2]} <= {*defaults}:
        raise SystemExit(__doc__)
    return defaults | dict(zip(given[::2], given[1::2], strict=True))


def train(part: Part, minutes: float) -> None:
    """Train what the collection lacks, of these sets, until the time is up.

    It prints only names and times, so that the results of sealed sets stay unseen.
    """
    _use_one_core()
    from benchmarks.zoo.record import append, keys_of
    from benchmarks.zoo.trained import train
    from benchmarks.zoo.trainings import all_trainings

    every = all_trainings(part)
    known = {key for name in {one.dataset for one in every} for key in keys_of(name)}
    wanted = [one for one in every if one.key not in known]
    ends = time.monotonic() + 60 * minutes
    for number, training in enumerate(wanted, 1):
        began = time.monotonic()
        if began > ends:
            break
        try:
            append(train(training))
        except NotApplicable as error:
            print(f"{training.key} cannot be: {error}", flush=True)
        print(f"{number}/{len(wanted)} {training.key} {time.monotonic() - began:.1f} s", flush=True)


def _use_one_core() -> None:
    # Only commands that train need TensorFlow.
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def table() -> list[str]:
    """Markdown: a row for each set."""
    sealed = sealed_sets()
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
