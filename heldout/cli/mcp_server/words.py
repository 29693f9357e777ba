"""The tools' answers: short texts with figures, in the words of the command line."""

from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from heldout.cli.figures import format_points
from heldout.documents.blocks import Item, Items, Paragraph, Table
from heldout.documents.diagnosis import build_diagnosis
from heldout.documents.job import build_outcome
from heldout.documents.study import build_study
from heldout.documents.terminal import render_terminal
from heldout.spec.documents import make_patch
from heldout.stored.results import FinalView
from heldout.views.diagnosis import DiagnosisView
from heldout.views.job import JobView
from heldout.views.study import StudyView
from heldout.words import NONE, format_duration, format_range, percent

# How many wrong arguments are named, and how many characters of each are shown.
MAX_REFUSED, MAX_SHOWN = 5, 60


def describe_job(job: JobView, final: FinalView | None, diagnosis: DiagnosisView | None) -> str:
    """Describe a job's progress; if it has ended, its result and diagnosis."""
    if not job.has_ended:
        done = job.progress
        left = f", about {format_duration(done.eta_s)} left" if done.eta_s is not None else ""
        return (
            f"{job.name} ({job.id}) is {job.status}: epoch {done.epoch} of {done.epochs}{left}. Ask `progress` again."
        )
    text = "\n".join(render_terminal(build_outcome(job, final)))
    return text if diagnosis is None else f"{text}\n\nDiagnosis: {describe_diagnosis(diagnosis, job)}"


def describe_diagnosis(diagnosis: DiagnosisView, job: JobView | None = None) -> str:
    """Describe a diagnosis as the command line prints it."""
    return "\n".join(render_terminal(build_diagnosis(diagnosis, job)))


def describe_study(study: StudyView) -> str:
    """Describe a study's progress with its arms, and its answer once it has one."""
    text = "\n".join(render_terminal(build_study(study)))
    if study.status != "running":
        return text
    if study.judge is not None:
        return f"{text}\nIt is open. `judge_candidate` sends it a candidate."
    return f"{text}\nIt is still running. Ask `progress` again."


def describe_comparison(jobs: Sequence[tuple[JobView, FinalView | None]]) -> str:
    """Describe each job in a row, then the differences of its spec from the first one's."""
    headings = ("job", "name", "status", "train", "validation", "test", "test 95% interval", "gap to test", "verdict")
    first = jobs[0][0].spec.model_dump(mode="json", exclude={"name", "metadata"})
    changes = [
        Item(
            f"{job.id} differs from {jobs[0][0].id} by",
            f"{make_patch(first, job.spec.model_dump(mode='json', exclude={'name', 'metadata'})) or 'nothing'}",
        )
        for job, _ in jobs[1:]
    ]
    how = (
        "Accuracies are fractions of images. Each job is one training: differences may be chance, especially if "
        "intervals overlap. `cure` measures over several seeds."
    )
    table = Table("", headings, [_build_row(job, final) for job, final in jobs])
    return "\n".join(render_terminal([table, Items(changes), Paragraph(how, "hint")]))


def _build_row(job: JobView, final: FinalView | None) -> tuple[str, ...]:
    splits = (None, None, None) if final is None else (final.train, final.validation, final.test)
    test, gap = splits[2], None if final is None else final.gap.test
    return (
        *(job.id, job.name, job.status),
        *(NONE if split is None else percent(split.accuracy) for split in splits),
        NONE if test is None else format_range(test.interval),
        NONE if gap is None or gap.accuracy is None else f"{format_points(gap.accuracy)} points",
        job.summary.verdict or NONE,
    )


def describe_refused_arguments(refused: ValidationError) -> str:
    """Say which arguments of a tool are wrong, and how."""
    return " ".join(map(_describe_refused_argument, refused.errors()[:MAX_REFUSED]))


def _describe_refused_argument(error: ErrorDetails) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"There is no argument `{name}`."
    if error["type"] == "missing":
        return f"The argument `{name}` is missing."
    received = repr(error["input"])
    shown = received if len(received) <= MAX_SHOWN else f"{received[:MAX_SHOWN]}…"
    return f"`{name}`: received {shown}; {error['msg'][0].lower()}{error['msg'][1:]}."
