"""The study at the end of the demonstration: which remedy cures the network that overfits, and how sure that is."""

import sys
from contextlib import suppress
from pathlib import Path

from heldout.cli.progress import follow_study, study_display
from heldout.cli.screen import say, say_prose
from heldout.cli.shown_study import show_arms
from heldout.client.client import Client
from heldout.views.study import StudyView

# Two that help with few images, both together, and one that harms digits.
REMEDIES = ("augmentation", "dropout", "dropout+augmentation", "horizontal_flip")
SEEDS = 3
# Five networks of three seeds, two fresh seeds of the best four, and the model to deploy.
MAX_JOBS = 24


def measure_cure(client: Client, job_id: str) -> StudyView:
    """Order the study of a job that has ended, and show it until it has ended too."""
    ordered = client.order_study(
        {"job": job_id, "remedies": list(REMEDIES), "seeds": SEEDS, "budget": {"jobs": MAX_JOBS}}
    )
    return follow_study(client, ordered.id, study_display())


def show_cure(client: Client, study: StudyView, report: Path) -> int:
    """Print the question, the answer and the differences, and write the report; 0 if the study has succeeded."""
    if study.status != "succeeded" or study.conclusion is None:
        why = study.status if study.error is None else f"{study.error.code}: {study.error.detail}"
        say(f"The study did not succeed: {why}", file=sys.stderr)
        return 1
    said = client.study_report(study.id)
    say_prose(said.question)
    say_prose(said.answer)
    say("")
    show_arms(study)
    say("")
    say_prose(study.conclusion.explanation)
    _write_report(client, study, report)
    return 0


def _write_report(client: Client, study: StudyView, report: Path) -> None:
    page = client.study_report_text(study.id, "text/html")
    with suppress(OSError):  # the folder may be read-only
        report.parent.mkdir(exist_ok=True)
        report.write_text(page, encoding="utf-8")
        say("The service is removed now, with its jobs and models.")
        say(f"The whole report, with pictures, is one page: {report}")
