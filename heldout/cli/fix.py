"""`heldout datasets fix`: a new version with changes, without a second upload; `different`: images that look alike."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.cli.command import Dataset, Detach, Service, Yes
from heldout.cli.outcome import Exit, Refused
from heldout.cli.screen import print_blocks, print_json, say
from heldout.cli.uploads import check_spec, show_outcome, wait_for_ingest
from heldout.documents.audit import build_effect
from heldout.fixes.bodies import LOOK_ALIKES, SPLITS, combine_bodies
from heldout.words import pluralize

if TYPE_CHECKING:
    from heldout.client.client import Client
    from heldout.fixes.changes import VersionSpec
    from heldout.views.dataset import DatasetView, EffectView


def fix(
    service: Service,
    dataset: Dataset,
    drop_copies: Annotated[
        bool, typer.Option("--drop-copies", help="Keep one image of each cluster of copies, in test if one is there.")
    ] = False,
    relabel: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Images and their true classes: `image,label`.")
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Images to leave out: one file name or position per line.")
    ] = None,
    columns: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Columns to add, such as patient or camera: `image` and one for each."),
    ] = None,
    rename_classes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="Another name, or that of a class to merge with; test:OLD=NEW says what a label of one split means. "
            "Repeatable.",
        ),
    ] = None,
    pixel_values: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPLIT=CHANGE",
            help="invert, swap_channels, transpose, turn_left, turn_right, upside_down, flip_vertical, "
            "flip_horizontal, or numbers: test=factor:255,offset:0. Repeatable.",
        ),
    ] = None,
    resplit: Annotated[bool, typer.Option("--resplit", help="Split all images again.")] = False,
    test: Annotated[float | None, typer.Option(help="With --resplit: fraction of the images for test.")] = None,
    validation: Annotated[float | None, typer.Option(help="With --resplit: fraction for validation.")] = None,
    seed: Annotated[int | None, typer.Option(help="With --resplit: seed of the random splits.")] = None,
    from_finding: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Apply the audit's fix for this finding. Repeatable.")
    ] = None,
    cure: Annotated[
        bool, typer.Option("--cure", help="Apply the audit's fixes for all warnings and critical findings.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the new version; by default, that of the old one.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many images of which split it removes or changes, and end.")
    ] = False,
    yes: Yes = False,
    detach: Detach = False,
) -> Exit | None:
    """Make a new version of a dataset with changes, without a second upload, and show what its audit finds.

    First it prints how many images of which split change or are removed. In a terminal it then asks.
    """
    from heldout.fixes.changes import VersionSpec

    resplit_to = {"test": test, "validation": validation, "seed": seed}
    cut = {option: value for option, value in resplit_to.items() if value is not None}
    if cut and not resplit:
        raise Refused(f"--{next(iter(cut))} only works with --resplit, which splits all images again")
    ordered = {
        "exclude": _read_lines(exclude) if exclude else None,
        "relabel": _read_labels(relabel) if relabel else None,
        "columns": _read_columns(columns) if columns else None,
        "rename_classes": _parse_renamed(rename_classes or []),
        "pixel_values": _parse_pixel_changes(pixel_values or []),
        "resplit": (cut or True) if resplit else None,
        "drop_copies": drop_copies or None,
    }
    body = {part: change for part, change in ordered.items() if change}
    client = service.client
    base = client.datasets.get(dataset).view
    body = combine_bodies([body, *_list_offered(client, base, from_finding or [], cure)])
    spec = check_spec(VersionSpec, {**body, "name": name})
    if dry_run or not (service.as_json or detach):
        service.print(client.datasets.preview_fix(base.id, _convert_to_json(spec)), _print_effect)
        asks = not yes and sys.stdin.isatty() and sys.stdout.isatty()
        if dry_run or (asks and not typer.confirm("Make the version?", default=True)):
            return None
    if detach:
        service.print_id(client.datasets.fix(base.id, _convert_to_json(spec)).view)
        return None
    fixed = _order_fix(service, base, spec)
    tried = [body]
    # One fault can hide another: the copies among inverted images are found once they are inverted back.
    while (
        cure and fixed.status == "ready" and (body := combine_bodies(_list_cures(client, fixed))) and body not in tried
    ):
        tried.append(body)
        if not service.as_json:
            _print_effect(client.datasets.preview_fix(fixed.id, body))
        fixed = _order_fix(service, fixed, check_spec(VersionSpec, body))
    if service.as_json:
        print_json(fixed)
    return None if fixed.status == "ready" else Exit.FAILED


def _print_effect(effect: EffectView) -> None:
    print_blocks(build_effect(effect))


def _order_fix(service: Service, base: DatasetView, spec: VersionSpec) -> DatasetView:
    """Order the new version, wait for it, and show its audit to people."""
    made = service.client.datasets.fix(base.id, _convert_to_json(spec)).view
    settled = wait_for_ingest(service.client, made.id, quiet=service.as_json)
    if not service.as_json:
        if settled.id != made.id:
            known = f"{settled.name}@{settled.version}"
            say(f"{made.name}@{made.version} has the same content as {known}, which is used in its place.")
        show_outcome(service, settled)
    return settled


def _convert_to_json(spec: VersionSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_defaults=True)


def _list_cures(client: Client, dataset: DatasetView) -> list[dict[str, Any]]:
    """List the codes of warnings and critical findings with a fix."""
    findings = client.datasets.audit(dataset.id).findings
    return [finding.fix for finding in findings if finding.fix is not None and finding.severity != "info"]


def _list_offered(client: Client, base: DatasetView, codes: Sequence[str], cure: bool) -> list[dict[str, Any]]:
    """Return the audit's fixes for findings with these codes, or for all but infos. Raises Refused."""
    if not (codes or cure):
        return []
    fixes = [(found.code, found.fix) for found in client.datasets.audit(base.id).findings if found.fix is not None]
    known = {code for code, _ in fixes}
    for code in codes:
        if code not in known:
            raise Refused(
                f"--from-finding {code}: the audit of {base.name}@{base.version} has no such finding that a change "
                f"cures. It has: {', '.join(sorted(known)) or 'none'}"
            )
    cures = _list_cures(client, base) if cure else []
    if cure and not cures:
        raise Refused(f"--cure: the audit of {base.name}@{base.version} has no finding that a change cures")
    return [*(fix for code, fix in fixes if code in codes), *cures]


def _read_lines(file: Path) -> list[str]:
    lines = [line for line in _read(file, lambda text: text.read().splitlines()) if line.strip()]
    if not lines:
        raise Refused(f"--exclude {file}: the file names no image")
    return lines


def _read_labels(file: Path) -> dict[str, str]:
    rows = _read(file, lambda text: list(csv.DictReader(text)))
    found: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        image, label = row.get("image"), row.get("label")
        if not image or not label:
            raise Refused(f"--relabel {file}: line {number}: expected the columns image,label, each with a value")
        if found.setdefault(image, label) != label:
            raise Refused(f"--relabel {file}: line {number}: {image} is {found[image]} in a line before")
    if not found:
        raise Refused(f"--relabel {file}: expected a line `image,label`, then a line for each image")
    return found


def _read_columns(file: Path) -> dict[str, dict[str, str]]:
    rows = _read(file, lambda text: list(csv.DictReader(text)))
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        image = next((row.pop(name) for name in ("image", "file", "file_name") if row.get(name)), None)
        if image is None or None in row or None in row.values():
            raise Refused(f"--columns {file}: line {number}: expected an `image` and a value for each column")
        for name, value in row.items():
            if value:
                found.setdefault(name, {})[image] = value
    if not found:
        raise Refused(f"--columns {file}: expected a line such as `image,patient`, then a line for each image")
    return found


def _read(file: Path, parse: Callable[[Any], Any]) -> Any:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            return parse(text)
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"{file}: not text that can be read: {error}") from None


def _parse_renamed(texts: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not (old and equals and new):
            raise Refused(f"--rename-classes {text}: expected OLD=NEW, or test:OLD=NEW for one split")
        split, colon, label = old.partition(":")
        if colon and label and split in SPLITS:
            found.setdefault(split, {})[label] = new
        else:
            found[old] = new
    return found


def _parse_pixel_changes(texts: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        split, equals, change = text.partition("=")
        if not (equals and change) or split not in SPLITS:
            raise Refused(f"--pixel-values {text}: expected SPLIT=CHANGE, such as test=invert")
        found[split] = _parse_numbers(text, change) if ":" in change else change
    return found


def _parse_numbers(text: str, change: str) -> dict[str, float]:
    try:
        return {name: float(value) for name, _, value in (part.partition(":") for part in change.split(","))}
    except ValueError:
        raise Refused(f"--pixel-values {text}: expected numbers, such as test=factor:255,offset:0") from None


def different(
    service: Service,
    dataset: Dataset,
    pairs: Annotated[
        list[str] | None, typer.Argument(metavar="A=B...", help="Pairs of image positions, such as 12=40.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All pairs that the audit shows as look-alikes.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget that they are different.")] = False,
) -> None:
    """Mark look-alike images as different, so that they are not reported again as copies or look-alikes."""
    named = [_parse_pair(text) for text in pairs or ()]
    if bool(named) == all_ or (all_ and forget):
        raise Refused("Name the pairs, such as 12=40, or give --all for those that the audit shows")
    client = service.client
    row = client.datasets.get(dataset).view
    if all_:
        findings = client.datasets.audit(row.id).findings
        alike = [pair for found in findings if found.code == LOOK_ALIKES for pair in found.pairs]
        named = [(first.index, second.index) for first, second in alike]
        if not named:
            raise Refused(f"--all: the audit of {row.name}@{row.version} shows no look-alikes")
    noted = client.datasets.mark_different(row.id, named, different=not forget)
    remembers = f"{row.name}@{row.version} remembers {pluralize(len(noted.pairs), 'pair')} of images as different."
    service.print(noted, lambda _: say(remembers))


def _parse_pair(text: str) -> tuple[int, int]:
    first, _, second = text.partition("=")
    if not (first.isascii() and first.isdigit() and second.isascii() and second.isdigit()):
        raise Refused(f"{text}: expected the positions of two images, such as 12=40")
    return int(first), int(second)
