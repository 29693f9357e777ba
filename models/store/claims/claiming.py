"""Claims a job for a worker: the first runnable job of the owner whose turn it is (`fair_share`)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Float, Integer, String, Table, bindparam, func, insert, or_, update
from sqlalchemy.orm import Session

from analysis.scheduling.fair_share import Resources
from heldout.errors import SpecUnreadable
from heldout.lifecycle.job import FailureCode, JobEvent, JobStatus, get_next_status
from heldout.lifecycle.resources import RelationsStatus
from heldout.spec.backbone import Backbone
from heldout.spec.job import Device
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.work.kinds import JobKind, WorkSpec, get_kind
from models.database import db_now
from models.specs import read_spec
from models.store import accounts, artifacts, events, outbox
from models.store.claims.finding import Capacity, FoundJob, NextOwner, Search
from models.store.claims.lease import HeldAttempt
from models.store.claims.settle import Checkpoint, fail, get_checkpoints
from models.store.quotas import has_free_slot, may_begin
from models.tables import AttemptRow, JobRow


@dataclass(frozen=True)
class InitialWeights:
    """The key of the model file whose weights a job starts from, and the layers that take them."""

    key: str
    layers: tuple[str, ...]
    is_uploaded: bool = False  # an untrusted file, which only a bounded process may read


@dataclass(frozen=True)
class BackboneFile:
    """The key of the uploaded model that a job's network has, and what is known about it."""

    key: str
    known: Backbone


@dataclass(frozen=True)
class ClaimedDataset:
    """The version of a dataset that a job works on. Empty for a job without a dataset."""

    id: str = ""
    sha256: str = ""
    relations_status: RelationsStatus | None = None


@dataclass(frozen=True)
class Needs:
    """The resources that a job needs."""

    device: Device = "cpu"
    gpus: int = 0  # the minimum
    memory_bytes: int | None = None  # None if unknown


@dataclass(frozen=True)
class StartingPoint:
    """What an attempt starts from. checkpoints: newest first."""

    checkpoints: tuple[Checkpoint, ...] = ()
    initial: InitialWeights | None = None
    backbone: BackboneFile | None = None


@dataclass(frozen=True)
class Claimed:
    """A job that a worker has just claimed, with everything needed to start."""

    held: HeldAttempt
    name: str
    spec: WorkSpec
    dataset: ClaimedDataset = ClaimedDataset()
    needs: Needs = Needs()
    begins: StartingPoint = StartingPoint()
    runtime_s: float = 0.0  # seconds that earlier attempts ran
    waited_s: float = 0.0  # time in the queue
    study_id: str | None = None  # the study that the job belongs to
    owner: str = ""

    @property
    def kind(self) -> JobKind:
        """The kind of the job."""
        return get_kind(self.spec)


def is_any_claimable(session: Session, free: Capacity) -> bool:
    """Return whether `claim` would find a job. Cheap and without locks."""
    search = Search(session, free)
    # Owners are searched only if a fitting job waits.
    return search.may_find() and _find_first_owner(session, search, free) is not None


@dataclass(frozen=True)
class WaitingJob:
    """The next job in turn, what it needs, and how long it has waited."""

    job_id: str
    needs: Resources
    waited_s: float


def find_first_in_line(session: Session, whole: Capacity) -> WaitingJob | None:
    """Find the job that a worker would claim if it were idle. whole: the idle worker's capacity. Takes no locks."""
    search = Search(session, whole)
    owner = _find_first_owner(session, search, whole)
    found = None if owner is None else search.find_first_job(owner, lock=False)
    if owner is None or found is None:
        return None
    job = found.row
    waited_s = (owner.at - job.queued_at).total_seconds()
    return WaitingJob(job.id, Resources(job.memory_bytes or 0, job.gpus), waited_s)


def make_room(session: Session, job_id: str, worker: str, seconds: float) -> bool:
    """Note that a worker holds back other jobs for this one. False if another worker does, or if it has started."""
    is_free = or_(JobRow.room_on.is_(None), JobRow.room_on == worker, JobRow.room_until < db_now())
    noted = session.scalar(
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.status == JobStatus.QUEUED, is_free)
        .values(room_on=worker, room_until=db_now(seconds))
        .returning(JobRow.id)
    )
    return noted is not None


def claim(session: Session, worker: str, free: Capacity, lease_s: float) -> Claimed | None:
    """Claim a job of the owner whose turn it is: highest priority first, then oldest first. None if no job fits.

    Jobs that need more GPUs or memory than are free are skipped, and left for later or for other workers. So are jobs
    whose spec only a newer release can read. A job whose spec should be readable but is not fails, and the next job is
    claimed.
    """
    search = Search(session, free)
    passed_over = set(free.passed_over)
    while (turn := search.find_next_to_claim(passed_over)) is not None:
        owner, found = turn
        if found is None or not may_begin(session, owner.name, owner.quotas):
            # Other workers have just claimed its waiting jobs, or it has reached its limit of running jobs.
            passed_over.add(owner.name)
            continue
        job = found.row
        held = take(session, job, worker, lease_s)
        if held is None:
            return None
        accounts.charge_claim(session, job, seen=owner.standing, at=owner.at)
        try:
            spec = read_spec(job)
        except SpecUnreadable as error:
            session.refresh(job)  # the claim changed its row
            fail(session, held, code=FailureCode.SPEC_UNREADABLE, detail=error.detail)
            continue
        return _build_claimed(session, found, held, spec, owner.at)
    return None


def _find_first_owner(session: Session, search: Search, free: Capacity) -> NextOwner | None:
    """Find the owner whose turn it is among those that may run another job."""
    passed_over = set(free.passed_over)
    while (owner := search.find_next_owner(passed_over)) is not None:
        if has_free_slot(session, owner.name, owner.quotas):
            return owner
        passed_over.add(owner.name)
    return None


_JOBS, _ATTEMPTS = cast(Table, JobRow.__table__), cast(Table, AttemptRow.__table__)
# Built once, since each claim executes them. Parameters: `job_id`, its attempt `before`, the `number` of the new
# attempt, the worker `on` which it runs, `lease_s`.
_NUMBER, _ON = bindparam("number", type_=Integer), bindparam("on", type_=String)
_TAKE = (
    update(_JOBS)
    .where(
        _JOBS.c.id == bindparam("job_id", type_=String),
        _JOBS.c.status == JobStatus.QUEUED,
        _JOBS.c.attempt == bindparam("before", type_=Integer),
    )
    .values(
        status=get_next_status(JobStatus.QUEUED, JobEvent.CLAIM),
        attempt=_NUMBER,
        worker=_ON,
        lease_expires_at=db_now(bindparam("lease_s", type_=Float)),
        started_at=func.coalesce(_JOBS.c.started_at, db_now()),
        attempt_started_at=db_now(),
        pending_until=None,
        available_at=None,
        charged_s=0.0,
        eta_s=None,
        version=_JOBS.c.version + 1,
        last_event=_JOBS.c.last_event + 1,
    )
    .returning(_JOBS.c.last_event, outbox.has_webhook(_JOBS.c.owner))
)
_BEGIN = insert(_ATTEMPTS).values(
    job_id=bindparam("job_id", type_=String), attempt=_NUMBER, worker=_ON, started_at=db_now()
)


def take(session: Session, job: JobRow, worker: str, lease_s: float) -> HeldAttempt | None:
    """Start the job's next attempt. None if another worker was faster."""
    held = HeldAttempt(job.id, job.attempt + 1)
    values = {"job_id": job.id, "before": job.attempt, "number": held.attempt, "on": worker, "lease_s": lease_s}
    taken = session.execute(_TAKE, values).one_or_none()
    if taken is None:
        return None
    number, has_listeners = taken
    session.execute(_BEGIN, values)
    events.add_numbered(
        session,
        job.id,
        number,
        "job.started",
        f"Attempt {held.attempt} started on {worker}.",
        kind=job.kind,
        owner=job.owner,
        data={"attempt": held.attempt, "worker": worker} | _describe_initial(job),
        has_listeners=has_listeners,
    )
    return held


def _describe_initial(job: JobRow) -> dict[str, Any]:
    if job.initial is None:
        return {}
    return {"initial": {name: job.initial[name] for name in ("job", "model", "taken", "new") if name in job.initial}}


def _build_claimed(session: Session, found: FoundJob, held: HeldAttempt, spec: WorkSpec, at: datetime) -> Claimed:
    job = found.row
    # A first attempt has no checkpoints, unless the job continues another job's training.
    may_have_checkpoints = held.attempt > 1 or bool(job.continues)
    return Claimed(
        held=held,
        name=job.name,
        spec=spec,
        dataset=ClaimedDataset(job.dataset_id or "", found.dataset_sha256 or "", found.relations_status),
        needs=Needs(cast(Device, job.device), job.gpus, job.memory_bytes),
        begins=StartingPoint(
            get_checkpoints(session, job.id) if may_have_checkpoints else (),
            _get_initial_weights(session, job),
            _get_backbone_file(session, job),
        ),
        runtime_s=job.runtime_s,
        waited_s=max(0.0, (at - job.queued_at).total_seconds()),
        study_id=job.study_id,
        owner=job.owner,
    )


def _get_initial_weights(session: Session, job: JobRow) -> InitialWeights | None:
    if job.initial is None:
        return None
    file = artifacts.find(session, job.id, ArtifactName.INITIAL, ArtifactFormat.KERAS)
    return InitialWeights("" if file is None else file.key, tuple(job.initial["taken"]), "model" in job.initial)


def _get_backbone_file(session: Session, job: JobRow) -> BackboneFile | None:
    if job.backbone is None:
        return None
    file = artifacts.find(session, job.id, ArtifactName.BACKBONE, ArtifactFormat.KERAS)
    return BackboneFile("" if file is None else file.key, Backbone.from_json(job.backbone))
