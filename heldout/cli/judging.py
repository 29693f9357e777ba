"""`heldout judge`: compare a base with one candidate, and give one answer, for people, pipelines and agents."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.cli.command import GroupColumn, Service
from heldout.cli.outcome import Exit, Refused, exit_of_answer, exit_of_job
from heldout.cli.screen import print_blocks, print_json
from heldout.metrics import USUAL_MARGIN, Measure

if TYPE_CHECKING:
    from heldout.views.study import StudyView


def judge(
    service: Service,
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="A folder of answers, a script, a configuration or a commit.")
    ],
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="What shall be better: the same kind of thing.")
    ],
    run: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Train both with this command, which has {seed} and {out}. With {config}, both sides are "
            "configurations; without, both are commits.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=2, max=20, help="Trainings of each at first; more if they do not tell.")
    ] = 3,
    objective: Annotated[Measure, typer.Option(help="The measure of validation that decides.")] = "accuracy",
    group_column: GroupColumn = None,
    margin: Annotated[
        float, typer.Option(metavar="POINTS", min=0.01, max=50, help="By how many points it may be worse and as good.")
    ] = 100 * USUAL_MARGIN,
    at_once: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Trainings at once.")] = 1,
    timeout: Annotated[float | None, typer.Option(min=1, help="The most seconds that one training may take.")] = None,
    budget_jobs: Annotated[int | None, typer.Option(min=4, max=2000, help="The most trainings of both.")] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Use no service, and keep the study in heldout-studies.sqlite.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Start over, even if this was judged here before.")] = False,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the answer as Markdown, for a pull request.")
    ] = None,
) -> Exit | None:
    """Judge a candidate against a base: better, as good, worse, or cannot tell. Several seeds each, one answer."""
    from heldout.judging import CANDIDATE_ARM, judge_study  # loads what only this needs
    from heldout.studies.spec import BASE_ARM

    if embedded and service.home is not None:
        raise Refused("--embedded and --home exclude each other. Give only one.")
    order = {"objective": objective, "group_column": group_column}
    if run is None and _holds_answers(base) and _holds_answers(candidate):
        study = _compare_answers(service, {BASE_ARM: base, CANDIDATE_ARM: candidate}, order, embedded=embedded)
        compared = {BASE_ARM: base, CANDIDATE_ARM: candidate}
    else:
        study, compared = _compare_trainings(
            *(service, base, candidate, run),
            {"seeds": seeds, **order, "budget": {"jobs": budget_jobs}},
            jobs=at_once,
            timeout=timeout,
            again=again,
            embedded=embedded,
        )
    answer = judge_study(study, margin / 100)
    _show(service, study, answer, margin / 100, compared, markdown)
    return exit_of_answer(answer) if study.status == "succeeded" else exit_of_job(study.status)


def _holds_answers(text: str) -> bool:
    """Whether a side is answers or histories of runs, instead of something that is trained."""
    path = Path(text)
    return path.is_dir() or path.suffix in {".npz", ".csv", ".json"} or (not path.exists() and "*" in text)


def _compare_answers(
    service: Service, sides: Mapping[str, str], order: Mapping[str, Any], *, embedded: bool
) -> "StudyView":
    from heldout.cli.comparing import read_arms
    from heldout.cli.running.study import open_embedded_service, save_report  # loads what only this needs
    from heldout.client.recordings import has_figures

    given = read_arms([f"{name}={pattern}" for name, pattern in sides.items()], None)
    figures = has_figures(given)
    with open_embedded_service() if embedded else nullcontext(service.client) as client:
        study = client.studies.recorded(given, **({"metric": "accuracy"} if figures else order)).view
        if embedded:
            save_report(client, study.id)
    return study


def _compare_trainings(
    service: Service,
    base: str,
    candidate: str,
    command: str | None,
    order: Mapping[str, Any],
    *,
    jobs: int,
    timeout: float | None,
    again: bool,
    embedded: bool,
) -> tuple["StudyView", dict[str, str]]:
    from heldout.cli.running.candidates import check_out, find_candidate  # loads what only this needs
    from heldout.cli.running.study import order_and_follow
    from heldout.cli.running.training import Limits
    from heldout.judging import CANDIDATE_ARM
    from heldout.studies.spec import BASE_ARM

    given = {BASE_ARM: find_candidate(base, command), CANDIDATE_ARM: find_candidate(candidate, command)}
    if given[BASE_ARM].parameters == given[CANDIDATE_ARM].parameters:
        raise Refused(f"{base} and {candidate} are the same. Name two that differ.")
    sides = {name: check_out(side) for name, side in given.items()}
    study = order_and_follow(
        service,
        f"judge {command or ''}",
        {**order, "arms": [{"name": name, "parameters": dict(side.parameters)} for name, side in sides.items()]},
        {name: side.script for name, side in sides.items()},
        jobs=jobs,
        limits=Limits(timeout),
        again=again,
        embedded=embedded,
    )
    return study, {name: side.name for name, side in sides.items()}


def _show(
    service: Service,
    study: "StudyView",
    answer: Any,
    margin: float,
    compared: Mapping[str, str],
    markdown: Path | None,
) -> None:
    from heldout.documents.judging import build_judgement, build_judgement_page
    from heldout.documents.markdown import render_markdown
    from heldout.judging import find_needs
    from heldout.words.judging import explain_answer, say_headline

    if markdown is not None:
        markdown.write_text(render_markdown(build_judgement_page(study, answer, margin, compared)), encoding="utf-8")
    if not service.as_json:
        print_blocks(build_judgement(study, answer, margin, compared))
        return
    found = {
        "object": "judgement",
        "answer": answer,
        "headline": say_headline(answer, margin),
        "explanation": explain_answer(study, answer, find_needs(study, margin)),
        "margin": margin,
        "compared": dict(compared),
        "study": study.model_dump(mode="json"),
    }
    print_json(found, one_line=True)
