"""Datasets in the layouts of Hugging Face's hub, read from a cache and from folders; there is no network here."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from heldout.client.hugging_face import choose_files
from heldout.client.packing import NothingToPack
from tests.heldout.served import bare_environment, run_apart

CLASSES = ["cat", "dog"]


def write_table(path, count, seed):
    """Write a table as `datasets` does: files in a column `image`, numbers in `label`, their names in the schema."""
    draws = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        file = io.BytesIO()
        Image.fromarray(draws.integers(0, 255, (12, 12), np.uint8)).save(file, "PNG")
        rows.append({"image": {"bytes": file.getvalue(), "path": f"{seed}-{number}.png"}, "label": number % 2})
    info = {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": CLASSES}}}
    table = pa.Table.from_pylist(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": info})}), path)


@pytest.fixture
def cache(tmp_path):
    """The cache of the hub's client with one dataset: links of a snapshot to files with names of their content."""
    hub = tmp_path / "hub"
    dataset = hub / "datasets--someone--pets"
    for number, (split, count) in enumerate({"train": 60, "validation": 12, "test": 16}.items()):
        write_table(dataset / "blobs" / f"{number:064}", count, number)
        link = dataset / "snapshots" / "abc" / "data" / f"{split}-00000-of-00001.parquet"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../../blobs/{number:064}")
    (dataset / "snapshots" / "abc" / "README.md").write_text("# Pets")
    (dataset / "refs").mkdir()
    (dataset / "refs" / "main").write_text("abc")
    return hub


def test_a_dataset_in_the_cache_is_read_with_its_splits_and_class_names(cache, tmp_path):
    environment = bare_environment(tmp_path) | {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    result = run_apart(tmp_path, environment, "check-data", "hf:someone/pets")
    assert result.returncode == 0, result.stderr
    size, classes, *_ = result.stdout.splitlines()
    assert size.endswith("  12×12×1, 2 classes, 60 train / 12 validation / 16 test")
    assert classes == "classes: cat, dog"


def test_a_dataset_is_pushed_under_its_name_with_its_tables_alone(heldout, service, cache):
    pushed = heldout("datasets", "push", "hf:someone/pets", "--detach", HF_HUB_CACHE=str(cache), HF_HUB_OFFLINE="1")
    assert pushed.returncode == 0, pushed.stderr
    held = service.claim_when_there_is_one()
    assert held.spec.dataset.name == "pets"
    with tarfile.open(fileobj=io.BytesIO(service.blobs.read(held.spec.upload))) as archive:
        assert archive.getnames() == [f"{split}-00000-of-00001.parquet" for split in ("test", "train", "validation")]
    service.reject(held, code="too_few_classes", detail="There is one class.")


def test_configurations_archives_and_folders_of_images_are_told_apart(tmp_path):
    for config in ("plain", "large"):
        write_table(tmp_path / "several" / config / "train-00000-of-00001.parquet", 4, 0)
    with pytest.raises(NothingToPack, match="several configurations: large, plain"):
        choose_files(tmp_path / "several", None)
    assert choose_files(tmp_path / "several", "plain") == [tmp_path / "several" / "plain"]
    with pytest.raises(NothingToPack, match="no configuration other; it has large, plain"):
        choose_files(tmp_path / "several", "other")
    for name in (
        "packed/data/train.zip",
        "packed/data/test.zip",
        "images/data/train/cat/1.png",
        "flat/train/cat/1.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert choose_files(tmp_path / "packed", None) == [
        tmp_path / f"packed/data/{name}.zip" for name in ("test", "train")
    ]
    assert choose_files(tmp_path / "images", None) == [tmp_path / "images/data"]
    assert choose_files(tmp_path / "flat", None) == [tmp_path / "flat"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToPack, match="no Parquet files, no archives and no images"):
        choose_files(tmp_path / "empty", None)


def test_a_dataset_that_is_not_here_is_refused_with_the_command_that_downloads_it(heldout, tmp_path):
    refused = heldout("datasets", "push", "hf:someone/cars", HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "hf download --repo-type dataset someone/cars" in refused.stderr
    assert "expected hf:owner/name" in heldout("check-data", "hf:cars").stderr
