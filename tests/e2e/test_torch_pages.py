"""The page about PyTorch and Lightning, and the scripts of `heldout init`, run with the real libraries.

TORCH_PYTHON names a Python that has them; `scripts/torch` makes one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.running import ROOT

PYTHON = os.environ.get("TORCH_PYTHON", "")

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON, reason="TORCH_PYTHON names no Python with torch and lightning"),
]

LOADERS = """
import numpy as np, torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset
digits, known = load_digits(return_X_y=True)
digits = torch.from_numpy((digits / 16).astype("float32"))
known = torch.from_numpy(known)
def load(rows, shuffle=False):
    return DataLoader(TensorDataset(digits[rows], known[rows]), batch_size=64, shuffle=shuffle)
train, validation, test = load(slice(0, 300), True), load(slice(300, 800)), load(slice(800, None))
def make_network(dropout=0.0):
    nn = torch.nn
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 10))
def train_network(dropout):
    network = make_network(dropout)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(3):
        for images, labels in train:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
    return network
torch.manual_seed(0)
model = make_network()
optimizer = torch.optim.Adam(model.parameters(), 0.01)
"""
NETWORK = """
import lightning
class Network(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = make_network()
    def forward(self, images):
        return self.layers(images)
    def training_step(self, batch):
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss
    def validation_step(self, batch):
        self.log("val_loss", torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)
network = Network()
"""


def run_code(code: str, folder: Path, home: Path) -> str:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("HELDOUT_")}
    environment |= {
        "HELDOUT_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
        "TMPDIR": str(folder),
    }
    done = subprocess.run(
        [PYTHON, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks(heading: str) -> list[str]:
    text = (ROOT / "docs" / "how-to" / "pytorch.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [part.split("```")[0] for part in section.split("```python\n")[1:]]


def test_a_pytorch_loop_gets_its_gap_and_its_study(service, client, tmp_path):
    loop, compare = blocks("PyTorch")
    assert len(loop.strip().splitlines()) <= 17
    printed = run_code(LOADERS + loop + compare, tmp_path, service.home)
    assert "points: " in printed
    study = next(study for study in client.studies.list() if study.kind == "external")  # the newest
    assert study.status == "succeeded"
    assert study.headline in printed
    assert study.conclusion.kind in ("cannot_tell", "nothing_helped", "cure")
    client.studies.delete(study.id)


def test_lightnings_callback_writes_answers_that_can_be_diagnosed(service, client, tmp_path):
    [fit] = blocks("Lightning")
    run_code(LOADERS + NETWORK + fit, tmp_path, service.home)
    answers = np.load(tmp_path / "answers.npz")
    assert {name: len(answers[f"{name}_labels"]) for name in ("train", "validation", "test")} == {
        "train": 300,
        "validation": 500,
        "test": 997,
    }
    np.testing.assert_allclose(answers["test_probabilities"].sum(axis=1), 1, atol=1e-6)
    history = json.loads((tmp_path / "answers.history.json").read_text())
    assert {"train_loss", "val_loss"} <= history[-1].keys()
    assert len(history) == 5
    diagnosis = client.diagnoses.create_from_predictions(tmp_path / "answers.npz", history=history)
    assert diagnosis.gap.terms


def test_the_answers_are_those_of_the_network_in_evaluation_mode(service, tmp_path):
    code = """
from heldout.torch import answers
network = make_network(dropout=0.9)
network.train()
found = answers(network, test)
assert network.training
network.eval()
with torch.no_grad():
    expected = network(digits[800:]).softmax(dim=1).numpy()
np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
np.testing.assert_array_equal(found["labels"], known[800:].numpy())
assert len(set(found["hashes"])) == len(known[800:])
twice = answers(network, [(digits[:2], known[:2]), (digits[:1], known[:1])])["hashes"]
assert twice[2] == f"{twice[0]}#2" and "#" not in twice[0] + twice[1]
"""
    run_code(LOADERS + code, tmp_path, service.home)


@pytest.mark.parametrize("kind", ["pytorch", "lightning"])
def test_the_scripts_of_init_train_and_save_answers(kind, tmp_path):
    written = tmp_path / "other.py"
    subprocess.run([sys.executable, "-m", "heldout", "init", kind, "-o", written], cwd=ROOT, check=True)
    run_code(f"import sys, runpy; sys.argv = ['other.py']; runpy.run_path({str(written)!r})", tmp_path, tmp_path)
    answers = np.load(tmp_path / "answers.npz")
    for split in ("validation", "test"):
        right = answers[f"{split}_probabilities"].argmax(axis=1) == answers[f"{split}_labels"]
        assert len(right) == 359
        assert right.mean() > 0.8
    assert not {"lightning_logs", "checkpoints"} & set(os.listdir(tmp_path))
