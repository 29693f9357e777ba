"""`python -m worker.ingest`: audits a folder, archive, `.npz` or Parquet file, and stores nothing.

`heldout datasets audit PATH` and `heldout check-data PATH` run this program.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.arrays.dataset import ImageSet, load
from analysis.arrays.file_names import MEMBERS_FILE
from heldout.cli.outcome import Exit, Refused, report
from heldout.cli.screen import prepare, print_blocks, print_json, say
from heldout.cli.shown import format_size, show_classes
from heldout.client.image_sizes import SizesDiffer, require_one_size
from heldout.client.packing import NothingToPack, list_files, pack_folder, pack_together
from heldout.documents.audit import build_audit
from heldout.fixes.offers import advise, make_offers, share_copies_and_differ
from heldout.spec.dataset import DatasetSpec, ResizeSpec
from heldout.stored.audit import AuditFinding, IngestedContent, StoredAudit
from heldout.views.audit import AuditView
from heldout.words.data_and_models import GROUPS_PAGE, ask_about_groups, describe_audit, fold_notes
from worker.ingest.audit.run import SEVERITIES
from worker.ingest.local_audit.name_groups import describe_groups, guess_groups
from worker.ingest.local_audit.odd_images import describe_odd_images, find_odd_images, make_example
from worker.ingest.local_audit.page import render_audit
from worker.ingest.parent import ingest
from worker.ingest.rejection import Rejection


def main(arguments: Sequence[str] | None = None) -> Exit:
    """Audit the paths, print the findings, and return the exit code."""
    parser = argparse.ArgumentParser("python -m worker.ingest", description=__doc__)
    parser.add_argument("--spec", required=True, help="How the upload is to be read: a dataset's spec, as JSON.")
    parser.add_argument("--json", action="store_true", dest="as_json", help="Print JSON on standard output.")
    parser.add_argument("--report", type=Path, help="Write the audit with pictures into this file, as HTML.")
    parser.add_argument("paths", nargs="+", type=Path)
    asked = parser.parse_args(arguments)
    try:
        # Runs in a temporary folder, which is always removed.
        with tempfile.TemporaryDirectory(prefix="heldout-audit-") as folder:
            spec, of_sizes = _choose_size(DatasetSpec.model_validate_json(asked.spec), asked.paths)
            source = _pack_source(asked.paths, Path(folder))
            target = Path(folder) / "dataset"
            made = ingest(source, spec, target)
            stored = StoredAudit.from_bytes((target / StoredAudit.file_name).read_bytes())
            images = load(target)
            stored = _add_findings(stored, [*of_sizes, *_look_closer(images, target, stored)])
            if asked.report is not None:
                view = _build_view(stored.model_dump(mode="json", exclude={"format"}))
                page = render_audit(view, _choose_name(asked.paths), images, target / "preview")
                asked.report.write_text(page, encoding="utf-8")
    except Rejection as rejection:
        if asked.as_json:
            print_json({"object": "audit", "dataset": None, "error": rejection.as_json()})
        say(f"{_choose_name(asked.paths)} rejected: {rejection.code}: {rejection.detail}", file=sys.stderr)
        return Exit.FAILED
    except NothingToPack as error:
        return report(Refused(str(error)), as_json=asked.as_json)
    except OSError as error:
        return report(error, as_json=asked.as_json)
    _show(asked.paths, made, stored, asked.as_json)
    if asked.report is not None:
        say(f"The report is {asked.report}", file=sys.stderr)
    return Exit.SUCCEEDED


def _choose_size(spec: DatasetSpec, paths: Sequence[Path]) -> tuple[DatasetSpec, list[AuditFinding]]:
    """Choose one size for all images if they differ in size, with the finding that says so."""
    if spec.resize is not None:
        return spec, []
    try:
        require_one_size(paths, [name for name, use in spec.splits.folders.items() if use == "ignore"])
    except SizesDiffer as error:
        return spec.model_copy(update={"resize": ResizeSpec(height=error.side, width=error.side, rule="pad")}), [
            AuditFinding(
                code="sizes_differ",
                severity="warning",
                numbers={"side": error.side},
                explanation=f"{error.found} They were audited at {error.side}×{error.side}.",
                what_to_do=f"Give them one size: `--resize {error.side}x{error.side}`, and `--rule crop` to cut off "
                "edges instead of adding black bars.",
            )
        ]
    return spec, []


def _look_closer(images: ImageSet, folder: Path, stored: StoredAudit) -> list[AuditFinding]:
    """Return findings about odd images and about groups that file names suggest."""
    names = (folder / MEMBERS_FILE).read_text(encoding="utf-8").split("\n")[:-1]
    found = []
    if odd := find_odd_images(images):
        found.append(describe_odd_images(odd, [make_example(images, names, image.row) for image in odd]))
    if stored.source.get("groups") is None and (groups := guess_groups(names, images.labels, images.splits)):
        members = np.flatnonzero(np.isin(groups.groups, groups.crossing[:1])).tolist()
        examples = [make_example(images, names, row) for row in members]
        is_cut = all(origin != "upload" for origin in stored.source["splits"].values())
        found.append(describe_groups(groups, examples, is_cut=is_cut))
    return found


def _add_findings(stored: StoredAudit, added: Sequence[AuditFinding]) -> StoredAudit:
    """Add findings, in the order of their severity."""
    findings = sorted([*stored.findings, *added], key=lambda finding: SEVERITIES.index(finding.severity))
    return stored.model_copy(update={"findings": tuple(findings)})


def _pack_source(paths: Sequence[Path], folder: Path) -> Path:
    """Return one file with everything in it. A single file is read in place. Raises NothingToPack, OSError."""
    if len(paths) == 1 and not paths[0].is_dir():
        paths[0].open("rb").close()
        return paths[0]
    source = folder / "upload"
    with source.open("wb") as opened:
        opened.writelines(pack_folder(paths[0], list_files(paths[0])) if len(paths) == 1 else pack_together(paths))
    return source


def _show(paths: Sequence[Path], made: IngestedContent, stored: StoredAudit, as_json: bool) -> None:
    content = stored.model_dump(mode="json", exclude={"format"})
    if as_json:
        about = {"shape": made.shape, "dtype": made.dtype, "range": made.value_range, "classes": made.classes}
        print_json({"object": "audit", "dataset": None, **about, **content})
        return
    counts = {split: f"{counts['count']:,}" for split, counts in made.splits.items()}
    say(f"{_choose_name(paths)}  {format_size(made.shape, made.classes, counts)}")
    show_classes(made.classes)
    print_blocks(build_audit(_build_view(content)))


def _build_view(content: dict[str, Any]) -> AuditView:
    """Return the view that a service would send. Nothing is stored, so there is no id, and images have no routes."""

    def build_example(image: dict[str, Any]) -> dict[str, Any]:
        return {**image, "thumbnail": ""}

    found = [AuditFinding.model_validate(finding) for finding in content["findings"]]
    shown = fold_notes(found)
    images = sum(split["count"] for split in content["splits"].values())
    findings = [
        {
            **finding,
            "what_to_do": advise(folded, fix, images),
            "examples": [build_example(image) for image in finding["examples"]],
            "pairs": [[build_example(image) for image in pair] for pair in finding["pairs"]],
        }
        for finding, folded, fix in zip(
            (finding.model_dump() for finding in shown), shown, make_offers(shown), strict=True
        )
    ]
    nowhere = {"id": "", "name": "local", "version": 1}
    headline, summary = describe_audit(found, differs_too=share_copies_and_differ(found))
    is_known = any(finding.code == "names_suggest_groups" for finding in found)
    asked = None if is_known else ask_about_groups(content["source"])
    return AuditView.model_validate(
        {
            **content,
            "dataset": nowhere,
            "headline": headline,
            "summary": summary,
            "findings": findings,
            "question": None if asked is None else {"text": asked, "page": GROUPS_PAGE},
        }
    )


def _choose_name(paths: Sequence[Path]) -> str:
    return " ".join(map(str, paths))


if __name__ == "__main__":
    prepare()
    for ended_by in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ended_by, lambda number, _: sys.exit(128 + number))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
