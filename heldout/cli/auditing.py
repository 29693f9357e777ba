"""`heldout datasets audit`, of a dataset or of files here, and `heldout check-data`, which needs no service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from heldout.cli import host_commands
from heldout.cli.command import Service
from heldout.cli.outcome import Refused
from heldout.cli.references import DATASET, Names, may_be_path
from heldout.cli.screen import print_blocks, say
from heldout.cli.uploads import check_spec, takes_upload_fields
from heldout.client.failures import ApiProblem, NoService
from heldout.client.packing import NothingToPack
from heldout.documents.audit import build_audit

if TYPE_CHECKING:
    from heldout.views.audit import AuditView

NEEDED_TO_AUDIT = ("numpy", "PIL", "scipy", "sklearn", "pyarrow")
# An argument with one of these endings means the file, even if a dataset has that name.
FILES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".npz", ".parquet")
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write the audit of files with pictures into one page of HTML."),
]


@takes_upload_fields
def audit(
    service: Service,
    dataset: Annotated[
        list[str],
        Names(DATASET, is_file=may_be_path),
        typer.Argument(
            metavar="DATASET|PATH...",
            help="A dataset's name, name@version, id or last; or a folder, archive, .npz or Parquet file, which is "
            "audited here and not stored. `./pets` means the folder if a dataset has the same name.",
        ),
    ],
    report: Report = None,
    *,
    upload: dict[str, Any],
) -> None:
    """Show what the audit of a dataset found: leaks, conflicts, imbalance, shift. Audits files without storing them."""
    paths = _find_paths(dataset)
    if not paths or _may_name_a_dataset(dataset):
        found = _audit_of_dataset(dataset[0], service, or_none=bool(paths))
        if found is not None:
            if upload or report is not None:
                raise Refused(
                    f"{dataset[0]} is a dataset, which was read when it was uploaded. Options are only for files."
                )
            service.print(found, lambda audit: print_blocks(build_audit(audit)))
            if paths:
                say(f"This is the dataset {dataset[0]}; the files here are ./{dataset[0]}", file=sys.stderr)
            return
    _audit_files(service, paths, upload, report, "heldout datasets audit PATH")


@takes_upload_fields
def check_data(
    service: Service,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="A folder of class/image or split/class/image, an archive, .npz or Parquet, or hf:owner/name.",
        ),
    ],
    report: Report = None,
    *,
    upload: dict[str, Any],
) -> None:
    """Audit images on this machine: splits, copies, sizes, odd images, order of labels, groups. Nothing is uploaded."""
    found = _find_paths(paths)
    if not found:
        raise Refused(f"{paths[0]}: there is no such file or folder.")
    _audit_files(service, found, upload, report, "heldout check-data PATH")


def _audit_files(
    service: Service, paths: list[Path], upload: dict[str, Any], report: Path | None, command: str
) -> NoReturn:
    """Become the program that audits files here."""
    from heldout.spec.dataset import DatasetSpec

    if report is not None:  # found out now rather than after the audit
        report.open("a").close()
    spec = check_spec(DatasetSpec, {"name": "local", **upload})
    options = ["--spec", spec.model_dump_json(), *(["--json"] if service.as_json else [])]
    options += [] if report is None else ["--report", str(report)]
    options += ["--", *map(str, paths)]
    raise typer.Exit(host_commands.exec_server_module("worker.ingest", options, NEEDED_TO_AUDIT, command))


def _find_paths(references: list[str]) -> list[Path]:
    """Return the paths that the arguments name; none if the only argument is not a path. Raises Refused."""
    from heldout.client.hugging_face import expand_references, is_reference

    if any(map(is_reference, references)):
        try:
            return expand_references(map(Path, references))
        except NothingToPack as error:
            raise Refused(str(error)) from None
    paths = [Path(text).expanduser() for text in references]
    missing = [text for text, path in zip(references, paths, strict=True) if not path.exists()]
    if missing and len(references) == 1 and os.sep not in missing[0]:
        return []
    if missing:
        raise Refused(f"{missing[0]}: there is no such file or folder.")
    return paths


def _may_name_a_dataset(references: list[str]) -> bool:
    """Return whether the only argument is both a path here and a possible name of a dataset."""
    [*_, text] = references
    return (
        len(references) == 1
        and os.sep not in text
        and not text.startswith("hf:")
        and not text.startswith((".", "~"))
        and not text.endswith(FILES)
    )


def _audit_of_dataset(reference: str, service: Service, *, or_none: bool) -> AuditView | None:
    """Fetch the service's audit. or_none: return None if there is no audit or no service."""
    try:
        return service.client.datasets.audit(reference)
    except NoService:
        if not or_none:
            raise
    except ApiProblem as problem:
        if not or_none or problem.code != "dataset_not_found":
            raise
    return None
