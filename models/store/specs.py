"""The spec that a row of `jobs` holds, read back by the job's kind."""

from pydantic import ValidationError

from heldout.json_pointer import pointer_to
from heldout.kinds import KINDS, WorkSpec
from models.tables import JobRow


class SpecUnreadable(Exception):
    """The stored spec of a job is not one that this release understands."""

    def __init__(self, error: ValidationError) -> None:
        first = error.errors(include_url=False)[0]
        self.detail = (
            "The stored spec is not one that this release understands "
            f"({pointer_to(first['loc'])}: {first['msg']}). Submit a new job."
        )
        super().__init__(self.detail)


def spec_of(job: JobRow) -> WorkSpec:
    """What the job is asked to do. Raises SpecUnreadable."""
    try:
        return KINDS[job.kind].spec.model_validate(job.spec)
    except ValidationError as error:
        raise SpecUnreadable(error) from error
