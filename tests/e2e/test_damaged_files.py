"""A real service with damaged files: what needs a damaged file names the damage, and everything else works."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from heldout.client.client import Client
from heldout.errors import HeldoutError
from models.blob_check import compare
from models.blobs import Blobs
from models.database import Database
from models.digests import describe
from tests.damaged_files import DAMAGES, KINDS, damage, walk
from tests.e2e.running import ROOT, Service, until, wait_for_end
from tests.e2e.test_datasets import SMALL, digits_zip, pushed

FOLDS = {**SMALL, "dataset": "own", "validation": {"folds": 3, "fold": 0}}
STUDY = {
    "spec": {**SMALL, "dataset": "own"},
    "remedies": [{"name": "smoothing", "patch": {"training": {"label_smoothing": 0.1}}}],
    "splits": "fixed",
    "seeds": 2,
    "budget": {"jobs": 4},
}


class World:
    """A service with a file of each kind. `ids` fills the paths and keys of `tests/damaged_files.py`."""

    def __init__(self, service: Service, client: Client, folder: Path) -> None:
        self.service, self.client = service, client
        headers = {"Authorization": f"Bearer {(service.home / 'api-key').read_text().strip()}"}
        self.http = httpx2.Client(base_url=service.url, headers=headers, timeout=90)
        self.blobs = Blobs((service.home / "blobs").as_uri())
        dataset = pushed(client, digits_zip(folder / "digits.zip"))
        assert dataset.status == "ready", dataset.error
        job = self.train({**SMALL, "dataset": "own"})
        folds = self.train(FOLDS)
        client.jobs.download_model(job, folder / "model.keras")
        model = client.models.create(folder / "model.keras").id
        until(lambda: client.models.get(model).has_ended, "the check of the model")
        evaluation = self.evaluate(model)
        assert evaluation.status == "succeeded", evaluation.error
        assert until(lambda: client.datasets.suspects(dataset.id).status == "ready", "the search")
        client.jobs.download_model(job, folder / "model.onnx", format="onnx")
        [export] = self.keys(f"jobs/{job}/exports")
        [model_key] = self.keys(f"models/{model}")
        self.ids = {
            "dataset": dataset.id,
            "sha256": dataset.sha256 or "",
            "job": job,
            "folds": folds,
            "label": "3",
            "evaluation": evaluation.id,
            "export": export,
            "model": model,
            "model_file": model_key.rpartition("/")[2],
        }

    def keys(self, folder: str) -> list[str]:
        return [blob.key for blob in self.blobs.stored(folder)]

    def train(self, spec: dict) -> str:
        job = wait_for_end(self.client, self.client.jobs.create(spec).id)
        assert job.status == "succeeded", job.error
        return job.id

    def evaluate(self, model: str):
        evaluation = self.client.evaluations.create(model, "own")
        return until(lambda: (now := self.client.evaluations.get(evaluation.id)).has_ended and now, "the evaluation")

    @contextmanager
    def damaged(self, key: str, how: str):
        whole = damage(self.blobs, key, how)
        yield
        self.blobs.put(key, whole)

    def check_deep(self) -> list[tuple[str, str]]:
        """Return what `heldout check --deep` finds, with the reason, without starting a process."""
        database = Database(f"sqlite:///{self.service.home / 'heldout.db'}")
        try:
            return [(fault.what, fault.why) for fault in compare(database, self.blobs).faults]
        finally:
            database.dispose()

    def run_check(self) -> list[tuple[str, str]]:
        """Return what the command finds, with the reason."""
        command = [sys.executable, "-m", "heldout", "check", "--deep", "--json", "--home", str(self.service.home)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        faults = json.loads(ran.stdout)["files"]["faults"]
        assert ran.returncode == 1 or not faults, ran.stderr
        return [(fault["what"], fault["why"]) for fault in faults]


def require_error(error, code: str, service: Service) -> None:
    assert error is not None
    assert error.code == code, error
    assert str(service.home) not in error.detail
    assert "Traceback" not in error.detail


@pytest.mark.proof
def test_every_kind_of_damage_is_named_by_every_route_job_and_command(make_service, tmp_path):
    service = make_service().start()
    with service.client() as client:
        world = World(service, client, tmp_path)
        assert world.check_deep() == []
        walk(world.http.get, world.blobs, world.ids, (str(service.home), "Traceback"))
        for kind in KINDS:
            for how in DAMAGES:
                key = kind.key.format_map(world.ids)
                with world.damaged(key, how):
                    [(what, why)] = world.check_deep()
                    assert why == ("missing" if how == "missing" else "damaged"), (kind.what, how)
                    words = describe(key).partition(" of ")[0]  # as errors have them
                    assert what.startswith("the model " if key.startswith("models/") else f"{words} of "), what
                    _jobs_fail(world, kind, how)
        assert world.check_deep() == []
        with world.damaged(f"datasets/{world.ids['sha256']}/labels.npy", "flipped"):
            assert world.run_check() == [("the labels of own@1", "damaged")]
        assert world.run_check() == []
        for spec in ({**SMALL, "dataset": "own"}, FOLDS):
            world.train(spec)
        world.http.close()


def _jobs_fail(world: World, kind, how: str) -> None:
    """Each kind of work that needs the file fails with its code, and what does not need it succeeds."""
    client, code = world.client, kind.job_lost if how == "missing" else kind.damaged
    name = kind.key.rpartition("/")[2]
    if "{sha256}" in kind.key:
        job = wait_for_end(client, client.jobs.create({**SMALL, "dataset": "own"}).id)
        require_error(job.error, code, world.service)
        evaluation = world.evaluate(world.ids["model"])
        require_error(evaluation.error, "model_unavailable" if how == "missing" else code, world.service)
    elif name == "relations.npz":
        with pytest.raises(HeldoutError) as refused:
            client.jobs.create(FOLDS)
        assert refused.value.code == kind.answers(how)["splits with folds"]
    elif kind.key.startswith("models/"):
        evaluation = world.evaluate(world.ids["model"])
        require_error(evaluation.error, code, world.service)
    elif name in {"model.keras", "predictions.npz"}:
        route = f"/v1/jobs/{world.ids['job']}/model?format=litert"
        assert world.http.post(route).json()["status"] == "queued", "once more after a failure"
        failed = world.http.get(f"{route}&wait=60").json()
        assert failed["code"] == {"model_unavailable": "model_lost"}.get(code, code), failed
    elif "export" in kind.key:
        with pytest.raises(HeldoutError) as refused:
            client.jobs.download_model(world.ids["job"], world.service.home.parent / "x.onnx", format="onnx")
        assert refused.value.code == kind.answers(how)["export"]


@pytest.mark.proof
def test_a_study_on_a_dataset_that_gets_damaged_says_so(make_service, tmp_path):
    service = make_service().start()
    with service.client() as client:
        dataset = pushed(client, digits_zip(tmp_path / "digits.zip"))
        blobs = Blobs((service.home / "blobs").as_uri())
        whole = damage(blobs, f"datasets/{dataset.sha256}/images.npy", "flipped")
        study = client.studies.create(STUDY)
        study = until(lambda: (now := client.studies.get(study.id)).has_ended and now, "the end of the study")
        assert study.status == "failed", study
        jobs = [client.jobs.get(job) for arm in study.arms for job in arm.jobs]
        assert {job.error.code for job in jobs if job.error} == {"dataset_damaged"}
        blobs.put(f"datasets/{dataset.sha256}/images.npy", whole)
        again = client.studies.create(STUDY)
        again = until(lambda: (now := client.studies.get(again.id)).has_ended and now, "the end of the study", 300)
        assert again.status == "succeeded"
