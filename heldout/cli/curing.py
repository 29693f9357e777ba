"""`heldout cure` and `heldout curve`: order a study of a job that has ended, and follow it to its answer."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from heldout.cli.command import (
    CostsFile,
    Detach,
    GroupColumn,
    JobId,
    Margin,
    Objective,
    Service,
    Yes,
    explain_interrupt,
    make_argument,
    read_costs,
)
from heldout.cli.outcome import Exit, Refused, exit_of_job
from heldout.cli.progress import JsonLines, follow_study, make_study_display
from heldout.cli.references import JOB, STUDY, Names
from heldout.cli.screen import print_blocks, say, say_prose
from heldout.cli.shown import print_study
from heldout.client.failures import ApiProblem
from heldout.documents.audit import build_audit
from heldout.documents.study import build_estimate
from heldout.errors import DataFirst
from heldout.metrics import Measure

if TYPE_CHECKING:
    from heldout.client.client import Client

# What to do if the data have faults that no remedy cures, in the service's terms.
SHOW_IMAGES, FIX, AS_THEY_ARE = "show_images", "fix", "as_they_are"
_WAYS_ON = {
    SHOW_IMAGES: "Show the images",
    FIX: "Fix the data and continue",
    AS_THEY_ARE: "Compare on the data as they are",
}

Splits = Annotated[
    Literal["auto", "fixed", "resampled"] | None,
    typer.Option(help="fixed keeps the dataset's splits; resampled gives each seed its own fold."),
]
BudgetJobs = Annotated[int | None, typer.Option(min=2, max=2000, help="The most trainings that the study may run.")]
Fix = Annotated[
    bool, typer.Option("--fix", help="If the data have faults, make a version without them and compare on that.")
]
Anyway = Annotated[
    bool, typer.Option("--anyway", "--as-they-are", help="Compare on the unchanged data, despite their faults.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the number of trainings, and start none.")]


def cure(
    service: Service,
    job_id: Annotated[
        str | None,
        Names(JOB, is_file=lambda text: text.startswith(STUDY.prefix)),
        make_argument(
            "JOB",
            "A job's id, the beginning of one, its name, or last; or the id of a study to continue.",
            JOB,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Compare trainings of your own script, which this command runs here. {seed}, {out} and the "
            "parameters of --arm become its arguments.",
        ),
    ] = None,
    arms: Annotated[
        list[str] | None,
        typer.Option("--arm", metavar="NAME:P=V,P=V", help="With --run: one way to train. Repeatable; base first."),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option("--jobs", min=1, max=64, help="With --run: trainings at once, each on a GPU of its own if any."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=1, help="With --run: the most seconds that one training may take.")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(min=0.01, help="With --run: the most memory for the data of one training, in gigabytes."),
    ] = None,
    embedded: Annotated[
        bool,
        typer.Option("--embedded", help="With --run: use no service, and keep the study in heldout-studies.sqlite."),
    ] = False,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="With --run: make sure of the verdict on one --arm by short trainings. {epochs}, {learning_rate} and "
            "{train_fraction} say what they may change.",
        ),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="With --run: start a new study, even if this command has one here already.")
    ] = False,
    remedies: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Remedies such as dropout,augmentation,dropout+augmentation; by default those that suit the job.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Compare all remedies that suit the job; by default at most three, for a first answer that can be "
            "continued.",
        ),
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(min=2, max=20, help="Seeds of each remedy in the first look; by default 3.")
    ] = None,
    splits: Splits = None,
    objective: Objective = None,
    costs: CostsFile = None,
    group_column: GroupColumn = None,
    margin: Margin = None,
    budget_jobs: BudgetJobs = None,
    budget_seconds: Annotated[
        float | None, typer.Option(min=1, help="The most seconds that all trainings together may take.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="If the data have faults, show the images and start nothing.")
    ] = False,
    fix: Fix = False,
    anyway: Anyway = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    detach: Detach = False,
) -> Exit | None:
    """Measure which remedies help a job, or a script of yours. Train with each and without, and compare."""
    budget = {"jobs": budget_jobs, "seconds": budget_seconds}
    decides = {"objective": objective, "costs": read_costs(costs), "group_column": group_column}
    if run is not None:
        from heldout.cli.running.study import run_study  # loads what only this needs
        from heldout.cli.running.training import Limits

        of_jobs = {"--remedies": remedies, "--full": full, "--show": show, "--fix": fix, "--anyway": anyway}
        _refuse({**of_jobs, "--detach": detach}, "with --run")
        if embedded and service.home is not None:
            raise Refused("--embedded and --home exclude each other. Give only one.")
        if again and job_id is not None:
            raise Refused(f"--again starts a new study, and {job_id} names one to continue. Give only one.")
        limits = Limits(timeout, None if memory is None else int(memory * 1e9))
        if prove:
            from heldout.cli.running.proof import prove_script

            _refuse({"a study": job_id, "--embedded": embedded, "--seeds": seeds, "--again": again}, "with --prove")
            prove_script(service, run, arms or [], limits, budget_jobs)
            return None
        if splits == "auto":
            raise Refused("--splits auto needs a job. With --run, give fixed, or resampled if the script has {fold}.")
        return run_study(
            *(service, run, arms or (), job_id),
            given={
                "seeds": seeds,
                "splits": splits,
                **decides,
                "margin": None if margin is None else margin / 100,
                "budget": budget,
            },
            jobs=at_once or 1,
            limits=limits,
            again=again,
            dry_run=dry_run,
            embedded=embedded,
        )
    own = {"--arm": arms, "--jobs": at_once, "--timeout": timeout, "--memory": memory}
    _refuse({**own, "--again": again, "--embedded": embedded, "--prove": prove}, "without --run")
    if job_id is None:
        raise Refused("Name the job to cure; or give --run with the command of a training of yours, and --arm.")
    if job_id.startswith(STUDY.prefix):
        given = {"--full": full, "--seeds": seeds, "--splits": splits, "--show": show, "--dry-run": dry_run}
        deciding = {"--objective": objective, "--group-column": group_column, "--margin": margin}
        _refuse({**given, **deciding, "--fix": fix, "--anyway": anyway}, "for a study to continue")
        return _continue(service, job_id, remedies, budget, detach=detach)
    _refuse_several({"--show": show, "--fix": fix, "--anyway": anyway})
    body = {
        "job": job_id,
        "remedies": _parse_names(remedies),
        "extent": "full" if full else None,
        "seeds": seeds,
        "splits": splits,
        **decides,
        "margin": None if margin is None else margin / 100,
        "budget": budget,
        "data": FIX if fix else AS_THEY_ARE if anyway else None,
    }
    if show:
        try:
            service.client.studies.estimate(body)
            say("The data do not have to be fixed first.")
        except DataFirst as refused:
            _show_faults(refused)
            show_images(service.client, job_id)
        return None
    return create_study(service, body, dry_run=dry_run, yes=yes, detach=detach)


def curve(
    service: Service,
    job_id: JobId,
    seeds: Annotated[int | None, typer.Option(min=2, max=20, help="Trainings of each size; by default 3.")] = None,
    splits: Splits = None,
    objective: Annotated[
        Measure | None, typer.Option(help="The share that is measured; by default the job's objective, else accuracy.")
    ] = None,
    group_column: GroupColumn = None,
    budget_jobs: BudgetJobs = None,
    fix: Fix = False,
    anyway: Anyway = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    detach: Detach = False,
) -> Exit | None:
    """Measure whether more images would help. Train on five sizes, and forecast twice the largest."""
    _refuse_several({"--fix": fix, "--anyway": anyway})
    body = {
        "kind": "learning_curve",
        "job": job_id,
        "seeds": seeds,
        "splits": splits,
        "objective": objective,
        "group_column": group_column,
        "budget": {"jobs": budget_jobs},
        "data": FIX if fix else AS_THEY_ARE if anyway else None,
    }
    return create_study(service, body, dry_run=dry_run, yes=yes, detach=detach)


def create_study(service: Service, body: Mapping[str, Any], *, dry_run: bool, yes: bool, detach: bool) -> Exit | None:
    """Order a study and follow it; on a terminal, ask first. With `dry_run`, only describe it."""
    client = service.client
    if dry_run:
        service.print(client.studies.estimate(body), lambda estimate: print_blocks(build_estimate(estimate)))
        return None
    asks = not (yes or service.as_json or detach) and sys.stdin.isatty() and sys.stdout.isatty()
    if asks:
        decided = _ask(client, body)
        if decided is None:
            return None
        body = decided
    study = client.studies.create(body).view
    if not (asks or service.as_json):
        for warning in study.warnings:
            say(f"Note: {warning}", file=sys.stderr)
    if detach:
        service.print_id(study)
        return None
    return follow(service, study.id)


def _continue(
    service: Service, study_id: str, remedies: str | None, budget: Mapping[str, Any], *, detach: bool
) -> Exit | None:
    """Continue a study that has given a first answer, and follow it."""
    added: Mapping[str | None, Literal["all", "same"]] = {None: "all", "all": "all", "same": "same"}
    if remedies not in added:
        raise Refused(f"--remedies {remedies}: a study is continued with `all` remedies left, or with the `same` ones.")
    study = service.client.studies.continue_(study_id, added[remedies], budget=budget).view
    if detach:
        service.print_id(study)
        return None
    return follow(service, study.id)


def _ask(client: "Client", body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Describe the study, and ask whether to start it. If its data have faults, ask what to do first.

    Returns:
        The order; None if the user orders nothing.
    """
    while True:
        try:
            print_blocks(build_estimate(client.studies.estimate(body)))
            return body if typer.confirm("Start it?", default=True) else None
        except DataFirst as refused:
            _show_faults(refused)
            offered = [choice["name"] for choice in refused.choices if choice["name"] in _WAYS_ON]
            for number, name in enumerate(offered, start=1):
                say(f"  {number}  {_WAYS_ON[name]}")
            say(f"  {len(offered) + 1}  Stop here")
            chosen = typer.prompt("What next?", type=int, default=1)
            if not 1 <= chosen <= len(offered):
                return None
            if (name := offered[chosen - 1]) == SHOW_IMAGES:
                show_images(client, body["job"])
            else:
                body = {**body, "data": name}


def _show_faults(refused: DataFirst) -> None:
    for error in refused.errors:
        say_prose(error.detail)


def show_images(client: "Client", job_id: str) -> None:
    """Print the images that show what is wrong with a job's data, and the page with their pictures."""
    dataset = client.jobs.get(job_id).view.dataset
    try:
        print_blocks(build_audit(client.datasets.audit(dataset.id)))
    except ApiProblem as problem:
        if problem.code != "not_ready":  # a bundled dataset has no audit
            raise
    say_prose(f"Their pictures: {client.url}/datasets/{dataset.id}#images")


def follow(service: Service, study_id: str) -> Exit:
    """Show a study until it has ended, and return its exit code."""
    later = (
        f"`heldout studies {study_id} --watch` shows it again; `heldout studies cancel {study_id}` ends it with all "
        "of its trainings."
    )
    with explain_interrupt("The study", later):
        study = follow_study(service.client, study_id, JsonLines() if service.as_json else make_study_display())
    service.print(study, print_study, one_line=True)
    return exit_of_job(study.status)


def _refuse(options: Mapping[str, object], when: str) -> None:
    for name, value in options.items():
        if value:
            raise Refused(f"{name} means nothing {when}. Leave it out.")


def _refuse_several(options: Mapping[str, bool]) -> None:
    if sum(options.values()) > 1:
        *others, last = options
        raise Refused(f"{', '.join(others)} and {last} exclude each other. Give only one.")


def _parse_names(remedies: str | None) -> Any:
    if remedies is None or remedies == "auto":
        return "auto"
    names = [name.strip() for name in remedies.split(",")]
    if not all(names):
        raise Refused(f"--remedies {remedies}: expected names with commas between them.")
    return names
