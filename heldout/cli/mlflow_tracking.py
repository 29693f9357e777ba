"""Jobs as runs of an MLflow server, which MLflow's own environment variables name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from heldout.client.failures import ApiProblem
from heldout.integrations.mlflow_run import JOB_TAG, RunContent, build_run_content
from heldout.views.base import dump_json

if TYPE_CHECKING:
    from mlflow.entities import Run

    from heldout.client.client import Client
    from heldout.views.diagnosis import DiagnosisView
    from heldout.views.job import JobView

T = TypeVar("T")

# The state of a run in MLflow: the points sent, and whether its files were sent.
_SENT_TAG = "heldout.sent"
_COMPLETE_TAG = "heldout.complete"
# MLflow's limits per request.
_MAX_POINTS, _MAX_PARAMS = 1000, 100


class Tracking:
    """An experiment of MLflow's. A job has one run there, however often it is sent."""

    def __init__(self, experiment: str, *, with_model: bool) -> None:
        """Raises MlflowException if the server does not answer, after as many tries as MLflow makes."""
        self._mlflow = MlflowClient()
        self._with_model = with_model
        found = self._mlflow.get_experiment_by_name(experiment)
        self._experiment_id = self._mlflow.create_experiment(experiment) if found is None else found.experiment_id

    def send(self, client: Client, job: JobView) -> str:
        """Send the parts of a job that MLflow does not have yet; returns the run's id.

        Raises:
            MlflowException: if MLflow refuses it, or does not answer.
        """
        run = self._run_of(job)
        if _COMPLETE_TAG in run.data.tags:
            return str(run.info.run_id)
        diagnosis = client.jobs.diagnosis(job.id) if job.has_ended else None
        content = build_run_content(job, client.jobs.metrics(job.id), diagnosis)
        self._send_figures(run, content)
        if job.has_ended:
            self._send_files(client, job, diagnosis, run.info.run_id)
            ended = round(1000 * job.finished_at.timestamp()) if job.finished_at is not None else None
            self._mlflow.set_terminated(run.info.run_id, content.status, ended)
            self._mlflow.set_tag(run.info.run_id, _COMPLETE_TAG, "true")
        return str(run.info.run_id)

    def _run_of(self, job: JobView) -> Run:
        """Return the job's run, created if missing."""
        found = self._mlflow.search_runs([self._experiment_id], f"tags.`{JOB_TAG}` = '{job.id}'", max_results=1)
        if found:
            return found[0]
        begun = round(1000 * (job.started_at or job.created_at).timestamp())
        return self._mlflow.create_run(self._experiment_id, start_time=begun, tags={JOB_TAG: job.id}, run_name=job.name)

    def _send_figures(self, run: Run, content: RunContent) -> None:
        run_id, sent = run.info.run_id, int(run.data.tags.get(_SENT_TAG, 0))
        for pairs in _split_parts(list(content.params.items()), _MAX_PARAMS):
            self._mlflow.log_batch(run_id, params=[Param(*pair) for pair in pairs])
        for points in _split_parts(content.points[sent:], _MAX_POINTS):
            self._mlflow.log_batch(run_id, metrics=[Metric(*point) for point in points])
            sent += len(points)
            self._mlflow.set_tag(run_id, _SENT_TAG, str(sent))
        self._mlflow.log_batch(run_id, tags=[RunTag(*pair) for pair in content.tags.items()])

    def _send_files(self, client: Client, job: JobView, diagnosis: DiagnosisView | None, run_id: str) -> None:
        with tempfile.TemporaryDirectory(prefix="heldout-mlflow-") as name:
            folder = Path(name)
            (folder / "spec.json").write_text(json.dumps(dump_json(job.spec), indent=2))
            if diagnosis is not None:
                (folder / "diagnosis.json").write_text(json.dumps(dump_json(diagnosis), indent=2))
            if self._with_model:
                try:
                    client.jobs.download_model(job.id, folder / "model.keras")
                except ApiProblem as problem:
                    if problem.code not in {"no_model", "model_lost", "export_lost"}:
                        raise
            self._mlflow.log_artifacts(run_id, name)


def _split_parts(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (whole[start : start + size] for start in range(0, len(whole), size))
