"""The notebooks in `examples/` run from first to last cell, one without a service, and are stored without outputs."""

import os

import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.running import ROOT

NOTEBOOK = ROOT / "examples" / "cure.ipynb"


@pytest.fixture(scope="module")
def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def html_of(cell):
    return "".join(
        output.data.get("text/html", "")
        for output in cell.outputs
        if output.output_type in {"display_data", "execute_result"}
    )


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    """The files of a kernel go into the test's folder, and it finds the code."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.mark.parametrize("name", ["cure", "first_answer"])
def test_a_notebook_is_stored_without_outputs(name):
    read = nbformat.read(NOTEBOOK.with_name(f"{name}.ipynb"), as_version=4)
    nbformat.validate(read)
    code = [cell for cell in read.cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_the_notebook_runs_and_shows_jobs_plots_progress_and_the_conclusion(read, service, monkeypatch):
    monkeypatch.setenv("HELDOUT_HOME", str(service.home))
    monkeypatch.delenv("HELDOUT_URL", raising=False)
    NotebookClient(read, timeout=240, kernel_name="python3").execute()
    shown = {cell.source.splitlines()[-1]: html_of(cell) for cell in read.cells if cell.cell_type == "code"}
    printed = {cell.source.splitlines()[-1]: cell.outputs for cell in read.cells if cell.cell_type == "code"}
    assert "12 of 12" in shown["job"]
    assert "<progress" in shown["job"]
    assert "<svg" in shown["job.plot()"]
    assert "<svg" in shown['job.plot("gap")']
    assert "<svg" in shown['job.plot("confusion")']
    assert "<svg" in shown["study.plot()"]
    assert "test images answered correctly" in shown['job.plot("confusion")']
    assert "retry" not in shown["again"]
    assert any("dropout" in output.get("text", "") for output in printed["print(study.conclusion.explanation)"])
    assert "overfitting" in shown["client.diagnoses.create(history)"]


def test_the_first_answer_needs_no_service(monkeypatch, tmp_path):
    monkeypatch.setenv("HELDOUT_URL", "http://127.0.0.1:9")
    read = nbformat.read(NOTEBOOK.with_name("first_answer.ipynb"), as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(read, timeout=240, kernel_name="python3", resources=resources).execute()
    texts = ["".join(output.get("text", "") for output in cell.get("outputs", ())) for cell in read.cells]
    of_curves, of_answers, of_images = [text for text in texts if text]
    assert "training accuracy    100.0%" in of_curves
    assert "training to test" in of_answers
    assert "10 of 510 test images (2%) also appear in the training set" in of_images
    assert (tmp_path / "audit.html").is_file()
