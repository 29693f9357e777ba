"""What can be done to the pixels of an image, and of all images of a split."""

import io
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.zoo.cuts import NotApplicable


def exact(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image


def recompressed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As JPEG of quality 75 leaves it."""
    buffer = io.BytesIO()
    to_picture(image).save(buffer, "JPEG", quality=75)
    return to_pixels(Image.open(buffer), image)


def scaled(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Made smaller by a quarter, and large again."""
    picture = to_picture(image)
    small = picture.resize((max(1, picture.width * 3 // 4), max(1, picture.height * 3 // 4)), Image.Resampling.BILINEAR)
    return to_pixels(small.resize(picture.size, Image.Resampling.BILINEAR), image)


def cropped(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without the outer twentieth on each side, made as large as before."""
    picture = to_picture(image)
    across, down = max(1, round(picture.width / 20)), max(1, round(picture.height / 20))
    middle = picture.crop((across, down, picture.width - across, picture.height - down))
    return to_pixels(middle.resize(picture.size, Image.Resampling.BILINEAR), image)


def recut(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut again by another hand: 80 to 90% of each side, anywhere in the image, made as large as before."""
    picture, draw = to_picture(image), np.random.default_rng(zlib.crc32(image.tobytes()))
    across, down = (round(draw.uniform(0.8, 0.9) * length) for length in picture.size)
    left, top = (int(draw.integers(0, length + 1)) for length in (picture.width - across, picture.height - down))
    window = picture.crop((left, top, left + across, top + down))
    return to_pixels(window.resize(picture.size, Image.Resampling.BILINEAR), image)


def to_picture(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def to_pixels(picture: Image.Image, like: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(picture, np.uint8).reshape(like.shape)


def inverted(images: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    return 255 - images


def other_channels(images: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    if images.shape[-1] == 1:
        raise NotApplicable("the set is grey")
    return images[..., ::-1]


def rescaled(images: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    return np.rint(images / strength).astype(np.uint8)


def brighter(images: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    return np.clip(images.astype(np.int16) + int(strength), 0, 255).astype(np.uint8)


def blurred(images: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    """Blur by a standard deviation in 28ths of a side."""
    radius = strength * images.shape[1] / 28
    return np.stack([to_pixels(to_picture(image).filter(ImageFilter.GaussianBlur(radius)), image) for image in images])


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = Image.fromarray(image.mean(axis=-1).astype(np.uint8)).resize((8, 8), Image.Resampling.BOX)
    return np.asarray(grey, np.float64).ravel()
