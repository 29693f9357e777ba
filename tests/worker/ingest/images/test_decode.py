"""Each kind of image is decoded by one rule, which is checked against hand-made pixels and Pillow."""

import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from analysis.arrays.dataset import load
from heldout.spec.dataset import DatasetSpec, ResizeSpec
from tests.worker.ingest.uploads import encoded, noise, npz, pictures, rejection_of, taken, zipped
from worker.ingest.images.decode import OpenedImage, TargetShape
from worker.ingest.rejection import IngestLimits, Rejection

LIMITS = IngestLimits()
GRAY, COLOR = noise((12, 10)), noise((12, 10, 3))
SMOOTH = np.add.outer(np.arange(12) * 9, np.arange(10) * 11).astype(np.uint8)


def decode_image(data: bytes, channels: int = 3, *, any_grey: bool = True) -> np.ndarray:
    """Decode an image file of 12×10 pixels."""
    wanted = TargetShape(12, 10, channels, None)  # type: ignore[arg-type]
    raw = OpenedImage(data, "a.png", LIMITS).decode(wanted, any_grey=any_grey)
    found = np.frombuffer(raw, np.uint8).reshape(12, 10, channels)
    return found[..., 0] if channels == 1 else found


def compute_gray(rgb: np.ndarray) -> np.ndarray:
    """Return the rounded ITU-R 601 luma, as Pillow documents it for `convert("L")`."""
    return ((rgb.astype(np.int64) @ [19595, 38470, 7471] + 0x8000) >> 16).astype(np.uint8)


# --- modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["PNG", "BMP"])
def test_gray_and_color_images_are_unchanged(format_):
    np.testing.assert_array_equal(decode_image(encoded(GRAY, format_), 1), GRAY)
    np.testing.assert_array_equal(decode_image(encoded(COLOR, format_)), COLOR)


def test_lossless_webp_is_unchanged():
    np.testing.assert_array_equal(decode_image(encoded(COLOR, "WEBP", lossless=True)), COLOR)


@pytest.mark.parametrize("format_", ["JPEG", "WEBP"])
def test_lossy_files_are_decoded_as_by_pillow(format_, tmp_path):
    (tmp_path / "a").write_bytes(encoded(COLOR, format_))
    np.testing.assert_array_equal(decode_image((tmp_path / "a").read_bytes()), np.asarray(Image.open(tmp_path / "a")))


def test_gray_is_repeated_if_three_channels_are_requested():
    np.testing.assert_array_equal(decode_image(encoded(GRAY), 3), np.stack([GRAY] * 3, axis=-1))


def test_color_becomes_luma_if_one_channel_is_requested():
    np.testing.assert_array_equal(decode_image(encoded(COLOR), 1), compute_gray(COLOR))


def test_bilevel_images_become_black_and_white():
    image = Image.fromarray(GRAY).convert("1", dither=Image.Dither.NONE)
    np.testing.assert_array_equal(decode_image(encoded(image), 1), np.where(GRAY > 127, 255, 0))


def test_palette_images_get_the_colors_of_their_palette():
    image = Image.fromarray(COLOR).quantize(16)
    np.testing.assert_array_equal(decode_image(encoded(image)), np.asarray(image.convert("RGB")))


DEEP = np.random.default_rng(0).integers(0, 65536, (12, 10, 4), dtype=np.uint16)


def decode_deep(data: bytes, channels: int = 3) -> np.ndarray:
    """Decode an image file of 12×10 pixels to 16 bits."""
    wanted = TargetShape(12, 10, channels, None, bits=16)  # type: ignore[arg-type]
    raw = OpenedImage(data, "a.png", LIMITS).decode(wanted, any_grey=True)
    return np.frombuffer(raw, np.float32).reshape(12, 10, channels)


def test_16_bits_keep_all_values():
    np.testing.assert_array_equal(decode_deep(png16(DEEP[..., :1], 0), 1), DEEP[..., :1])
    np.testing.assert_array_equal(decode_deep(png16(DEEP[..., :3], 2), 3), DEEP[..., :3])


def test_transparent_images_with_16_bits_are_put_on_white():
    for kind, channels in ((4, 2), (6, 4)):
        deep = DEEP[..., :channels]
        share = deep[..., -1:] / 65535
        expected = deep[..., :-1] * share + 65535 * (1 - share)
        np.testing.assert_allclose(decode_deep(png16(deep, kind), channels - 1), expected, rtol=1e-5)


def test_16_bit_images_change_their_channels_as_8_bit_images_do():
    grey, colour = DEEP[..., :1], DEEP[..., :3]
    np.testing.assert_array_equal(decode_deep(png16(grey, 0), 3), np.repeat(grey, 3, axis=2))
    np.testing.assert_allclose(decode_deep(png16(colour, 2), 1)[..., 0], colour @ [0.299, 0.587, 0.114], rtol=1e-5)


def test_8_bit_images_are_scaled_to_16_bits():
    np.testing.assert_array_equal(decode_deep(encoded(GRAY), 1)[..., 0], GRAY.astype(np.float32) * 257)
    np.testing.assert_array_equal(decode_deep(encoded(COLOR), 3), COLOR.astype(np.float32) * 257)


@pytest.mark.parametrize(("bits", "high"), [(16, 65535), (12, 4095), (8, 255)])
@pytest.mark.parametrize("first", ["deep", "shallow"])
def test_a_folder_of_16_bit_images_keeps_values_and_knows_their_range(tmp_path, bits, high, first):
    deep = [np.random.default_rng(seed).integers(0, 2**bits, (12, 10, 1), dtype=np.uint16) for seed in range(20)]
    deep[0][0, 0] = high
    files = {f"{'cat' if n < 10 else 'dog'}/{n:02d}.png": png16(image, 0) for n, image in enumerate(deep)}
    if first == "shallow":
        files["cat/00.png"] = encoded(GRAY)
        high = 2**bits - 1
    report, target = taken(zipped(tmp_path / "a.zip", files))
    images = load(target).images
    assert (report.dtype, report.value_range) == ("float32", (0, high))
    np.testing.assert_array_equal(images[1:], np.stack(deep)[1:])
    if first == "shallow":
        # White with 8 bits becomes white with more bits.
        np.testing.assert_allclose(images[0, ..., 0], GRAY.astype(np.float64) / 255 * high, rtol=1e-6)
        assert "1 of the images have 8 bits and 19 have 16" in report.source["notes"][0]
    else:
        assert report.source["notes"] == []
    assert report.source["encodings"]["PNG I;16 16 bits"] == (19 if first == "shallow" else 20)


def test_16_bit_images_are_resized_without_losing_their_range(tmp_path):
    files = {
        f"{'cat' if n % 2 else 'dog'}/{n}.png": png16(np.full((12, 10, 1), 40_000 + n, np.uint16), 0) for n in range(20)
    }
    spec = DatasetSpec(name="pets", resize=ResizeSpec(height=20, width=20, rule="stretch"))
    _, target = taken(zipped(tmp_path / "a.zip", files), spec)
    assert sorted({float(image.mean()) for image in load(target).images}) == [40_000 + n for n in range(20)]


def png16(deep: np.ndarray, colour_type: int) -> bytes:
    """Write a PNG with 16 bits per channel. Color types: gray 0, RGB 2, gray with alpha 4, RGB with alpha 6."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    height, width, _ = deep.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, colour_type, 0, 0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pixels_are_put_on_white(channels):
    alpha = noise((12, 10), 5)
    share = alpha[..., None] / 255
    expected = COLOR * share + 255 * (1 - share)
    found = decode_image(encoded(np.dstack([COLOR, alpha])), channels)
    expected = expected if channels == 3 else expected @ [0.299, 0.587, 0.114]
    assert np.abs(found - expected).max() <= 1.5
    assert np.all(decode_image(encoded(np.dstack([COLOR * 0, alpha * 0])), 1) == 255)


def test_gray_with_alpha_and_palettes_with_a_transparent_color_are_put_on_white():
    alpha = np.where(np.arange(10) < 5, 0, 255).astype(np.uint8) * np.ones((12, 1), np.uint8)
    np.testing.assert_array_equal(decode_image(encoded(np.dstack([GRAY, alpha])), 1), np.where(alpha == 0, 255, GRAY))
    image = Image.new("P", (10, 12), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    ImageDraw.Draw(image).rectangle((0, 0, 4, 11), fill=0)
    found = decode_image(encoded(image, transparency=0))
    assert np.all(found[:, :5] == 255)
    assert np.all(found[:, 5:] == [200, 10, 20])


def test_opaque_alpha_changes_nothing():
    np.testing.assert_array_equal(decode_image(encoded(np.dstack([COLOR, np.full((12, 10), 255, np.uint8)]))), COLOR)


def test_cmyk_is_converted_as_by_pillow(tmp_path):
    image = Image.fromarray(COLOR).convert("CMYK")
    (tmp_path / "a.jpg").write_bytes(encoded(image, "JPEG", quality=95))
    with Image.open(tmp_path / "a.jpg") as read:
        assert read.mode == "CMYK"
        np.testing.assert_array_equal(decode_image((tmp_path / "a.jpg").read_bytes()), np.asarray(read.convert("RGB")))


def test_an_image_is_rotated_according_to_its_exif():
    for orientation, upright in {1: GRAY, 2: GRAY[:, ::-1], 3: GRAY[::-1, ::-1], 4: GRAY[::-1]}.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        np.testing.assert_array_equal(decode_image(encoded(GRAY, exif=exif), 1), upright)


def test_a_quarter_turn_swaps_height_and_width():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(np.rot90(GRAY).copy(), exif=exif)
    seen = OpenedImage(data, "a.png", LIMITS).read_upright()
    assert (seen.height, seen.width) == (12, 10)
    np.testing.assert_array_equal(decode_image(data, 1), GRAY)


def test_unreadable_exif_is_ignored():
    np.testing.assert_array_equal(decode_image(encoded(GRAY, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), 1), GRAY)


def test_animations_are_refused():
    frames = [Image.fromarray(noise((12, 10, 3), seed)) for seed in (1, 2)]
    for format_ in ("PNG", "WEBP"):
        with pytest.raises(Rejection) as caught:
            decode_image(encoded(frames[0], format_, save_all=True, append_images=frames[1:]))
        assert caught.value.code == "animated_image"


# --- color of a dataset --------------------------------------------------------------------------


def test_a_dataset_is_gray_if_every_image_is(tmp_path):
    grey_palette = Image.fromarray(GRAY).convert("P")
    report, _ = taken(zipped(tmp_path / "a.zip", {**pictures(5), "dog/x.png": encoded(grey_palette)}))
    assert report.shape == (12, 10, 1)


@pytest.mark.parametrize("place", ["cat/0.png", "dog/x.png"])
def test_one_color_image_gives_the_dataset_three_channels(tmp_path, place):
    files = {**pictures(5), place: encoded(COLOR)}
    report, target = taken(zipped(tmp_path / "a.zip", files))
    assert report.shape == (12, 10, 3)
    row = sorted(files).index(place)
    np.testing.assert_array_equal(load(target).images[row], COLOR)
    np.testing.assert_array_equal(load(target).images[1 - row % 2][..., 0], load(target).images[1 - row % 2][..., 2])


@pytest.mark.parametrize(("colour", "channels"), [("grey", 1), ("rgb", 3)])
def test_the_spec_decides_the_number_of_channels(tmp_path, colour, channels):
    files = {**pictures(5), "dog/x.png": encoded(COLOR)}
    report, _ = taken(zipped(tmp_path / "a.zip", files), DatasetSpec(name="pets", colour=colour))
    assert report.shape == (12, 10, channels)


def test_arrays_change_their_channels_as_files_do(tmp_path):
    x = noise((20, 12, 10, 3))
    spec = DatasetSpec(name="pets", colour="grey")
    _, target = taken(npz(tmp_path / "a.npz", x=x, y=np.arange(20) % 2), spec)
    np.testing.assert_array_equal(load(target).images[..., 0], compute_gray(x))
    _, target = taken(npz(tmp_path / "b.npz", x=x.astype(np.float32), y=np.arange(20) % 2), spec)
    np.testing.assert_allclose(load(target).images[..., 0], x @ [0.299, 0.587, 0.114], atol=0.01)


# --- sizes ---------------------------------------------------------------------------------------


def test_mixed_sizes_are_refused_with_both_images_named(tmp_path):
    rejection = rejection_of(zipped(tmp_path / "a.zip", {**pictures(5), "dog/x.png": encoded(noise((10, 12)))}))
    assert (rejection.code, rejection.member) == ("mixed_sizes", "dog/x.png")
    assert "10 of 12×10 (such as 'cat/000.png'), 1 of 10×12 (such as 'dog/x.png')" in rejection.detail


@pytest.mark.parametrize("side", [7, 513])
def test_sizes_outside_the_bounds_are_refused(tmp_path, side):
    rejection = rejection_of(zipped(tmp_path / "a.zip", pictures(5, shape=(side, 10))))
    assert rejection.code == "size_out_of_bounds"


@pytest.mark.parametrize("side", [8, 512])
def test_sizes_at_the_bounds_are_accepted(tmp_path, side):
    report, _ = taken(zipped(tmp_path / "a.zip", pictures(3, shape=(side, 8))))
    assert report.shape == (side, 8, 1)


REFERENCE = {
    "stretch": lambda image: image.resize((24, 16), Image.Resampling.BILINEAR),
    "crop": lambda image: ImageOps.fit(image, (24, 16), Image.Resampling.BILINEAR),
    "pad": lambda image: ImageOps.pad(image, (24, 16), Image.Resampling.BILINEAR, color=0),
}


@pytest.mark.parametrize("rule", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("as_array", [False, True])
def test_each_rule_gives_all_images_the_same_size(tmp_path, rule, as_array):
    spec = DatasetSpec(name="pets", resize=ResizeSpec(height=16, width=24, rule=rule))
    images = [noise((40, 30, 3), seed) for seed in range(10)]
    if as_array:
        path = npz(tmp_path / "a.npz", x=np.stack(images), y=np.arange(10) % 2)
    else:
        images[3] = noise((20, 50, 3), 3)
        files = {f"{'cat' if row < 5 else 'dog'}/{row}.png": encoded(image) for row, image in enumerate(images)}
        path = zipped(tmp_path / "a.zip", files)
    _, target = taken(path, spec)
    for row, image in enumerate(images):
        np.testing.assert_array_equal(load(target).images[row], REFERENCE[rule](Image.fromarray(image)))


def test_padding_is_black_and_centers_the_picture(tmp_path):
    shades = [noise((20, 10), seed) | 1 for seed in range(6)]
    files = {name: encoded(shade) for name, shade in zip(pictures(3), shades, strict=True)}
    spec = DatasetSpec(name="pets", resize=ResizeSpec(height=20, width=20, rule="pad"))
    _, target = taken(zipped(tmp_path / "a.zip", files), spec)
    image = load(target).images[0, ..., 0]
    np.testing.assert_array_equal(image[:, 5:15], shades[0])
    assert not image[:, :5].any()
    assert not image[:, 15:].any()


def test_float_arrays_are_resized_within_their_range(tmp_path):
    x = (noise((10, 40, 30)) / 255).astype(np.float32) * 2 - 1
    spec = DatasetSpec(name="pets", resize=ResizeSpec(height=16, width=24, rule="pad"))
    report, target = taken(npz(tmp_path / "a.npz", x=x, y=np.arange(10) % 2), spec)
    images = load(target).images
    assert report.value_range == (-1, 1)
    assert images.min() == -1  # the bars are black
    expected = Image.fromarray(x[0]).resize((12, 16), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(images[0, :, 6:18, 0], expected, atol=1e-6)


def test_cropping_keeps_the_proportions():
    photo = Image.fromarray(np.repeat(np.repeat(SMOOTH, 8, 0), 8, 1))
    wanted = TargetShape(32, 32, 1, "crop")
    raw = OpenedImage(encoded(photo), "a.png", LIMITS).decode(wanted, any_grey=True)
    rows, columns = np.gradient(np.frombuffer(raw, np.uint8).reshape(32, 32).astype(float))
    # Brightness rises by 9 per row and 11 per column of 8 pixels, and keeps this ratio.
    assert columns.mean() / rows.mean() == pytest.approx(11 / 9, rel=0.1)
