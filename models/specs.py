"""The spec that a row of `jobs` holds, read back by the job's kind."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from heldout.errors import SpecUnreadable
from heldout.spec.job import JobSpec
from heldout.spec.json_pointer import pointer_to
from heldout.work.kinds import KINDS, WorkSpec
from models.tables import JobRow

Spec = TypeVar("Spec", bound=BaseModel)


def spec_of(job: JobRow) -> WorkSpec:
    """What the job is asked to do. Raises SpecUnreadable."""
    return _read(job, KINDS[job.kind].spec)


def training_spec_of(job: JobRow) -> JobSpec:
    """What a training is asked to do. Raises SpecUnreadable."""
    return _read(job, JobSpec)


def _read(job: JobRow, kind: type[Spec]) -> Spec:
    try:
        return kind.model_validate(job.spec)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SpecUnreadable(job.id, f"{pointer_to(first['loc'])}: {first['msg']}") from error
