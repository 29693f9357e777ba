"""The reference page about images agrees with the code."""

import re
from dataclasses import fields
from pathlib import Path

from heldout.fixes.bodies import LOOK_ALIKES
from heldout.lifecycle.job import FailureCode
from heldout.lifecycle.resources import RETRIED_REJECTIONS, RejectionCode
from heldout.spec.dataset import ResizeSpec, SplitSpec
from heldout.spec.job import MAX_CLASS_CHARACTERS, MAX_CLASS_NAMES_BYTES
from heldout.words.data_and_models import CODES
from worker.ingest.images.formats import (
    BYTES_A_PART,
    FREE_PARTS,
    MAX_EXIF_BYTES,
    MAX_PACKED_PARTS,
    MAX_RUN_LENGTH,
    MAX_SCANNED_PIXELS,
    MAX_SCANS,
)
from worker.ingest.rejection import GIB, MIB, IngestLimits
from worker.ingest.sources.split_folders import SPLIT_NAMES

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "images.md").read_text(encoding="utf-8")


def read_table(heading: str) -> dict[str, str]:
    """Return the table below a heading, from the first column to the second."""
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `?(.+?)`? \| (.+) \|$", part, re.MULTILINE))


def test_the_reference_lists_exactly_the_rejections():
    table = {code: meaning for code, meaning in read_table("Rejections").items() if code != "code"}
    assert list(table) == [code.value for code in RejectionCode]
    for code in RejectionCode:
        assert table[code] == code.meaning + " Tried again." * (code in RETRIED_REJECTIONS)


def test_the_reference_lists_exactly_the_findings():
    table = read_table("Findings of the audit")
    assert table.keys() - {"code"} == CODES
    for meaning in table.values():
        assert re.fullmatch(r"meaning|[A-Z].*\.", meaning)


def test_the_audit_finds_exactly_what_the_reference_lists():
    root = Path(__file__).resolve().parents[3]
    ingest = root / "worker" / "ingest"
    folders = (ingest / "audit", ingest / "local_audit")
    files = [path for folder in folders for path in folder.glob("*.py")]
    files += [
        ingest / "__main__.py",
        root / "heldout" / "fixes" / "offers.py",
        root / "heldout" / "fixes" / "leakage.py",
    ]
    files += (root / "worker/training/looks").glob("*.py")
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    named = re.findall(r'\bcode(?:, \w+)? ?= ?"(\w+)"|PreparationMistake\("(\w+)"', source)
    assert {first or other for first, other in named} | {LOOK_ALIKES} == CODES


def test_every_code_of_a_rejection_is_used():
    source = "".join(path.read_text() for room in ("worker", "models") for path in Path(room).resolve().rglob("*.py"))
    of_any_job = {
        RejectionCode.WORKER_LOST: FailureCode.WORKER_LOST,
        RejectionCode.STORAGE_UNAVAILABLE: FailureCode.STORAGE_UNAVAILABLE,
    }
    for code in set(RejectionCode) - of_any_job.keys():
        assert f"RejectionCode.{code.name}" in source, code
    for code, failure in of_any_job.items():
        assert code.value == failure.value
        assert f"FailureCode.{failure.name}" in source, code


def test_the_reference_lists_the_limits():
    table = read_table("Limits")
    limits = IngestLimits()
    shown = {
        "upload": f"{limits.upload_bytes // GIB} GiB",
        "all members of an archive, unpacked": f"{limits.unpacked_bytes // GIB} GiB",
        "decoded images": f"{limits.normalised_bytes // GIB} GiB",
        "members of an archive": f"{limits.members:,}",
        "rows of arrays and tables": f"{limits.images:,}",
        "one image file": f"{limits.member_bytes // MIB} MiB",
        "pixels of one image file": f"{limits.pixels:,}",
        "classes": f"{limits.classes:,}",
        "private memory of each process of the ingest": f"{limits.memory_bytes // GIB} GiB",
        "time of the ingest": f"{limits.wall_s // 3600} h",
    }
    shown_of_names = {
        "names of classes": f"{MAX_CLASS_CHARACTERS} characters each, {MAX_CLASS_NAMES_BYTES // 1024} KiB together"
    }
    of_decoding = {
        "scans of a JPEG": f"{MAX_SCANS}; scans times pixels: {MAX_SCANNED_PIXELS:,}",
        "parts of a JPEG or PNG (segments, chunks, fill bytes)": f"{FREE_PARTS:,}, and one more for every "
        f"{BYTES_A_PART} bytes",
        "compressed texts and color profiles in a PNG": str(MAX_PACKED_PARTS),
        "EXIF": f"{MAX_EXIF_BYTES // MIB} MiB",
        "bytes and pixels of a run-length encoded BMP": f"{MAX_RUN_LENGTH:,} each",
    }
    assert {name: value for name, value in table.items() if name != "limit"} == shown | shown_of_names | of_decoding
    assert len(shown) == len(fields(IngestLimits)) - 1  # `processes` does not limit uploads


def test_the_reference_lists_rules_shares_and_split_names():
    assert set(read_table("Sizes")) - {"rule"} == set(ResizeSpec.model_fields["rule"].annotation.__args__)
    assert f"`{', '.join(SPLIT_NAMES)}`" in PAGE
    assert (SplitSpec().test, SplitSpec().validation) == (0.2, 0.1)
    assert "a fifth; then validation, a tenth of what" in PAGE
