"""Sets of the fifth lot from icons, emoji and flags."""

import json
import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

from benchmarks.zoo.drawing import RESVG, Variety, draw_svg, ink, place, read_picture, vary_picture
from benchmarks.zoo.packages import Package, files_of, package
from benchmarks.zoo.sets import Sample, ZooSet, thin
from benchmarks.zoo.vectors import ICONS, icons_of, mask_of, read_icons

REGIONS = """
    belgium brazil canada colombia estonia germany italy japan norway peru portugal russia spain ukraine
"""
VENDORS = ("noto-v1", "twemoji", "openmoji", "fluent-emoji-flat", "emojione")
SUBJECTS = """
    Arrows Buildings Business Communication Design Development Device Document Editor Finance Logos Map Media System
"""
ARROW = re.compile(
    r"(?P<kind>arrow|chevron|caret)-(?P<way>left|right|up|down)(-(outline|line|outlined|fill|filled|bold|24|regular))*"
)
_THINGS = """
    accessories-calculator application-x-executable audio-x-generic camera-photo computer drive-harddisk folder
    font-x-generic help-browser image-x-generic input-keyboard input-mouse media-optical multimedia-player
    network-server package-x-generic printer text-html text-x-generic user-desktop user-home user-trash
    utilities-terminal video-x-generic x-office-calendar x-office-document x-office-presentation x-office-spreadsheet
"""
THINGS = tuple(_THINGS.split())
MIDDLE = 64  # pixels of a theme's icons that are read if there are several sizes


def region_flags(rng: np.random.Generator) -> list[Sample]:
    def draw() -> Iterator[Sample]:
        variety = Variety(turn=8, size=0.75, shift=0.08, blur=0.03, noise=12)
        for file in files_of(KGEOGRAPHY, "usr/share/kgeography/flags/*/*.png"):
            if file.parent.name in REGIONS.split():
                for _ in range(14):
                    group = f"{file.parent.name} {file.stem}"
                    yield vary_picture(read_picture(file), 32, variety, rng), file.parent.name, group

    return thin(draw(), 600, rng)


def emoji_nature(rng: np.random.Generator) -> list[Sample]:
    """Up to six drawings of each emoji: of five vendors, and one that looks solid."""

    def draw() -> Iterator[Sample]:
        variety = Variety(turn=10, size=0.75, shift=0.08, blur=0.02, noise=10)
        (about,) = files_of(EMOJI_LIST, "package/emoji.json")
        solid = {file.stem: file for file in files_of(SOLID, "package/assets/*.webp")}
        for emoji in json.loads(about.read_text("utf-8")):
            name = re.sub(r"[^a-z]+", "-", emoji["name"].lower()).strip("-")
            if emoji["group"] in ("Animals & Nature", "Food & Drink"):
                found = [draw_svg(read_icons(one)[name], 96) for one in VENDORS if name in read_icons(one)]
                code = emoji["codes"].lower().replace(" ", "-")
                found += [read_picture(solid[code])] if code in solid else []
                for picture in found:
                    for _ in range(3):
                        yield vary_picture(picture, 32, variety, rng), emoji["subgroup"], name

    return thin(draw(), 500, rng)


def icon_subjects(rng: np.random.Generator) -> list[Sample]:
    def draw() -> Iterator[Sample]:
        variety = Variety(turn=6, size=0.75, shift=0.06, noise=15, ink="any")
        for file in files_of(REMIX, "package/icons/*/*.svg"):
            if file.parent.name in SUBJECTS.split():
                mask = mask_of(file.read_text("utf-8"), 96)
                for _ in range(3):
                    # "arrow-left-line" and "arrow-right-fill" are of one group.
                    yield ink(place(mask, 24, variety, rng), variety, rng), file.parent.name, file.stem.split("-")[0]

    return thin(draw(), 480, rng)


def icon_arrows(rng: np.random.Generator) -> list[Sample]:
    def draw() -> Iterator[Sample]:
        variety = Variety(turn=15, size=0.7, shift=0.1, blur=0.04, noise=40, ink="any")
        for source in ICONS:
            for name, svg in read_icons(source).items():
                if found := ARROW.fullmatch(name):
                    for _ in range(10):
                        pixels = ink(place(mask_of(svg, 96), 16, variety, rng), variety, rng)
                        yield pixels, f"{found['kind']} {found['way']}", source

    return thin(draw(), 500, rng)


def _theme_icon(theme: Package, name: str) -> Image.Image | None:
    """The theme's colored icon of this name that is nearest to the middle size."""
    found = [
        (abs(int(size[1]) - MIDDLE) if (size := re.search(r"/(\d+)(?:x\d+)?/", str(file))) else 0, file)
        for suffix in ("svg", "png")
        for file in files_of(theme, f"usr/share/icons/**/{name}.{suffix}")
        if not re.search("symbolic|dark", str(file).lower())
    ]
    if not found:
        return None
    _, file = min(found)
    return draw_svg(file.read_text("utf-8"), 96, dpi=96) if file.suffix == ".svg" else read_picture(file)


def theme_things(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(turn=6, size=0.75, shift=0.06, blur=0.02, noise=8)
    for theme in THEMES:
        for name in THINGS:
            picture = _theme_icon(theme, name)
            for _ in range(8 if picture else 0):
                yield vary_picture(picture, 36, variety, rng), name, theme.name


KGEOGRAPHY = package("apt", "kgeography-data")
EMOJI_LIST = package("npm", "emoji.json")
SOLID = package("npm", "@lobehub/fluent-emoji-3d")
REMIX = package("npm", "remixicon")
_THEMES = """
    adwaita-icon-theme deepin-icon-theme elementary-icon-theme faba-icon-theme faenza-icon-theme gnome-icon-theme
    gnome-icon-theme-gartoon kf6-breeze-icon-theme lxde-icon-theme numix-icon-theme oxygen-icon-theme
    papirus-icon-theme suru-icon-theme tango-icon-theme yaru-theme-icon
"""
THEMES = tuple(package("apt", name) for name in _THEMES.split())
EMBLEMS = (
    ZooSet(
        "region_flags",
        "Flags and coats of arms of regions; the class is the country. Groups: regions",
        (KGEOGRAPHY,), region_flags, "hard", 3, copied=True, lot=5,
    ),
    ZooSet(
        "emoji_nature",
        "Emoji of animals, plants and food; the class is mammals, birds, fruit, … Groups: emoji, of all vendors",
        (RESVG, EMOJI_LIST, SOLID, *map(icons_of, VENDORS)), emoji_nature, "hard", 3, lot=5,
    ),
    ZooSet(
        "icon_subjects",
        "Icons of one family, in outline and filled, grey; the class is the subject (map, finance, media, …). Groups: "
        "first word of the icon's name",
        (RESVG, REMIX), icon_subjects, "hard", 1, lot=5,
    ),
    ZooSet(
        "icon_arrows",
        "Tiny noisy arrows, chevrons and carets in four directions, grey. Groups: collections of icons",
        (RESVG, *map(icons_of, ICONS)), icon_arrows, "medium", 1, lot=5,
    ),
    ZooSet(
        "theme_things",
        "Icons of 28 things (folder, printer, calculator, …) in the desktop's colors. Groups: themes",
        (RESVG, *THEMES), theme_things, "hard", 3, (2, 1, 1, 0), copied=True, lot=5,
    ),
)  # fmt: skip
