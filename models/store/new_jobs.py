"""The one place in which a row of `jobs` is made, for all kinds of work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import Float, Table, bindparam, insert
from sqlalchemy.orm import Session

from heldout.access.quotas import counted_bytes
from heldout.lifecycle.job import JobStatus
from heldout.spec.job import Device
from heldout.work.kinds import KINDS, SPEC_VERSION, JobKind, WorkSpec
from models.database import db_now
from models.store import accounts, events, job_metadata, worker_memory
from models.tables import JobRow

# Built once, since each submission executes it. `pending_until` is null where `max_pending_s` is.
_TABLE = cast(Table, JobRow.__table__)
_INSERT = (
    insert(_TABLE)
    .values(
        pending_until=db_now(bindparam("max_pending_s", type_=Float)),
        announced_at=db_now(),  # the caller does so after the commit; if it cannot, the reconciler does
        created_at=db_now(),
        queued_at=db_now(),
    )
    .returning(_TABLE.c.created_at, _TABLE.c.queued_at, _TABLE.c.sort_best, _TABLE.c.sort_gap)
)


@dataclass(frozen=True)
class Begins:
    """What a training starts from, where that is not nothing.

    epoch: whole epochs that are done. continues, initial, backbone: as in the job's row. told: as its first event tells
    it.
    """

    epoch: int = 0
    continues: Sequence[Mapping[str, Any]] = ()
    initial: Mapping[str, Any] | None = None
    backbone: Mapping[str, Any] | None = None
    message: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)


def add(
    session: Session,
    *,
    job_id: str,
    kind: JobKind,
    owner: str,
    name: str,
    spec: WorkSpec,
    dataset_id: str | None,
    priority: int,
    device: Device,
    gpus: int = 0,
    memory_bytes: int | None = None,
    epochs: int = 0,
    parameters: int | None = None,
    metadata: Mapping[str, str] | None = None,
    max_pending_s: float | None = None,
    keep_s: float | None = None,
    retry_of: str | None = None,
    study_id: str | None = None,
    key_id: str | None = None,
    begins: Begins | None = None,
) -> JobRow:
    """Queue a job and write its first event; gives its row as stored, which the session does not follow.

    Args:
        dataset_id: that it works on; None where it works on none.
        begins: what it starts from; None means from nothing.
        key_id: the API key that counts as its maker, where it is not that of the request (`accounts.note_key`).
        gpus: how many a worker must have free to begin the job; 0 where a processor does.
        memory_bytes: how much it is expected to take; a worker must have it free. None: what its kind takes.
        max_pending_s: seconds after which the job fails if no worker has taken it; None means never.
        keep_s: seconds after its end after which the job is deleted; None leaves that to the settings.
    """
    about = KINDS[kind]
    if not isinstance(spec, about.spec) or device not in about.devices:
        raise ValueError(f"A job of kind {kind} cannot have a {type(spec).__name__} and the device {device}.")
    pairs = dict(metadata or {})
    values: dict[str, Any] = {
        "id": job_id,
        "kind": kind,
        "owner": owner,
        "name": name,
        "status": JobStatus.QUEUED,
        "version": 1,
        "spec": spec.model_dump(mode="json"),
        "spec_bytes": counted_bytes(spec.model_dump_json()),
        "spec_version": SPEC_VERSION,
        "dataset_id": dataset_id,
        "parameters": parameters,
        "keep_s": keep_s,
        "priority": priority,
        "device": device,
        "gpus": gpus,
        "memory_bytes": memory_bytes or (about.memory_bytes and worker_memory.reservable(session, about.memory_bytes)),
        "retry_of": retry_of,
        "study_id": study_id,
        "key_id": key_id or accounts.key_of(session),
        "attempt": 0,
        "failures": 0,
        "runtime_s": 0.0,
        "charged_s": 0.0,
        "epochs": epochs,
        "last_event": 1,
    }
    accounts.ensure_owner(session, owner)
    begins = begins or Begins()
    values["epoch"] = begins.epoch
    # JSON's null is another value than the column's, so what is absent stays out.
    values |= {"continues": list(begins.continues)} if begins.continues else {}
    values |= {"initial": dict(begins.initial)} if begins.initial else {}
    values |= {"backbone": dict(begins.backbone)} if begins.backbone else {}
    stored = session.execute(_INSERT, {**values, "metadata": pairs, "max_pending_s": max_pending_s}).one()
    job_metadata.add(session, job_id, owner, pairs)
    data, message = {"priority": priority, **begins.told}, f"Waiting for a worker. {begins.message}".rstrip()
    events.add_numbered(session, job_id, 1, "job.queued", message, kind=kind, owner=owner, data=data)
    return JobRow(**values, user_metadata=pairs, **stored._mapping)
