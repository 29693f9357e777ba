"""A model file that is put together from a backbone's and a head's is the one that Keras writes of the whole model."""

import json
import re
import resource
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactName
from tests.damaged_files import flip
from tests.worker.training.backbones import read_again, small_backbone, taken_apart
from tests.worker.training.processes import folder_of, get_path
from tests.worker.training.test_backbone import IMAGES, spec_with
from tests.worker.training.test_features import cache_in
from tests.worker.training.trainings import assert_gives_served_figures, fewer
from worker.machine.held_folders import USE_LOCK, hold_folder
from worker.messages import AssignedBackbone, Finished
from worker.training.data.training_data import TrainingData, make_source, select, take_images
from worker.training.exports.exported_head import HeadPredictor, join_files
from worker.training.exports.exported_model import (
    PreparedExport,
    build_exported,
    build_exported_base,
    build_exported_head,
    compile_to_evaluate,
)
from worker.training.features.feature_cache import BASE_PREFIX, FEATURES_FILE, UNFINISHED, KeptBase, compute_key
from worker.training.features.inputs import Input
from worker.training.measuring.pixel_changes import PixelChange
from worker.training.measuring.predictor import Predictor
from worker.training.model_files.keras_file import CONFIG, WEIGHTS
from worker.training.networks.backbone import CONFIG as LAYERS
from worker.training.networks.backbone import GIVES, UploadedBackbone
from worker.training.networks.network import build_network, divide_built, divide_early

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


def test_shared_parts_of_layers_lose_their_numbers_in_a_joined_file(tmp_path):
    """Keras numbers them by address, so numbers from two processes could collide."""
    pixels, features, shared = keras.Input((3,)), keras.Input((3,)), keras.initializers.RandomNormal(seed=1)
    logits = features
    for units in (5, 4):
        logits = keras.layers.Dense(units, kernel_initializer=shared)(logits)
    head = keras.Model(features, logits)
    compile_to_evaluate(head)
    base, joined = tmp_path / "base.keras", tmp_path / "joined.keras"
    keras.Model(pixels, keras.layers.Rescaling(2.0)(pixels)).save(base)
    join_files(base, head, joined)
    with zipfile.ZipFile(joined) as archive:
        assert b"shared_object_id" not in archive.read(CONFIG)
    given = np.ones((1, 3), np.float32)
    np.testing.assert_allclose(keras.saving.load_model(joined)(given), head(2.0 * given), rtol=1e-5)


def test_a_head_built_alone_is_that_of_the_whole_network_and_has_the_same_features(file):
    """A network is built whole if an earlier release has read the backbone, which did not keep the shape."""
    spec, image, seed = spec_with({"filters": 4, "dropout": 0.2}, network={"dense": [{"units": 5}]}), (28, 28, 1), 3
    scopes = tf.distribute.MirroredStrategy(["CPU:0"]).scope
    early = divide_early(spec.network, image, 10, seed, read_again(file), scopes)
    assert early is not None
    description = Path(taken_apart(file).folder) / LAYERS
    config = json.loads(description.read_text())
    del config[GIVES]
    description.write_text(json.dumps(config))
    backbone = UploadedBackbone.read(AssignedBackbone(description.parent, "bytes"))
    assert divide_early(spec.network, image, 10, seed, backbone) is None
    built = divide_built(build_network(spec.network, image, 10, seed, backbone=backbone), spec.network, backbone)
    assert built is not None
    assert early.shape == built.shape
    assert compute_key(early, "ann", {}, {}) == compute_key(built, "ann", {}, {})
    assert isinstance(early.frozen.weights[0].value, tf.distribute.DistributedValues), "each replica has its own"
    for own, of_whole in zip(early.head.get_weights(), built.head.get_weights(), strict=True):
        np.testing.assert_array_equal(own, of_whole)


def test_a_backbone_has_other_features_with_other_layers_weights_or_pixels(file):
    spec, known = spec_with(), read_again(file)
    config = json.loads(json.dumps(known.config).replace('"strides": [2, 2]', '"strides": [1, 2]'))
    assert config != known.config
    others = [{"config": config}, {"pixels": "unit"}, {"weights": [*known.weights[:-1], known.weights[-1] + 1]}]
    splits = [divide_early(spec.network, (28, 28, 1), 10, 3, replace(known, **changes)) for changes in ({}, *others)]
    assert len({compute_key(split, "ann", {}, {}) for split in splits}) == 4


def rename(config: dict) -> dict:
    """The config of the same model, itself and a layer of other names, as Keras counts them up."""
    layer = config["config"]["layers"][-1]["config"]["name"]
    return json.loads(json.dumps(config).replace('"mine"', '"mine_1"').replace(f'"{layer}"', f'"{layer}_7"'))


def test_uploads_with_other_names_share_features_and_not_the_file_of_the_backbone(file, folder, tmp_path):
    """Models have the names that their own upload has."""
    backbone, spec = read_again(file), spec_with()
    config = rename(backbone.config)
    uploads = backbone, replace(backbone, config=config)
    splits = [divide_early(spec.network, (28, 28, 1), 10, 3, upload) for upload in uploads]
    assert len({compute_key(split, "ann", {}, {}) for split in splits}) == 1
    kept = {KeptBase(folder, 10_000, of).open(write_base, tmp_path).name for of in (config, backbone.config)}
    assert len(kept) == 2


@pytest.mark.usefixtures("forking")
def test_jobs_with_the_same_features_share_the_file_of_the_backbone(start, file, mnist5k, tmp_path):
    """Their models give the served figures in plain Keras, and the second job does not write that file again."""
    backbone, bases = taken_apart(file), []
    for parts in ({"head": "global_average"}, {"dense": [{"units": 5}]}):
        process = start(spec_with(network=parts), backbone=backbone, features=cache_in(tmp_path))
        finished = process.end()
        assert isinstance(finished, Finished), process.log.read_text()
        bases += [(base, base.stat().st_mtime_ns) for base in (tmp_path / "features").glob(f"*/{BASE_PREFIX}*.keras")]
        model = keras.saving.load_model(get_path(finished, ArtifactName.MODEL))
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
    base = KeptBase(tmp_path, 0, {})
    whole = build_exported(spec.network, data, backbone=backbone)
    draws = np.random.default_rng(1)
    head = [draws.normal(size=weight.shape) for weight in whole.weights[len(backbone.weights) :]]
    whole.set_weights([*backbone.weights, *head])
    with ThreadPoolExecutor(1) as thread:
        asked = PreparedExport(spec.network, data, source, thread, backbone=backbone, features=features, base=base)
        by_head = asked.make_predictor(head)
    assert isinstance(by_head, HeadPredictor)
    expected = Predictor(whole, source, data.value_range)
    for own, of_whole in zip(by_head.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(own, of_whole)
    for change in (None, PixelChange("inversion", factor=-1.0, offset=255.0)):
        answers, wanted = by_head.predict(rows, change), expected.predict(rows, change)
        np.testing.assert_allclose(answers.probabilities, wanted.probabilities, atol=1e-5)
    assert not np.allclose(by_head.predict(rows).probabilities, answers.probabilities, atol=1e-3)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in use, with features of 50 bytes."""
    folder = tmp_path / "features" / "key"
    with hold_folder(folder):
        (folder / FEATURES_FILE).write_bytes(b"1" * 50)
        yield folder


def open_base(folder: Path, cap_bytes: int = 10_000, write: Callable[[Path], object] | None = None) -> bytes:
    """Open the file of a backbone as a job does that has this much room; `write` replaces what writes it."""
    with TemporaryDirectory() as scratch:
        return KeptBase(folder, cap_bytes, {}).open(write or write_base, Path(scratch)).read_bytes()


def write_base(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(CONFIG, "2" * 60)


def list_files(folder: Path) -> set[str]:
    """The files next to the lock; those of backbones without the digests of their configs in their names."""
    return {re.sub("-[0-9a-f]{16}", "", file.name) for file in folder.iterdir()} - {USE_LOCK}


@pytest.mark.parametrize(("cap_bytes", "is_kept"), [(10_000, True), (100, False)])
def test_the_file_of_a_backbone_stays_within_the_cache(folder, cap_bytes, is_kept):
    written = open_base(folder, cap_bytes)
    assert list_files(folder) == {FEATURES_FILE, *(["base.keras", "base.digest"] if is_kept else [])}
    assert int((folder / USE_LOCK).read_text()) == 50 + (len(written) if is_kept else 0), "room it takes for others"


@pytest.mark.parametrize("harm", [lambda file: file.write_bytes(bytes(100)), lambda file: flip(file, 50)])
@pytest.mark.parametrize("suffix", [".keras", ".digest"])
def test_a_damaged_file_of_a_backbone_is_written_again(folder, suffix, harm):
    """A file may have its name but not its content after a loss of power, or be left by a process that was killed."""
    open_base(folder)
    [kept] = folder.glob(f"{BASE_PREFIX}*.keras")
    harm(kept.with_suffix(suffix))
    kept.with_suffix(f".1{UNFINISHED}").write_bytes(bytes(50))
    written = open_base(folder)
    assert open_base(folder, write=Path.unlink) == written, "it is not written a second time"
    assert list_files(folder) == {FEATURES_FILE, "base.keras", "base.digest"}


def test_a_full_disk_keeps_no_part_of_the_file_of_a_backbone(folder):
    """A limit on the size of files stands in for the disk: copying fails at the same place."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write(file: Path) -> None:
        write_base(file)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))

    try:
        written = open_base(folder, write=write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(written) > 60
    assert list_files(folder) == {FEATURES_FILE}
    assert (folder / USE_LOCK).read_text() == "50"
