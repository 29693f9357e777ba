"""Builds the report of a study, and says what each arm changes in the base spec, field by field."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from pydantic import ValidationError

from analysis.reports.courses import EpochFigures, build_curve
from heldout.documents.blocks import dump_listed_json
from heldout.errors import InvalidSpec
from heldout.remedies.arms import JOINT, resolve_remedy
from heldout.remedies.catalogue import REMEDIES
from heldout.remedies.change import NoChange, RemedyBase
from heldout.spec.documents import merge
from heldout.spec.job import JobSpec
from heldout.stored.results import GapsView, GapView
from heldout.studies.spec import BASE_ARM
from heldout.views.base import dump_json
from heldout.views.study import ArmView, BudgetView, StudyView, TestFiguresView
from heldout.views.study_figures import ArmFiguresView
from heldout.views.study_report import (
    CommandView,
    QuestionView,
    ReportArmView,
    ReportBudgetView,
    ReportFiguresView,
    StudyReportView,
)
from heldout.words.studies import explain_arm
from heldout.words.study_answers import answer_questions, describe_study, phrase_question


def apply_patch(base: JobSpec, patch: Mapping[str, Any]) -> JobSpec | None:
    """Return the base spec with a merge patch applied, or None if the result is not a valid spec."""
    try:
        return JobSpec.model_validate(merge(base.model_dump(mode="json"), patch))
    except ValidationError:
        return None


def describe_changes(base: JobSpec, patch: Mapping[str, Any]) -> list[str]:
    """List changes, such as `training.label_smoothing: 0 → 0.1`. One of all blocks is listed once."""
    before = base.model_dump(mode="json")
    changed = apply_patch(base, patch)
    after = merge(before, patch) if changed is None else changed.model_dump(mode="json")
    given = after if changed is None else changed.model_dump(mode="json", exclude_defaults=True)
    blocks = len(before["network"].get("blocks") or ())
    found = list(_iterate_differences(before, after, given, ""))
    lines: list[str] = []
    for path, *values in found:
        shared = _generalize_path(path)
        if shared is not None and blocks > 1:
            alike = [
                changed_path
                for changed_path, *others in found
                if _generalize_path(changed_path) == shared and others == values
            ]
            path = shared if len(alike) == blocks else path
        line = f"{path}: {' → '.join(map(_format_value, values))}"
        if line not in lines:
            lines.append(line)
    return lines


def _is_of_catalogue(arm: ArmView, spec: JobSpec) -> bool:
    """Return whether the arm does what this release means by its name. A user's own patch may have the same name."""
    if any(part not in REMEDIES for part in arm.name.split(JOINT)):
        return False
    try:
        outcome = resolve_remedy(arm.name, RemedyBase(spec.model_dump(mode="json"), None))
    except InvalidSpec:
        return False
    return not isinstance(outcome, NoChange) and arm.patch in (outcome.patch, *outcome.candidates)


def make_arm_order(arm: ArmView, spec: JobSpec) -> str | dict[str, Any]:
    """Return the arm for the body of a study: its name if that gives the same arm, else with its patch."""
    if JOINT in arm.name or _is_of_catalogue(arm, spec):
        return arm.name
    return {"name": arm.name, "patch": arm.patch}


def explain_idea(arm: ArmView, spec: JobSpec) -> str | None:
    """Why the remedy may help, for someone who has never trained a network."""
    if not _is_of_catalogue(arm, spec):
        return None
    return " ".join(REMEDIES[part].reason for part in arm.name.split(JOINT))


def _iterate_differences(before: Any, after: Any, given: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Paths whose values differ, with both values. given: `after` without defaults, or None if all is default."""
    if isinstance(before, dict) and isinstance(after, dict):
        named = given if isinstance(given, dict) else {}
        for name in [*before, *(name for name in after if name not in before)]:
            inner = f"{path}.{name}" if path else name
            yield from _iterate_differences(before.get(name), after.get(name), named.get(name), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        places = given if isinstance(given, list) else [None] * len(after)
        for place, values in enumerate(zip(before, after, places, strict=True)):
            yield from _iterate_differences(*values, f"{path}[{place}]")
    elif before != after:
        yield path, before, given or after  # an object with only defaults is shown completely


def _generalize_path(path: str) -> str | None:
    """Return `network.blocks[all].dropout` for `network.blocks[1].dropout`, or None for other paths."""
    start = "network.blocks["
    if not path.startswith(start):
        return None
    _, _, rest = path.removeprefix(start).partition("]")
    return f"{start}all]{rest}"


def _format_value(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def build_report(
    study: StudyView,
    epochs: Mapping[str, Sequence[EpochFigures]],
    gaps: Sequence[ReportBudgetView] = (),
    *,
    gaps_missing: str | None = None,
    figures: Sequence[ReportFiguresView] = (),
) -> StudyReportView:
    """Return the report, also of a study that is still running.

    Args:
        epochs: of each job of the study, in order; jobs may be missing.
        gaps: of base and winner, if known. gaps_missing: why they cannot be read.
        figures: the key figures of base and winner.
    """
    winner = study.winner
    winning_spec = None if winner is None or study.spec is None else apply_patch(study.spec, winner.patch)
    return StudyReportView(
        object="study_report",
        study=study,
        question=phrase_question(study),
        answer=describe_study(study)[0],
        figures=list(figures),
        in_short=[QuestionView(question=asked, answer=answer) for asked, answer in answer_questions(study)],
        arms=[_build_arm(study, arm, epochs) for arm in study.arms],
        gaps=list(gaps),
        gaps_missing=gaps_missing,
        winning_spec=winning_spec,
        commands=build_commands(study, winning_spec),
    )


def _build_arm(study: StudyView, arm: ArmView, epochs: Mapping[str, Sequence[EpochFigures]]) -> ReportArmView:
    is_base = arm is study.arms[0]
    changes = [f"{name}: {_format_value(value)}" for name, value in arm.patch.items()]  # parameters
    if study.spec is not None:
        changes = describe_changes(study.spec, arm.patch)
    return ReportArmView(
        name=arm.name,
        idea=None if is_base or study.spec is None else explain_idea(arm, study.spec),
        changes=changes,
        effect=None if arm.difference is None else arm.difference.effect,
        explanation="The network that the spec describes. Every remedy is compared with it."
        if is_base
        else explain_arm(arm, study.metric),
        gap=_build_gaps(study, arm),
        curve=build_curve(arm.jobs, epochs),
    )


def _build_gaps(study: StudyView, arm: ArmView) -> GapsView | None:
    """Build the gap from the arm's means, up to test if it was measured."""
    if arm.train is None or arm.validation is None:
        return None
    tested = None
    if study.conclusion is not None and study.conclusion.test is not None:
        test_figures = study.conclusion.test
        tested = test_figures.base if arm is study.arms[0] else test_figures.winner if arm is study.winner else None
    test = None if tested is None else _build_gap(arm.train, tested)
    return GapsView(validation=_build_gap(arm.train, arm.validation), test=test)


def _build_gap(train: ArmFiguresView, held_out: ArmFiguresView | TestFiguresView) -> GapView:
    return GapView(accuracy=_subtract(train.accuracy, held_out.accuracy), loss=_subtract(held_out.loss, train.loss))


def _subtract(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


WINNER_FILE, STUDY_FILE = "winner.json", "study.json"
MORE_FILE, IMAGES_FILE = "more_seeds.json", "more_images.json"
LINE_OF_JSON = 160
MAX_SEEDS = 20  # of a study's first look
_DATA_OPTIONS = {None: "", "fix": " --fix", "as_they_are": " --anyway"}


def build_commands(study: StudyView, winning_spec: JobSpec | None) -> list[CommandView]:
    """Build the commands of the next steps after the answer, then of the study itself.

    Bodies name all defaults, so that they mean the same in later releases.
    """
    commands = []
    if study.conclusion is not None and (job := study.conclusion.refit) is not None:
        download = f'curl -s "$HELDOUT_URL/v1/jobs/{job}/model" -H "Authorization: Bearer $HELDOUT_API_KEY"'
        commands.append(
            CommandView(
                what="Download the model to use",
                file=None,
                body=None,
                cli=f"heldout model {job} --output model.keras",
                curl=f"{download} -o model.keras",
            )
        )
    if winning_spec is not None:
        commands.append(
            CommandView(
                what="Train with the chosen remedy",
                file=WINNER_FILE,
                body=dump_json(winning_spec),
                cli=f"heldout train {WINNER_FILE}",
                curl=_build_post_command("/v1/jobs", WINNER_FILE),
            )
        )
    again = _make_study_command("Repeat the whole study", STUDY_FILE, _build_body(study), _build_order_command(study))
    return [*commands, *_suggest_next_studies(study), again]


def _suggest_next_studies(study: StudyView) -> list[CommandView]:
    """Studies that would answer the question, or the question after it."""
    conclusion = study.conclusion
    if conclusion is None or conclusion.kind == "cure":
        return []
    if study.spec is None:
        return []  # only the person who ran the trainings can run more of them
    if conclusion.kind == "nothing_helped":
        body = {"kind": "learning_curve", **_build_base(study)}
        cli = None if study.job is None else f"heldout curve {study.job}{_DATA_OPTIONS[study.data]}"
        return [_make_study_command("Measure whether more training images would help", IMAGES_FILE, body, cli)]
    if conclusion.needs is None or conclusion.needs.seeds is None or conclusion.needs.images is not None:
        return []  # if images are needed too, more seeds alone would not answer the question
    seeds = min(max(arm.seeds for arm in study.arms) + conclusion.needs.seeds, MAX_SEEDS)
    body = _build_base(study) | {"remedies": _list_remedies(study), "seeds": seeds, "splits": study.splits}
    body |= _build_objective(study)
    what = f"Measure more: the same study with {seeds} seeds"
    return [_make_study_command(what, MORE_FILE, body, _build_cure_command(study, seeds))]


def _make_study_command(what: str, file: str, body: dict[str, Any], cli: str | None = None) -> CommandView:
    return CommandView(what=what, file=file, body=body, cli=cli, curl=_build_post_command("/v1/studies", file))


def _build_order_command(study: StudyView) -> str | None:
    """Return the command that starts the same study, or None if only a request body can describe it."""
    if study.kind == "remedies":
        return _build_cure_command(study, study.seeds, study.budget)
    if study.job is None:
        return None
    return _join_command(study, ["curve", study.job], study.seeds, {"--budget-jobs": study.budget.jobs})


def _build_cure_command(study: StudyView, seeds: int, budget: BudgetView | None = None) -> str | None:
    """Return the command that starts a study of the same job, or None if only a request body can describe it."""
    remedies = _list_remedies(study)
    if study.job is None or not all(isinstance(remedy, str) for remedy in remedies):
        return None
    limits = {} if budget is None else {"--budget-jobs": budget.jobs, "--budget-seconds": budget.seconds}
    return _join_command(study, ["cure", study.job, "--remedies", ",".join(remedies)], seeds, limits)


def _join_command(study: StudyView, words: Sequence[str], seeds: int, limits: Mapping[str, float | None]) -> str:
    """Add the options that decide a study to the words of a command."""
    options: dict[str, str | float | None] = {
        "--seeds": seeds,
        "--splits": study.splits,
        "--margin": None if study.margin is None else 100 * study.margin,
        "--objective": study.objective,
        "--group-column": study.group_column,
        **limits,
    }
    given = {name: f"{value:g}" if isinstance(value, float) else f"{value}" for name, value in options.items() if value}
    return shlex.join(["heldout", *words, *chain.from_iterable(given.items())]) + _DATA_OPTIONS[study.data]


def render_script(command: CommandView) -> str:
    """Lines for a shell: the file, then both commands.

    The shell changes nothing inside the file, and no JSON can end it early.
    """
    lines = [] if command.file is None else [f"cat > {command.file} <<'END'", format_json(command.body), "END"]
    if command.cli is None:
        return "\n".join([*lines, command.curl])
    return "\n".join([*lines, command.cli, "# or, without heldout's command line:", command.curl])


def _build_body(study: StudyView) -> dict[str, Any]:
    """Return the request body that starts the same study, even if its base job was deleted."""
    if study.recorded is not None:
        arms = [{"name": arm.name, "runs": dump_json(arm)["runs"]} for arm in study.recorded.arms]
        about = {name: getattr(study.recorded, name) for name in ("metric", "better", "images")}
        return {"kind": study.kind, "arms": arms, **about, **_build_objective(study)}
    body: dict[str, Any] = {
        "kind": study.kind,
        **_build_base(study.model_copy(update={"job": None})),
        "seeds": study.seeds,
        "splits": study.splits,
        **_build_objective(study),
        "budget": dump_json(study.budget),
    }
    if study.kind == "remedies":
        body |= {"remedies": _list_remedies(study)}
    return body


def _build_base(study: StudyView) -> dict[str, Any]:
    if study.spec is None:
        return {"arms": [{"name": arm.name, "parameters": arm.patch} for arm in study.arms]}
    if study.job is None:
        return {"spec": dump_json(study.spec)}
    return {"job": study.job} if study.data is None else {"job": study.job, "data": study.data}


def _build_objective(study: StudyView) -> dict[str, Any]:
    return study.model_dump(include={"objective", "costs", "group_column", "margin"}, exclude_none=True)


def _list_remedies(study: StudyView) -> list[Any]:
    spec = study.spec
    if spec is None:
        return list(study.remedies)
    return [make_arm_order(arm, spec) for arm in study.arms if arm.name != BASE_ARM] or list(study.remedies)


def _build_post_command(path: str, file: str) -> str:
    return f'curl -s "$HELDOUT_URL{path}" -H "Authorization: Bearer $HELDOUT_API_KEY" --json @{file}'


def format_json(value: Any, indent: int = 0) -> str:
    """Format JSON for reading: a value that fits is on one line. In ASCII, with two spaces for each level."""
    line = dump_listed_json(value)
    if len(line) + indent <= LINE_OF_JSON or not isinstance(value, dict | list) or not value:
        return line
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{inner}{dump_listed_json(key)}: {format_json(part, indent + 2)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"
    parts = [inner + format_json(part, indent + 2) for part in value]
    return "[\n" + ",\n".join(parts) + "\n" + " " * indent + "]"
