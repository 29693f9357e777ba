"""The workflow for GitHub and the template for GitLab, run as written, with changes that attack the judge."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heldout.cli.outcome import exit_of_answer
from heldout.documents.judging import build_judgement_page
from heldout.documents.markdown import render_markdown
from heldout.judging import ANSWERS
from tests.heldout.test_judging import make_study
from tests.pipelines.forge import Comment, Forge
from tests.pipelines.project import CONFIGURATION, RUN, Project
from tests.pipelines.running import git

answers, commenting, judging = map(importlib.import_module, ("answers", "commenting", "judging"))

BETTER = "# Heldout: The candidate is better than the base."
WORSE = "# Heldout: The candidate is worse than the base."
NAMES = {"a\nb.txt": "", "$(touch pwned)": "", "`touch pwned`; touch pwned": "", "--output=pwned": ""}
SCRIPT = """
import sys
import numpy as np

seed, out, gain = int(sys.argv[2]), sys.argv[4], {gain}
labels, draw = np.random.default_rng(0).integers(0, 3, 300), np.random.default_rng(seed)
outputs = draw.normal(size=(300, 3)) + gain * np.eye(3)[labels]
odds = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
np.savez(out, validation_labels=labels, validation_probabilities=odds)
"""


@pytest.fixture
def forge() -> Iterator[Forge]:
    with Forge() as forge:
        yield forge


@pytest.fixture
def project(tmp_path: Path, forge: Forge) -> Project:
    return Project(tmp_path, forge)


def write(text: str, code: int = 0) -> str:
    return f"markdown.write_bytes({text.encode()!r}); code = {code}"


def tokens_in(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and b"token-" in file.read_bytes()]


def test_a_pull_request_gets_a_summary_and_one_comment_which_the_next_run_renews(project, forge):
    forge.comments += [Comment(1, "mallory", f"{commenting.MARK}\nmine"), *(Comment(n, "m", "") for n in range(2, 131))]
    merge = project.change({"train.py": "2\n"})
    jobs = project.run_github()
    assert all(job.succeeded for job in jobs.values()), jobs
    assert BETTER in jobs["judge"].summary
    [comment] = project.own_comments
    assert comment.body.startswith(f"{commenting.MARK}\n\n{BETTER}")
    assert comment.body.endswith(f"Judged at {project.event['pull_request']['head']['sha'][:12]}.")
    # Not the base of the event, which GitHub does not renew.
    assert project.spied["arguments"] == ["judge", project.base, merge, f"--run={RUN}", "--seeds=2", "--embedded"]
    project.install(write(WORSE, 11))
    jobs = project.run_github()
    assert not jobs["judge"].succeeded, "an answer of `fail-on` fails the job"
    assert jobs["comment"].succeeded
    assert [BETTER in comment.body for comment in project.own_comments] == [False]
    assert WORSE in project.own_comments[0].body
    assert forge.comments[0].body.endswith("mine"), "a stranger's comment with the mark stays"
    assert all(token is None for verb, path, token in forge.requests if path.startswith("/blobs/"))


def test_a_fork_gets_the_summary_alone(project, forge):
    project.event["pull_request"]["head"]["repo"]["full_name"] = "mallory/pets"
    project.change({"train.py": "2\n"})
    jobs = project.run_github()
    assert BETTER in jobs["judge"].summary
    assert jobs["comment"].skipped
    del project.github["jobs"]["comment"]["if"]  # even then, and with a token that may write
    project.github["jobs"]["comment"]["permissions"] = {"pull-requests": "write"}
    jobs = project.run_github()
    assert "from a fork" in jobs["comment"].log
    assert forge.requests == []


def test_the_configuration_of_the_base_branch_counts_and_a_change_to_it_is_reported(project):
    branch = "rel$(touch${IFS}pwned)`id`"
    git(project.repository, "branch", branch)
    project.change({**NAMES, CONFIGURATION: '{"run": "true {seed} {out}"}', "train.py": "2\n"}, branch)
    git(project.repository, "checkout", "--quiet", branch)
    project.commit({CONFIGURATION: '{"run": "newer {seed} {out}", "margin": 2, "environment": ["LESS"]}'})
    jobs = project.run_github()
    arguments = project.spied["arguments"]
    assert arguments[1] == project.base
    assert arguments[3:] == ["--run=newer {seed} {out}", "--margin=2", "--embedded"], "the newest of the base branch"
    assert jobs["judge"].summary.startswith(judging.CHANGED)
    assert commenting.CHANGED in project.own_comments[0].body
    assert not [*project.folder.rglob("pwned")]
    assert jobs["judge"].commands == []


def test_a_pull_request_cannot_bring_the_only_configuration(project):
    (project.repository / CONFIGURATION).unlink()
    project.commit({"train.py": "1.5\n"})
    project.change({CONFIGURATION: f'{{"run": "{RUN}"}}'})
    jobs = project.run_github()
    assert not jobs["judge"].succeeded
    assert not project.was_judged
    for text in (jobs["judge"].summary, project.own_comments[0].body):
        assert "The base branch has no" in text
        assert "a pull request cannot bring its own" in text


def test_judged_code_finds_no_token_and_what_it_leaves_behind_reaches_no_other_job(project, forge):
    project.change({"train.py": "2\n", f"heldout-runs/commits/{project.base[:16]}/train.py": "3\n"})
    files = "[line.partition('=')[2] for text in read_ancestors() for line in text.split('\\0') if '=' in line]"
    project.install(f"""
trap = Path({str(project.folder / "trap.sh")!r})
trap.write_text("env > {project.folder}/stolen")
for file in {files}:
    if "_runner_file_commands" in file:
        Path(file).write_text(f"BASH_ENV={{trap}}\\nHELDOUT_TOKEN=mine\\n/tmp\\n")
print("::set-output name=answer::better\\n::add-path::/tmp\\n::error::Your pull request\\n ::debug::x")
{write(BETTER)}
""")
    stolen: list[Path] = []
    jobs = project.run_github(between=lambda: stolen.extend(tokens_in(project.folder / "github" / "judge")))
    spied = project.spied
    assert spied["environment"].keys() <= {"PATH", "HOME", "LANG", "LC_CTYPE", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
    assert spied["folder"] == [".git"], "no file of the pull request passes for the judge's own"
    assert len(spied["parents"]) > 2
    assert not any(token in text for token in forge.rights for text in spied["parents"])
    assert stolen == []
    assert jobs["judge"].commands == []
    assert jobs["comment"].succeeded
    assert BETTER in project.own_comments[0].body
    assert "mine" not in project.own_comments[0].body
    assert not (project.folder / "stolen").exists() or "token-" not in (project.folder / "stolen").read_text()


@pytest.mark.parametrize(
    ("step", "event", "why"),
    [
        ({"fetch-depth": 0}, "pull_request", "holds a credential"),
        ({"persist-credentials": False}, "pull_request", "The history is not here"),
        ({"fetch-depth": 0, "persist-credentials": False}, "pull_request_target", "expected pull\\_request"),
    ],
)
def test_a_workflow_that_would_harm_its_owner_is_refused_before_any_code_runs(project, step, event, why):
    project.change({"train.py": "2\n"})
    project.github["jobs"]["judge"]["steps"][0]["with"] = step
    del project.github["jobs"]["comment"]
    jobs = project.run_github(event_name=event)
    assert not project.was_judged
    assert not jobs["judge"].succeeded
    assert why in jobs["judge"].summary


def test_an_oversized_or_missing_answer_is_replaced_by_a_sentence(project, forge):
    project.change({"train.py": "2\n"})
    project.install("markdown.write_bytes(b'x' * 10_000_000)")
    # The judged code may also replace what is kept.
    jobs = project.run_github(between=lambda: forge.keep_artifact("answer.md", b"\0" * 20_000_000))
    assert "has more than 16 KiB" in jobs["judge"].summary
    assert len(jobs["judge"].summary) < 1000
    assert "has more than 16 KiB" in project.own_comments[0].body
    project.install("code = 1")
    jobs = project.run_github()
    assert "ended with exit code 1" in jobs["judge"].summary
    assert "ended with exit code 1" in project.own_comments[0].body


@pytest.mark.parametrize(
    "text",
    [
        "[free](http://evil.example)",
        "![](https://evil.example/x.png)",
        "<img src=x>",
        "<!-- x",
        "https://evil.example",
        "www.evil.example",
        "@acme/admins approve",
        "# Fine\n\n/approve",
        "Fine\n  /merge",
        "fixes #12",
        "!12",
        "~label",
        "&#64;acme",
        "a `\\`[x](y)",
        "[x]: y",
        "\u202eevil",
        "a\x00b",
        "a\r/close",
        "a\u2028/close",
        " \n",
        "x" * 20_000,
    ],
)
def test_an_answer_with_markup_that_heldout_does_not_write_is_not_shown(text):
    with pytest.raises(answers.NotShown):
        answers.check_answer(text.encode())


def test_what_heldout_writes_is_shown_and_names_in_it_mention_no_one():
    hostile = "`x` <img src=x> | [a](b) @team #12 !3 ~l $x /close https://x.y www.x.y *b* _c_ \\ &amp;"
    for kind, answer in (("cure", "better"), ("nothing_helped", "cannot_tell")):
        study = make_study(0.03, 0.02, kind)
        page = build_judgement_page(study, answer, 0.01, {"base": hostile, "candidate": f"`{hostile}`"})
        shown = answers.check_answer(render_markdown(page).encode())
        assert "\\@" not in shown
        assert "@&#8203;team" in shown
        assert "\\#12" not in shown
    assert "/close" in shown
    message = judging.escape(f"{hostile}\n/close\n[x](y)")
    assert "\n" not in message
    answers.check_answer(message.encode())


def test_an_answer_that_is_no_file_or_no_archive_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(Path(__file__))
    for name in ("pipe", "link", "missing", "."):
        with pytest.raises(answers.NotShown):
            answers.read_answer(tmp_path / name)
    for content in (b"", b"PK\x05\x06", b"x" * 100_000):
        with pytest.raises(answers.NotShown):
            commenting.read_archive(content)
    with pytest.raises(answers.NotShown):
        answers.check_answer(b"\xff")
    with Forge() as forge:
        forge.keep_artifact(answers.FILE, b"\0" * 20_000_000)
    assert len(commenting.read_archive(forge.blobs[1])) == answers.MOST_BYTES + 1, "the rest stays packed"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "expected an object"),
        ({"seeds": 3}, 'expected an object with "run"'),
        ({"run": "x", "again": True, "home": "/"}, "unknown: again, home"),
        ({"run": "x", "seeds": [3]}, "expected a number or a text as seeds"),
        ({"run": "x", "environment": ["A=B"]}, "names of variables"),
    ],
)
def test_a_wrong_configuration_is_refused_with_what_is_expected(content, why):
    with pytest.raises(ValueError, match=why):
        judging.parse_configuration(content)


def test_the_codes_of_answers_are_those_of_the_judge():
    assert {answer: exit_of_answer(answer) for answer in ANSWERS} == {text: n for n, text in answers.ANSWERS.items()}


def test_a_merge_request_gets_one_note_by_the_job_with_the_token(project, forge):
    project.change({CONFIGURATION: f'{{"run": "{RUN} "}}'})
    forge.comments.append(Comment(1, "mallory", f"{commenting.MARK}\nmine"))
    for text, code in ((BETTER, 0), (WORSE, 11)):
        project.install(write(text, code))
        jobs = project.run_gitlab()
        assert jobs["heldout-judge"].succeeded == (code == 0), jobs["heldout-judge"].log
        assert jobs["heldout-comment"].succeeded, jobs["heldout-comment"].log
        [note] = project.own_comments
        assert text in note.body
        assert commenting.CHANGED in note.body
    spied = project.spied
    assert not any("token-" in text or "HELDOUT_TOKEN" in text for text in spied["parents"])
    assert "of-job" not in spied["environment"].values()
    assert spied["arguments"][1:3] == [project.base, project.event["pull_request"]["head"]["sha"]]


def test_a_fork_on_gitlab_gets_no_note_and_only_a_hash_names_the_release(project, forge):
    project.change({"train.py": "2\n"})
    jobs = project.run_gitlab("32")
    assert jobs["heldout-judge"].succeeded, jobs["heldout-judge"].log
    assert jobs["heldout-comment"].skipped
    jobs = project.run_gitlab(HELDOUT_COMMIT="HEAD~0")
    assert not any(job.succeeded for job in jobs.values())
    assert forge.requests == []


def test_two_commits_are_judged_for_real_and_commented(project):
    program = project.release / "program"
    program.write_text(f'#!/bin/sh\nexec {Path(sys.executable).with_name("heldout")} "$@"\n')
    run = f"{sys.executable} train.py --seed {{seed}} --out {{out}}"
    project.commit({"train.py": SCRIPT.format(gain=0.5), CONFIGURATION: f'{{"run": "{run}", "jobs": 2}}'})
    commit = git(project.repository, "rev-parse", "HEAD")
    files = {"train.py": SCRIPT.format(gain=2.0), f"heldout-runs/commits/{commit[:16]}/train.py": "raise SystemExit(1)"}
    project.change(files)
    jobs = project.run_github()
    for text in (jobs["judge"].summary, project.own_comments[0].body):
        assert BETTER in text, jobs["judge"].log
        assert "Over 5 seeds each, accuracy on validation images changes by +" in text
    assert jobs["judge"].succeeded
