"""Sets of the fourth lot that libraries draw at random: avatars, mazes, noise, charts, staves, codes and captchas."""

import hashlib
import random
import re
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
from PIL import Image

from benchmarks.zoo.drawing import RESVG, Variety, draw_svg, ink, place, to_bytes, vary_picture
from benchmarks.zoo.packages import import_from, package
from benchmarks.zoo.sets import Sample, ZooSet

MAZES = "BacktrackingGenerator BinaryTree Division Ellers HuntAndKill Kruskal Prims Sidewinder Wilsons"
NOISES = "OpenSimplex2 OpenSimplex2S Perlin Value ValueCubic"
CELLS = "Distance Distance2 Distance2Sub"
CHARTS = """
    Bar Box Dot Funnel Gauge Histogram HorizontalBar HorizontalStackedBar Line Pie Pyramid Radar SolidGauge StackedBar
    StackedLine Treemap XY
"""
HIDDEN = ("legend", "x_labels", "y_labels", "x_guides", "y_guides")
SHARPS, FLATS = "FCGDAEB", "BEADGCF"
CLEFS = ("G-2", "F-4", "C-3")
STAFF = 95  # pixels of a staff that are shown, of 300
LETTERS = "ABCDEFGHKLMNPQRSTUVWXYZ2346789"


def avatar_mouths(rng: np.random.Generator) -> Iterator[Sample]:
    avatars = import_from(AVATARS, "multiavatar.multiavatar").multiavatar
    variety = Variety(turn=5, size=0.9, shift=0.04, noise=6)
    for number in rng.integers(0, 10**9, 6000).tolist():
        digits = re.sub(r"\D", "", hashlib.sha256(str(number).encode()).hexdigest())
        # The library chooses each part by two digits: one of sixteen shapes, in three colors.
        mouth = round(0.47 * int(digits[6:8])) % 16
        picture = draw_svg(avatars.multiavatar(str(number), None, None), 120)
        yield vary_picture(picture, 36, variety, rng), f"mouth {mouth:02d}", str(number)


def maze_methods(rng: np.random.Generator) -> Iterator[Sample]:
    import_from(CYTHON, "cython")  # the library asks it whether it is compiled
    variety = Variety(size=1, shift=0.04, noise=30, ink="any")
    for name in MAZES.split():
        method = getattr(getattr(import_from(MAZELIB, f"mazelib.generate.{name}").generate, name), name)
        for number in range(600):
            seed = int(rng.integers(2**32))
            random.seed(seed)
            np.random.seed(seed)
            walls = np.rot90(method(11, 11).generate(), int(rng.integers(4))) != 0
            mask = Image.fromarray(walls.astype(np.uint8) * np.uint8(255))
            yield ink(place(mask, 26, variety, rng, scale=1 / 26), variety, rng), name, f"{name} {number}"


def noise_kinds(rng: np.random.Generator) -> Iterator[Sample]:
    noise = import_from(NOISE, "pyfastnoiselite.pyfastnoiselite").pyfastnoiselite
    for name in (*NOISES.split(), *CELLS.split()):
        for number in range(800):
            source = noise.FastNoiseLite(int(rng.integers(2**31)))
            if name in CELLS.split():
                source.noise_type = noise.NoiseType.NoiseType_Cellular
                source.cellular_return_type = noise.CellularReturnType[f"CellularReturnType_{name}"]
            else:
                source.noise_type = noise.NoiseType[f"NoiseType_{name}"]
            source.fractal_type = noise.FractalType.FractalType_FBm
            source.fractal_octaves = int(rng.integers(1, 4))
            source.frequency = float(rng.uniform(0.07, 0.14))
            levels = np.array([[source.get_noise(x, y) for x in range(24)] for y in range(24)])
            levels = (levels - levels.mean()) / levels.std() * rng.uniform(35, 55) + rng.uniform(100, 150)
            yield to_bytes(levels + rng.normal(0, 6, levels.shape))[..., None], name, f"{name} {number}"


def chart_kinds(rng: np.random.Generator) -> Iterator[Sample]:
    charts = import_from(PYGAL, "pygal")
    variety = Variety(size=0.85, shift=0.05, noise=8)
    for name in CHARTS.split():
        for number in range(300):
            colors = tuple(f"rgb({', '.join(map(str, rng.integers(30, 226, 3)))})" for _ in range(5))
            style = charts.style.Style(colors=colors, background="white", plot_background="white")
            hidden = {f"show_{part}": False for part in HIDDEN}
            chart = getattr(charts, name)(
                style=style, stroke_style={"width": 4}, width=240, height=240, print_values=False, **hidden
            )
            points = int(rng.integers(3, 7))
            for _ in range(int(rng.integers(3, 6))):
                values = rng.uniform(2, 10, points).round(2).tolist()
                ends = np.cumsum(rng.uniform(0.5, 2, points)).round(2).tolist()
                match name:
                    case "XY":
                        chart.add("", list(zip(values, ends, strict=True)))
                    case "Histogram":
                        chart.add("", [(value, end - 0.5, end) for value, end in zip(values, ends, strict=True)])
                    case "Pie" | "Funnel" | "Gauge" | "SolidGauge":
                        chart.add("", values[:1])
                    case _:
                        chart.add("", values)
            picture = draw_svg(chart.render().decode(), 120)
            yield vary_picture(picture, 32, variety, rng), name, f"{name} {number}"


def key_signatures(rng: np.random.Generator) -> Iterator[Sample]:
    music = import_from(VEROVIO, "verovio")
    engraver = music.toolkit(False)
    engraver.setResourcePath(str(VEROVIO.folder / "verovio/data"))
    engraver.setOptions(
        {"header": "none", "footer": "none", "pageWidth": 700, "adjustPageHeight": True, "noJustification": True}
    )
    variety = Variety(turn=2, size=0.9, shift=0.03, blur=0.01, noise=15, ink="any")
    for number in range(300):
        for key in range(-7, 8):
            signature = f"x{SHARPS[:key]}" if key > 0 else f"b{FLATS[:-key]}"
            notes = "".join(f"{rng.choice([2, 4, 8])}{rng.choice(list('CDEFGAB'))}" for _ in range(4))
            engraver.loadData(f"@clef:{rng.choice(CLEFS)}\n@keysig:{signature}\n@timesig:\n@data:'{notes}")
            mask = draw_svg(engraver.renderToSVG(1), 300).getchannel("A")
            left, top, _, bottom = mask.getbbox()
            yield (
                ink(place(mask.crop((left, top, left + STAFF, bottom)), 40, variety, rng), variety, rng),
                f"{key:+d}",
                str(number),
            )


def qr_masks(rng: np.random.Generator) -> Iterator[Sample]:
    codes = import_from(SEGNO, "segno")
    variety = Variety(size=1, shift=0.06, blur=0.01, noise=35, ink="any")
    for number in range(700):
        text = "".join(rng.choice(list(LETTERS), int(rng.integers(8, 25))))
        for pattern in range(8):
            code = codes.make(text, version=2, error="l", mask=pattern, boost_error=False)
            mask = Image.fromarray(np.array(code.matrix, np.uint8) * np.uint8(255))
            yield ink(place(mask, 28, variety, rng, scale=1 / 28), variety, rng), f"mask {pattern}", str(number)


def captcha_letters(rng: np.random.Generator) -> Iterator[Sample]:
    module = import_from(CAPTCHA, "captcha.image").image
    dice = random.Random(int(rng.integers(2**32)))
    module.secrets = SimpleNamespace(randbelow=dice.randrange, choice=dice.choice, randbits=dice.getrandbits)
    captchas = module.ImageCaptcha(64, 64, font_sizes=(40, 46, 52))
    captchas.word_space_probability = 1.0
    for number in range(200):
        for letter in LETTERS:
            picture = captchas.generate_image(letter).resize((28, 28), Image.Resampling.BOX)
            yield np.asarray(picture), letter, f"{letter} {number}"


AVATARS = package("pip", "multiavatar")
CYTHON = package("pip", "cython")
MAZELIB = package("pip", "mazelib")
NOISE = package("pip", "pyfastnoiselite")
PYGAL = package("pip", "pygal")
VEROVIO = package("pip", "verovio")
SEGNO = package("pip", "segno")
CAPTCHA = package("pip", "captcha")
GENERATED = (
    ZooSet(
        "avatar_mouths",
        "Faces that are put together at random; the class is the mouth. Groups: faces",
        (RESVG, AVATARS), avatar_mouths, "medium", 3, lot=4,
    ),
    ZooSet(
        "maze_methods",
        "Small mazes, turned and noisy, grey; the class is the algorithm that made them. Groups: mazes",
        (CYTHON, MAZELIB), maze_methods, "hard", 1, lot=4,
    ),
    ZooSet(
        "noise_kinds",
        "Clouds of noise, grey; the class is the kind of noise (Perlin, simplex, cells, …). Groups: seeds",
        (NOISE,), noise_kinds, "hard", 1, lot=4,
    ),
    ZooSet(
        "chart_kinds",
        "Charts of random figures without text; the class is the kind of chart. Groups: charts",
        (RESVG, PYGAL), chart_kinds, "easy", 3, lot=4,
    ),
    ZooSet(
        "key_signatures",
        "Beginnings of staves in three clefs, grey; the class is the number of sharps or flats. Groups: numbers",
        (RESVG, VEROVIO), key_signatures, "hard", 1, lot=4,
    ),
    ZooSet(
        "qr_masks",
        "QR codes of random texts, pixel by pixel, noisy, grey; the class is the pattern of the mask. Groups: texts",
        (SEGNO,), qr_masks, "hard", 1, lot=4,
    ),
    ZooSet(
        "captcha_letters",
        "Single letters and digits of captchas, bent and crossed out. Groups: pictures",
        (CAPTCHA,), captcha_letters, "medium", 3, lot=4,
    ),
)  # fmt: skip
