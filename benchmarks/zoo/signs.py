"""Sets of the fourth lot from fonts and vector graphics: letters, hieroglyphs, weather, skins of emoji, map symbols."""

import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
from PIL import ImageFont

from benchmarks.zoo.drawing import RESVG, Variety, draw_svg, draw_text, ink, place, vary_picture
from benchmarks.zoo.letters import HEIGHT, drawable, letters, one_by_one
from benchmarks.zoo.packages import files_of, package
from benchmarks.zoo.sets import Sample, ZooSet, thin
from benchmarks.zoo.vectors import icons_of, mask_of, read_icons

BENGALI = "অআইঈউঊঋএঐওঔকখগঘঙচছজঝঞটঠডঢণতথদধনপফবভমযরলশষসহ"
ETHIOPIC = "".join(
    chr(first + order)
    for first in (0x1208, 0x1218, 0x1230, 0x1260, 0x1270, 0x1290, 0x12A8, 0x12F0)
    for order in range(7)
)
HIEROGLYPHS = range(0x13000, 0x1342F)
HIEROGLYPH_FACES = ("AegyptusR_hint", "AbydosR_hint", "NotoSansEgyptianHieroglyphs-Regular")
WEATHER = {
    "sun": "sun sunny clear", "cloud": "cloud clouds cloudy overcast", "rain": "rain rainy drizzle raindrop raindrops",
    "snow": "snow snowy snowflake snowing snowman", "thunder": "thunder thunderstorm thunderstorms lightning",
    "fog": "fog foggy mist haze hazy", "wind": "wind windy tornado hurricane windsock", "moon": "moon crescent",
}  # fmt: skip
WORDS = """
    weather day night fill filled line outline outlined bold thin light regular duotone sharp rounded linear broken alt
    heavy partly mostly 16 20 24 28 32 48 1 2 3 4 5 6 7 8 full new first last quarter waning waxing gibbous variant
"""
_COLLECTIONS = """
    bi bx carbon fluent iconoir ion lucide material-symbols mdi meteocons mingcute ph ri solar tabler uil wi
"""
WEATHER_ICONS = tuple(_COLLECTIONS.split())
SKINS = "(?P<group>.*?)-(?P<kind>light|medium-light|medium|medium-dark|dark)-skin-tone"
GENDERS = "(?P<kind>man|woman)-(?!and-)(?P<group>.*?)(-(light|medium-light|medium|medium-dark|dark)-skin-tone)?"
PEOPLE = ("noto", "noto-v1", "twemoji", "openmoji", "emojione")
PLACES = "vehicle transport shop landmark sport power leisure barrier service"


def hieroglyphs(rng: np.random.Generator) -> list[Sample]:
    def draw() -> Iterator[Sample]:
        variety = Variety(turn=8, size=0.75, shift=0.06, blur=0.02, noise=20, ink="any")
        for face in HIEROGLYPH_FACES:
            (file,) = (file for one in HIEROGLYPH_FONTS for file in files_of(one, f"usr/share/fonts/**/{face}.ttf"))
            font = ImageFont.truetype(file, HEIGHT, layout_engine=ImageFont.Layout.BASIC)
            for sign in drawable(font, map(chr, HIEROGLYPHS)):
                # "EGYPTIAN HIEROGLYPH A005A" is a variant of A5; the letters before the number say what is shown.
                kind, number = re.findall(r"[A-Z]+|\d+", unicodedata.name(sign).split()[-1])[:2]
                for _ in range(2):
                    yield ink(draw_text(font, sign, 32, variety, rng), variety, rng), kind, kind + number

    return thin(draw(), 500, rng)


def weather_icons(rng: np.random.Generator) -> list[Sample]:
    kinds = {word: kind for kind, words in WEATHER.items() for word in words.split()}

    def draw() -> Iterator[Sample]:
        variety = Variety(turn=6, size=0.75, shift=0.06, noise=15, ink="any")
        for source in WEATHER_ICONS:
            for name, svg in read_icons(source).items():
                words = [word for word in name.split("-") if word not in WORDS.split()]
                shown = {kinds.get(word, "") for word in words}
                if len(shown) == 1 and "" not in shown:
                    yield ink(place(mask_of(svg, 112), 28, variety, rng), variety, rng), shown.pop(), source

    return thin(draw(), 110, rng)


def emoji(pattern: str, count: int, per_class: int, side: int) -> Callable[[np.random.Generator], list[Sample]]:
    """How to make a set of this many emoji of several vendors; the pattern of their names says class and group."""

    def draw(rng: np.random.Generator) -> Iterator[Sample]:
        variety = Variety(turn=8, size=0.75, shift=0.08, blur=0.03, noise=12)
        names = {found["group"] for name in read_icons("twemoji") if (found := re.fullmatch(pattern, name))}
        chosen = set(rng.permutation(sorted(names))[:count].tolist())
        for vendor in PEOPLE:
            for name, svg in read_icons(vendor).items():
                found = re.fullmatch(pattern, name)
                if found and found["group"] in chosen:
                    yield vary_picture(draw_svg(svg, 96), side, variety, rng), found["kind"], found["group"]

    return lambda rng: thin(draw(rng), per_class, rng)


def map_symbols(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(turn=5, size=0.85, shift=0.04, noise=5)
    (archive,) = files_of(JOSM, "usr/share/josm/*.jar")
    with zipfile.ZipFile(archive) as jar:
        for name in sorted(jar.namelist()):
            found = re.fullmatch(r"images/presets/(\w+)/(?:.*/)?([^/]+)\.svg", name)
            if found and found[1] in PLACES.split():
                try:
                    picture = draw_svg(jar.read(name).decode(), 96)
                except ValueError:
                    continue  # a few drawings do not state their size
                for _ in range(2):
                    yield vary_picture(picture, 32, variety, rng), found[1], f"{found[1]} {found[2]}"


_BENGALI = """
    anek-bangla atma baloo-da-2 galada hind-siliguri mina noto-sans-bengali noto-serif-bengali tiro-bangla
"""
BENGALI_FONTS = (
    *(package("apt", f"fonts-{name}") for name in ("beng-extra", "lohit-beng-bengali")),
    *(package("npm", f"@fontsource/{name}") for name in _BENGALI.split()),
)
ETHIOPIC_FONTS = (
    *(package("apt", f"fonts-{name}") for name in ("senamirmir-washra", "sil-abyssinica")),
    package("npm", "@fontsource/noto-sans-ethiopic"),
)
HIEROGLYPH_FONTS = (package("apt", "fonts-ancient-scripts"), package("apt", "fonts-noto-core"))
JOSM = package("apt", "josm")
SIGNS = (
    ZooSet(
        "bengali_letters",
        "Bengali letters below one bar, grey. Groups: families of fonts",
        BENGALI_FONTS,
        letters(
            BENGALI_FONTS, one_by_one(BENGALI), 28, Variety(turn=5, size=0.8, blur=0.02, noise=20, ink="any"), 8, 2,
            subset="bengali",
        ),
        "medium", 1, lot=4,
    ),
    ZooSet(
        "ethiopic_syllables",
        "Ethiopic syllables: eight consonants with seven vowels each, which are small marks, grey. Groups: families of "
        "fonts",
        ETHIOPIC_FONTS,
        letters(
            ETHIOPIC_FONTS, one_by_one(ETHIOPIC), 24, Variety(turn=5, size=0.8, shift=0.05, noise=20), 10, 4,
            subset="ethiopic",
        ),
        "hard", 1, lot=4,
    ),
    ZooSet(
        "hieroglyphs",
        "Egyptian hieroglyphs, grey; the class is what they show (men, birds, plants, …). Groups: signs, with variants",
        HIEROGLYPH_FONTS, hieroglyphs, "hard", 1, lot=4,
    ),
    ZooSet(
        "weather_icons",
        "Few icons of the weather (sun, rain, fog, …), grey. Groups: collections of icons",
        (RESVG, *map(icons_of, WEATHER_ICONS)), weather_icons, "medium", 1, lot=4,
    ),
    ZooSet(
        "emoji_skins",
        "Emoji of people; the class is the color of the skin. Groups: emoji, of all vendors",
        (RESVG, *map(icons_of, PEOPLE)), emoji(SKINS, 260, 1200, 24), "easy", 3, lot=4,
    ),
    ZooSet(
        "emoji_genders",
        "Few emoji of people; the class is man or woman. Groups: what they do, of all vendors",
        (RESVG, *map(icons_of, PEOPLE)), emoji(GENDERS, 200, 400, 32), "hard", 3, lot=4,
    ),
    ZooSet(
        "map_symbols",
        "Few symbols of a map's editor; the class is transport, shop, sport, … Groups: symbols",
        (RESVG, JOSM), map_symbols, "hard", 3, copied=True, lot=4,
    ),
)  # fmt: skip
