"""`heldout mcp` as an assistant uses it: with the protocol's own client, a real service and real trainings."""

import asyncio
import os
import re
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from anyio.from_thread import start_blocking_portal
from mcp import Client as Assistant
from mcp import StdioServerParameters

from heldout.cli.mcp_server.words import describe_diagnosis
from heldout.errors import StudyFinished
from tests.e2e.external_runner import make_answers
from tests.e2e.running import ROOT

SPEC = {
    "name": "small",
    "dataset": "digits",
    "network": {"blocks": [{"filters": 8}]},
    "training": {"epochs": 2, "seed": 7},
}
TOOLS = {
    *(
        "diagnose_history",
        "diagnose_predictions",
        "diagnose_job",
        "prove_job",
        "train",
        "try_remedy",
        "cure",
        "continue_study",
    ),
    *("cure_script", "progress", "compare", "compare_runs", "dataset_findings", "judge_candidate"),
}
OVERFITTED = {
    "loss": [1.2, 0.7, 0.4, 0.25, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02],
    "val_loss": [1.1, 0.8, 0.7, 0.72, 0.8, 0.9, 1.0, 1.12, 1.25, 1.4],
    "accuracy": [0.6, 0.75, 0.86, 0.92, 0.95, 0.97, 0.98, 0.99, 0.995, 1.0],
    "val_accuracy": [0.62, 0.72, 0.78, 0.76, 0.74, 0.72, 0.7, 0.68, 0.66, 0.64],
}


def environment(home):
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "HELDOUT_HOME": str(home), "HOME": str(home)}


def open_session(home):
    return Assistant(
        StdioServerParameters(
            command=sys.executable, args=["-m", "heldout", "mcp"], env=environment(home), cwd=home.parent
        )
    )


@pytest.fixture(scope="module")
def session(service):
    """A function that calls tools in one session with the service, which all tests share: its start takes a second."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(open_session(service.home)) as assistant,
    ):
        yield lambda calls: portal.call(call_all, assistant, calls)


@pytest.fixture
def asked(session):
    """Calls tools in order, in a session of its own if it names another home. Returns each answer's text and whether
    it is an error.
    """

    def ask(*calls, home=None):
        async def ask_there():
            async with open_session(home) as assistant:
                return await call_all(assistant, calls)

        return session(calls) if home is None else asyncio.run(ask_there())

    return ask


@pytest.fixture(scope="module")
def job(service):
    """A small job that has succeeded."""
    with service.client() as client:
        return client.train({**SPEC, "training": {"epochs": 1, "seed": 7}}).wait().id


def call(tool, **arguments):
    async def made(assistant):
        answer = await assistant.call_tool(tool, arguments)
        return answer.content[0].text, answer.is_error

    return made


async def call_all(assistant, calls):
    return [await call(assistant) for call in calls]


async def tools_of(assistant):
    return (await assistant.list_tools()).tools


def follow(asked, client, text: str, job_id: str) -> str:
    """Return a tool's text about a training. If the training has not ended, call the tools that the text names."""
    if "Ask `progress` again." not in text:
        return text
    job = client.jobs.get(job_id)
    job.wait()
    calls = [call("progress", id=job_id)]
    if job.retry_of is not None:
        assert f"Then `compare` {job.retry_of} and {job_id}." in text
        calls.append(call("compare", jobs=[job.retry_of, job_id]))
    return "\n".join(answer for answer, _ in asked(*calls))


def test_an_assistant_trains_diagnoses_and_tries_a_remedy(asked, client):
    [tools, (trained, failed)] = asked(tools_of, call("train", spec=SPEC, wait_s=55))
    assert {tool.name for tool in tools} == TOOLS
    assert all(tool.description and tool.annotations.destructive_hint is not True for tool in tools)
    assert not failed
    job = client.jobs.get(re.search(r"job_\w+", trained).group())
    trained = follow(asked, client, trained, job.id)
    final = client.jobs.metrics(job.id).final
    assert f"{100 * final.test.accuracy:.1f}%" in trained
    diagnosis = client.jobs.diagnosis(job.id)
    assert diagnosis.explanation in trained
    assert {figure.code for figure in diagnosis.figures} >= {"train", "validation", "test", "gap", "weakest_class"}
    assert all(figure.line in trained for figure in diagnosis.figures)

    before = {study.id for study in client.studies.list()}  # of other tests of this service
    remedy = call("try_remedy", job=job.id, remedy="dropout", wait_s=55)
    estimate = call("cure", job=job.id, remedies=["dropout"], dry_run=True)
    diagnosed, tried, planned, found = asked(
        call("diagnose_job", job="last"), remedy, estimate, call("dataset_findings", dataset="digits")
    )
    assert diagnosed == (describe_diagnosis(diagnosis, job.view), False)
    after = next(retry for retry in client.jobs.list() if retry.retry_of == job.id)
    assert after.spec.network.blocks[0].dropout > 0
    text = follow(asked, client, tried[0], after.id)
    assert re.search(rf"{after.id} differs from {job.id} by: .*'dropout': 0\.", text)
    assert f"{100 * client.jobs.metrics(after.id).final.test.accuracy:.1f}%" in text
    [(compared, _)] = asked(call("compare", jobs=[job.id, "last"]))
    assert re.findall(r"job_\w+", compared)[:2] == [job.id, after.id]
    assert "trainings" in planned[0]
    assert {study.id for study in client.studies.list()} == before, "a dry run orders nothing"
    assert found[0]


def test_a_study_is_ordered_and_followed(asked, client, job):
    [(ordered, failed)] = asked(call("cure", job=job, remedies=["dropout"], seeds=2, max_jobs=4))
    assert not failed, ordered
    study = re.search(r"std_\w+", ordered).group()
    [(followed, _)] = asked(call("progress", id=study, wait_s=1))
    assert study in followed or "dropout" in followed
    with suppress(StudyFinished):  # it is small, and may have ended
        client.studies.cancel(study)


def test_external_trainings_are_diagnosed_compared_and_ordered(asked, client, tmp_path):
    for seed in range(4):
        for arm in ("base", "better"):
            (tmp_path / f"{arm}-seed{seed}.npz").write_bytes(make_answers(arm, seed))
    files = {arm: [str(file) for file in sorted(tmp_path.glob(f"{arm}-*"))] for arm in ("base", "better")}
    (diagnosed, failed), (compared, refused), (ordered, not_ordered), (missing, not_found) = asked(
        call("diagnose_predictions", path=files["base"][0]),
        call("compare_runs", arms=files),
        call("cure_script", arms={"base": {"p": 0}, "drop": {"p": 0.3}}),
        call("diagnose_predictions", path="no.npz"),
    )
    assert (failed, refused, not_ordered, not_found) == (False, False, False, True), (diagnosed, compared, ordered)
    assert "No such file" in missing
    assert "better" in compared
    study = client.studies.get(re.search(r"std_\w+", ordered).group())
    assert [(arm.name, arm.patch) for arm in study.arms] == [("base", {"p": 0}), ("drop", {"p": 0.3})]
    assert f"heldout cure {study.id} --run" in ordered
    assert "--p {p}" in ordered
    study.cancel()


def test_a_judge_answers_a_candidate_and_shows_no_label(asked, client, tmp_path):
    labels = {f"{place}.png": "cat" if place % 2 else "dog" for place in range(60)}
    judge = client.studies.judge(["cat", "dog"], labels)
    for name, wrong in (("base", 20), ("good", 0)):
        answers = ["cat" if (place % 2) ^ (place < wrong) else "dog" for place in range(60)]
        rows = "".join(f"validation,{image},{answer}\n" for image, answer in zip(labels, answers, strict=True))
        (tmp_path / f"{name}.csv").write_text(f"split,image,answer\n{rows}")
    began = time.monotonic()
    (base, _), (good, _), (shown, _), (refused, is_refused) = asked(
        call("judge_candidate", study=judge.id, name="base", paths=[str(tmp_path / "base.csv")]),
        call("judge_candidate", study=judge.id, name="good", paths=[str(tmp_path / "good.csv")]),
        call("progress", id=judge.id, wait_s=55),
        call("judge_candidate", study=judge.id, name="good", paths=[str(tmp_path / "base.csv")]),
    )
    assert time.monotonic() - began < 40, "no one waits for the end of a judge, which only its owner closes"
    assert ("the base" in base, "surely better" in good, is_refused) == (True, True, True)
    assert "was judged before" in refused
    assert "19 of 20 looks are left." in shown
    assert "cat" not in shown
    assert shown.endswith("It is open. `judge_candidate` sends it a candidate.")
    judge.cancel()


def test_a_history_from_anywhere_is_judged_without_a_service(asked, tmp_path):
    losses = zip(OVERFITTED["loss"], OVERFITTED["val_loss"], strict=True)
    lines = [f"{epoch},{loss},{val_loss}\n" for epoch, (loss, val_loss) in enumerate(losses)]
    (tmp_path / "log.csv").write_text("".join(["epoch,loss,val_loss\n", *lines]))
    by_values, by_file = asked(
        call("diagnose_history", history=OVERFITTED, classes=10),
        call("diagnose_history", path=str(tmp_path / "log.csv")),
        home=tmp_path,
    )
    assert by_values[0].startswith("The network trained past its best epoch.")
    assert "\noverfitting" in by_values[0]
    assert "lowest in epoch 3" in by_values[0]
    assert by_file[0].startswith("The network trained past its best epoch.")


def test_a_refusal_says_what_to_do(asked, tmp_path):
    calls = (call("diagnose_job", job="job_nothing"), call("train", spec={**SPEC, "dataset": "pets"}))
    calls += (call("diagnose_history", path=str(tmp_path / "none.csv")), call("compare", jobs=["job_nothing"]))
    (unknown, refused, missing, few), failed = zip(*asked(*calls), strict=True)
    assert all(failed)
    assert unknown.endswith("`heldout jobs` lists them. (job_not_found)")
    assert "pets" in refused
    assert missing.endswith("none.csv: No such file or directory")
    assert few.startswith("`jobs`: received ['job_nothing']; list should have at least 2 items")
    [(away, failed)] = asked(call("diagnose_job", job="job_nothing"), home=tmp_path)
    assert failed
    assert "heldout up" in away


def test_a_misspelled_argument_starts_nothing(asked, client, job):
    before = len(list(client.studies.list()))
    tools, (text, failed) = asked(tools_of, call("cure", job=job, remedies=["dropout"], dryrun=True))
    assert failed
    assert text == "There is no argument `dryrun`."
    assert len(list(client.studies.list())) == before
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools)


def test_without_its_package_the_command_says_what_to_install(tmp_path):
    (tmp_path / "mcp.py").write_text("raise ModuleNotFoundError('No module named mcp', name='mcp')")
    done = subprocess.run(
        [sys.executable, "-m", "heldout", "mcp"],
        env=environment(tmp_path) | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install mcp" in done.stderr
