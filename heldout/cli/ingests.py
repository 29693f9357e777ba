"""What `push` and `mend` share: they wait for a dataset to be made, and show what its audit found."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

from heldout.cli import presets, shown
from heldout.cli.audits import show_audit
from heldout.cli.outcome import Exit, Refused
from heldout.cli.screen import print_json, say
from heldout.dataset_lifecycle import DatasetStatus

if TYPE_CHECKING:
    from pydantic import BaseModel

    from heldout.client import Client
    from heldout.views.dataset import DatasetView

    Spec = TypeVar("Spec", bound=BaseModel)

INGEST_POLL_S = 0.3


def checked_spec(kind: type[Spec], fields: dict[str, Any]) -> Spec:
    """The body of a request, refused here as the service would refuse it, before anything is sent. Raises Refused."""
    from pydantic import ValidationError  # takes longer to load than `--help` takes

    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # Members of a union, such as `literal['invert',…]`, are no fields.
        where = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
        message = first["msg"].removeprefix("Value error, ")
        raise Refused(f"{where}: {message}" if where else message) from None


def wait_for_ingest(client: Client, dataset_id: str) -> DatasetView:
    """The dataset once its ingest has ended."""
    try:
        while (dataset := client.dataset(dataset_id)).status in {DatasetStatus.UPLOADING, DatasetStatus.CHECKING}:
            time.sleep(INGEST_POLL_S)
    except KeyboardInterrupt:
        say(f"The ingest goes on. `heldout datasets show {dataset_id}` shows it again.", file=sys.stderr)
        raise
    return dataset


def show_outcome(client: Client, dataset: DatasetView, as_json: bool) -> Exit | None:
    """What has become of a dataset, with what its audit found."""
    ready = dataset.status is DatasetStatus.READY
    if as_json:
        print_json(dataset)
    elif ready:
        shown.show_dataset_line(dataset)
        show_audit(client.dataset_audit(dataset.id))
        if dataset.shape is not None and dataset.classes is not None:  # as is the case once it is ready
            say(f"`{presets.command_for(dataset.name, dataset.shape, len(dataset.classes))}` trains on it.")
    elif dataset.error:
        error = dataset.error
        say(f"{dataset.name}@{dataset.version} rejected: {error.code}: {error.detail}", file=sys.stderr)
    return None if ready else Exit.FAILED
