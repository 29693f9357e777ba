"""Predictions through `heldout up`: a trained job answers images without another step."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from heldout.client.client import Client
from models.bundled import BUNDLED
from tests.e2e.running import ROOT, Service, wait_for_end
from tests.e2e.stack import digits


@pytest.fixture(scope="module")
def job(service: Service) -> str:
    with service.client() as client:
        trained = wait_for_end(client, client.jobs.create(digits()).id)
        assert trained.status == "succeeded"
        return trained.id


def test_the_first_prediction_of_a_job_exports_its_model_and_has_its_exact_probabilities(
    client: Client, job: str, tmp_path: Path
):
    images = BUNDLED["digits"].read(Path("/nonexistent")).images[:64]
    answer = client.jobs.predict(job, images, top_k=10)
    client.jobs.download_model(job, tmp_path / "model.onnx", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    expected = session.run(["probabilities"], {"pixels": images.astype(np.float32)})[0]
    for prediction, probabilities in zip(answer.predictions, expected, strict=True):
        served = {entry.index: np.float32(entry.probability) for entry in prediction.top}
        assert served == dict(enumerate(probabilities))
    assert client.jobs.get(job).predict(images[0]).predictions[0].answer == answer.predictions[0].answer


def test_the_command_line_predicts_files_and_folders(service: Service, job: str, tmp_path: Path):
    images = BUNDLED["digits"].read(Path("/nonexistent")).images[:2, ..., 0]
    (tmp_path / "more").mkdir()
    Image.fromarray(images[0]).save(tmp_path / "one.png")
    np.save(tmp_path / "more" / "two.npy", images[1])
    command = [sys.executable, "-m", "heldout", "predict", job, "one.png", "more", "--home", str(service.home)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}

    def run(*options: str) -> str:
        done = subprocess.run(
            [*command, *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    found = json.loads(run("--json", "--threshold", "1", "--top-k", "3"))["predictions"]
    assert [(image["name"], image["answer"], len(image["top"])) for image in found] == [
        ("one.png", "uncertain", 3),
        ("two.npy", "uncertain", 3),
    ]
    shown = run()
    assert [line.split()[0] for line in shown.splitlines()] == ["IMAGE", "one.png", "two.npy"]
