"""`python -m worker.ingest`: audits a folder, archive, `.npz` or Parquet file, and stores nothing.

`heldout datasets audit PATH` becomes this program.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heldout.cli.outcome import Exit, Refused, report
from heldout.cli.screen import prepare, print_json, say
from heldout.cli.shown import format_size, show_classes
from heldout.cli.shown_diagnosis import show_audit
from heldout.client.packing import NothingToPack, list_files, pack_folder, pack_together
from heldout.fixes.offers import advise, make_offers, share_copies_and_differ
from heldout.spec.dataset import DatasetSpec
from heldout.stored.audit import AuditFinding, IngestedContent, StoredAudit
from heldout.views.audit import AuditView
from heldout.words.data_and_models import GROUPS_PAGE, ask_about_groups, describe_audit, fold_notes
from worker.ingest.parent import ingest
from worker.ingest.rejection import Rejection


def main(arguments: Sequence[str] | None = None) -> Exit:
    """Audit the paths, print the findings, and return the exit code."""
    parser = argparse.ArgumentParser("python -m worker.ingest", description=__doc__)
    parser.add_argument("--spec", required=True, help="How the upload is to be read: a dataset's spec, as JSON.")
    parser.add_argument("--json", action="store_true", dest="as_json", help="Print JSON on standard output.")
    parser.add_argument("paths", nargs="+", type=Path)
    asked = parser.parse_args(arguments)
    try:
        # Runs in a temporary folder, which is always removed.
        with tempfile.TemporaryDirectory(prefix="heldout-audit-") as folder:
            source = _pack_source(asked.paths, Path(folder))
            target = Path(folder) / "dataset"
            made = ingest(source, DatasetSpec.model_validate_json(asked.spec), target)
            stored = StoredAudit.from_bytes((target / StoredAudit.file_name).read_bytes())
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
    return Exit.SUCCEEDED


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
    show_audit(_build_view(content))


def _build_view(content: dict[str, Any]) -> AuditView:
    """Return what a service would answer. Since nothing is stored, there is no id, and images have no routes."""

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
    asked = ask_about_groups(content["source"])
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
