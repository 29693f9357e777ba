"""Sets of the later lots from pictures: pieces and tiles of games, walkers, pointers, logos, folders, photographs."""

import colorsys
import io
import json
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.zoo.drawing import RESVG, Variety, draw_svg, read_picture, vary_picture
from benchmarks.zoo.packages import files_of, package
from benchmarks.zoo.pictures import PLAIN, tiles
from benchmarks.zoo.sets import Sample, ZooSet, thin

PIECES = {"k": "king", "q": "queen", "r": "rook", "b": "bishop", "n": "knight", "p": "pawn"}
LEFT_OUT = {"letter", "makruk", "pirouetti", "shapes", "sittuyin"}  # letters, other games, white on white
SUITS = {"a": "characters", "b": "bamboos", "c": "circles"}
HONOURS = {"01z": "north", "02z": "south", "03z": "east", "04z": "west", "10a": "green", "10b": "white", "10c": "red"}
OTHER_TILES = ("driving", "honors", "ideograms", "kaleidoscope", "name-the", "schematic", "test-pattern", "united")
ALIKE = 0.6  # mean correlation of two sets' tiles above which one is drawn after the other
KINDS = {
    "wood": "wood", "concrete": "concrete", "grass": "grass", "carpet": "carpet", "metal": "metal", "metall": "metal",
    "rock": "rock", "pjrock": "rock", "bricks": "bricks", "roof": "roof", "tiles": "tiles", "tile": "tiles",
    "dirt": "soil", "ground": "soil", "desert": "soil", "wallpaper": "wallpaper",
}  # fmt: skip
WAYS = ("e", "ne", "nw", "se", "sw", "w")
POINTERS = """
    left_ptr left_ptr_watch question_arrow watch hand2 xterm crosshair fleur sb_h_double_arrow sb_v_double_arrow
    top_left_corner top_right_corner
"""
PHOTOGRAPHS = "BytheWater ColdRipple ColorfulCups EveningGlow FallenLeaf Grey OneStandsOut Path"
EMBLEMS = 45
ART = "building monsters policies ship_hulls ship_parts specials_huge tech"
LANDSCAPES = "crystal desert foliage forest halloween industrial jungle misc real snow sweets xmas"
BODIES = """
    ariel callisto ceres charon deimos dione enceladus europa ganymede hyperion iapetus io mars mercury mimas miranda
    oberon phobos phoebe pluto rhea tethys titania triton umbriel venus vesta
"""
HUES = {
    "red": (-14, 11), "orange": (19, 37), "yellow": (44, 62), "green": (85, 160), "cyan": (172, 196),
    "blue": (207, 238), "purple": (252, 290), "pink": (308, 338),
}  # fmt: skip


def chess_pieces(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(turn=8, size=0.75, shift=0.08, noise=8)
    for file in files_of(PYCHESS, "usr/share/pychess/pieces/*/[bw][kqrbnp].svg"):
        if file.parent.name not in LEFT_OUT:
            picture = draw_svg(file.read_text("utf-8"), 128, dpi=96)
            colour, piece = {"b": "black", "w": "white"}[file.stem[0]], PIECES[file.stem[1]]
            for _ in range(16):
                yield vary_picture(picture, 32, variety, rng), f"{colour} {piece}", file.parent.name.split("_")[0]


def _crop_middle(tile: Image.Image) -> NDArray[np.float64]:
    """A tile without its edge, small and grey."""
    small = tile.convert("L").resize((26, 34), Image.Resampling.BOX)
    return np.asarray(small, np.float64)[4:-4, 4:-4].ravel()


def mahjong_tiles(rng: np.random.Generator) -> Iterator[Sample]:
    names = HONOURS | {f"{rank:02d}{key}": f"{rank} {suit}" for key, suit in SUITS.items() for rank in range(1, 10)}
    sets: dict[str, list[Image.Image]] = {}
    for first in files_of(PYSOL, "usr/share/games/pysolfc/cardset-*mahjongg*/01a.*"):
        if first.suffix != ".xcf" and not any(word in first.parent.name for word in OTHER_TILES):
            sets[first.parent.name] = [read_picture(first.with_name(f"{tile}{first.suffix}")) for tile in names]
    small = np.stack([[_crop_middle(picture) for picture in found] for found in sets.values()])
    # What all tiles of a set have in common, as their ground, says nothing.
    small -= small.mean(axis=1, keepdims=True)
    small /= np.maximum(np.linalg.norm(small, axis=2, keepdims=True), 1e-6)
    alike = np.abs(np.einsum("atp,btp->ab", small, small)) / len(names) > ALIKE
    group = np.arange(len(sets))
    for one, other in np.argwhere(np.triu(alike, 1)):
        group[group == group[other]] = group[one]
    variety = Variety(turn=4, size=0.85, shift=0.05, noise=8)
    for family, found in zip(group, sets.values(), strict=True):
        for name, picture in zip(names.values(), found, strict=True):
            for _ in range(5):
                yield vary_picture(picture, 32, variety, rng), name, str(family)


def walkers(rng: np.random.Generator) -> list[Sample]:
    def read() -> Iterator[Sample]:
        workers = "usr/share/games/widelands/data/tribes/workers"
        for about in files_of(WIDELANDS, f"{workers}/*/*/init.lua"):
            text = about.read_text("utf-8")
            for walk in ("walk", "walkload"):
                found = re.search(rf"\b{walk} = \{{.*?\bcolumns = (\d+),\s*rows = (\d+)", text, re.S)
                for way in WAYS if found else ():
                    file = about.with_name(f"{walk}_{way}_1.png")
                    if found and file.is_file():
                        sheet = read_picture(file)
                        width, height = sheet.width // int(found[1]), sheet.height // int(found[2])
                        frames = list(np.ndindex(int(found[2]), int(found[1])))
                        for row, column in frames[:: max(1, len(frames) // 8)]:
                            box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
                            frame = sheet.crop(box)
                            # The last places of a sheet may be empty.
                            if np.max(np.asarray(frame.getchannel("A"))) > 128:
                                group = f"{about.parts[-3]} {about.parts[-2]}"
                                yield vary_picture(frame, 24, Variety(size=0.9, noise=6), rng), way, group

    return thin(read(), 1200, rng)


def read_pointer(file: Path) -> Image.Image:
    """The first picture of an X cursor file whose side is nearest to 32 pixels, as RGBA."""
    raw = file.read_bytes()
    start, count = struct.unpack_from("<I4xI", raw, 4)
    entries = [struct.unpack_from("<III", raw, start + 12 * number) for number in range(count)]
    _, _, place = min(
        (abs(size - 32), number, place) for number, (kind, size, place) in enumerate(entries) if kind == 0xFFFD0002
    )
    width, height = struct.unpack_from("<II", raw, place + 16)
    return Image.frombytes("RGBA", (width, height), raw[place + 36 : place + 36 + 4 * width * height], "raw", "BGRA")


def pointers(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(turn=4, size=0.75, shift=0.08, noise=6)
    for one in POINTER_THEMES:
        # Some packages have one theme in dozens of colours, and mirrored for the left hand.
        folders = sorted({file.parent for file in files_of(one, "usr/share/icons/*/cursors/*")})
        folders = [folder for folder in folders if "left" not in folder.parts[-2]]
        chosen = folders[:: -(-len(folders) // 6)]
        for folder in chosen:
            found = {name: read_pointer(folder / name) for name in POINTERS.split() if (folder / name).is_file()}
            times = Counter(picture.tobytes() for picture in found.values())
            for name, picture in found.items():
                # In some themes one picture has two names.
                for _ in range(24 // len(chosen) if times[picture.tobytes()] == 1 else 0):
                    yield vary_picture(picture, 28, variety, rng), name, one.name


def logo_colours(rng: np.random.Generator) -> list[Sample]:
    def draw() -> Iterator[Sample]:
        (about,) = files_of(LOGOS, "package/data/simple-icons.json")
        for logo in json.loads(about.read_text("utf-8")):
            hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in bytes.fromhex(logo["hex"])))
            colours = [name for name, (low, high) in HUES.items() if low < (360 * hue + 20) % 360 - 20 < high]
            if saturation < 0.06 and not 0.15 < value < 0.4:
                colours = ["black" if value < 0.2 else "grey"] if value < 0.85 else []
            elif saturation < 0.45 or value < 0.4:
                continue
            files = files_of(LOGOS, f"package/icons/{logo['slug']}.svg") if colours else []
            for file in files:
                svg = file.read_text("utf-8")
                for plain in (True, False):
                    fill, ground = (f"#{logo['hex']}", "none") if plain else ("#fff", f"#{logo['hex']}")
                    square = f'<rect width="24" height="24" fill="{ground}"/>'
                    group = f'<g fill="{fill}" transform="scale(.8) translate(3 3)">'
                    picture = draw_svg(re.sub(r"(<svg[^>]*>)(.*)(</svg>)", rf"\1{square}{group}\2</g>\3", svg), 96)
                    variety = Variety(turn=10, size=0.75, shift=0.08, noise=25)
                    yield vary_picture(picture, 20, variety, rng), colours[0], logo["title"].split(" ")[0].lower()

    return thin(draw(), 800, rng)


def materials(rng: np.random.Generator) -> list[Sample]:
    def cut() -> Iterator[Sample]:
        (archive,) = files_of(UFOAI, "usr/share/games/ufoai/base/0textures.pk3")
        with zipfile.ZipFile(archive) as textures:
            for name in sorted(textures.namelist()):
                found = re.fullmatch(r"textures/tex_\w+/(([a-z]+)[_a-z]*\d*)\w*\.(jpg|png)", name)
                kind = KINDS.get(found[2]) if found else None
                if found is None or kind is None or re.search(r"_(nm|sm|gm|blend)\.", name):
                    continue
                with Image.open(io.BytesIO(textures.read(name))) as picture:
                    small = np.asarray(picture.convert("RGBA").convert("RGB").resize((96, 96), Image.Resampling.BOX))
                for row, column in np.ndindex(4, 4):
                    square = small[24 * row : 24 * row + 24, 24 * column : 24 * column + 24]
                    if np.max(square.std(axis=(0, 1))) > PLAIN:
                        yield np.ascontiguousarray(square), kind, found[1]

    return thin(cut(), 700, rng)


def _photographs() -> list[Path]:
    return [
        file
        for file in files_of(PLASMA, "usr/share/wallpapers/*/contents/images/2560x1600.jpg")
        if file.parents[2].name in PHOTOGRAPHS.split()
    ]


def folder_emblems(rng: np.random.Generator) -> Iterator[Sample]:
    files = {file.stem: file for file in files_of(PAPIRUS, "usr/share/icons/Papirus/64x64/places/folder-*.svg")}
    colours = sorted(name.removesuffix("-docker") for name in files if re.fullmatch(r"folder-\w+-docker", name))
    emblems = sorted(
        name.removeprefix("folder-red") for name in files if name.startswith("folder-red-") and "open" not in name
    )
    variety = Variety(turn=6, size=0.8, shift=0.05, blur=0.02, noise=6)
    for emblem in sorted(rng.permutation(emblems)[:EMBLEMS].tolist()):
        for colour in colours:
            if colour + emblem in files:
                picture = draw_svg(files[colour + emblem].read_text("utf-8"), 96)
                for _ in range(5):
                    yield vary_picture(picture, 32, variety, rng), emblem.removeprefix("-"), colour


def game_art(rng: np.random.Generator) -> Iterator[Sample]:
    for kind in ART.split():
        for file in files_of(FREEORION, f"usr/share/games/freeorion/default/data/art/icons/{kind}/**/*.png"):
            for _ in range(2):
                pixels = vary_picture(read_picture(file), 32, Variety(turn=6, size=0.85, noise=5), rng)
                yield pixels, kind, f"{kind} {file.stem}"


def ground_pieces(rng: np.random.Generator) -> list[Sample]:
    def cut() -> Iterator[Sample]:
        for file in files_of(PINGUS, "usr/share/games/pingus/data/images/groundpieces/*/*/*.png"):
            if file.parent.name not in LANDSCAPES.split():
                continue
            picture = np.asarray(read_picture(file))
            for row, column in np.ndindex(picture.shape[0] // 20, picture.shape[1] // 20):
                square = picture[20 * row : 20 * row + 20, 20 * column : 20 * column + 20]
                if square[..., 3].min() > 200 and np.max(square[..., :3].std(axis=(0, 1))) > PLAIN:
                    yield np.ascontiguousarray(square[..., :3]), file.parent.name, f"{file.parent.name} {file.stem}"

    return thin(cut(), 130, rng)


def _textures() -> list[Path]:
    return [STELLARIUM.folder / f"usr/share/stellarium/textures/{name}.png" for name in BODIES.split()]


def _grounds() -> list[Path]:
    """Grounds of landscapes that are not smaller than what they are drawn at."""
    found = files_of(HEDGEWARS, "usr/share/games/hedgewars/Data/Themes/*/LandTex.png")
    return [file for file in found if read_picture(file).width >= 480]


PYCHESS = package("apt", "pychess")
PYSOL = package("apt", "pysolfc-cardsets")
WIDELANDS = package("apt", "widelands-data")
PLASMA = package("apt", "plasma-workspace-wallpapers")
UFOAI = package("apt", "ufoai-textures")
PAPIRUS = package("apt", "papirus-icon-theme")
FREEORION = package("apt", "freeorion-data")
PINGUS = package("apt", "pingus-data")
STELLARIUM = package("apt", "stellarium-data")
HEDGEWARS = package("apt", "hedgewars-data")
LOGOS = package("npm", "simple-icons")
_THEMES = """
    adwaita-icon-theme bibata-cursor-theme breeze-cursor-theme chameleon-cursor-theme comixcursors-righthanded-opaque
    crystalcursors dmz-cursor-theme oxygencursors xcursor-themes
"""
POINTER_THEMES = tuple(package("apt", name) for name in _THEMES.split())
SPRITES = (
    ZooSet(
        "chess_pieces",
        "The twelve chess pieces, drawn in plain and fancy ways. Groups: sets of pieces",
        (RESVG, PYCHESS), chess_pieces, "medium", 3, lot=2,
    ),
    ZooSet(
        "mahjong_tiles",
        "The 34 mahjong tiles that count. Groups: sets of tiles, with those drawn after them",
        (PYSOL,), mahjong_tiles, "medium", 3, lot=2,
    ),
    ZooSet(
        "walkers",
        "Tiny people of a strategy game; the class is the direction in which they walk. Groups: people",
        (WIDELANDS,), walkers, "medium", 3, copied=True, lot=2,
    ),
    ZooSet(
        "pointers",
        "The mouse pointer's shapes (arrow, hand, watch, …) in many colours. Groups: packages of themes",
        POINTER_THEMES, pointers, "medium", 3, (3, 1, 1, 0), lot=2,
    ),
    ZooSet(
        "logo_colours",
        "Logos in one colour, on white or white on it; the class is the colour. Groups: first word of the brand",
        (RESVG, LOGOS), logo_colours, "easy", 3, lot=2,
    ),
    ZooSet(
        "materials",
        "Squares of a strategy game's textures; the class is the material (wood, grass, …). Groups: textures",
        (UFOAI,), materials, "hard", 3, copied=True, lot=2,
    ),
    ZooSet(
        "photo_squares",
        "Few squares of eight photographs, grey; the class is the photograph. Groups: blocks with gaps",
        (PLASMA,), tiles(_photographs, 24, 800, 110, grey=True, folder=3), "medium", 1, copied=True, lot=2,
    ),
    ZooSet(
        "folder_emblems",
        "Icons of folders with an emblem each (music, mail, git, …), in many colours. Groups: colours",
        (RESVG, PAPIRUS), folder_emblems, "easy", 3, lot=3,
    ),
    ZooSet(
        "game_art",
        "Icons of a game about space; the class is building, monster, ship part, … Groups: things",
        (FREEORION,), game_art, "medium", 3, copied=True, lot=3,
    ),
    ZooSet(
        "ground_pieces",
        "Few squares of a game's ground; the class is the landscape (desert, snow, sweets, …). Groups: pieces",
        (PINGUS,), ground_pieces, "hard", 3, copied=True, lot=3,
    ),
    ZooSet(
        "planet_surfaces",
        "Tiny squares of maps of planets and moons; the class is the body. Groups: blocks with gaps",
        (STELLARIUM,), tiles(_textures, 16, 512, 300), "hard", 3, lot=3,
    ),
    ZooSet(
        "land_grounds",
        "Tiny squares of the grounds of a game's landscapes; the class is the landscape. Groups: blocks with gaps",
        (HEDGEWARS,), tiles(_grounds, 16, 480, 300, folder=1), "medium", 3, copied=True, lot=4,
    ),
)  # fmt: skip
