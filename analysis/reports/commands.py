"""Commands that repeat the winner's training or the whole study, for `heldout` and for curl."""

import json
import shlex
from typing import Any

from analysis.reports.changes import make_arm_order
from heldout.spec.job import JobSpec
from heldout.studies.spec import BASE_ARM
from heldout.views.base import dump_json
from heldout.views.study import BudgetView, StudyView
from heldout.views.study_report import CommandView

WINNER_FILE, STUDY_FILE = "winner.json", "study.json"
MORE_FILE, IMAGES_FILE = "more_seeds.json", "more_images.json"
LINE_OF_JSON = 160
MAX_SEEDS = 20  # of a study's first look


def build_commands(study: StudyView, winning_spec: JobSpec | None) -> list[CommandView]:
    """The next steps after the answer, then the study itself.

    Bodies name all defaults, so that they mean the same in later releases.
    """
    return [
        *(
            []
            if study.conclusion is None or study.conclusion.refit is None
            else [_make_download_command(study.conclusion.refit)]
        ),
        *([] if winning_spec is None else [_make_train_command(winning_spec)]),
        *_suggest_next_studies(study),
        _make_study_command("Repeat the whole study", STUDY_FILE, _build_body(study), _build_order_command(study)),
    ]


def _make_download_command(job: str) -> CommandView:
    return CommandView(
        what="Download the model to use",
        file=None,
        body=None,
        cli=f"heldout model {job} --output model.keras",
        curl=f'curl -s "$HELDOUT_URL/v1/jobs/{job}/model" -H "Authorization: Bearer $HELDOUT_API_KEY" -o model.keras',
    )


def _make_train_command(spec: JobSpec) -> CommandView:
    return CommandView(
        what="Train with the chosen remedy",
        file=WINNER_FILE,
        body=dump_json(spec),
        cli=f"heldout train {WINNER_FILE}",
        curl=_build_post_command("/v1/jobs", WINNER_FILE),
    )


def _suggest_next_studies(study: StudyView) -> list[CommandView]:
    """Studies that would answer the question, or the question after it."""
    conclusion = study.conclusion
    if conclusion is None or conclusion.kind == "cure":
        return []
    if study.spec is None:
        return []  # only the person who ran the trainings can run more of them
    if conclusion.kind == "nothing_helped":
        body = {"kind": "learning_curve", **_build_base(study)}
        cli = None if study.job is None else f"heldout curve {study.job}"
        return [_make_study_command("Measure whether more training images would help", IMAGES_FILE, body, cli)]
    if conclusion.needs is None or conclusion.needs.seeds is None or conclusion.needs.images is not None:
        return []  # if images are needed too, more seeds alone would not answer the question
    seeds = min(max(arm.seeds for arm in study.arms) + conclusion.needs.seeds, MAX_SEEDS)
    body = _build_base(study) | {"remedies": _list_remedies(study), "seeds": seeds, "splits": study.splits}
    what = f"Measure more: the same study with {seeds} seeds"
    return [_make_study_command(what, MORE_FILE, body, _build_cure_command(study, seeds))]


def _make_study_command(what: str, file: str, body: dict[str, Any], cli: str | None = None) -> CommandView:
    return CommandView(what=what, file=file, body=body, cli=cli, curl=_build_post_command("/v1/studies", file))


def _build_order_command(study: StudyView) -> str | None:
    """The command that starts the same study, or None if only a request body can describe it."""
    if study.kind == "remedies":
        return _build_cure_command(study, study.seeds, study.budget)
    limit = "" if study.budget.jobs is None else f" --budget-jobs {study.budget.jobs}"
    return (
        None if study.job is None else f"heldout curve {study.job} --seeds {study.seeds} --splits {study.splits}{limit}"
    )


def _build_cure_command(study: StudyView, seeds: int, budget: BudgetView | None = None) -> str | None:
    """The command that starts a study of the same job, or None if only a request body can describe it."""
    remedies = _list_remedies(study)
    if study.job is None or not all(isinstance(remedy, str) for remedy in remedies):
        return None
    words = ["heldout", "cure", study.job, "--remedies", ",".join(remedies), "--seeds", f"{seeds}"]
    words += ["--splits", study.splits]
    if budget is not None and budget.jobs is not None:
        words += ["--budget-jobs", f"{budget.jobs}"]
    if budget is not None and budget.seconds is not None:
        words += ["--budget-seconds", f"{budget.seconds:g}"]
    return shlex.join(words)


def render_script(command: CommandView) -> str:
    """Lines for a shell: the file, then both commands.

    The shell changes nothing inside the file, and no JSON can end it early.
    """
    lines = [] if command.file is None else [f"cat > {command.file} <<'END'", format_json(command.body), "END"]
    if command.cli is None:
        return "\n".join([*lines, command.curl])
    return "\n".join([*lines, command.cli, "# or, without heldout's command line:", command.curl])


def _build_body(study: StudyView) -> dict[str, Any]:
    """The request body that starts the same study, even if its base job was deleted."""
    if study.recorded is not None:
        arms = [{"name": arm.name, "runs": dump_json(arm)["runs"]} for arm in study.recorded.arms]
        about = {name: getattr(study.recorded, name) for name in ("metric", "better", "images")}
        return {"kind": study.kind, "arms": arms, **about}
    body: dict[str, Any] = {
        "kind": study.kind,
        **_build_base(study),
        "seeds": study.seeds,
        "splits": study.splits,
        "budget": dump_json(study.budget),
    }
    if study.spec is not None:
        body |= {"spec": dump_json(study.spec)}
        body.pop("job", None)
    if study.kind == "remedies":
        body |= {"remedies": _list_remedies(study)}
    return body


def _build_base(study: StudyView) -> dict[str, Any]:
    if study.spec is None:
        return {"arms": [{"name": arm.name, "parameters": arm.patch} for arm in study.arms]}
    return {"spec": dump_json(study.spec)} if study.job is None else {"job": study.job}


def _list_remedies(study: StudyView) -> list[Any]:
    spec = study.spec
    if spec is None:
        return list(study.remedies)
    return [make_arm_order(arm, spec) for arm in study.arms if arm.name != BASE_ARM] or list(study.remedies)


def _build_post_command(path: str, file: str) -> str:
    return f'curl -s "$HELDOUT_URL{path}" -H "Authorization: Bearer $HELDOUT_API_KEY" --json @{file}'


def format_json(value: Any, indent: int = 0) -> str:
    """JSON that is easy to read: a value that fits is on one line. In ASCII, with two spaces for each level."""
    line = json.dumps(value)
    if len(line) + indent <= LINE_OF_JSON or not isinstance(value, dict | list) or not value:
        return line
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(key)}: {format_json(part, indent + 2)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"
    parts = [inner + format_json(part, indent + 2) for part in value]
    return "[\n" + ",\n".join(parts) + "\n" + " " * indent + "]"
