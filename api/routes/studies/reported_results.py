"""Results of external trainings as their runners send them: a form with a file of answers, or JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from pydantic import Field, model_validator
from starlette.datastructures import FormData, UploadFile

from analysis.studies.reported_results import ReportedResult, StudyObjective, read_reported_result
from api.http.body import parse_json
from api.http.upload_body import get_form_file, read_form_texts
from api.routes.external_files import ANSWERS, TRAINING, WHOLE, ExternalFile, read_external_file
from api.routes.external_training import ExternalTraining
from heldout.errors import InvalidForm, InvalidSpec
from heldout.spec.field_errors import validate

MAX_TOKEN, MAX_REASON = 20, 2000
_FIELDS = ("token", "seconds", "failed", "training")


class ReportedResultSpec(ExternalTraining):
    """The answers and curves of a training, as for `POST /v1/diagnoses`, or the reason that it failed."""

    token: str = Field(max_length=MAX_TOKEN, description="From `ask`; `0` for a recorded run.")
    seconds: float | None = Field(None, ge=0, lt=1e9, description="How long the training took.")
    failed: str | None = Field(
        None, max_length=MAX_REASON, description="Instead of `predictions`: why there is no result."
    )

    @model_validator(mode="after")
    def _require_one_result(self) -> "ReportedResultSpec":
        if (self.predictions is None) == (self.failed is None):
            raise ValueError("expected either `predictions`, or `failed` with the reason")
        return self

    @property
    def _may_have_no_curves(self) -> bool:
        return True


@dataclass(frozen=True)
class Result:
    """The result of a training, or why it failed. parts: what is stored of it, by name."""

    token: str
    seconds: float | None
    outcome: ReportedResult | str
    parts: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportedResultForm:
    """The fields of a result's form."""

    token: str
    file: UploadFile | None
    training: str | None
    seconds: float | None
    failed: str | None


def read_result_form(form: FormData) -> ReportedResultForm:
    """Read the fields of a form.

    Raises:
        InvalidForm, InvalidSpec.
    """
    texts, file = read_form_texts(form, _FIELDS), None if "file" not in form else get_form_file(form)
    if "token" not in texts:
        raise InvalidForm("The field `token` is missing. `POST …/ask` returned it with the run.")
    if (file is None) == ("failed" not in texts):
        raise InvalidForm("Send either `file`, with the answers, or `failed`, with the reason.")
    try:
        seconds = None if "seconds" not in texts else float(texts["seconds"])
    except ValueError:
        seconds = -1.0
    if seconds is not None and not 0 <= seconds < 1e9:
        detail = f"Received {texts['seconds'][:40]!r}; expected a number of seconds."
        raise InvalidSpec.at("/seconds", detail)
    failed = texts.get("failed")
    return ReportedResultForm(
        texts["token"][:MAX_TOKEN],
        file,
        texts.get("training"),
        seconds,
        None if failed is None else _shorten_reason(failed),
    )


def read_result_file(form: ReportedResultForm, limit_bytes: int, objective: StudyObjective) -> Result:
    """Read the file of a form, with its curves. Raises InvalidSpec."""
    assert form.file is not None
    outcome = read_external_file(form.file.file, form.training, limit_bytes).read(
        partial(read_reported_result, objective=objective)
    )
    form.file.file.seek(0)
    parts = {ANSWERS: form.file.file.read()}
    if form.training is not None:
        parts[TRAINING] = form.training.encode("utf-8", "surrogatepass")
    return Result(form.token, form.seconds, outcome, parts)


def read_result_body(raw: bytes, objective: StudyObjective) -> Result:
    """Read a JSON body.

    Raises:
        InvalidJson, InvalidSpec.
    """
    spec = validate(ReportedResultSpec, parse_json(raw))
    if spec.failed is not None:
        return Result(spec.token, spec.seconds, _shorten_reason(spec.failed))
    outcome = ExternalFile.of(spec).read(partial(read_reported_result, objective=objective))
    return Result(spec.token, spec.seconds, outcome, {WHOLE: spec.model_dump_json(include=_STORED).encode()})


# The parts of a JSON body that `ExternalFile.load` reads.
_STORED = set(ExternalTraining.model_fields)


def _shorten_reason(reason: str) -> str:
    return reason[:MAX_REASON] or "The script gave no reason."
