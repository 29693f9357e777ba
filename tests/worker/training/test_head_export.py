"""A model file that is put together from a backbone's and a head's is the one that Keras writes of the whole model."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactName
from tests.worker.training.backbones import read_again, small_backbone, taken_apart
from tests.worker.training.processes import folder_of
from tests.worker.training.test_backbone import IMAGES, spec_with
from tests.worker.training.test_features import cache_in
from tests.worker.training.trainings import assert_gives_served_figures, fewer
from worker.messages import Finished
from worker.training.data import TrainingData, select, take_images
from worker.training.export import PreparedExport, build_exported, build_exported_base, build_exported_head
from worker.training.feature_cache import BASE_FILE, FEATURES_FILE, KeptBase
from worker.training.head_export import HeadPredictor, join_files
from worker.training.inputs import Input, make_source
from worker.training.keras_file import CONFIG, WEIGHTS
from worker.training.pixel_changes import PixelChange
from worker.training.predictor import Predictor

HEADS = {
    "pool": ([], {"head": "global_average"}),
    "dense": ([], {"dense": [{"units": 5, "dropout": 0.3, "l2": 0.1}]}),
    "blocks": (
        [
            {"filters": 4, "kernel_size": 1, "pool": 1, "residual": True, "norm": "batch", "dropout": 0.2},
            {"filters": 4, "kernel_size": 3, "pool_type": "average", "norm": "layer", "activation": "elu"},
        ],
        {"l2": 0.01},
    ),
}


@pytest.fixture(scope="module")
def dataset(mnist5k: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(fewer(mnist5k, IMAGES), tmp_path_factory)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return small_backbone(tmp_path)


def read(file: Path) -> tuple[dict, dict[str, bytes | None]]:
    """A file's config without numbers of shared objects, which are addresses, and its groups and arrays."""
    found: dict[str, bytes | None] = {}

    def note(name: str, part: h5py.Group | h5py.Dataset) -> None:
        found[name] = part[()].tobytes() if isinstance(part, h5py.Dataset) else None

    with zipfile.ZipFile(file) as archive, archive.open(WEIGHTS) as weights, h5py.File(weights, "r") as groups:
        groups.visititems(note)
        config = json.loads(archive.read(CONFIG), object_hook=lambda part: part | {"shared_object_id": None})
    return config, found


def write_both(spec: JobSpec, file: Path, data: TrainingData) -> tuple[Path, Path]:
    """Write the whole model by Keras, and the same put together. Keras counts the names of both from the beginning."""
    whole, base, joined = (file.with_name(f"{name}.keras") for name in ("whole", "base", "joined"))
    backbone = read_again(file)
    keras.utils.clear_session()
    made = build_exported(spec.network, data, backbone=backbone)
    draws = np.random.default_rng(1)
    head = [draws.random(weight.shape) for weight in made.weights[len(backbone.weights) :]]
    made.set_weights([*backbone.weights, *head])
    made.save(whole)
    backbone = read_again(file)
    keras.utils.clear_session()
    build_exported_base(spec.network, data, backbone).save(base)
    last = build_exported_head(spec.network, 10, backbone)
    last.set_weights(head)
    join_files(base, last, joined)
    return whole, joined


@pytest.mark.parametrize("head", HEADS)
def test_a_joined_file_is_what_keras_writes_of_the_whole_model(file, mnist5k, head):
    blocks, parts = HEADS[head]
    spec = spec_with(*blocks, network=parts)
    data = select(fewer(mnist5k, IMAGES), spec)
    whole, joined = map(read, write_both(spec, file, data))
    assert joined == whole


@pytest.mark.usefixtures("forking")
def test_jobs_with_the_same_features_share_the_file_of_the_backbone(start, file, mnist5k, tmp_path):
    """Their models give the served figures in plain Keras, and the second job does not write that file again."""
    backbone, bases = taken_apart(file), []
    for parts in ({"head": "global_average"}, {"dense": [{"units": 5}]}):
        process = start(spec_with(network=parts), backbone=backbone, features=cache_in(tmp_path))
        finished = process.end()
        assert isinstance(finished, Finished), process.log.read_text()
        bases += [(base, base.stat().st_mtime_ns) for base in (tmp_path / "features").glob(f"*/{BASE_FILE}")]
        model = keras.saving.load_model(finished.get_path(ArtifactName.MODEL))
        assert_gives_served_figures(model, fewer(mnist5k, IMAGES), finished.final.test)
    assert len(bases) == 2
    assert bases[0] == bases[1]


def test_a_head_answers_like_the_whole_model_also_about_changed_images(file, mnist5k, tmp_path):
    spec = spec_with()
    data, backbone = select(fewer(mnist5k, IMAGES), spec), read_again(file)
    source, rows = make_source(data), data.rows["test"]
    maps = build_exported_base(spec.network, data, backbone)(data.images.astype(np.float32)).numpy()
    known = take_images(ImageSet(maps, data.labels, {}, data.classes, (0.0, 1.0)), {"all": np.arange(len(maps))})
    features = Input(replace(known, rows=data.rows), make_source(known))
    base = KeptBase(tmp_path, 0, tmp_path)
    whole = build_exported(spec.network, data, backbone=backbone)
    with ThreadPoolExecutor(1) as thread:
        asked = PreparedExport(spec.network, data, source, thread, backbone=backbone, features=features, base=base)
        by_head = asked.make_predictor(whole.get_weights()[len(backbone.weights) :])
    assert isinstance(by_head, HeadPredictor)
    expected = Predictor(whole, source, data.value_range)
    assert all(map(np.array_equal, by_head.get_weights(), whole.get_weights()))
    for change in (None, PixelChange("inversion", factor=-1.0, offset=255.0)):
        answers, wanted = by_head.predict(rows, change), expected.predict(rows, change)
        np.testing.assert_allclose(answers.probabilities, wanted.probabilities, atol=1e-5)
    assert not np.allclose(by_head.predict(rows).probabilities, answers.probabilities, atol=1e-3)


@pytest.mark.parametrize(("cap_bytes", "is_kept"), [(10_000, True), (100, False)])
def test_the_file_of_a_backbone_stays_within_the_cache(tmp_path, cap_bytes, is_kept):
    folder, scratch = tmp_path / "features" / "key", tmp_path / "scratch"
    folder.mkdir(parents=True)
    scratch.mkdir()
    (folder / FEATURES_FILE).write_bytes(b"1" * 50)
    base = KeptBase(folder, cap_bytes, scratch)
    assert base.open(lambda file: file.write_bytes(b"2" * 60)).read_bytes() == b"2" * 60
    assert (folder / BASE_FILE).exists() == is_kept
