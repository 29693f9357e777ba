"""`heldout datasets different`: images that look alike and are two things."""

from __future__ import annotations

from typing import Annotated

import typer

from heldout.cli.command import AsJson, Home, service
from heldout.cli.outcome import Refused
from heldout.cli.screen import print_json, say
from heldout.mending.bodies import LOOK_ALIKES


def different(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A name, name@version, or an id, ds_….")],
    pairs: Annotated[
        list[str] | None, typer.Argument(metavar="A=B...", help="Positions of two images each, such as 12=40.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All pairs that the audit shows as look-alikes.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget that they were told apart.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Say that images which look alike are different: they are not reported again, as copies or as look-alikes."""
    named = [_pair(text) for text in pairs or ()]
    if bool(named) == all_ or (all_ and forget):
        raise Refused("Name the pairs, such as 12=40, or give --all for those that the audit shows")
    with service(home) as client:
        row = client.dataset(dataset)
        if all_:
            findings = client.dataset_audit(row.id).findings
            named = [
                (one.index, other.index)
                for found in findings
                if found.code == LOOK_ALIKES
                for one, other in found.pairs
            ]
            if not named:
                raise Refused(f"--all: the audit of {row.name}@{row.version} shows no look-alikes")
        noted = client.tell_apart(row.id, named, different=not forget)
    if as_json:
        print_json(noted)
    else:
        count = "1 pair" if len(noted.pairs) == 1 else f"{len(noted.pairs):,} pairs"
        say(f"{row.name}@{row.version} remembers {count} of images as different.")


def _pair(text: str) -> tuple[int, int]:
    one, _, other = text.partition("=")
    if not (one.isascii() and one.isdigit() and other.isascii() and other.isdigit()):
        raise Refused(f"{text}: expected the positions of two images, such as 12=40")
    return int(one), int(other)
