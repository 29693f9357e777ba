"""Small pictures from glyphs, vector drawings and bitmaps, the same bytes each time."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.zoo.packages import import_from, package

RESVG = package("pip", "resvg-py")


@dataclass(frozen=True)
class Variety:
    """How the pictures of one thing differ from each other. Lengths are in shares of a side.

    turn: degrees, at most; size: smallest share of full size; shift, blur, noise: at most (noise in grey levels).
    ink: "black" (on white), "any" (a dark grey on a light one) or "colour" (two distant colours).
    """

    turn: float = 0
    size: float = 0.85
    shift: float = 0.05
    blur: float = 0
    noise: float = 0
    ink: str = "black"


def draw_text(
    font: ImageFont.FreeTypeFont, text: str, side: int, variety: Variety, rng: np.random.Generator
) -> Image.Image:
    """A mask of the text, white on black, as large as fits, centred and then varied."""
    box = font.getbbox(text)
    width, height = int(box[2] - box[0]), int(box[3] - box[1])
    mask = Image.new("L", (max(1, width), max(1, height)))
    ImageDraw.Draw(mask).text((-box[0], -box[1]), text, fill=255, font=font)
    scale = 0.9 / max(mask.size)
    return place(mask, side, variety, rng, scale=scale)


def place(
    mask: Image.Image, side: int, variety: Variety, rng: np.random.Generator, scale: float | None = None
) -> Image.Image:
    """The picture resized so that its longer side is `scale` (of the side), turned, shifted, on black."""
    size, turn = rng.uniform(variety.size, 1), rng.uniform(-variety.turn, variety.turn)
    right, down = rng.uniform(-variety.shift, variety.shift, 2)
    factor = (scale or 1 / max(mask.size)) * size * side
    # The large picture is resized by an area filter, so that thin strokes survive.
    small = mask.resize(
        (max(1, round(mask.width * factor)), max(1, round(mask.height * factor))),
        Image.Resampling.BOX,
        reducing_gap=None,
    )
    if turn:
        small = small.rotate(turn, Image.Resampling.BICUBIC, expand=True)
    canvas = Image.new(mask.mode, (side, side))
    canvas.paste(
        small, (round((side - small.width) / 2 + right * side), round((side - small.height) / 2 + down * side))
    )
    return canvas


def ink(mask: Image.Image, variety: Variety, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(side, side, 1 or 3) uint8: the mask painted, blurred and made noisy as the variety says."""
    if variety.blur:
        mask = mask.filter(ImageFilter.GaussianBlur(rng.uniform(0, variety.blur) * mask.width))
    share = np.asarray(mask, np.float64)[..., None] / 255
    match variety.ink:
        case "black":
            front, back = np.array([0.0]), np.array([255.0])
        case "any":
            front, back = rng.uniform(0, 110, 1), rng.uniform(150, 255, 1)
            if rng.random() < 0.5:
                front, back = back, front
        case _:
            front, back = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
            while np.abs(front - back).max() < 90:
                front, back = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    painted = share * front + (1 - share) * back
    if variety.noise:
        painted = painted + rng.normal(0, rng.uniform(0, variety.noise), painted.shape)
    return to_bytes(painted)


def to_bytes(pixels: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Rounded and clipped to 0…255."""
    clipped: NDArray[np.uint8] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return clipped


def draw_svg(svg: str, side: int, dpi: float = 0) -> Image.Image:
    """An SVG drawing as RGBA, its longer side as given.

    Args:
        dpi: points per inch, which a drawing needs whose size is in millimetres or points.
    """
    png = bytes(import_from(RESVG, "resvg_py").svg_to_bytes(svg_string=svg, width=side, dpi=dpi))
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return picture


def on_ground(picture: Image.Image, side: int, ground: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """A picture with transparency, fitted into a square of one colour, as RGB."""
    picture = picture.convert("RGBA")
    picture.thumbnail((side, side), Image.Resampling.BOX)
    if max(picture.size) < side:
        factor = side / max(picture.size)
        picture = picture.resize(
            (max(1, round(picture.width * factor)), max(1, round(picture.height * factor))), Image.Resampling.BICUBIC
        )
    canvas = Image.new("RGBA", (side, side), (*ground, 255))
    canvas.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return canvas.convert("RGB")


def vary_picture(picture: Image.Image, side: int, variety: Variety, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(side, side, 3) uint8: an RGBA picture resized, turned, shifted, on a light ground, brighter or darker, noisy."""
    size, turn = rng.uniform(variety.size, 1), rng.uniform(-variety.turn, variety.turn)
    right, down = (round(shift * side) for shift in rng.uniform(-variety.shift, variety.shift, 2))
    ground = tuple(int(level) for level in rng.integers(225, 256, 3))
    large = on_ground_transparent(picture, 2 * side, size).rotate(turn, Image.Resampling.BICUBIC)
    canvas = Image.new("RGBA", large.size, (*ground, 255))
    canvas.alpha_composite(large)
    shifted = Image.new("RGB", large.size, ground)
    shifted.paste(canvas.convert("RGB"), (2 * right, 2 * down))
    small = shifted.resize((side, side), Image.Resampling.BOX)
    if variety.blur:
        small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0, variety.blur) * side))
    pixels = np.asarray(small, np.float64) * rng.uniform(0.85, 1.1)
    return to_bytes(pixels + rng.normal(0, variety.noise, pixels.shape))


def on_ground_transparent(picture: Image.Image, side: int, size: float) -> Image.Image:
    """A picture with its longer side as a share of a transparent square's."""
    picture = picture.convert("RGBA")
    factor = size * side / max(picture.size)
    picture = picture.resize(
        (max(1, round(picture.width * factor)), max(1, round(picture.height * factor))), Image.Resampling.BICUBIC
    )
    canvas = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    canvas.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return canvas


def read_picture(file: Path) -> Image.Image:
    """A bitmap file as RGBA."""
    with Image.open(file) as picture:
        return picture.convert("RGBA")
