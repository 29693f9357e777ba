"""Uploaded models: received, checked, listed and deleted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import and_, delete, insert, or_, select, update
from sqlalchemy.orm import Session

from heldout.access.rights import Quota
from heldout.errors import ModelInUse, ModelIsShared, ModelNotFound
from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.lifecycle.resources import ModelRejectionCode, ModelStatus
from heldout.spec.model_facts import ModelFacts
from heldout.spec.pretrained import MAX_KERAS_BYTES
from heldout.work.kinds import CheckModelSpec, JobKind
from heldout.work.memory import estimate_uploaded_model_bytes
from models.database import db_now
from models.digests import FileDigest
from models.store import events, jobs, new_jobs, quotas, statements, workers
from models.store.claims import HeldAttempt, complete, has_succeeded, require_held
from models.store.new_jobs import NewJob
from models.store.relations import NO_OWNER
from models.store.statements import find_one, select_page
from models.tables import JobRow, ModelRow

SHOWN_EVALUATIONS = 5


def require_room(session: Session, owner: str, size_bytes: int) -> None:
    """Check the owner's quotas for a new model. Raises QuotaExceeded, OwnerSuspended."""
    quotas.require_room(session, owner, *quotas.OF_NEW_JOBS)
    quotas.require_room(session, owner, Quota.STORED_BYTES, asked=size_bytes)


@dataclass(frozen=True)
class SharedModel:
    """What all owners read about a model that the operator shares."""

    name: str
    license: str
    source: str

    def find_fault(self) -> str | None:
        """Say what is wrong with these texts, if anything."""
        for field, most in (("name", 128), ("license", 200), ("source", 500)):
            text = getattr(self, field)
            if not (text.strip() and text.isprintable() and len(text) <= most):
                return f"expected 1 to {most} printable characters for the {field}; received {text[:80]!r}."
        return None


def add(
    session: Session,
    owner: str | None,
    model_id: str,
    name: str,
    *,
    key: str,
    sha256: str,
    size_bytes: int,
    max_parameters: int | None = None,
    shared: SharedModel | None = None,
    converts: bool = False,
    fetches: str | None = None,
) -> ModelRow:
    """Add a model whose file is stored under `key`, and queue its check.

    Args:
        owner: None for a model that the operator shares with all owners, which counts toward no quota.
        max_parameters: the most that an architecture without weights may have; None for any number.
        shared: what all owners read about a shared model.
        converts: whether its file has PyTorch's weights of EfficientNet-Lite0, which become a Keras model.
        fetches: the network of `KERAS_NETWORKS` that a worker fetches first; nothing is stored, digest and size are
            unknown.
    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    if owner is not None:
        require_room(session, owner, size_bytes)
    most_bytes = size_bytes if fetches is None else MAX_KERAS_BYTES
    new_job = NewJob(
        spec=CheckModelSpec(model=model_id, key=key, max_parameters=max_parameters, converts=converts, fetches=fetches),
        owner=owner or NO_OWNER,
        name=name,
        dataset_id=None,
        memory_bytes=workers.compute_reservable(session, estimate_uploaded_model_bytes(most_bytes)),
    )
    job = new_jobs.add(session, new_job)
    about: dict[str, Any] = {"id": model_id, "owner": owner, "status": ModelStatus.CHECKING, "check_job": job.id}
    about |= {"name": name, "key": key, "sha256": sha256, "size_bytes": size_bytes, "created_at": db_now()}
    row = session.scalars(insert(ModelRow).returning(ModelRow).values(about | (asdict(shared) if shared else {}))).one()
    message = "Its file was received. A worker will read it." if fetches is None else "A worker will fetch its weights."
    events.add(session, model_id, "model.checking", message)
    return row


def find(session: Session, owner: str, model_id: str) -> ModelRow:
    """Find the owner's model, or a shared one, also by the name of a shared one. Raises ModelNotFound."""
    if not model_id.startswith("mod_"):
        named = list_shared(session, model_id)
        ready = [row for row in named if row.status is ModelStatus.READY]
        if not named:
            raise ModelNotFound(model_id)
        return (ready or named)[0]
    of_all = or_(ModelRow.owner == owner, ModelRow.owner.is_(None))
    return find_one(session, select(ModelRow).where(of_all, ModelRow.id == model_id), ModelNotFound(model_id))


def list_page(session: Session, owner: str, *, after: str | None, limit: int) -> Sequence[str]:
    """List the ids of the owner's and of shared models after the id `after`, newest first.

    There are `limit`, plus one if there are more. Of shared models, only those that can be used are listed.
    """
    is_shared = and_(ModelRow.owner.is_(None), ModelRow.status == ModelStatus.READY)
    query = select(ModelRow.id).where(or_(ModelRow.owner == owner, is_shared))
    return session.scalars(select_page(query, ModelRow.id, after, limit)).all()


def get_listed(session: Session, ids: Sequence[str]) -> Sequence[ModelRow]:
    """Get the models with these ids, newest first."""
    return session.scalars(select(ModelRow).where(ModelRow.id.in_(ids)).order_by(ModelRow.id.desc())).all()


def remove(session: Session, owner: str, model_id: str) -> None:
    """Delete a model that no running evaluation needs. The caller deletes its files after the commit.

    Its evaluations stay, and jobs that start from it have a copy.

    Raises:
        ModelNotFound.
        ModelIsShared: only the operator withdraws it.
        ModelInUse: if evaluations of it have not ended.
    """
    row = find(session, owner, model_id)
    if row.owner is None:
        raise ModelIsShared(model_id)
    # A job is locked before its model, in the same order as by attempts that end.
    checks = session.scalars(
        select(JobRow).where(JobRow.id == row.check_job, JobRow.status.not_in(TERMINAL)).with_for_update()
    ).all()
    own = select(ModelRow).where(ModelRow.owner == owner, ModelRow.id == model_id)
    find_one(session, own.with_for_update(), ModelNotFound(model_id))
    needed_by = session.scalars(
        select(JobRow.id)
        .where(
            JobRow.owner == owner,
            JobRow.kind == JobKind.MEASURE,
            JobRow.status.not_in(TERMINAL),
            JobRow.spec["model"].as_string() == model_id,
        )
        .order_by(JobRow.id)
        .limit(SHOWN_EVALUATIONS)
    ).all()
    if needed_by:
        raise ModelInUse(model_id, needed_by)
    events.add(session, model_id, "model.deleted", "Deleted.")
    session.execute(delete(ModelRow).where(ModelRow.id == model_id))
    for job in checks:
        jobs.cancel_locked(session, job)


def lock_shared(session: Session, name: str) -> None:
    """Let no other transaction add a shared model of this name before this one ends."""
    statements.lock(session, "shared-model", name)


def list_shared(session: Session, name: str) -> Sequence[ModelRow]:
    """List the shared models of this name, also those that cannot be used, newest first."""
    shared = select(ModelRow).where(ModelRow.owner.is_(None), ModelRow.name == name)
    return session.scalars(shared.order_by(ModelRow.id.desc())).all()


def list_used_shared(session: Session, named: Sequence[str], sha256: str | None) -> Sequence[ModelRow]:
    """List the shared models with these ids, or with these names and the digest of the file that a job has."""
    is_named = and_(ModelRow.name.in_(named), ModelRow.sha256 == sha256)
    shared = select(ModelRow).where(ModelRow.owner.is_(None), or_(ModelRow.id.in_(named), is_named))
    return session.scalars(shared.order_by(ModelRow.id)).all()


def withdraw(session: Session, model_id: str) -> list[str]:
    """Stop sharing a model, and return the keys of its files, which the caller deletes after the commit.

    Its row stays, for the license and the source in the model cards of jobs that used it. Empty if there is none.
    """
    code = ModelRejectionCode.WITHDRAWN
    row = session.execute(
        update(ModelRow)
        .where(ModelRow.id == model_id, ModelRow.owner.is_(None), ModelRow.status != ModelStatus.REJECTED)
        .values(status=ModelStatus.REJECTED, facts=None, error={"code": code.value, "detail": code.meaning})
        .returning(ModelRow.key, ModelRow.onnx)
    ).one_or_none()
    return [] if row is None else [row.key, *([row.onnx["key"]] if row.onnx else [])]


@dataclass(frozen=True)
class ModelFile:
    """A stored file of a model."""

    key: str
    digest: FileDigest

    def to_columns(self) -> dict[str, Any]:
        """Convert to columns of the model's row, or to JSON."""
        return {"key": self.key, "sha256": self.digest.sha256, "size_bytes": self.digest.size_bytes}


@dataclass(frozen=True)
class ConvertedFiles:
    """What a worker has made of a model's first file.

    onnx: None if the worker has written none.
    source: where the worker has fetched the first file; None if it was stored.
    """

    keras: ModelFile
    onnx: ModelFile | None
    source: str | None = None

    def to_columns(self) -> dict[str, Any]:
        """Convert to columns of the model's row."""
        source = {} if self.source is None else {"source": self.source}
        return {**self.keras.to_columns(), "onnx": self.onnx and self.onnx.to_columns(), **source}


def mark_ready(
    session: Session, held: HeldAttempt, model_id: str, facts: ModelFacts, made: ConvertedFiles | None = None
) -> JobStatus:
    """End a check as succeeded, unless it was cancelled. May be called twice. Raises LeaseLost.

    Args:
        made: the converted files, which replace the uploaded one.
    """
    if not has_succeeded(session, held):
        require_held(session, held)
        about, layers = facts.limit_layers().to_columns()
        converted = {} if made is None else made.to_columns()
        is_read = session.scalar(
            update(ModelRow)
            .where(ModelRow.id == model_id, ModelRow.status == ModelStatus.CHECKING)
            .values(status=ModelStatus.READY, facts=about, layers=layers, **converted)
            .returning(ModelRow.id)
        )
        if is_read is not None:
            evaluated = "It can be evaluated, and trainings can start from it."
            message = evaluated if facts.weights else "Its architecture can be trained."
            events.add(session, model_id, "model.ready", message)
    return complete(session, held)


def get_facts(row: ModelRow) -> ModelFacts | None:
    """Get the facts from the model's file. None until it is ready."""
    return None if row.facts is None else ModelFacts.from_columns(row.facts, row.layers)
