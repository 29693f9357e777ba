"""Images for predictions get exactly the pixels that the ingest gives them."""

import io
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from analysis.arrays.dataset import load
from heldout.errors import ImageRefused, WrongChannels, WrongDtype, WrongRange
from heldout.spec.dataset import DatasetSpec, ResizeSpec
from predict.images import OpenedFiles, SentFile, open_files
from predict.images import read_pixels as pixels_of_opened
from predict.model import OnnxNetwork, ServedFacts, ServedModel
from predict.work import finish_pieces
from tests.predict.world import make_npy, network_file
from tests.worker.ingest.uploads import arrays_of, claim_size, encoded, noise, npz, taken, with_scans, zipped

TURNED = 6  # an EXIF orientation


def make_model(folder: Path, spec: DatasetSpec) -> ServedModel:
    """Return a model of the dataset in the folder."""
    images = load(folder)
    facts = ServedFacts(
        job_id="job_1",
        owner="ada",
        dataset="pets@1",
        dataset_sha256=None,
        dtype=images.images.dtype,
        resize=spec.resize,
        any_grey=spec.colour == "grey",
        epoch=1,
        values_per_image=None,
        temperature=None,
    )
    network = OnnxNetwork(network_file(images.shape, images.value_range), threads=1)
    return ServedModel(network, facts, 1, held_out=None)


def read_pixels(files: list[SentFile], model: ServedModel) -> tuple[np.ndarray, list[str | None]]:
    return finish_pieces(pixels_of_opened(open_all(files, model), model))


def open_all(files: list[SentFile], model: ServedModel) -> OpenedFiles:
    return finish_pieces(open_files(files, model))


def hold_same_images(these: np.ndarray, those: np.ndarray) -> bool:
    """Check that both hold the same images in any order, because a dataset has its own order."""
    return sorted(image.tobytes() for image in these) == sorted(image.tobytes() for image in those)


def make_files(colour: bool = False) -> dict[str, bytes]:
    """Return images by file name, in several sizes, formats, depths and orientations."""
    exif = Image.Exif()
    exif[0x0112] = TURNED
    shape = (30, 20, 3) if colour else (30, 20)
    made = {
        "a.png": encoded(noise(shape, 1)),
        "b.jpg": encoded(noise(shape, 2), "JPEG", exif=exif),
        "c.webp": encoded(noise((12, 40, 3), 3), "WEBP", lossless=True) if colour else encoded(noise((9, 44), 3)),
        "d.png": encoded(Image.fromarray(noise((25, 25, 4), 4))) if colour else encoded(noise((25, 25), 4)),
    }
    return {f"{name}/{number}{file}": data for name in "xy" for number in range(3) for file, data in made.items()}


RULES = {
    "pad": DatasetSpec(name="pets", resize=ResizeSpec(height=16, width=12, rule="pad")),
    "crop": DatasetSpec(name="pets", resize=ResizeSpec(height=16, width=12, rule="crop")),
    "stretch in grey": DatasetSpec(name="pets", resize=ResizeSpec(height=8, width=8, rule="stretch"), colour="grey"),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_image_files_become_the_pixels_of_the_dataset(tmp_path, rule, colour):
    uploaded = make_files(colour)
    _, folder = taken(zipped(tmp_path / "a.zip", uploaded), RULES[rule])
    stored = load(folder).images
    pixels, names = read_pixels(
        [SentFile(data, name) for name, data in uploaded.items()], make_model(folder, RULES[rule])
    )
    assert pixels.dtype == stored.dtype
    assert names == list(uploaded)
    assert hold_same_images(pixels, stored)


def test_images_too_large_to_decode_are_refused_by_their_headers(tmp_path):
    _, folder = taken(zipped(tmp_path / "a.zip", make_files()), RULES["pad"])
    model = make_model(folder, RULES["pad"])
    clear = SentFile(encoded(Image.new("LA", (5000, 5000))))
    with pytest.raises(ImageRefused, match="Image 1: Received 5,000×5,000 pixels, which need 572 MiB to decode"):
        open_all([clear], model)
    large = SentFile(encoded(Image.new("1", (7000, 7000))))
    with pytest.raises(ImageRefused, match=r"Image 5: .* more than the 2,048 MiB for one request"):
        open_all([large] * 5, model)
    assert open_all([large] * 2, model).pixels == 98_000_000


def test_the_scans_of_all_images_of_a_request_are_bounded_together(tmp_path):
    """Three such files have 0.1 MB, and would keep a thread for seconds."""
    _, folder = taken(zipped(tmp_path / "a.zip", make_files()), RULES["pad"])
    model = make_model(folder, RULES["pad"])
    progressive = SentFile(claim_size(with_scans(40), 4000), "a.jpg")
    assert open_all([progressive] * 2, model).images == 2
    says = (
        r"Image 3 .*4,000×4,000 pixels in 50 scans.* these are 2,400,000,000 pixels; at most 1,800,000,000 are decoded"
    )
    with pytest.raises(ImageRefused, match=says):
        open_all([progressive] * 3, model)


def test_a_png_with_two_sizes_counts_at_its_decoded_size(tmp_path):
    _, folder = taken(zipped(tmp_path / "a.zip", make_files()), RULES["pad"])
    large = encoded(Image.new("L", (4000, 1000)))
    behind_another = large[:8] + encoded(Image.new("L", (1, 1)))[8:33] + large[8:]
    junk = b"juNk" + b"\0\0\0\x01" * 2 + bytes(5)
    behind_junk = large[:8] + b"\0\0\0\x0d" + junk + crc32(junk).to_bytes(4) + large[8:]
    for data in (behind_another, behind_junk):
        assert open_all([SentFile(data)], make_model(folder, RULES["pad"])).pixels == 4_000_000


def test_images_of_16_and_8_bits_become_the_pixels_of_the_dataset(tmp_path):
    deep = np.random.default_rng(5).integers(0, 4000, (12, 10)).astype(np.uint16)
    uploaded = {}
    for number in range(10):
        uploaded[f"{'xy'[number % 2]}/deep{number}.png"] = encoded(Image.fromarray(deep + np.uint16(number)))
        uploaded[f"{'xy'[number % 2]}/shallow{number}.png"] = encoded(noise((12, 10), number))
    _, folder = taken(zipped(tmp_path / "a.zip", uploaded), DatasetSpec(name="pets"))
    images = load(folder)
    assert images.value_range == (0, 4095)
    pixels, _ = read_pixels(
        [SentFile(data, name) for name, data in uploaded.items()], make_model(folder, DatasetSpec(name="pets"))
    )
    assert hold_same_images(pixels, images.images)
    too_bright = encoded(Image.fromarray(deep + np.uint16(5000)))
    with pytest.raises(WrongRange, match="pixels are from 0 to 4095"):
        read_pixels([SentFile(too_bright)], make_model(folder, DatasetSpec(name="pets")))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_arrays_become_the_pixels_of_the_dataset(tmp_path, kind):
    made = arrays_of(shape=(20, 15, 3))
    made["x"] = made["x"] if kind == np.uint8 else made["x"].astype(np.float32) / 255
    spec = DatasetSpec(name="pets", resize=ResizeSpec(height=16, width=12, rule="pad"))
    _, folder = taken(npz(tmp_path / "a.npz", **made), spec)
    stored = load(folder).images
    pixels, _ = read_pixels([SentFile(make_npy(made["x"]))], make_model(folder, spec))
    assert np.array_equal(pixels, stored)
    single, _ = read_pixels([SentFile(make_npy(made["x"][0]))], make_model(folder, spec))
    assert np.array_equal(single, stored[:1])


def test_values_of_another_scale_are_refused_if_the_scale_is_known(tmp_path):
    made = arrays_of()
    _, folder = taken(npz(tmp_path / "a.npz", x=made["x"].astype(np.float32) / 255, y=made["y"]))
    model = make_model(folder, DatasetSpec(name="pets"))
    good = np.full((2, 12, 10), 0.5, np.float32)
    for place, value, shown in ((0, 3.0, "3"), (1, np.nan, "nan"), (1, -0.5, "-0.5")):
        wrong = good.copy()
        wrong[place, 4, 4] = value
        with pytest.raises(WrongRange, match=f"Image {place + 1}: Received a pixel of {shown}, but .* from 0 to 1"):
            read_pixels([SentFile(make_npy(wrong))], model)
    with pytest.raises(WrongDtype, match="Received an image file, but the dataset's pixels are float32 from 0 to 1"):
        read_pixels([SentFile(encoded(noise()))], model)
    written = io.BytesIO()
    np.save(written, np.zeros((2, 12, 10, 3), np.float32))
    with pytest.raises(WrongChannels):
        read_pixels([SentFile(written.getvalue())], model)
