"""Sets of games' graphics, icons, stamps, cards and photographs, from bitmap files."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.zoo.drawing import RESVG, Variety, draw_svg, on_ground, read_picture, to_bytes, vary_picture
from benchmarks.zoo.packages import Package, files_of, package
from benchmarks.zoo.sets import Sample, ZooSet, thin

THEMES = ("tango", "gnome", "elementary-xfce", "faenza", "mate", "oxygen")
KINDS = ("actions", "apps", "devices", "mimetypes", "places", "status")
SUITS = {"c": "clubs", "d": "diamonds", "h": "hearts", "s": "spades"}
TEXTURES = {
    "floor": ("base_floor", "gothic_floor"), "wall": ("base_wall", "gothic_wall"), "block": ("gothic_block",),
    "trim": ("base_trim", "gothic_trim"), "light": ("base_light", "gothic_light"), "sky": ("skies",),
    "liquid": ("liquids",),
}  # fmt: skip
PLAIN = 6  # standard deviation of a square below which it is left out
BLOCK = 4  # tiles on a side of a block, which is a group of its photograph


def _stem(name: str) -> str:
    """A file's name without numbers and what follows its first sign: frames of one thing have the same."""
    return re.split(r"[-_.0-9]", name)[0].lower() or name


def _opaque(picture: Image.Image) -> float:
    """What part of a picture is not transparent."""
    return float(np.asarray(picture.getchannel("A"), np.float64).mean() / 255)


def theme_icons(rng: np.random.Generator) -> list[Sample]:
    def read() -> Iterator[Sample]:
        for theme in THEMES:
            for file in files_of(package("apt", f"{theme}-icon-theme"), "usr/share/icons/*/**/*.png"):
                folders = set(file.parts)
                kind = folders.intersection(KINDS)
                if len(kind) == 1 and folders & {"32", "32x32"}:
                    yield (
                        np.asarray(on_ground(read_picture(file), 32)),
                        kind.pop(),
                        _stem(file.name.removeprefix("gtk-")),
                    )

    return thin(read(), 900, rng)


def playing_cards(rng: np.random.Generator) -> Iterator[Sample]:
    (cards,) = (package("apt", "pysolfc-cardsets"),)
    variety = Variety(turn=4, size=0.9, shift=0.03, noise=5)
    for first in files_of(cards, "usr/share/games/pysolfc/cardset-*/01c.*"):
        files = {
            (rank, suit): first.with_name(f"{rank:02d}{suit}{first.suffix}") for rank in range(1, 14) for suit in SUITS
        }
        if all(file.is_file() for file in files.values()):
            for (rank, suit), file in files.items():
                pixels = vary_picture(read_picture(file), 64, variety, rng)
                yield pixels, f"{rank:02d} of {SUITS[suit]}", first.parent.name.split("-")[1]


def wesnoth(part: str, side: int, per_class: int, noise: float) -> Callable[[np.random.Generator], list[Sample]]:
    """How to make a set of the game's units or terrain; the class is the folder."""

    def read(rng: np.random.Generator) -> Iterator[Sample]:
        images = "usr/share/games/wesnoth/1.18/data/core/images"
        for file in files_of(package("apt", "wesnoth-1.18-data"), f"{images}/{part}/**/*.png"):
            place = file.parts[file.parts.index(part) + 1 :]
            picture = read_picture(file)
            if len(place) < 2 or picture.width < 72 or picture.height < 72 or "editor" in file.name:
                continue
            group = " ".join([*place[:-1], _stem(file.name)])
            if part == "units" and picture.size == (72, 72) and _opaque(picture) > 0.03:
                yield vary_picture(picture, side, Variety(size=0.95, noise=noise), rng), place[0], group
            if part == "terrain":  # tiles are hexagons: the middle of one is a whole square
                left, top = (picture.width - 48) // 2, (picture.height - 48) // 2
                middle = picture.crop((left, top, left + 48, top + 48))
                if _opaque(middle) > 0.9:
                    plain = np.asarray(on_ground(middle, side), np.float64)
                    yield to_bytes(plain + rng.normal(0, noise, plain.shape)), place[0], group

    return lambda rng: thin(read(rng), per_class, rng)


def crossfire(rng: np.random.Generator) -> list[Sample]:
    def read() -> Iterator[Sample]:
        (file,) = files_of(package("apt", "crossfire-client-images"), "usr/share/games/crossfire-client/crossfire.base")
        whole = file.read_bytes()
        for match in re.finditer(rb"IMAGE (\d+) \./arch/(\S+)\n", whole):
            name = match[2].decode()
            with Image.open(io.BytesIO(whole[match.end() : match.end() + int(match[1])])) as picture:
                pixels = np.asarray(on_ground(picture, 32, (128, 128, 128)))
            kind, *rest = name.split("/")
            if kind in {
                "monster",
                "wall",
                "spell",
                "player",
                "ground",
                "weapon",
                "misc",
                "connect",
                "construct",
                "armour",
                "food",
                "jewel",
            }:
                yield pixels, kind, f"{kind} {_stem(rest[-1])}"

    return thin(read(), 500, rng)


def game_turns(rng: np.random.Generator) -> Iterator[Sample]:
    for file in files_of(package("apt", "freeciv-data"), "usr/share/games/freeciv/cimpletoon/units/*/*.png"):
        picture = read_picture(file)
        for _ in range(3):
            yield vary_picture(picture, 48, Variety(size=0.85, shift=0.05, noise=8), rng), file.parent.name, file.stem


def _stamps(depth: int, side: int) -> Callable[[np.random.Generator], list[Sample]]:
    """How to make a set of stamps; the class is the folder at that depth below the stamps."""

    def read(rng: np.random.Generator) -> Iterator[Sample]:
        stamps = package("apt", "tuxpaint-stamps-default")
        for file in files_of(stamps, "usr/share/tuxpaint/stamps/**/*.[ps][nv]g"):
            place = file.parts[file.parts.index("stamps") + 1 :]
            if (
                len(place) <= depth
                or (depth and place[0] != "animals")
                or place[0] in {"symbols", "military", "medical"}
            ):
                continue
            try:
                picture = draw_svg(file.read_text("utf-8"), 256) if file.suffix == ".svg" else read_picture(file)
            except ValueError:
                continue  # a few drawings do not state their size
            for _ in range(2 if depth else 1):
                pixels = vary_picture(picture, side, Variety(turn=5, size=0.9, noise=3), rng)
                yield pixels, place[depth], f"{place[depth]} {_stem(file.name)}"

    return lambda rng: thin(read(rng), 10_000, rng)


def clipart(rng: np.random.Generator) -> list[Sample]:
    def read() -> Iterator[Sample]:
        for file in files_of(package("apt", "openclipart-png"), "usr/share/openclipart/png/*/**/*.png"):
            kind = file.parts[file.parts.index("png") + 1]
            if kind in {"animals", "buildings", "food", "people", "plants", "transportation", "tools", "office"}:
                try:
                    with Image.open(file) as picture:
                        large = picture.width * picture.height > 4_000_000
                except Image.DecompressionBombError:
                    continue
                if not large:
                    yield np.asarray(on_ground(read_picture(file), 40)), kind, f"{kind} {_stem(file.name)}"

    return thin(read(), 450, rng)


def game_textures(rng: np.random.Generator) -> Iterator[Sample]:
    (archive,) = files_of(package("apt", "openarena-081-textures"), "**/pak4-textures.pk3")
    with zipfile.ZipFile(archive) as textures:
        for kind, folders in TEXTURES.items():
            for name in sorted(textures.namelist()):
                if (
                    name.split("/")[1:2] == []
                    or name.split("/")[1] not in folders
                    or not name.lower().endswith((".jpg", ".tga"))
                ):
                    continue
                with Image.open(io.BytesIO(textures.read(name))) as picture:
                    grey = picture.convert("L").resize((128, 128), Image.Resampling.BOX)
                for row, column in np.ndindex(2, 2):
                    tile = np.asarray(grey)[64 * row : 64 * row + 64, 64 * column : 64 * column + 64, None]
                    if tile.std() > PLAIN:
                        yield np.ascontiguousarray(tile), kind, f"{kind} {_stem(Path(name).name)}"


def tiles(
    files: Callable[[], Sequence[Path]], side: int, width: int, per_class: int, grey: bool = False, folder: int = 0
) -> Callable[[np.random.Generator], list[Sample]]:
    """How to make a set of squares of photographs; the class is the photograph.

    Blocks of squares are groups, and one row and column of squares between blocks is left out.

    Args:
        width: pixels to which each photograph is made small first.
        folder: how many folders above its file a photograph's name is; 0 for the file's own.
    """

    def cut() -> Iterator[Sample]:
        for file in files():
            with Image.open(file) as photograph:
                photograph.draft("RGB", (2 * width, 2 * width))
                height = round(photograph.height * width / photograph.width)
                small = photograph.convert("L" if grey else "RGB").resize((width, height), Image.Resampling.BOX)
            pixels = np.asarray(small).reshape(height, width, -1)
            name = (file, *file.parents)[folder].stem
            for row, column in np.ndindex(height // side, width // side):
                if row % (BLOCK + 1) < BLOCK and column % (BLOCK + 1) < BLOCK:
                    square = pixels[row * side : (row + 1) * side, column * side : (column + 1) * side]
                    block = f"{name} {row // (BLOCK + 1)} {column // (BLOCK + 1)}"
                    if square.std() > PLAIN:  # a plain sky could be any photograph's
                        yield np.ascontiguousarray(square), name, block

    return lambda rng: thin(cut(), per_class, rng)


def _files(pattern: str, *packages: Package) -> Callable[[], list[Path]]:
    return lambda: [file for one in packages for file in files_of(one, pattern)]


def _photographs() -> list[Path]:
    """Photographs alone: two packages have drawn pictures, too, with large plain areas."""
    drawn = {"abstract-spiral", "saturnian-profile", "valley-midnight", "waves-midnight", "Blinds", "string"}
    found = [
        file
        for folder in ("budgie", "mate/nature")
        for file in _files(f"usr/share/backgrounds/{folder}/*.jpg", *BUDGIE)()
    ]
    return [file for file in found if file.stem not in drawn]


WESNOTH = (package("apt", "wesnoth-1.18-data"),)
STAMPS = (RESVG, package("apt", "tuxpaint-stamps-default"))
BUDGIE = (package("apt", "budgie-backgrounds"), package("apt", "mate-backgrounds"))
LOMIRI = (package("apt", "lomiri-wallpapers-16.04"), package("apt", "lomiri-wallpapers-20.04"))
PICTURES = (
    ZooSet(
        "theme_icons",
        "Icons of six desktop themes; the class is actions, apps, devices, … Groups: first word of the icon's name",
        tuple(package("apt", f"{theme}-icon-theme") for theme in THEMES), theme_icons, "hard", 3, copied=True,
    ),
    ZooSet(
        "playing_cards",
        "The 52 playing cards, old and new. Groups: families of card sets",
        (package("apt", "pysolfc-cardsets"),), playing_cards, "medium", 3, (4, 1, 1, 4),
    ),
    ZooSet(
        "wesnoth_units",
        "Units of a strategy game in motion; the class is the people. Groups: units",
        WESNOTH, wesnoth("units", 48, 500, 4), "hard", 3,
    ),
    ZooSet(
        "wesnoth_terrain",
        "Middles of a strategy game's tiles; the class is the terrain. Groups: kinds of tile",
        WESNOTH, wesnoth("terrain", 24, 400, 6), "medium", 3,
    ),
    ZooSet(
        "crossfire_tiles",
        "Tiles of a role-playing game; the class is monster, wall, weapon, … Groups: things, of all directions",
        (package("apt", "crossfire-client-images"),), crossfire, "hard", 3, copied=True,
    ),
    ZooSet(
        "game_turns",
        "Some twenty units of a strategy game, seen from eight sides. Groups: sides",
        (package("apt", "freeciv-data"),), game_turns, "easy", 3, (4, 2, 2, 0),
    ),
    ZooSet(
        "stamps",
        "Stamps of a painting program, photographs and drawings; the class is the subject. Groups: things",
        STAMPS, _stamps(0, 64), "hard", 3, copied=True,
    ),
    ZooSet(
        "stamp_animals",
        "Animals among the stamps, very few; the class is birds, fish, insects, … Groups: animals",
        STAMPS, _stamps(1, 32), "hard", 3, (3, 1, 1, 0),
    ),
    ZooSet(
        "clipart",
        "Drawings of many hands; the class is the subject. Groups: first word of the file's name",
        (package("apt", "openclipart-png"),), clipart, "hard", 3, copied=True,
    ),
    ZooSet(
        "game_textures",
        "Quarters of textures of a first-person game, grey; the class is floor, wall, sky, … Groups: textures",
        (package("apt", "openarena-081-textures"),), game_textures, "hard", 1, copied=True,
    ),
    ZooSet(
        "photo_tiles",
        "Squares of photographs of places and animals; the class is the photograph. Groups: blocks with gaps",
        BUDGIE,
        tiles(_photographs, 32, 1800, 600), "medium", 3, (5, 1, 1, 3),
    ),
    ZooSet(
        "photo_tiles_grey",
        "Tiny squares of photographs, grey; the class is the photograph. Groups: blocks with gaps",
        LOMIRI, tiles(_files("usr/share/backgrounds/*.jpg", *LOMIRI), 12, 1200, 800, grey=True), "hard", 1,
        (5, 1, 1, 3),
    ),
    ZooSet(
        "photo_large",
        "Large squares of photographs (flowers, water, wood); the class is the photograph. Groups: blocks with gaps",
        BUDGIE[1:], tiles(_files("usr/share/backgrounds/mate/nature/*.jpg", *BUDGIE[1:]), 128, 2560, 90), "medium", 3,
        (3, 1, 1, 0),
    ),
)  # fmt: skip
