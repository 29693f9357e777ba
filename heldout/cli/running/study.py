"""`heldout cure --run`: orders a study of trainings that run here, or continues an earlier one."""

import hashlib
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heldout.cli.command import Service, explain_interrupt
from heldout.cli.outcome import Exit, Refused, exit_of_job
from heldout.cli.progress import JsonLines, make_study_display
from heldout.cli.running.embedded import run_service
from heldout.cli.running.memory import FOLDER, StudiesOfFolder
from heldout.cli.running.runner import Plan, Runner
from heldout.cli.running.script import Script, check, parse_arms, parse_script
from heldout.cli.running.training import Limits
from heldout.cli.screen import say
from heldout.cli.shown import print_study
from heldout.errors import StudyNotFound
from heldout.views.study_report import HTML

if TYPE_CHECKING:
    from heldout.client.client import Client
    from heldout.views.study import StudyView

FEWEST_ARMS, DEFAULT_SEEDS = 2, 3
# The file of an embedded service, and what stands for its address.
STUDIES, SERVICE = "heldout-studies.sqlite", "service"
# An embedded study's metadata say which command ordered it, so that its file can be moved.
DIGEST = "command_digest"


def run_study(
    service: Service,
    command: str,
    arms: Sequence[str],
    study_id: str | None,
    *,
    given: Mapping[str, Any],
    jobs: int,
    limits: Limits,
    again: bool,
    dry_run: bool,
    embedded: bool = False,
) -> Exit | None:
    """Run a study's trainings here, and show its answer.

    Args:
        command: of `--run`. arms: of `--arm`. study_id: a study that runs already, perhaps on other machines.
        given: the options that become other fields of the order, such as `seeds`; None if they were not given.
        again: order a new study even if this command has ordered one here before.
        embedded: run the service here, too, while this runs; its data stay in one file.
    """
    script = parse_script(command)
    own = parse_arms(arms)
    if study_id is None and len(own) < FEWEST_ARMS:
        raise Refused(
            f"Received {len(own)} of --arm; expected at least two, base first, such as --arm base:dropout=0 "
            "--arm drop:dropout=0.3."
        )
    parameters = {arm["name"]: arm["parameters"] for arm in own}
    if own:
        check(script, parameters, given["splits"] or "fixed")
    if dry_run:
        for arm in own:
            say(shlex.join(script.fill({**_EXAMPLE, **arm["parameters"], "arm": arm["name"]})))
        return None
    folder = Path(FOLDER)
    folder.mkdir(exist_ok=True)
    with open_embedded_service() if embedded else nullcontext(service.client) as client:
        where = SERVICE if embedded else client.url
        if study_id is None:
            defaults = {"seeds": given["seeds"] or DEFAULT_SEEDS, "splits": given["splits"] or "fixed"}
            ordered = {"kind": "external", "arms": own, **given, **defaults}
            study = _find_or_create(client, where, ordered, command, folder, again=again)
        else:
            study = client.studies.get(study_id).view
        _check_study(study, parameters, given)
        for warning in () if service.as_json else study.warnings:
            say(f"Note: {warning}", file=sys.stderr)
        check(script, {arm.name: arm.patch for arm in study.arms}, study.splits)
        plan = Plan({arm.name: script for arm in study.arms}, folder, jobs, limits)
        study = follow_here(service, client, study, plan, embedded=embedded)
    service.print(study, partial(print_study, says_more=not embedded), one_line=True)
    return exit_of_job(study.status)


def order_and_follow(
    service: Service,
    command: str,
    order: Mapping[str, Any],
    scripts: Mapping[str, Script],
    *,
    jobs: int,
    limits: Limits,
    again: bool,
    embedded: bool,
) -> "StudyView":
    """Order a study of trainings that each have their own script, or continue it, and run them here to its end.

    Args:
        command: what identifies the order in this folder.
        order: the body of the study. scripts: of each arm.
    """
    folder = Path(FOLDER)
    folder.mkdir(exist_ok=True)
    with open_embedded_service() if embedded else nullcontext(service.client) as client:
        where = SERVICE if embedded else client.url
        study = _find_or_create(client, where, {"kind": "external", **order}, command, folder, again=again)
        return follow_here(service, client, study, Plan(scripts, folder, jobs, limits), embedded=embedded)


def follow_here(service: Service, client: "Client", study: "StudyView", plan: Plan, *, embedded: bool) -> "StudyView":
    """Run a study's trainings here until it has ended, and return it."""
    display = JsonLines() if service.as_json else make_study_display()
    ends = "--again starts over." if embedded else f"`heldout studies cancel {study.id}` ends it."
    later = f"The same command continues where it was; {ends}"
    with explain_interrupt("The study", later, now="has stopped here"):
        study = Runner(client, study, plan, display).run()
    if embedded:
        save_report(client, study.id)
    return study


_EXAMPLE = {"seed": 0, "fold": 0, "folds": 8, "out": f"{FOLDER}/STUDY/ARM-seed0.npz"}


def open_embedded_service() -> AbstractContextManager["Client"]:
    """Run a service while the block runs, and open a client of it; its data stay in one file in this folder."""
    return run_service(Path(STUDIES), Path(FOLDER))


def save_report(client: "Client", study_id: str) -> None:
    """Write the report of an embedded study, because no page shows it later."""
    report = Path(FOLDER) / study_id / "report.html"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(client.studies.report_text(study_id, HTML), encoding="utf-8")
    say(f"The report: {report}", file=sys.stderr)


def _find_or_create(
    client: "Client", where: str, order: Mapping[str, Any], command: str, folder: Path, *, again: bool
) -> "StudyView":
    """Return the study that this command ordered earlier in this folder, or order one if it failed or was cancelled."""
    remembered = StudiesOfFolder(folder)
    text = json.dumps([where, command, order], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:20]
    if where == SERVICE:
        order = {**order, "metadata": {DIGEST: digest}}
    known = None if again else remembered.get(digest)
    for study in () if again else _list_earlier(client, where, digest, None if known is None else known[1]):
        if study.status in ("running", "succeeded"):
            how = "continues" if study.status == "running" else "has ended; --again orders a new one"
            say(f"{study.id}, which this command ordered earlier, {how}.")
            return study
    key = remembered.begin(digest) if known is None or known[1] is not None else known[0]
    study = client.studies.create(order, idempotency_key=key).view
    remembered.keep(digest, key, study.id)
    return study


def _list_earlier(client: "Client", where: str, digest: str, known_id: str | None) -> Iterator["StudyView"]:
    """Yield the study that this folder remembers, and those in a file that was copied to it, newest first."""
    if known_id is not None:
        with suppress(StudyNotFound):
            yield client.studies.get(known_id).view
    if where == SERVICE:
        yield from (study.view for study in client.studies.list() if study.metadata.get(DIGEST) == digest)


def _check_study(study: "StudyView", arms: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> None:
    if study.kind != "external":
        raise Refused(f"The service itself runs the trainings of {study.id}. `heldout studies {study.id}` shows it.")
    ordered = {arm.name: arm.patch for arm in study.arms}
    if arms and arms != ordered:
        raise Refused(f"{study.id} has the arms {ordered}, but --arm says {dict(arms)}. Leave --arm out.")
    budget = {f"budget-{name}": (limit, getattr(study.budget, name)) for name, limit in given["budget"].items()}
    other = {
        name: (given[name], getattr(study, name)) for name in ("seeds", "splits", "objective", "group_column", "margin")
    }
    for name, (wanted, has) in {**other, **budget}.items():
        if wanted not in (None, has):
            was = f"no --{name}" if has is None else f"--{name} {has}"
            raise Refused(f"{study.id} was ordered with {was}, which cannot be changed. Leave --{name} out.")
