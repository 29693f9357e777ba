"""Features of a frozen part: computed once, and the same answers as if each step computed them."""

from pathlib import Path

import keras
import numpy as np
import pytest

from analysis.arrays.dataset import ImageSet
from heldout.stored.artifacts import ArtifactName
from tests.worker.training.backbones import small_backbone, taken_apart
from tests.worker.training.processes import folder_of
from tests.worker.training.test_backbone import IMAGES, spec_with
from tests.worker.training.trainings import fewer
from worker.messages import AssignedFeatures, Finished, Started

VIEWS = {"rotation_degrees": 20, "horizontal_flip": True, "erasing": 0.5, "views": 2}


@pytest.fixture(scope="module")
def dataset(mnist5k: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(fewer(mnist5k, IMAGES), tmp_path_factory)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_backbone(tmp_path_factory.mktemp("uploaded"))


def cache_in(folder: Path, cap_bytes: int = 2**30, owner: str = "ann") -> AssignedFeatures:
    return AssignedFeatures(str(folder / "features"), cap_bytes, owner)


def said_of_features(process) -> str | None:
    return next(message.engine.get("features") for message in process.said if isinstance(message, Started))


def answers_of(finished: Finished) -> dict[str, np.ndarray]:
    with np.load(finished.get_path(ArtifactName.PREDICTIONS)) as arrays:
        return {name: arrays[name] for name in arrays.files if name.endswith("_probabilities")}


@pytest.mark.usefixtures("forking")
@pytest.mark.parametrize("parts", [{}, {"augmentation": VIEWS}, {"augmentation": {"rotation_degrees": 20}}])
def test_cold_and_warm_caches_give_the_same_bits_and_steps_nearly_the_same(start, file, tmp_path, parts):
    spec, backbone = spec_with({"filters": 4}, training={"epochs": 3}, **parts), taken_apart(file)
    in_steps = start(spec, backbone=backbone)
    computed = in_steps.end()
    assert said_of_features(in_steps) == "computed in each step: this worker keeps none"
    cold, warm = (start(spec, backbone=backbone, features=cache_in(tmp_path)) for _ in range(2))
    ends = [cold.end(), warm.end()]
    assert all(isinstance(end, Finished) for end in ends), cold.log.read_text() + warm.log.read_text()
    assert said_of_features(cold).startswith("cached")
    assert cold.history == warm.history
    assert ends[0].final == ends[1].final
    for name, answers in answers_of(computed).items():
        np.testing.assert_array_equal(answers_of(ends[0])[name], answers_of(ends[1])[name])
        np.testing.assert_allclose(answers_of(ends[0])[name], answers, atol=1e-5)
    losses = [[done["train_loss"] for done in process.history] for process in (cold, in_steps)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    model = keras.saving.load_model(ends[0].get_path(ArtifactName.MODEL))
    kept = model.get_layer("backbone").get_weights()
    assert all(map(np.array_equal, kept, keras.saving.load_model(file).get_weights()))
