"""Sizes of images are looked at before an upload, and an upload that was refused for them is read again."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heldout.client.image_sizes import SizesDiffer, propose_side, read_size, require_one_size
from heldout.spec.dataset import ResizeSpec
from models.store import claims


def draw(height: int, width: int, form: str = "PNG", **options) -> bytes:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + bytes(60_000)}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0" + bytes(100)}),
    ],
)
def test_the_size_of_an_image_is_read_as_pillow_reads_it(form, options):
    content = draw(300, 417, form, **options)
    assert Image.open(io.BytesIO(content)).size == (417, 300)
    assert read_size(content) == (300, 417)
    assert all(read_size(content[:length]) in (None, (300, 417)) for length in range(40))


def test_the_proposed_side_enlarges_at_most_half_of_the_images():
    assert propose_side([(224, 168)] * 9 + [(40, 40)]) == 96
    assert propose_side([(224, 50), (60, 300)]) == 48
    assert (propose_side([(20, 30)]), propose_side([(4, 4)])) == (20, 8)


MIXED = {"cat/1.png": draw(60, 80), "cat/2.jpg": draw(80, 60, "JPEG"), "dog/1.png": draw(60, 80), "dog/a.txt": b"x"}


def pack(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Write the files as a folder, a zip and a tar."""
    paths = [folder / "pets", folder / "pets.zip", folder / "pets.tar.gz"]
    for name, content in files.items():
        (paths[0] / name).parent.mkdir(parents=True, exist_ok=True)
        (paths[0] / name).write_bytes(content)
    with zipfile.ZipFile(paths[1], "w") as archive, tarfile.open(paths[2], "w:gz") as tar:
        for name in files:
            archive.write(paths[0] / name, name)
            tar.add(paths[0] / name, name)
    return paths


def test_folders_and_archives_of_several_sizes_are_found(tmp_path):
    for path in pack(tmp_path, MIXED):
        with pytest.raises(SizesDiffer, match=r"2 of 60×80, 1 of 80×60\. Nothing was sent\. .*\"height\": 48") as found:
            require_one_size([path])
        assert found.value.side == 48
    (tmp_path / "pets/dog").rename(tmp_path / "pets/rest")
    (tmp_path / "pets/cat/2.jpg").rename(tmp_path / "pets/rest/2.jpg")
    require_one_size([tmp_path / "pets"], {"rest"})
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 and no more")
    require_one_size([tmp_path / "broken.zip"])  # the service says what is wrong with it


def test_images_that_are_too_large_are_found_though_they_have_one_size(tmp_path):
    for path in pack(tmp_path, {"cat/1.png": draw(600, 520), "dog/1.png": draw(600, 520)}):
        with pytest.raises(SizesDiffer, match=r"600×520 pixels .*sides of 8 to 512"):
            require_one_size([path])


def test_nothing_is_sent_before_a_size_is_named(service, client, heldout, tmp_path):
    folder, packed, _ = pack(tmp_path, MIXED)
    with pytest.raises(SizesDiffer):
        client.datasets.push(folder, name="pets")
    refused = heldout("datasets", "push", str(packed))
    assert refused.returncode == 2
    assert "2 of 60×80, 1 of 80×60. Nothing was sent. Add `--resize 48x48`" in refused.stderr
    assert [dataset.name for dataset in client.datasets.list() if not dataset.bundled] == []
    sent = client.datasets.push(folder, name="pets", wait=False, resize={"height": 48, "width": 48, "rule": "pad"})
    assert sent.status == "checking"
    assert client.datasets.push(folder, name="as-they-are", wait=False, resize=None).status == "checking"


def test_an_upload_refused_for_its_sizes_is_finished_without_sending_it_again(service, client, heldout, tmp_path):
    def reject() -> claims.Claimed:
        claimed = service.claim_when_there_is_one()
        error = {"code": "mixed_sizes", "detail": "They have 2 sizes.", "member": None}
        with service.database.write() as session:
            claims.reject(session, claimed.held, error)
        return claimed

    dataset = client.datasets.push(pack(tmp_path, MIXED)[0], name="pets", wait=False, resize=None)
    first = reject()
    assert dataset.refresh().view.upload_kept_until is not None
    assert dataset.resize(64, 48, "crop").status == "checking"
    second = reject()
    assert second.spec.upload == first.spec.upload
    assert second.spec.dataset.resize == ResizeSpec(height=64, width=48, rule="crop")
    assert "expected HEIGHTxWIDTH" in heldout("datasets", "resize", "pets@1", "64").stderr
