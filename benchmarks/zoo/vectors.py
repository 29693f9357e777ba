"""Sets of emoji, flags, icons, characters and outlines, drawn from vector graphics."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.zoo.drawing import RESVG, Variety, draw_svg, ink, place, vary_picture
from benchmarks.zoo.packages import Package, files_of, package
from benchmarks.zoo.sets import Sample, ZooSet, thin

Make = Callable[[np.random.Generator], Iterator[Sample] | list[Sample]]
EMOJI = ("noto", "twemoji", "openmoji", "fluent-emoji-flat", "emojione")
FLAGS = ("flag", "cif", "flagpack", "circle-flags")
# Without collections that are largely copied from another collection here, as feather is in lucide.
_ICONS = """
    lucide carbon ph material-symbols heroicons ri tabler fluent solar bi mingcute teenyicons octicon uil bx ion
    ant-design iconoir icon-park-outline clarity basil cil eva ep codicon ci akar-icons gridicons flowbite
    system-uicons majesticons charm fluent-mdl2 entypo zondicons vaadin mynaui simple-line-icons iconamoon
    lets-icons gg tdesign grommet-icons pixelarticons fe icomoon-free f7 oi typcn stash humbleicons lineicons jam
    dashicons el circum bytesize fa6-solid line-md mage
"""
ICONS = tuple(_ICONS.split())
_CONCEPTS = """
    home heart star trash search user settings lock mail phone camera calendar clock bell bookmark cloud folder image
    key link map print refresh save share flag filter edit download upload wifi sun moon gift music video play pause
    shield eye
"""
CONCEPTS = tuple(_CONCEPTS.split())
FAMILIES = (
    "lucide",
    "carbon",
    "ph",
    "ri",
    "tabler",
    "bi",
    "mingcute",
    "iconoir",
    "fluent-mdl2",
    "uil",
    "octicon",
    "mdi",
)
FILLED = {
    "ri": ("-line", "-fill"), "ph": ("", "-fill"), "mingcute": ("-line", "-fill"), "tabler": ("", "-filled"),
    "bi": ("", "-fill"), "ion": ("-outline", ""), "ant-design": ("-outlined", "-filled"), "eva": ("-outline", "-fill"),
    "solar": ("-linear", "-bold"), "fluent": ("-24-regular", "-24-filled"),
}  # fmt: skip
MISTAKEN = {"ar", "gn", "ie", "la"}  # one collection has another flag under their codes
RADICALS = 24  # the most frequent ones
STROKES = range(4, 19)
STATES = 20


def icons_of(name: str) -> Package:
    return package("npm", f"@iconify-json/{name}")


@cache
def read_icons(name: str) -> dict[str, str]:
    """The SVG drawing of each icon of a collection."""
    (file,) = files_of(icons_of(name), "package/icons.json")
    found = json.loads(file.read_text("utf-8"))
    width, height = found.get("width", 16), found.get("height", 16)
    return {
        key: f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {icon.get("width", width)} {icon.get("height", height)}">'
        f"{icon['body']}</svg>"
        for key, icon in found["icons"].items()
    }


@cache
def _categories() -> dict[str, str]:
    """Emoji without variants of skin, by what they show."""
    (file,) = files_of(icons_of("noto"), "package/metadata.json")
    found = json.loads(file.read_text("utf-8"))["categories"]
    skipped = re.compile(r"skin-tone|(light|dark|medium)-|-[0-9][a-f0-9]{3}|family|kiss-|couple-|holding-hands")
    return {
        name: kind for kind, names in found.items() if kind != "Flags" for name in names if not skipped.search(name)
    }


def mask_of(svg: str, side: int) -> Image.Image:
    """Where a drawing of one colour has ink."""
    return draw_svg(svg.replace("currentColor", "#000"), side).getchannel("A")


def emoji_categories(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(turn=5, size=0.9, noise=3)
    for vendor in EMOJI:
        for name, kind in _categories().items():
            if name in read_icons(vendor):
                yield vary_picture(draw_svg(read_icons(vendor)[name], 128), 32, variety, rng), kind, name


def emoji_faces(rng: np.random.Generator) -> Iterator[Sample]:
    names = [name for name, kind in _categories().items() if kind == "Smileys & Emotion" and "face" in name]
    names = [name for name in names if all(name in read_icons(vendor) for vendor in EMOJI)]
    variety = Variety(turn=15, size=0.8, shift=0.06, blur=0.02, noise=6)
    for vendor in EMOJI:
        for name in names[:40]:
            picture = draw_svg(read_icons(vendor)[name], 192)
            for _ in range(12):
                yield vary_picture(picture, 40, variety, rng), name, vendor


def emoji_vendors(rng: np.random.Generator) -> Iterator[Sample]:
    names = [name for name in _categories() if all(name in read_icons(vendor) for vendor in EMOJI)]
    for name in rng.permutation(names)[:300].tolist():
        for vendor in EMOJI:
            yield vary_picture(draw_svg(read_icons(vendor)[name], 192), 96, Variety(turn=4, noise=6), rng), vendor, name


def _flag(source: str, country: str) -> str | None:
    return read_icons(source).get(f"{country}-4x3" if source == "flag" else country)


@cache
def _countries() -> dict[str, str]:
    """Continents of the countries that have a flag in each source."""
    (file,) = files_of(package("npm", "flag-icons"), "package/country.json")
    found = {
        country["code"]: country.get("continent")
        for country in json.loads(file.read_text("utf-8"))
        if country.get("iso")
    }
    return {
        code: continent
        for code, continent in sorted(found.items())
        if continent not in (None, "Antarctica")
        and code not in MISTAKEN
        and all(_flag(source, code) for source in FLAGS)
    }


def flags_countries(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(turn=12, size=0.75, shift=0.08, blur=0.04, noise=8)
    for country in sorted(rng.permutation(sorted(_countries()))[:60].tolist()):
        for source in FLAGS:
            picture = draw_svg(_flag(source, country) or "", 128)
            for _ in range(8):
                yield vary_picture(picture, 32, variety, rng), country, source


def flags_continents(rng: np.random.Generator) -> Iterator[Sample]:
    for country, continent in _countries().items():
        for source in FLAGS:
            picture = draw_svg(_flag(source, country) or "", 96)
            for _ in range(2):
                yield vary_picture(picture, 24, Variety(turn=4, noise=4), rng), continent, country


def icon_concepts(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(turn=6, size=0.75, shift=0.06, noise=15, ink="any")
    for source in ICONS:
        icons = read_icons(source)
        for concept in CONCEPTS:
            for name in (concept, f"{concept}-outline", f"{concept}-line", f"{concept}-outlined", f"{concept}-24"):
                if name in icons:
                    for _ in range(2):
                        yield ink(place(mask_of(icons[name], 96), 24, variety, rng), variety, rng), concept, source
                    break


def icon_families(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(size=0.85, noise=8)
    for source in FAMILIES:
        names = sorted(read_icons(source))
        for name in rng.permutation(names)[:500].tolist():
            mask = place(mask_of(read_icons(source)[name], 128), 32, variety, rng)
            yield ink(mask, variety, rng), source, name.split("-")[0]


def icons_filled(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(turn=10, size=0.8, noise=20, ink="any")
    for source, ends in FILLED.items():
        icons = read_icons(source)
        stems = [name.removesuffix(ends[1]) for name in sorted(icons) if name.endswith(ends[1])]
        both = [stem for stem in stems if stem + ends[0] in icons and stem + ends[1] in icons]
        for stem in rng.permutation(both)[:60].tolist():
            for end, kind in zip(ends, ("outline", "filled"), strict=True):
                mask = place(mask_of(icons[stem + end], 80), 20, variety, rng)
                yield ink(mask, variety, rng), kind, f"{source} {stem}"


@cache
def _kanji() -> list[tuple[str, str, int, str]]:
    """Code, general radical (or nothing), number of strokes, and drawing of each character."""
    found = []
    for file in files_of(package("pip", "kanjivg"), "kanji/*.svg"):
        if "-" in file.stem:
            continue  # another way to write it
        text = file.read_text("utf-8")
        radicals = {
            match[1] for match in re.finditer(r'<g [^>]*kvg:element="(.)"[^>]*kvg:radical="(?:general|tradit)"', text)
        }
        paths = re.findall(r'<path [^>]*\bd="([^"]+)"', text)
        drawing = "".join(f'<path d="{path}"/>' for path in paths)
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 109 109"><g fill="none" stroke="#000" '
            f'stroke-width="WIDTH" stroke-linecap="round">{drawing}</g></svg>'
        )
        found.append((file.stem, radicals.pop() if len(radicals) == 1 else "", len(paths), svg))
    return found


def kanji_radicals(rng: np.random.Generator) -> Iterator[Sample]:
    frequent = {
        radical for radical, _ in Counter(radical for _, radical, _, _ in _kanji() if radical).most_common(RADICALS)
    }
    variety = Variety(turn=6, size=0.85, noise=10)
    for code, radical, _, svg in _kanji():
        if radical in frequent:
            mask = mask_of(svg.replace("WIDTH", f"{rng.uniform(3, 6):.1f}"), 109)
            yield ink(place(mask, 32, variety, rng), variety, rng), f"{radical} U+{ord(radical):04X}", code


def kanji_strokes(rng: np.random.Generator) -> list[Sample]:
    def draw() -> Iterator[Sample]:
        for code, _, strokes, svg in _kanji():
            if strokes in STROKES:
                mask = mask_of(svg.replace("WIDTH", "4"), 109)
                yield ink(place(mask, 64, Variety(turn=3), rng), Variety(), rng), f"{strokes:02d} strokes", code

    return thin(draw(), 260, rng)


def counties(rng: np.random.Generator) -> Iterator[Sample]:
    """Outlines of counties; the topology's arcs are differences of whole numbers."""
    (file,) = files_of(package("npm", "us-atlas"), "package/counties-albers-10m.json")
    found = json.loads(file.read_text("utf-8"))
    scale, start = (np.array(found["transform"][key]) for key in ("scale", "translate"))
    arcs = [np.cumsum(np.array(arc), axis=0) * scale + start for arc in found["arcs"]]
    names = {state["id"]: state["properties"]["name"] for state in found["objects"]["states"]["geometries"]}
    shapes = found["objects"]["counties"]["geometries"]
    largest = {state for state, _ in Counter(shape["id"][:2] for shape in shapes).most_common(STATES)}
    variety = Variety(size=0.9, noise=12, ink="any")
    for shape in shapes:
        if shape["id"][:2] not in largest or not shape.get("arcs"):
            continue
        polygons = [shape["arcs"]] if shape["type"] == "Polygon" else shape["arcs"]
        rings = [
            np.concatenate([arcs[arc] if arc >= 0 else arcs[~arc][::-1] for arc in polygon[0]]) for polygon in polygons
        ]
        low, high = (extreme([extreme(ring, axis=0) for ring in rings], axis=0) for extreme in (np.min, np.max))
        factor = 250 / (high - low).max()
        mask = Image.new("L", (256, 256))
        for ring in rings:
            points = (ring - (low + high) / 2) * factor + 128
            ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in points], fill=255)
        for _ in range(2):
            yield ink(place(mask, 32, variety, rng), variety, rng), names[shape["id"][:2]], shape["id"]


def _with(*packages: Package) -> tuple[Package, ...]:
    return (RESVG, *packages)


KANJI = _with(package("pip", "kanjivg"))
VECTORS = (
    ZooSet(
        "emoji_categories",
        "Emoji of five vendors; the class is what they show (animals, food, people, …). Groups: emoji, of all vendors",
        _with(*map(icons_of, EMOJI)), emoji_categories, "hard", 3, (4, 1, 1, 4),
    ),
    ZooSet(
        "emoji_faces",
        "Forty faces, told apart by eyes and mouths, each changed a little. Groups: vendors",
        _with(*map(icons_of, EMOJI)), emoji_faces, "hard", 3, (3, 1, 1, 0),
    ),
    ZooSet(
        "emoji_vendors",
        "Large emoji; the class is the vendor who drew them. Groups: emoji",
        _with(*map(icons_of, EMOJI)), emoji_vendors, "medium", 3,
    ),
    ZooSet(
        "flags_countries",
        "Flags of sixty countries, flat and round, turned, shifted and blurred. Groups: the four collections",
        _with(package("npm", "flag-icons"), *map(icons_of, FLAGS)), flags_countries, "medium", 3, (2, 1, 1, 0),
    ),
    ZooSet(
        "flags_continents",
        "Small flags; the class is the country's continent. Groups: countries",
        _with(package("npm", "flag-icons"), *map(icons_of, FLAGS)), flags_continents, "hard", 3,
    ),
    ZooSet(
        "icon_concepts",
        "Forty ideas (home, trash, lock, …) as icons, grey. Groups: collections of icons",
        _with(*map(icons_of, ICONS)), icon_concepts, "medium", 1,
    ),
    ZooSet(
        "icon_families",
        "Icons, grey; the class is the collection that they are from. Groups: first word of the icon's name",
        _with(*map(icons_of, FAMILIES)), icon_families, "hard", 1, (4, 1, 1, 4),
    ),
    ZooSet(
        "icons_filled",
        "Icons, tiny, grey, filled or in outline; two classes. Groups: icons of a collection",
        _with(*map(icons_of, FILLED)), icons_filled, "easy", 1,
    ),
    ZooSet(
        "kanji_radicals",
        "Kanji as handwriting models draw them, grey; the class is the radical. Groups: kanji",
        KANJI, kanji_radicals, "medium", 1,
    ),
    ZooSet(
        "kanji_strokes",
        "Kanji, large, grey; the class is the number of strokes, 4 to 18. Groups: kanji",
        KANJI, kanji_strokes, "hard", 1,
    ),
    ZooSet(
        "county_outlines",
        "Silhouettes of counties, grey; the class is the state. Groups: counties",
        (package("npm", "us-atlas"),), counties, "hard", 1,
    ),
)  # fmt: skip
