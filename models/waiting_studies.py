"""Studies that wait for their data: for a fixed version, or for the search for copies.

Such a study has a row from the beginning. Its trainings start when the reconciler finds its data ready.
"""

from typing import Any

from analysis.studies.runs import choose_splits
from analysis.studies.stored import ASKED, WAITS_FOR, WaitsFor, describe_wait
from heldout.access.rights import count_bytes
from heldout.errors import CopiesNotKnown, DataFirst, HeldoutError, QuotaExceeded, StorageUnavailable
from heldout.fixes.changes import VersionSpec
from heldout.lifecycle.resources import DatasetStatus, RelationsStatus
from heldout.spec.job import JobSpec
from heldout.studies.spec import BASE_ARM, StudySpec
from heldout.views.study import ArmView, StudyEstimateView
from models import study_creation
from models.blobs import Blobs
from models.database import Database, Session
from models.ids import make_id
from models.job_creation import find_named_dataset
from models.specs import read_training_spec
from models.store import accounts, events, jobs, quotas, studies, versions
from models.store.study_steps import fail
from models.tables import DatasetRow, JobRow, StudyRow


def create_waiting_study(
    session: Session,
    blobs: Blobs,
    owner: str,
    asked: StudySpec,
    *,
    max_parameters: int,
    max_ingest_s: float,
    reading: Session | None = None,
) -> tuple[StudyRow, DatasetRow | None]:
    """Create a study, which may have to wait for its data. Other arguments and errors: see `create_study`.

    Args:
        max_ingest_s: the time limit for making a fixed version.
    """
    try:
        return study_creation.create_study(session, blobs, owner, asked, max_parameters=max_parameters, reading=reading)
    except CopiesNotKnown:
        job, dataset = _find_job_and_dataset(session, owner, asked)
        waits_for: WaitsFor = "copies"
    except DataFirst as refused:
        if asked.data != "fix" or refused.request is None:
            raise
        job, faulty = _find_job_and_dataset(session, owner, asked)
        changes = VersionSpec.model_validate(refused.request["body"])
        dataset = versions.derive(session, owner, faulty.id, changes, max_runtime_s=max_ingest_s)
        waits_for = "fixed_version"
    return _wait(session, owner, asked, job, dataset, waits_for)


def estimate(session: Session, blobs: Blobs, owner: str, asked: StudySpec, *, max_parameters: int) -> StudyEstimateView:
    """Estimate what a study would do on the data as they are, and whether it would wait for the search for copies."""
    if asked.data == "fix":
        asked = asked.model_copy(update={"data": "as_they_are"})
    try:
        return study_creation.estimate(session, blobs, owner, asked, max_parameters=max_parameters)
    except CopiesNotKnown:
        found = study_creation.estimate(session, blobs, owner, asked, max_parameters=max_parameters, copies_known=False)
        return found.model_copy(update={"waits_for": WAITS_FOR["copies"].format(found.spec.dataset)})


def begin_ready(database: Database, blobs: Blobs, *, max_parameters: int) -> None:
    """Start each waiting study whose data are ready. A study that can no longer start fails with the reason."""
    with database.read() as session:
        waiting = studies.list_waiting(session)
    for study_id in waiting:
        with database.read() as reading, database.write() as session:
            _start(session, reading, blobs, study_id, max_parameters)


def _start(session: Session, reading: Session, blobs: Blobs, study_id: str, max_parameters: int) -> None:
    study = reading.get(StudyRow, study_id)
    if study is None or not studies.is_waiting(study):
        return
    dataset = reading.get_one(DatasetRow, study.dataset_id)
    if dataset.deleted_at is not None or dataset.status is DatasetStatus.REJECTED:
        detail = f"{dataset.name}@{dataset.version} could not be made, so remedies cannot be compared."
        fail(session, study_id, "dataset_not_ready", f"{detail} Its page says why.")
        return
    if not _are_ready(dataset, study.plan["waits_for"]):
        return
    asked = StudySpec.model_validate(study.plan[ASKED])
    if study.plan["key"] is not None:
        accounts.note_key(session, study.plan["key"])
    try:
        study_creation.create_study(
            session,
            blobs,
            study.owner,
            asked.model_copy(update={"name": study.name}),
            max_parameters=max_parameters,
            reading=reading,
            waiting=study,
        )
    except (QuotaExceeded, StorageUnavailable, CopiesNotKnown):
        return  # the next round retries
    except HeldoutError as error:
        fail(session, study_id, error.code, error.detail)


def _are_ready(dataset: DatasetRow, waits_for: WaitsFor) -> bool:
    """Return whether the images are ready and the search for copies has ended."""
    known = dataset.relations_status in {RelationsStatus.STORED, RelationsStatus.FAILED}
    return dataset.status is DatasetStatus.READY and (known or waits_for == "fixed_version")


def _find_job_and_dataset(session: Session, owner: str, asked: StudySpec) -> tuple[JobRow | None, DatasetRow]:
    if asked.job is not None:
        return jobs.find_with_dataset(session, owner, asked.job)
    assert asked.spec is not None
    return None, find_named_dataset(session, owner, asked.spec.dataset)


def _wait(
    session: Session,
    owner: str,
    asked: StudySpec,
    job: JobRow | None,
    dataset: DatasetRow,
    waits_for: WaitsFor,
) -> tuple[StudyRow, DatasetRow | None]:
    """Add the row of a study that starts later, and an event that says what it waits for."""
    study_id, version = make_id("std"), f"{dataset.name}@{dataset.version}"
    spec = read_training_spec(job) if job is not None else asked.spec
    assert spec is not None
    spec = spec.model_copy(update={"name": None, "dataset": version})
    plan = _make_waiting_plan(asked, spec, waits_for, dataset, accounts.get_request_key(session))
    kept = spec.model_dump_json()
    spec_bytes = count_bytes(kept, asked.model_dump_json())
    quotas.require_room(session, owner, spec_bytes=spec_bytes or 0)
    studies.add(
        session,
        id=study_id,
        owner=owner,
        name=asked.name or study_creation.generate_name(dataset, job, study_id),
        kind=asked.kind,
        spec=spec.model_dump(mode="json"),
        spec_bytes=spec_bytes,
        dataset_id=dataset.id,
        base_job=asked.job,
        remedies=[],
        plan=plan,
        found=_make_empty_results(),
        user_metadata=dict(asked.metadata),
        priority=0 if asked.priority is None else asked.priority,
    )
    data = {"waits_for": waits_for, "dataset": dataset.id}
    events.add(session, study_id, "study.waiting", f"Waiting: {describe_wait(plan, version)}.", data=data)
    return studies.find(session, owner, study_id)


def _make_waiting_plan(
    asked: StudySpec, spec: JobSpec, waits_for: WaitsFor, dataset: DatasetRow, key: str | None
) -> dict[str, Any]:
    """Make the stand-in for a plan, which contains the whole request."""
    validation = (dataset.splits or {}).get("validation", {}).get("count", 0)
    splits = choose_splits(validation, has_folds=spec.folds is not None) if asked.splits == "auto" else asked.splits
    return {
        ASKED: asked.model_dump(mode="json"),
        "waits_for": waits_for,
        "key": key,
        "arms": [],
        "seeds": asked.seeds,
        "folds": None if splits == "fixed" else 0,
        "max_jobs": asked.budget.jobs,
        "max_seconds": asked.budget.seconds,
    }


def _make_empty_results() -> dict[str, Any]:
    base = ArmView(
        name=BASE_ARM, patch={}, status="racing", jobs=[], seeds=0, train=None, validation=None, difference=None
    )
    return {
        "arms": [base.model_dump(mode="json")],
        "progress": {"jobs": 0, "done": 0, "eta_s": None},
        "ledger": {"validation_reads": 0, "test_reads": 0, "jobs": 0, "seconds": 0.0},
    }
