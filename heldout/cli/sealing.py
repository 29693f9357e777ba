"""`heldout studies seal`, `send` and `close`: a judge with a budget of looks, which keeps the labels."""

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from heldout.cli.command import Service, StudyId
from heldout.cli.outcome import Exit, Refused, exit_of_answer, report
from heldout.cli.screen import print_blocks
from heldout.cli.shown import print_study
from heldout.client.failures import ApiProblem
from heldout.metrics import USUAL_MARGIN


def seal(
    service: Service,
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="A CSV with the columns split, image and label; test is optional.")
    ],
    looks: Annotated[int, typer.Option(min=1, max=200, help="How many candidates it may judge.")] = 20,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="Trainings of each candidate.")] = 1,
    classes: Annotated[
        str | None, typer.Option(metavar="NAMES", help="With commas between them; by default those of the labels.")
    ] = None,
    margin: Annotated[
        float,
        typer.Option(metavar="POINTS", min=0.01, max=50, help="At the close: by how many points it may be worse."),
    ] = 100 * USUAL_MARGIN,
    name: Annotated[str | None, typer.Option(help="A name for the judge.")] = None,
) -> None:
    """Open a judge with a budget of looks. It keeps the labels, and says which candidates are surely better."""
    from heldout.client.judges import read_labels

    splits = _read(lambda: read_labels(labels))
    if "validation" not in splits:
        raise Refused(f"{labels}: there are no labels of validation images, on which candidates are judged.")
    known = sorted({label for split in splits.values() for label in split.values()})
    order: dict[str, Any] = {"looks": looks, "seeds": seeds, "margin": margin / 100, "name": name}
    study = service.client.studies.judge(classes.split(",") if classes else known, **splits, **order).view
    service.print(study, print_study)


def send(
    service: Service,
    study_id: StudyId,
    answers: Annotated[
        list[Path],
        typer.Argument(metavar="ANSWERS...", help="A CSV for each seed, with the columns split, image and answer."),
    ],
    name: Annotated[str, typer.Option(help="The candidate's name, which it alone has. The first one is the base.")],
) -> Exit:
    """Send a judge a candidate, as answers to its images. Exit codes: 0 surely better, 12 not surely, 13 spent."""
    from heldout.client.judges import read_answers
    from heldout.documents.attempts import build_attempt

    study = service.client.studies.get(study_id).view
    read = _read(lambda: read_answers(answers, study))
    try:
        attempt = service.client.studies.add_arm(study_id, name, **read)
    except ApiProblem as problem:
        if problem.code != "looks_spent":
            raise
        report(problem, as_json=service.as_json)
        return Exit.SPENT
    service.print(attempt, lambda attempt: print_blocks(build_attempt(attempt)))
    return Exit.SUCCEEDED if attempt.answer == "base" else exit_of_answer(attempt.answer)


def close(service: Service, study_id: StudyId) -> None:
    """Close a judge: test labels are read, once, for the base and the best. Needs a key of scope admin."""
    service.print(service.client.studies.close(study_id).view, print_study)


def _read(read: Any) -> Any:
    try:
        return read()
    except (ValueError, csv.Error) as error:
        raise Refused(str(error)) from None
