"""The tools; each makes a few requests to the service that `heldout` uses."""

from asyncio import sleep, to_thread
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from heldout import __version__
from heldout.cli.histories import read_history
from heldout.cli.mcp_server.strict import StrictServer, make_strict
from heldout.cli.mcp_server.words import (
    describe_comparison,
    describe_diagnosis,
    describe_job,
    describe_study,
)
from heldout.cli.outcome import Refused, rewrite_as_commands
from heldout.cli.references import DATASET, JOB, STUDY, Names, find_ids
from heldout.cli.spec_files import Preset, drop_example_name, get_spec
from heldout.client.client import AsyncClient, Client
from heldout.client.external_values import simplify_history
from heldout.client.failures import ApiProblem, NoService
from heldout.client.judges import read_answers
from heldout.documents.attempts import build_attempt
from heldout.documents.audit import build_audit
from heldout.documents.study import build_estimate
from heldout.documents.terminal import render_terminal
from heldout.histories.documents import read_document
from heldout.histories.verdict import judge_curves
from heldout.spec.documents import merge
from heldout.studies.spec import Measure
from heldout.views.diagnosis import DiagnosisView

_ABOUT = """Heldout trains image classifiers and says why test results are worse than training results.
Begin with a diagnosis: of a training done anywhere (`diagnose_history`) or of a job (`diagnose_job`). Then try one
change (`try_remedy`, one training) or measure which changes help beyond chance (`cure`, many trainings). Trainings take
time: `progress` follows them. Faults of the data come first: `dataset_findings`. For the user's own script, in any
framework: `diagnose_predictions`, `compare_runs` and `cure_script`."""

JobId = Annotated[
    str, Names(JOB), Field(description="A job's id, job_…, or the beginning of one, the job's name, or last.")
]
# Clients give up on a tool after a minute or so, some earlier.
USUAL_WAIT_S = 20
WaitS = Annotated[int, Field(ge=0, le=55, description="The most seconds to wait for the end, and so of this call.")]
Objective = Annotated[
    Measure | None, Field(description="The measure that decides, named before anything is known; else either may.")
]
GroupColumn = Annotated[str | None, Field(description="For worst_group: the column whose values are the groups.")]
_READS = ToolAnnotations(read_only_hint=True)
_STARTS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False)


def make_server(home: Path | None = None) -> MCPServer[None]:
    """Build the server for one service: that of `home`, or of the environment, looked up at each call."""
    tools = Tools(home)
    offered: dict[Callable[..., Awaitable[str]], ToolAnnotations] = {
        tools.diagnose_history: _READS,
        tools.diagnose_predictions: _READS,
        tools.diagnose_job: _READS,
        tools.prove_job: _STARTS,
        tools.train: _STARTS,
        tools.try_remedy: _STARTS,
        tools.cure: _STARTS,
        tools.continue_study: _STARTS,
        tools.cure_script: _STARTS,
        tools.progress: _READS,
        tools.compare: _READS,
        tools.compare_runs: _STARTS,
        tools.judge_candidate: _STARTS,
        tools.dataset_findings: _READS,
    }
    strict = [make_strict(tools.wrap(tool), annotations) for tool, annotations in offered.items()]
    return StrictServer("heldout", instructions=_ABOUT, version=__version__, log_level="WARNING", tools=strict)


class Tools:
    """The tools for assistants, which read their docstrings."""

    def __init__(self, home: Path | None) -> None:
        self._home = home

    def _client(self) -> AsyncClient:
        return AsyncClient(home=self._home)

    def wrap(self, tool: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[str]]:
        """Make the tool take names, prefixes of ids and `last` as commands do, and say what to do about failures."""

        @wraps(tool)
        async def call(**given: Any) -> str:
            try:
                return await tool(**await to_thread(find_ids, tool, given, lambda: Client(home=self._home)))
            except ApiProblem as problem:
                raise ToolError(f"{problem.title}: {rewrite_as_commands(problem.detail)} ({problem.code})") from None
            except OSError as failure:
                named = f"{failure.filename}: {failure.strerror}" if failure.filename else str(failure)
                raise ToolError(named) from None
            except (NoService, Refused, ValueError) as failure:
                raise ToolError(str(failure)) from None

        return call

    async def diagnose_history(
        self,
        history: Annotated[
            dict[str, list[float | None]] | None,
            Field(description="Curves by Keras' names: loss, val_loss, accuracy, val_accuracy; one value per epoch."),
        ] = None,
        path: Annotated[
            str | None,
            Field(description="A file or folder instead: Keras, TensorBoard, Lightning, MLflow, W&B or a CSV."),
        ] = None,
        classes: Annotated[int | None, Field(ge=2, description="How many classes there are.")] = None,
    ) -> str:
        """Say why a training that was done anywhere does worse on unseen images. Needs no service."""
        if (history is None) == (path is None):
            raise Refused("Give one of `history` and `path`.")
        read = read_document(simplify_history(history)) if path is None else read_history(Path(path).expanduser())
        return describe_diagnosis(DiagnosisView.of(judge_curves(read, classes)))

    async def diagnose_predictions(
        self,
        path: Annotated[str, Field(description="An .npz or CSV: labels and probabilities of train, validation, test.")],
    ) -> str:
        """Explain the gap of a network that was trained anywhere, term by term, from its answers to labeled images."""
        async with self._client() as client:
            diagnosis = await client.diagnoses.create_from_predictions(Path(path).expanduser())
        return describe_diagnosis(diagnosis)

    async def diagnose_job(self, job: JobId) -> str:
        """Say why a job does worse on unseen images: verdict, gap term by term, findings, and remedies by name."""
        async with self._client() as client:
            return describe_diagnosis(await client.jobs.diagnosis(job), (await client.jobs.get(job)).view)

    async def prove_job(
        self,
        job: JobId,
        trainings: Annotated[int, Field(ge=1, le=100, description="At most this many short trainings.")] = 6,
        wait_s: WaitS = USUAL_WAIT_S,
    ) -> str:
        """Make sure of a job's verdict by short trainings that decide between causes. Call again to continue.

        What was tried is listed with figures, and a proven verdict says so. A running proof is not begun twice.
        """
        ends_at = monotonic() + wait_s
        async with self._client() as client:
            proof = await client.jobs.prove(job, trainings=trainings)
            while not proof.has_ended and monotonic() < ends_at:
                await sleep(1)
                proof = await client.jobs.proof(job)
            told = describe_diagnosis(await client.jobs.diagnosis(job), (await client.jobs.get(job)).view)
        return f"{proof.summary}\n\n{told}"

    async def compare(
        self,
        jobs: Annotated[
            list[str], Names(JOB), Field(min_length=2, max_length=20, description="Jobs by id, name or last.")
        ],
    ) -> str:
        """Compare jobs: accuracies with intervals, gaps, verdicts, and what their specs change."""
        async with self._client() as client:
            compared = [((await client.jobs.get(job)).view, (await client.jobs.metrics(job)).final) for job in jobs]
        return describe_comparison(compared)

    async def dataset_findings(
        self, dataset: Annotated[str, Names(DATASET), Field(description="Its name, name@version, id, or last.")]
    ) -> str:
        """Say what is wrong with a dataset's images: copies between splits, conflicting labels, imbalance, shifts."""
        async with self._client() as client:
            return "\n".join(render_terminal(build_audit(await client.datasets.audit(dataset))))

    async def progress(
        self,
        id: Annotated[
            str, Names(JOB, STUDY), Field(description="A job's or study's id, job_… or std_…, its name, or last.")
        ],
        wait_s: WaitS = USUAL_WAIT_S,
    ) -> str:
        """Report the progress of a job or study; once it has ended, its result. A judge is reported at once."""
        async with self._client() as client:
            if id.startswith("std_"):
                study = (await client.studies.get(id)).view
                if study.kind != "judge" and wait_s:  # a judge stays open until a person closes it
                    study = await client.studies.poll(id, wait_s=wait_s) or (await client.studies.get(id)).view
                return describe_study(study)
            return await _wait_for_job(client, id, wait_s)

    async def train(
        self,
        preset: Annotated[Preset | None, Field(description="Start from this preset.")] = None,
        spec: Annotated[
            dict[str, Any] | None, Field(description="Alternative to preset: dataset, network, training.")
        ] = None,
        changes: Annotated[
            dict[str, Any] | None,
            Field(description='A merge patch of it, such as {"dataset": "pets", "training": {"epochs": 20}}.'),
        ] = None,
        wait_s: WaitS = USUAL_WAIT_S,
    ) -> str:
        """Queue one training, and report its result if it ends in time."""
        if (preset is None) == (spec is None):
            raise Refused("Give one of `preset` and `spec`.")
        body = get_spec(preset) if preset is not None else spec
        async with self._client() as client:
            return await _wait_for_job(
                client, (await client.jobs.create(drop_example_name(merge(body, changes or {})))).id, wait_s
            )

    async def try_remedy(
        self,
        job: JobId,
        remedy: Annotated[str, Field(description="A remedy's name as `diagnose_job` gives it, such as dropout.")],
        wait_s: WaitS = USUAL_WAIT_S,
    ) -> str:
        """Train a job that has ended again with one remedy, and compare both if that ends in time."""
        async with self._client() as client:
            after = (await client.jobs.retry(job, remedy=remedy)).view
            text = await _wait_for_job(client, after.id, wait_s)
            if not (await client.jobs.get(after.id)).view.has_ended:
                return f"{text} Then `compare` {job} and {after.id}."
        return f"{text}\n\n{await self.compare([job, after.id])}"

    async def cure(
        self,
        job: JobId,
        remedies: Annotated[
            list[str] | None, Field(description="Names of remedies; without it those that suit the job's diagnosis.")
        ] = None,
        seeds: Annotated[int | None, Field(ge=2, le=20, description="Trainings of each at first; else 3.")] = None,
        max_jobs: Annotated[int | None, Field(ge=2, le=2000, description="The most trainings.")] = None,
        data: Annotated[
            Literal["fix", "as_they_are"] | None,
            Field(description="If the data have faults, fix makes a version without them and continues."),
        ] = None,
        objective: Objective = None,
        group_column: GroupColumn = None,
        full: Annotated[
            bool, Field(description="Compare all remedies that suit; else at most three, which may be continued.")
        ] = False,
        dry_run: Annotated[bool, Field(description="Only say how many trainings it would take, and how long.")] = False,
    ) -> str:
        """Measure which remedies help a job beyond chance: trains with each and without, over several seeds."""
        body = {
            "job": job,
            "remedies": remedies or "auto",
            "extent": "full" if full else None,
            "seeds": seeds,
            "objective": objective,
            "group_column": group_column,
            "budget": {"jobs": max_jobs, "seconds": None},
            **({} if data is None else {"data": data}),
        }
        async with self._client() as client:
            if dry_run:
                return "\n".join(render_terminal(build_estimate(await client.studies.estimate(body))))
            study = (await client.studies.create(body)).view
        scope = f"{study.progress.jobs} trainings for now" if study.waits_for is None else f"first, {study.waits_for}"
        return " ".join([f"{study.id} is ordered: {scope}. Ask `progress` with this id.", *study.warnings])

    async def continue_study(
        self,
        study: Annotated[str, Names(STUDY), Field(description="The id of a study that cannot tell yet, std_….")],
        remedies: Annotated[
            Literal["all", "same"], Field(description="all adds those not tried yet; same only more seeds.")
        ] = "all",
    ) -> str:
        """Continue a study whose first answer is not a cure: more seeds, and the remedies that it left out."""
        async with self._client() as client:
            going = (await client.studies.continue_(study, remedies)).view
        left = going.progress.jobs - going.progress.done
        return f"{going.id} continues: {left} more trainings for now. Ask `progress` with this id."

    async def cure_script(
        self,
        arms: Annotated[
            dict[str, dict[str, float | str | bool | None]],
            Field(min_length=2, description='Parameters of each way to train, base first: {"base": {"p": 0}, …}.'),
        ],
        seeds: Annotated[int, Field(ge=2, le=20, description="Trainings of each at first.")] = 3,
        objective: Objective = None,
        group_column: GroupColumn = None,
    ) -> str:
        """Order a study of the user's own script: which parameters help beyond chance. Says how to run the script."""
        async with self._client() as client:
            order = client.studies.external(arms, seeds=seeds, objective=objective, group_column=group_column)
            study = (await order).view
        values = " ".join(f"--{name} {{{name}}}" for name in next(iter(arms.values())))
        command = f'heldout cure {study.id} --run "python train.py --seed {{seed}} {values} --out {{out}}"'
        return (
            f"{study.id} is ordered: {study.progress.jobs} trainings for now. In the script's folder, a terminal runs "
            f"them with: {command}. The script writes its answers to {{out}}, as `heldout init` shows. Ask `progress`."
        )

    async def compare_runs(
        self,
        arms: Annotated[
            dict[str, list[str]],
            Field(min_length=2, description="Files of answers of each way to train, one for each seed; base first."),
        ],
        objective: Objective = None,
        group_column: GroupColumn = None,
    ) -> str:
        """Say whether trainings that are already there differ by more than luck. Needs several seeds of each."""
        files = {name: [Path(path).expanduser() for path in paths] for name, paths in arms.items()}
        async with self._client() as client:
            return describe_study(
                (await client.studies.recorded(files, objective=objective, group_column=group_column)).view
            )

    async def judge_candidate(
        self,
        study: Annotated[str, Names(STUDY), Field(description="The judge: its id, std_…, its name, or last.")],
        name: Annotated[str, Field(description="The candidate's name, which it alone has. The first one is the base.")],
        paths: Annotated[
            list[str], Field(min_length=1, description="A CSV for each seed, with the columns split, image, answer.")
        ],
    ) -> str:
        """Ask a judge whether a candidate is surely better than the best so far. Each answer spends a look."""
        async with self._client() as client:
            answers = read_answers([Path(path).expanduser() for path in paths], (await client.studies.get(study)).view)
            found = await client.studies.add_arm(study, name, **answers)
        return "\n".join(render_terminal(build_attempt(found)))


async def _wait_for_job(client: AsyncClient, job_id: str, wait_s: int) -> str:
    """Describe a job at its end, or after `wait_s` seconds."""
    job = await client.jobs.poll(job_id, wait_s=wait_s) or (await client.jobs.get(job_id)).view
    if not job.has_ended:
        return describe_job(job, None, None)
    return describe_job(job, (await client.jobs.metrics(job.id)).final, await client.jobs.diagnosis(job.id))
