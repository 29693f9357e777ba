"""`heldout datasets audit`: of a dataset, or of a folder or file here, which then is audited without a service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.cli import host_commands
from heldout.cli.audits import show_audit
from heldout.cli.command import AsJson, Home, service
from heldout.cli.outcome import Refused
from heldout.cli.screen import print_json, say
from heldout.cli.uploads import dataset_spec, takes_upload_fields
from heldout.failures import ApiProblem, NoService

if TYPE_CHECKING:
    from heldout.views.audit import AuditView

NEEDED = ("numpy", "PIL", "scipy", "sklearn", "pyarrow")
# Who names one of these means the file, although a dataset might be called so.
FILES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".npz", ".parquet")


@takes_upload_fields
def audit(
    dataset: Annotated[
        list[str],
        typer.Argument(
            metavar="DATASET|PATH...",
            help="A dataset's name, name@version or id; or a folder, archive, .npz or Parquet file, which is audited "
            "here and not stored. `./pets` is the folder where a dataset has the same name.",
        ),
    ],
    *,
    upload: dict[str, Any],
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show what the audit of a dataset found: leaks, conflicts, imbalance, shift. Audits files without storing them."""
    paths = _paths_among(dataset)
    if not paths or _may_name_a_dataset(dataset):
        found = _audit_of_dataset(dataset[0], home, or_none=bool(paths))
        if found is not None:
            if upload:
                raise Refused(f"{dataset[0]} is a dataset, which was read when it was sent: options are for files.")
            print_json(found) if as_json else show_audit(found)
            if paths:
                say(f"This is the dataset {dataset[0]}; the files here are ./{dataset[0]}", file=sys.stderr)
            return
    spec = dataset_spec({"name": "local", **upload})
    options = ["--spec", spec.model_dump_json(), *(["--json"] if as_json else []), "--", *map(str, paths)]
    raise typer.Exit(host_commands.become("worker.ingest", options, NEEDED, "heldout datasets audit PATH"))


def _paths_among(references: list[str]) -> list[Path]:
    """What the arguments name here; nothing where the only one is no path. Raises Refused."""
    paths = [Path(text).expanduser() for text in references]
    missing = [text for text, path in zip(references, paths, strict=True) if not path.exists()]
    if missing and len(references) == 1 and os.sep not in missing[0]:
        return []
    if missing:
        raise Refused(f"{missing[0]}: there is no such file or folder.")
    return paths


def _may_name_a_dataset(references: list[str]) -> bool:
    """Whether it is one argument that is both a path here and what a dataset could be called."""
    [*_, text] = references
    return len(references) == 1 and os.sep not in text and not text.startswith((".", "~")) and not text.endswith(FILES)


def _audit_of_dataset(reference: str, home: Path | None, *, or_none: bool) -> AuditView | None:
    """The audit that the service has. or_none: whether it may not have it, as where there is no service."""
    try:
        with service(home) as client:
            return client.dataset_audit(reference)
    except NoService:
        if not or_none:
            raise
    except ApiProblem as problem:
        if not or_none or problem.code != "dataset_not_found":
            raise
    return None
