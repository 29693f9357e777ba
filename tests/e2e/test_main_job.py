"""A posted spec becomes served metrics and a model that anyone can load: one real service, real trainings."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from statsmodels.stats.proportion import proportion_confint

from heldout.client.client import Client
from heldout.views.job import JobView, Progress
from tests.e2e.running import Service, spec, wait_for_end
from worker.machine.devices import get_processor, has_bfloat16_units

Jobs = dict[str, JobView]

# The specs in `examples/` have ten: these are enough to learn digits. The demonstration trains all ten.
EPOCHS = 4

EVALUATE = """
import json, sys
import numpy as np, keras
images, labels = np.load("images.npy"), np.load("labels.npy")
for file in sys.argv[1:]:
    model = keras.models.load_model(file)             # plain Keras, safe mode, no custom objects
    chances = model.predict(images, batch_size=256, verbose=0)
    loss = keras.losses.SparseCategoricalCrossentropy()(labels, chances)
    print(json.dumps({"accuracy": float((chances.argmax(1) == labels).mean()), "loss": float(loss),
                      "parameters": model.count_params(), "layers": [type(l).__name__ for l in model.layers]}))
"""


@pytest.fixture(scope="module")
def jobs(service: Service) -> Jobs:
    """The three reference jobs, submitted together and ended."""
    with service.client() as client:
        submitted = {
            name: client.jobs.create(spec(name, epochs=EPOCHS)) for name in ("overfit", "regularized", "augmented")
        }
        return {name: wait_for_end(client, job.id) for name, job in submitted.items()}


@pytest.mark.parametrize(("name", "parameters"), [("overfit", 93_962), ("regularized", 34_826), ("augmented", 27_210)])
def test_a_reference_job_succeeds_with_its_known_size(jobs: Jobs, name: str, parameters: int) -> None:
    job = jobs[name]
    assert (job.status, job.stop_reason, job.error) == ("succeeded", "completed", None)
    assert job.parameters == parameters
    assert job.progress == Progress(epoch=EPOCHS, epochs=EPOCHS, eta_s=None)
    assert job.engine.device == job.spec.resources.device == "cpu"
    assert job.spec.resources.towers == job.engine.towers
    is_large = name != "augmented"
    precision = "mixed" if is_large and has_bfloat16_units(get_processor()) else "float32"
    assert job.spec.training.precision == job.engine.precision == precision


def test_the_served_figures_are_consistent(client: Client, jobs: Jobs) -> None:
    for name, job in jobs.items():
        metrics = client.jobs.metrics(job.id)
        final = metrics.final
        assert [epoch.epoch for epoch in metrics.epochs] == list(range(1, EPOCHS + 1))
        assert {split: getattr(final, split).count for split in ("train", "validation", "test")} == {
            "train": 3600,
            "validation": 400,
            "test": 1000,
        }
        last = metrics.epochs[-1]
        # Epochs are measured in the job's own precision, the kept weights in float32.
        is_exact = job.engine.precision == "float32"
        assert final.validation.loss == pytest.approx(last.validation_loss, abs=1e-5 if is_exact else 2e-3), name
        assert final.train.accuracy == pytest.approx(last.train_accuracy, abs=1e-9 if is_exact else 2e-3), name
        for split in ("train", "validation", "test"):
            found = getattr(final, split)
            correct = round(found.accuracy * found.count)
            low, high = proportion_confint(correct, found.count, method="wilson")
            assert found.interval == pytest.approx([low, high], abs=1e-12)
        for split in ("validation", "test"):
            gap, found = getattr(final.gap, split), getattr(final, split)
            assert gap.accuracy == pytest.approx(final.train.accuracy - found.accuracy)
            assert gap.loss == pytest.approx(found.loss - final.train.loss)


def test_every_reference_network_learns_digits(client: Client, jobs: Jobs) -> None:
    accuracies = {name: client.jobs.metrics(job.id).final.test.accuracy for name, job in jobs.items()}
    assert accuracies["overfit"] > 0.92
    assert accuracies["regularized"] > 0.92
    # Mirrored digits under a few epochs of strong augmentation: far above chance, far below the others.
    assert 0.3 < accuracies["augmented"] < accuracies["overfit"]


def test_the_downloaded_model_gives_the_served_test_figures_in_plain_keras(
    client: Client,
    jobs: Jobs,
    service: Service,
    tmp_path: Path,
) -> None:
    dataset = client.datasets.get("mnist5k")
    folder = service.home / "blobs" / "datasets" / dataset.sha256
    test = client.datasets.split_indices(dataset.id).test
    np.save(tmp_path / "images.npy", np.load(folder / "images.npy")[test])
    np.save(tmp_path / "labels.npy", np.load(folder / "labels.npy")[test])
    for name, job in jobs.items():
        client.jobs.download_model(job.id, tmp_path / f"{name}.keras")
    run = subprocess.run(
        [sys.executable, "-c", EVALUATE, *(f"{name}.keras" for name in jobs)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for (name, job), line in zip(jobs.items(), run.stdout.splitlines()[-len(jobs) :], strict=True):
        measured = json.loads(line)
        served = client.jobs.metrics(job.id).final.test
        assert measured["accuracy"] == served.accuracy, name
        assert measured["loss"] == pytest.approx(served.loss, abs=1e-5), name
        assert measured["parameters"] == job.parameters
        assert not any("Random" in layer for layer in measured["layers"])


def test_the_predictions_give_the_served_figures(client: Client, jobs: Jobs, tmp_path: Path) -> None:
    job = jobs["regularized"]
    client.jobs.download_predictions(job.id, tmp_path / "predictions.npz")
    splits = client.datasets.split_indices("mnist5k")
    final = client.jobs.metrics(job.id).final
    with np.load(tmp_path / "predictions.npz") as predictions:
        for split in ("train", "validation", "test"):
            chances, labels = predictions[f"{split}_probabilities"], predictions[f"{split}_labels"]
            assert predictions[f"{split}_indices"].tolist() == getattr(splits, split)
            assert (chances.argmax(1) == labels).mean() == getattr(final, split).accuracy
            assert chances.sum(axis=1) == pytest.approx(np.ones(len(labels)), abs=1e-5)


def test_scores_by_class_are_those_of_scikit_learn(client: Client, jobs: Jobs, tmp_path: Path) -> None:
    job = jobs["overfit"]
    client.jobs.download_predictions(job.id, tmp_path / "predictions.npz")
    served = client.jobs.confusion(job.id)
    recalls = {}
    with np.load(tmp_path / "predictions.npz") as predictions:
        for split in ("train", "validation", "test"):
            chances, labels = predictions[f"{split}_probabilities"], predictions[f"{split}_labels"]
            answers, found = chances.argmax(1), served.splits[split]
            assert found.confusion == confusion_matrix(labels, answers, labels=range(10)).tolist()
            expected = precision_recall_fscore_support(labels, answers, labels=range(10), zero_division=np.nan)
            recalls[split] = expected[1]
            for name, values in zip(("precision", "recall", "f1", "count"), expected, strict=True):
                assert [getattr(scores, name) for scores in found.per_class] == pytest.approx(values.tolist())
            bins = np.minimum((chances.max(1) * 15).astype(int), 14)
            gaps = [abs((answers == labels)[bins == n].sum() - chances.max(1)[bins == n].sum()) for n in range(15)]
            assert found.calibration_error == pytest.approx(sum(gaps) / len(labels), abs=1e-6)
            known = {index: row for row, index in enumerate(predictions[f"{split}_indices"].tolist())}
            wrong = np.sort(chances.max(1)[answers != labels])[::-1]
            assert [mistake.probability for mistake in found.mistakes] == pytest.approx(wrong[:20].tolist())
            for mistake in found.mistakes:
                row = known[mistake.index]
                assert (mistake.label, mistake.answer) == (str(labels[row]), str(answers[row]))
    gap = [scores.gap for scores in served.splits["test"].per_class]
    assert gap == pytest.approx((recalls["train"] - recalls["test"]).tolist())


def test_each_event_is_reported_once_and_in_order(client: Client, jobs: Jobs) -> None:
    events = list(client.jobs.events(jobs["overfit"].id))
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    types = [event.type for event in events]
    assert types[:2] == ["job.queued", "job.started"]
    assert types[-1] == "job.succeeded"
    assert types.count("job.epoch") == EPOCHS
    assert types.count("job.succeeded") == 1
