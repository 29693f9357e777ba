"""`heldout datasets audit` with local files: a bounded process audits them, and nothing is stored."""

import json
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from analysis.arrays.dataset import ImageSet
from analysis.arrays.file_names import RULES
from heldout.cli import host_commands
from heldout.stored.audit import StoredAudit, audit_key
from models.database import db_now
from models.ids import make_id
from models.tables import DatasetRow
from tests.heldout.served import PATIENCE_S, bare_environment, run_apart, until
from worker.ingest.__main__ import main
from worker.ingest.local_audit.name_groups import guess_groups
from worker.ingest.local_audit.odd_images import find_odd_images
from worker.ingest.splits import find_groups

LEAK = "1 of 17 test images (6%) also appears in the training set."


@pytest.fixture
def pets(tmp_path):
    """A folder with splits; one of its test images is one of its training images."""
    folder, draws = tmp_path / "pets", np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 8)):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = draws.integers(0, 255, (12, 12), np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")
    (folder / "test" / "dog" / "copy.png").write_bytes((folder / "train" / "dog" / "5.png").read_bytes())
    return folder


@pytest.fixture
def temporary(tmp_path):
    """A folder for the temporary files of a process."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.mark.usefixtures("pets")
def test_a_folder_is_audited_without_a_service_and_leaves_no_files(tmp_path, temporary):
    environment = bare_environment(tmp_path) | {"TMPDIR": str(temporary)}
    result = run_apart(tmp_path, environment, "datasets", "audit", "pets")
    assert (result.returncode, result.stderr) == (0, "")
    size, classes, headline, _, cut, *rest = result.stdout.splitlines()
    assert size == "pets  12×12×1, 2 classes, 54 train / 6 validation / 17 test"
    assert headline == "One test image was copied from training."
    assert (classes, cut) == ("classes: cat, dog", "validation split cut from the training images at random")
    assert any(line.startswith(LEAK) for line in rest)
    assert "  train/dog/5.png = test/dog/copy.png" in rest
    # The text is wrapped. What is asked, and the page of the manual that explains it:
    asked = " ".join("".join(f"{line} " for line in rest).split())
    assert "Do some of these images belong together, such as several of one person, object or scene?" in asked
    assert "such images can be in training and in validation" in asked
    assert "`docs/how-to/datasets.md#images-that-belong-together`" in asked
    assert list(temporary.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"pets", "temporary"}


@pytest.mark.usefixtures("pets")
def test_an_interrupted_audit_leaves_no_files(tmp_path, temporary):
    for ended_by in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, "-m", "heldout", "datasets", "audit", "./pets"],
            cwd=tmp_path,
            env=bare_environment(tmp_path) | {"TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: list(temporary.glob("heldout-audit-*/dataset")), "an audit")
        process.send_signal(ended_by)
        assert process.wait(PATIENCE_S) in {128 + signal.SIGTERM, 130}
        assert list(temporary.iterdir()) == []


def test_json_contains_the_audit_and_the_splits(pets, capsys):
    assert main(["--spec", '{"name": "local", "splits": {"existing": "merge"}}', "--json", str(pets)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["object"], found["dataset"], found["classes"]) == ("audit", None, ["cat", "dog"])
    assert sum(split["count"] for split in found["splits"].values()) == 77
    assert "leakage" not in {finding["code"] for finding in found["findings"]}


def test_a_rejection_is_reported_as_after_a_push(tmp_path, capsys):
    (tmp_path / "pets.zip").write_bytes(b"no archive")
    (tmp_path / "empty").mkdir()
    assert main(["--spec", '{"name": "local"}', "--json", str(tmp_path / "pets.zip")]) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["error"]["code"] == "not_an_archive"
    assert "rejected: not_an_archive: " in output.err
    assert main(["--spec", '{"name": "local"}', str(tmp_path / "empty")]) == 2
    assert "has no files" in capsys.readouterr().err


@pytest.mark.usefixtures("pets")
def test_an_ambiguous_name_means_the_dataset_and_says_how_to_choose(heldout, service):
    split = {"count": 1, "per_class": [1, 0]}
    with service.database.write() as session:
        row = DatasetRow(id=make_id("ds"), owner="me", name="pets", version=1, status="ready", created_at=db_now())
        row.sha256, row.classes = "a" * 64, ["cat", "dog"]
        session.add(row)
        key = audit_key(row.id)
    splits = dict.fromkeys(("train", "validation", "test"), split)
    stored = StoredAudit(sha256="a" * 64, splits=splits, statistics={}, findings=(), checks={}, source={})
    service.blobs.put(key, stored.to_bytes())
    result = heldout("datasets", "audit", "pets")
    assert result.returncode == 0
    assert result.stdout.startswith("The audit found nothing.\nThere are no copies")
    assert "./pets" in result.stderr
    refused = heldout("datasets", "audit", "pets", "--merge")
    assert refused.returncode == 2
    assert "Options are only for files" in refused.stderr


def test_a_missing_file_or_dataset_is_reported(heldout):
    result = heldout("datasets", "audit", "./pets")
    assert (result.returncode, result.stderr) == (2, "heldout: ./pets: there is no such file or folder.\n")
    assert heldout("datasets", "audit", "nowhere").returncode == 2  # no such dataset either


@pytest.mark.usefixtures("pets")
def test_a_client_without_the_server_says_what_to_install(heldout, monkeypatch):
    monkeypatch.setattr(host_commands, "find_spec", lambda name: None if name == "PIL" else find_spec(name))
    result = heldout("datasets", "audit", "./pets")
    assert result.returncode == 2
    assert "PIL, which is not installed" in result.stderr
    assert "pip install" in result.stderr


@pytest.mark.usefixtures("pets")
def test_check_data_writes_a_page_with_everything_in_it_and_uploads_nothing(tmp_path):
    environment = bare_environment(tmp_path) | {"HELDOUT_URL": "http://127.0.0.1:9"}
    result = run_apart(tmp_path, environment, "check-data", "pets", "--report", "audit.html")
    assert (result.returncode, result.stderr) == (0, "The report is audit.html\n")
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    root = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>"))
    assert root.findtext(".//h2") == result.stdout.splitlines()[2] == "One test image was copied from training."
    assert "54" in page
    images = root.findall(".//img")
    [pair] = root.findall(".//div[@class='pair']")
    assert [image.get("alt") for image in pair.iter("img")] == ["train/dog/5.png", "test/dog/copy.png"]
    assert images
    assert {(image.get("src") or "").partition(",")[0] for image in images} == {"data:image/png;base64"}
    assert not re.search(r"""(?:src|href)="(?!data:)|url\(|<script""", page)
    assert "default-src &#x27;none&#x27;" in page
    assert run_apart(tmp_path, environment, "check-data", "nowhere").returncode == 2


def test_images_of_several_sizes_are_audited_at_one_and_the_sizes_are_reported(pets, capsys):
    Image.new("L", (40, 30), 90).save(pets / "train" / "cat" / "large.png")
    assert main(["--spec", '{"name": "local"}', "--json", str(pets)]) == 0
    found = json.loads(capsys.readouterr().out)
    [sizes] = [finding for finding in found["findings"] if finding["code"] == "sizes_differ"]
    assert "77 of 12×12, 1 of 30×40" in sizes["explanation"]
    assert "--resize 12x12" in sizes["what_to_do"]
    assert found["shape"] == [12, 12, 1]


def test_images_that_were_planted_as_odd_are_the_only_ones_found():
    draws = np.random.default_rng(1)
    patterns = draws.normal(0, 0.12, (5, 1, 24, 24, 1)).repeat(80, axis=1).reshape(400, 24, 24, 1)
    pixels = 0.5 + patterns + draws.normal(0, 0.05, (400, 24, 24, 1)) + draws.normal(0, 0.03, (400, 1, 1, 1))
    labels = np.zeros(400, np.int32)
    splits = {"train": np.arange(300), "validation": np.arange(300, 350), "test": np.arange(350, 400)}

    def find(pixels):
        shown = (255 * pixels.clip(0, 1)).astype(np.uint8)
        return find_odd_images(ImageSet(shown, labels, splits, ("cat",), (0, 255)))

    assert find(pixels) == []
    planted = pixels.copy()
    planted[7] -= 0.4
    planted[70] += 0.4
    planted[100] = 0.5 + (planted[100] - 0.5) / 12
    planted[200] = gaussian_filter(planted[200], (2, 2, 0)) * 3 - 1
    planted[380] = 0.5 + np.where(np.arange(24) < 12, 0.17, -0.17)[:, None, None]
    found = {image.row: image.reason for image in find(planted)}
    assert {row: found[row] for row in (7, 70, 100, 200)} == {7: "dark", 70: "bright", 100: "flat", 200: "blurred"}
    assert found.keys() == {7, 70, 100, 200, 380}
    planted[10:30] -= 0.4  # a twentieth of them: that is a part of the dataset
    assert not {image.reason for image in find(planted)} & {"dark"}


def test_among_photographs_of_any_brightness_those_are_odd_that_show_almost_nothing_or_end_too_early():
    draws = np.random.default_rng(2)
    levels = draws.uniform(0.15, 0.85, (300, 1, 1, 1))
    pixels = (levels + draws.normal(0, 0.2, (300, 24, 24, 1))).clip(0, 1)
    similarity = draws.uniform(0.5, 0.7, (300, 10))
    splits = {"train": np.arange(300)}

    def find(pixels, similarity=None):
        shown = (255 * pixels).astype(np.uint8)
        images = ImageSet(shown, np.zeros(300, np.int32), splits, ("cat",), (0, 255))
        return {image.row: image.reason for image in find_odd_images(images, similarity)}

    assert find(pixels) == find(pixels, similarity) == {}
    planted = pixels.copy()
    planted[7] *= 0.1
    planted[70] = 1 - (1 - planted[70]) * 0.1
    planted[100] = 0.45 + planted[100] / 12
    planted[200, 12:] = 0.5
    assert find(planted) == {7: "dark", 70: "bright", 100: "flat", 200: "cut"}
    similarity[30] = 0.1
    assert find(pixels, similarity) == {30: "unlike"}
    planted[:30, 12:] = 0.5  # a tenth of them: that is how these images are
    assert "cut" not in find(planted).values()


@pytest.mark.parametrize(
    ("names", "rule", "groups"),
    [
        ([f"{'cat' if p % 2 else 'dog'}/person{p}_{n}.png" for p in range(10) for n in range(5)], 0, 10),
        ([f"cat/p{p}-left_{n}.png" for p in range(10) for n in range(5)], 0, 10),
        ([f"cat/p{p}_{n}_{n}{n}.png" for p in range(10) for n in range(5)], 1, 10),
        ([f"cat/patient7{p}/{n}.png" for p in range(10) for n in range(5)], 3, 10),
        ([f"cat/IMG_{n:04}.png" for n in range(50)], None, 0),
        ([f"class_{n % 5}/{n:04}.png" for n in range(50)], None, 0),
        ([f"cat/{n}_aug.png" for n in range(50)], None, 0),
    ],
)
def test_groups_are_guessed_from_names_of_persons_but_not_from_numbers(names, rule, groups):
    splits = {"train": np.arange(32), "validation": np.arange(32, 40), "test": np.arange(40, 50)}
    labels = np.unique([name.partition("/")[0] for name in names], return_inverse=True)[1]
    found = guess_groups(names, labels, splits)
    if rule is None:
        assert found is None
        return
    assert (found.rule, len(found.names)) == (RULES[rule], groups)
    assert sorted(set(found.groups[32:40].tolist()) & set(found.groups[:32].tolist())) == found.crossing.tolist()
    # The rule is one that an upload takes.
    assert find_groups(names, found.rule).max() + 1 == groups


def test_an_audit_names_groups_that_are_in_several_splits_and_the_rule_that_keeps_them_whole(pets, tmp_path, capsys):
    named = tmp_path / "named"
    for number, file in enumerate(sorted(pets.rglob("*/cat/*.png")) + sorted(pets.rglob("*/dog/*.png"))):
        to = named / file.parent.name / f"person{number // 4}_{number % 4}.png"
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(file.read_bytes())
    assert main(["--spec", '{"name": "local"}', "--json", str(named)]) == 0
    [finding] = [f for f in json.loads(capsys.readouterr().out)["findings"] if f["code"] == "names_suggest_groups"]
    assert finding["severity"] == "warning"
    assert finding["numbers"]["groups"] == 20
    spec = json.dumps({"name": "local", "group_by": finding["numbers"]["rule"]})
    assert main(["--spec", spec, "--json", str(named)]) == 0
    codes = {finding["code"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert not codes & {"names_suggest_groups", "group_across_splits"}
