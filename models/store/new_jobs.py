"""The one place in which a row of `jobs` is made, for all kinds of work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sqlalchemy import Float, Table, bindparam, func, insert, select
from sqlalchemy.orm import Session

from heldout.access.quotas import count_bytes
from heldout.lifecycle.job import JobStatus
from heldout.spec.job import JobSpec
from heldout.work.kinds import KINDS, SPEC_VERSION, EvaluateSpec, WorkSpec, get_kind
from models import wake
from models.database import db_now
from models.ids import make_id
from models.store import accounts, events, listing, workers
from models.tables import JobRow

# Built once, since each submission executes it. `pending_until` is null where `max_pending_s` is.
_TABLE = cast(Table, JobRow.__table__)
_INSERT = (
    insert(_TABLE)
    .values(
        pending_until=db_now(bindparam("max_pending_s", type_=Float)),
        announced_at=db_now(),  # right after the commit; if that fails, the reconciler does it again
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


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job that is to be queued. Its kind is that of its spec, which says for a training where and when it may run.

    id: drawn where it is not given.
    dataset_id: that it works on; None where it works on none.
    memory_bytes: how much it is expected to take; a worker must have it free. None: what its kind takes.
    priority: None: that of its spec or its kind.
    key_id: the API key that counts as its maker, where it is not that of the request (`accounts.note_key`).
    """

    spec: WorkSpec
    owner: str
    name: str
    dataset_id: str | None
    id: str | None = None
    memory_bytes: int | None = None
    priority: int | None = None
    parameters: int | None = None
    retry_of: str | None = None
    study_id: str | None = None
    key_id: str | None = None
    begins: Begins = Begins()


def add(session: Session, job: NewJob) -> JobRow:
    """Queue a job, write its first event, and note its wake-up; gives its row, which the session does not follow.

    The caller has asked `quotas.require_room`, unless nobody asked for the job.
    """
    spec, kind = job.spec, get_kind(job.spec)
    about, training = KINDS[kind], spec if isinstance(spec, JobSpec) else None
    job_id = job.id or make_id(about.id_prefix)
    priority = job.priority if job.priority is not None else training.priority if training else about.priority
    memory_bytes = job.memory_bytes or (about.memory_bytes and workers.compute_reservable(session, about.memory_bytes))
    pairs = dict(training.metadata) if training else {}
    values: dict[str, Any] = {
        "id": job_id,
        "kind": kind,
        "owner": job.owner,
        "name": job.name,
        "status": JobStatus.QUEUED,
        "version": 1,
        "spec": spec.model_dump(mode="json"),
        "spec_bytes": count_bytes(spec.model_dump_json()),
        "spec_version": SPEC_VERSION,
        "dataset_id": job.dataset_id,
        "parameters": job.parameters,
        # A study's trainings go with it.
        "keep_s": training.limits.keep_s if training and not job.study_id else None,
        "priority": priority,
        "device": training.resources.required_device if training else "cpu",
        "gpus": training.resources.required_gpus if training else 0,
        "memory_bytes": memory_bytes,
        "retry_of": job.retry_of,
        "study_id": job.study_id,
        "key_id": job.key_id or accounts.get_request_key(session),
        "attempt": 0,
        "failures": 0,
        "runtime_s": 0.0,
        "charged_s": 0.0,
        "epoch": job.begins.epoch,
        "epochs": training.training.epochs if training else 0,
        "last_event": 1,
    }
    accounts.ensure_owner(session, job.owner)
    begins = job.begins
    # JSON's null is another value than the column's, so what is absent stays out.
    values |= {"continues": list(begins.continues)} if begins.continues else {}
    values |= {"initial": dict(begins.initial)} if begins.initial else {}
    values |= {"backbone": dict(begins.backbone)} if begins.backbone else {}
    max_pending_s = training.limits.max_pending_s if training else None
    stored = session.execute(_INSERT, {**values, "metadata": pairs, "max_pending_s": max_pending_s}).one()
    listing.add_metadata(session, job_id, job.owner, pairs)
    data, message = {"priority": priority, **begins.told}, f"Waiting for a worker. {begins.message}".rstrip()
    events.add_numbered(session, job_id, 1, "job.queued", message, kind=kind, owner=job.owner, data=data)
    if about.takes_slot:
        wake.note(session, job_id, values["gpus"])
    return JobRow(**values, user_metadata=pairs, **stored._mapping)


def add_evaluation(session: Session, job: NewJob) -> JobRow:
    """Queue the evaluation of a study. The caller sees to it that a study has one."""
    assert isinstance(job.spec, EvaluateSpec)
    # What the largest of these trainings was given: to measure its model takes no more, and they come one by one.
    most_reserved = select(func.max(JobRow.memory_bytes)).where(JobRow.id.in_([*job.spec.base, *job.spec.winner]))
    return add(session, replace(job, memory_bytes=session.scalar(most_reserved)))
