"""Sets of the fifth lot from games and catalogs: moods, monsters, creatures, clothes, tiles, and furniture."""

import io
import json
import re
import struct
import zipfile
from collections.abc import Iterator
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageOps

from benchmarks.zoo.drawing import Variety, read_picture, vary_picture
from benchmarks.zoo.packages import files_of, package
from benchmarks.zoo.sets import Sample, ZooSet, thin

MOODS = ("normal", "angry", "pain", "happy", "dead", "surprised")
MONSTERS = {
    "POSS": "zombie", "SPOS": "shotgun zombie", "CPOS": "minigunner", "TROO": "serpent", "SARG": "flesh worm",
    "HEAD": "trilobite", "BOSS": "pain lord", "BOS2": "pain bringer", "SKUL": "deadflare", "BSPI": "technospider",
    "PAIN": "summoner", "SKEL": "dark soldier", "VILE": "flame bringer", "FATT": "combat slug", "SPID": "large spider",
    "CYBR": "assault tripod", "SSWV": "sailor", "PLAY": "player",
}  # fmt: skip
PIECES = {
    "boots": "boots|sandals|feet", "gloves": "gloves|gauntlets|hands|sleeves", "hood": "hood|coif|helm|head",
    "trousers": "pants|greaves|legs|skirt", "shirt": "cuirass|chest|shirt|vest", "shield": "buckler|shield",
    "bow": "bow|slingshot", "blade": "sword|dagger|zweihander", "hammer": "axe|hammer|maul|mace|club",
    "staff": "staff|rod|wand",
}  # fmt: skip
FRAME = re.compile(r"^frame=(\d+),(\d+),(\d+),(\d+),(\d+),(\d+),", re.M)
KINDS = {"mon": "monster", "t": "terrain", "f": "furniture", "vp": "part of a vehicle", "overlay": "worn or wielded"}
TILESETS = ("UltimateCataclysm", "MshockXotto+", "HollowMoon", "BrownLikeBears", "GiantDays")
CATALOGS = ("BlendSwap-CC-0", "BlendSwap-CC-BY", "KatorLegaz", "Reallusion", "Scopia")
ROOMS = """
    Bathroom,Bedroom,Characters,Doors and windows,Exterior,Kitchen,Lights,Living room,Miscellaneous,Office,Vehicles
"""


def round_faces(rng: np.random.Generator) -> Iterator[Sample]:
    """A body with two eyes that look to a random side, placed as the game places them."""
    variety = Variety(turn=8, size=0.8, shift=0.06, noise=6)
    for file in files_of(DDNET, "usr/share/games/ddnet/data/skins/*.png"):
        sheet = read_picture(file)
        for place, mood in enumerate(MOODS):
            eye = sheet.crop((64 + 32 * place, 96, 96 + 32 * place, 128)).resize((38, 38), Image.Resampling.BOX)
            if np.max(np.asarray(eye.getchannel("A"))) < 128:
                continue
            for _ in range(8):
                body = sheet.crop((96, 0, 192, 96))
                body.alpha_composite(sheet.crop((0, 0, 96, 96)))
                angle = rng.uniform(0, 2 * pi)
                middle, apart = 48 + 12 * cos(angle), 96 * (0.075 - 0.01 * abs(cos(angle)))
                for picture, across in ((eye, middle - apart), (ImageOps.mirror(eye), middle + apart)):
                    body.alpha_composite(picture, (round(across) - 19, round(43 + 9.6 * sin(angle)) - 19))
                yield vary_picture(body, 32, variety, rng), mood, file.stem.split("_")[-1]


def shooter_monsters(rng: np.random.Generator) -> list[Sample]:
    def read() -> Iterator[Sample]:
        for file in files_of(FREEDOOM, "usr/share/games/doom/freedoom?.wad"):
            raw = file.read_bytes()
            count, start = struct.unpack_from("<II", raw, 4)
            lumps = [struct.unpack_from("<II8s", raw, start + 16 * number) for number in range(count)]
            palette = next(raw[place : place + 768] for place, _, name in lumps if name.rstrip(b"\0") == b"PLAYPAL")
            colors = np.frombuffer(palette, np.uint8).reshape(256, 3)
            for place, size, name in lumps:
                found = re.fullmatch(rb"(\w{4})([A-Z])[0-8](?:\1?[A-Z][0-8])?\0*", name)
                kind = MONSTERS.get(found[1].decode()) if found else None
                if found and kind:
                    picture = _read_patch(raw[place : place + size], colors)
                    for _ in range(3):
                        variety = Variety(turn=4, size=0.85, shift=0.05, noise=8)
                        yield vary_picture(picture, 32, variety, rng), kind, f"{kind} {found[2].decode()}"

    return thin(read(), 300, rng)


def _read_patch(raw: bytes, colors: np.ndarray) -> Image.Image:
    """A picture of the game's format as RGBA: columns of runs of palette numbers."""
    width, height = struct.unpack_from("<HH", raw)
    pixels = np.zeros((height, width, 4), np.uint8)
    for column in range(width):
        (place,) = struct.unpack_from("<I", raw, 8 + 4 * column)
        while raw[place] != 255:
            top, length = raw[place], raw[place + 1]
            run = np.frombuffer(raw, np.uint8, length, place + 3)
            pixels[top : top + length, column, :3], pixels[top : top + length, column, 3] = colors[run], 255
            place += length + 4
    return Image.fromarray(pixels)


def garments(rng: np.random.Generator) -> list[Sample]:
    def read() -> Iterator[Sample]:
        mod = "usr/share/games/flare/mods/fantasycore"
        for about in files_of(FLARE, f"{mod}/animations/avatar/*male/*.txt"):
            kind = next((kind for kind, words in PIECES.items() if re.search(words, about.stem)), None)
            files = files_of(FLARE, f"{mod}/images/avatar/{about.parent.name}/{about.stem}.png") if kind else []
            for file in files:
                sheet = read_picture(file)
                frames = [tuple(map(int, frame[2:])) for frame in FRAME.findall(about.read_text("utf-8"))]
                for left, top, width, height in rng.permutation(frames)[:40].tolist():
                    if width > 6 and height > 6:
                        frame = sheet.crop((left, top, left + width, top + height))
                        group = about.stem.split("_alt")[0]
                        yield vary_picture(frame, 28, Variety(turn=4, size=0.8, shift=0.06, noise=6), rng), kind, group

    return thin(read(), 450, rng)


def survival_tiles(rng: np.random.Generator) -> list[Sample]:
    def read() -> Iterator[Sample]:
        for name in TILESETS:
            (about,) = files_of(CATACLYSM, f"usr/share/games/cataclysm-dda/gfx/{name}/tile_config.json")
            config = json.loads(about.read_text("utf-8"))
            usual = config["tile_info"][0]["width"]
            first = 0
            for sheet in config["tiles-new"]:
                picture = read_picture(about.with_name(sheet["file"]))
                width, height = sheet.get("sprite_width", usual), sheet.get("sprite_height", usual)
                columns = picture.width // width
                for tile in sheet.get("tiles", ()) if width == height == usual else ():
                    names = [tile["id"]] if isinstance(tile["id"], str) else tile["id"]
                    kinds = {KINDS.get(tile_id.split("_")[0], "thing") for tile_id in names}
                    number = tile.get("fg")
                    if len(kinds) > 1 or not isinstance(number, int) or number < first:
                        continue
                    row, column = divmod(number - first, columns)
                    box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
                    square = picture.crop(box)
                    if np.mean(np.asarray(square.getchannel("A")) > 128) > 0.08:
                        variety = Variety(size=0.9, shift=0.03, noise=4)
                        yield vary_picture(square, 24, variety, rng), kinds.pop(), names[0].split("_season")[0]
                first += columns * (picture.height // height)

    return thin(read(), 1000, rng)


def furniture(rng: np.random.Generator) -> Iterator[Sample]:
    rooms = [room.strip() for room in ROOMS.split(",")]
    for catalog in CATALOGS:
        (file,) = files_of(SWEETHOME, f"usr/share/sweethome3d/furniture/{catalog}.sh3f")
        with zipfile.ZipFile(file) as archive:
            text = archive.read("PluginFurnitureCatalog.properties").decode("latin-1")
            kinds, icons = (dict(re.findall(rf"^{key}#(\d+)=(.+?)\s*$", text, re.M)) for key in ("category", "icon"))
            for number, icon in icons.items():
                if kinds[number] in rooms:
                    with Image.open(io.BytesIO(archive.read(icon.lstrip("/")))) as picture:
                        shown = picture.convert("RGBA")
                    for _ in range(6):
                        variety = Variety(turn=5, size=0.85, shift=0.05, noise=5)
                        yield vary_picture(shown, 40, variety, rng), kinds[number], f"{catalog} {icon}"


def platform_creatures(rng: np.random.Generator) -> list[Sample]:
    def read() -> Iterator[Sample]:
        variety = Variety(turn=10, size=0.75, shift=0.08, blur=0.02, noise=8)
        for file in files_of(SUPERTUX, "usr/share/games/supertux2/images/creatures/*/*.png"):
            for _ in range(5):
                picture = read_picture(file)
                yield vary_picture(picture, 32, variety, rng), file.parent.name, f"{file.parent.name} {file.stem}"

    return thin(read(), 90, rng)


DDNET = package("apt", "ddnet-data")
FREEDOOM = package("apt", "freedoom")
FLARE = package("apt", "flare-game")
CATACLYSM = package("apt", "cataclysm-dda-data")
SWEETHOME = package("apt", "sweethome3d-furniture")
SUPERTUX = package("apt", "supertux-data")
GAMES = (
    ZooSet(
        "round_faces",
        "Round creatures of a game, told apart by the eyes; the class is the mood. Groups: skins with the same pattern",
        (DDNET,), round_faces, "medium", 3, lot=5,
    ),
    ZooSet(
        "shooter_monsters",
        "Monsters of a shooter from all sides, standing and falling; the class is the monster. Groups: frames",
        (FREEDOOM,), shooter_monsters, "medium", 3, copied=True, lot=5,
    ),
    ZooSet(
        "garments",
        "Clothes and weapons of a game without their wearer; the class is the piece (boots, hood, …). Groups: pieces",
        (FLARE,), garments, "medium", 3, lot=5,
    ),
    ZooSet(
        "survival_tiles",
        "Tiles of a survival game by five hands; the class is monster, terrain, furniture, … Groups: things",
        (CATACLYSM,), survival_tiles, "hard", 3, copied=True, lot=5,
    ),
    ZooSet(
        "furniture",
        "Models of furniture and other things; the class is the room or kind. Groups: models",
        (SWEETHOME,), furniture, "hard", 3, copied=True, lot=5,
    ),
    ZooSet(
        "platform_creatures",
        "Some forty creatures of a platform game in motion; the class is the creature. Groups: frames",
        (SUPERTUX,), platform_creatures, "easy", 3, copied=True, lot=5,
    ),
)  # fmt: skip
