"""Views as a service would return them, with invented figures."""

from heldout.statistics import compute_wilson_interval
from heldout.stored.results import FinalView
from heldout.views.account import EventView
from heldout.views.diagnosis import DiagnosisView
from heldout.views.job import JobView
from heldout.views.results import EpochView
from heldout.views.study import StudyView
from tests.heldout.served import FIGURES, SPEC

CREATED = "2025-11-24T15:41:00.000Z"


def job(**changes):
    """Make a running job; `changes` replace fields of its JSON."""
    return JobView.model_validate(
        {
            "id": "job_1",
            "object": "job",
            "name": "small",
            "status": "running",
            "stop_reason": None,
            "spec": SPEC,
            "dataset": {"id": "ds_1", "name": "digits", "version": 1},
            "parameters": 1000,
            "progress": {"epoch": 0, "epochs": 10, "eta_s": 75.0},
            "attempt": 1,
            "failures": 0,
            "error": None,
            "retry_of": None,
            "study_id": None,
            "engine": None,
            "version": 2,
            "created_at": CREATED,
            "queued_at": CREATED,
            "started_at": "2025-11-24T15:41:02.000Z",
            "finished_at": None,
            **changes,
        }
    )


def arm(name, accuracy=None, loss=None, *, status="finished", half=0.02, **changes):
    """Make an arm of a study. accuracy and loss differ from the base by this much, plus or minus half and 5 * half."""
    none = {"loss": None, "accuracy": None}
    difference = None
    if accuracy is not None:
        bounds = {"accuracy": (accuracy - half, accuracy + half), "loss": (loss - 5 * half, loss + 5 * half)}
        difference = {"loss": loss, "accuracy": accuracy, "intervals": none, "adjusted_intervals": bounds}
    return {
        "name": name,
        "patch": {} if name == "base" else {"training": {"label_smoothing": 0.1}},
        "status": status,
        "jobs": ["job_2", "job_3", "job_4"],
        "seeds": 3,
        "train": None,
        "validation": {"loss": 0.4, "accuracy": 0.82 + (accuracy or 0), "intervals": none},
        "difference": difference,
        "why": None,
        **changes,
    }


def study(**changes):
    """Make a study that found a cure; `changes` replace fields of its JSON."""
    return StudyView.model_validate(
        {
            "id": "std_1",
            "object": "study",
            "name": "Study of small",
            "kind": "remedies",
            "status": "succeeded",
            "spec": SPEC,
            "dataset": {"id": "ds_1", "name": "digits", "version": 1},
            "job": "job_1",
            "remedies": ["dropout", "horizontal_flip"],
            "seeds": 3,
            "splits": "fixed",
            "budget": {"jobs": None, "seconds": None},
            "progress": {"jobs": 12, "done": 9, "eta_s": 75.0},
            "arms": [
                arm("base"),
                arm("dropout", 0.05, -0.2),
                arm("horizontal_flip", -0.1, 0.3, status="dropped", why="It surely harms."),
            ],
            "conclusion": {"kind": "cure", "remedy": "dropout", "explanation": "Dropout helps.", "refit": "job_9"},
            "ledger": {"validation_reads": 90, "test_reads": 6, "jobs": 9, "seconds": 60.0},
            "error": None,
            "version": 2,
            "created_at": CREATED,
            "started_at": CREATED,
            "finished_at": CREATED,
            **changes,
        }
    )


def event(type_="job.warning", level="warning", **data):
    return EventView(id=1, object="event", type=type_, level=level, message="Something.", data=data, created_at=CREATED)


def epoch(number, **figures):
    return EpochView.model_validate(FIGURES | {"epoch": number} | figures)


def split(correct, count, loss=0.1):
    return {
        "loss": loss,
        "accuracy": correct / count,
        "count": count,
        "interval": compute_wilson_interval(correct, count),
    }


def final(train, validation, test):
    """Make the figures of the kept weights on three splits, each made by `split`."""
    gap = {"accuracy": 0.0, "loss": 0.0}
    splits = {"train": train, "validation": validation, "test": test}
    return FinalView.model_validate({"epoch": 2, **splits, "gap": {"validation": gap, "test": test and gap}})


def diagnosis(verdict, best_epoch=1, explanation="", remedies=()):
    """Make a verdict with one finding and these remedies, given as names with patches."""
    finding = {
        "code": verdict,
        "severity": "warning",
        "evidence": {},
        "explanation": explanation,
        "remedies": [{"name": name, "reason": "", "patch": patch} for name, patch in remedies],
    }
    return DiagnosisView.model_validate(
        {
            "object": "diagnosis",
            "verdict": verdict,
            "best_epoch": best_epoch,
            "onset_epoch": None,
            "explanation": explanation,
            "findings": [finding],
        }
    )
