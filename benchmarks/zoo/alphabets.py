"""Sets of the fifth lot that are drawn from fonts: letters of further scripts, tones, forms, numerals and signs."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import numpy as np
from PIL import ImageFont

from benchmarks.zoo.drawing import Variety, draw_text, ink
from benchmarks.zoo.letters import ARABIC, HEIGHT, PROBES, drawable, letters, one_by_one
from benchmarks.zoo.packages import files_of, package
from benchmarks.zoo.sets import Sample, ZooSet, thin

GUJARATI = "અઆઇઈઉઊએઐઓઔકખગઘચછજઝઞટઠડઢણતથદધનપફબભમયરલળવશષસહ"
MALAYALAM = "അആഇഈഉഎഏഒഓകഖഗഘങചഛജഝഞടഠഡഢണതഥദധനപഫബഭമയരറലളഴവശഷസഹ"
TONES = {
    "acute": "ấắếốớứ", "grave": "ầằềồờừ", "hook": "ẩẳểổởử", "tilde": "ẫẵễỗỡữ", "dot": "ậặệộợự",
}  # fmt: skip
JOINED = "بتثجحخسشصضطظعغفقكلمنهي"  # letters that are joined on both sides
NUMERALS = "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX"
CUNEIFORM = range(0x12000, 0x12550)
CUNEIFORM_FACES = ("Akkadian_hint", "Assyrian_hint", "NotoSansCuneiform-Regular")
FRAMES = ("GA2", "KA", "LAGAB", "DUG", "LU2", "NINDA2", "URU", "DAG KISIM5", "EZEN", "SAG", "AB", "SHIM")
# Numbers of the first hand shape of each kind, and of the first sign that is not a hand. Each has 96 views.
HANDS = {
    "index": 0x100, "index and middle": 0x10E, "index, middle and thumb": 0x11E, "four fingers": 0x144,
    "five fingers": 0x14C, "little finger": 0x186, "ring finger": 0x1A4, "middle finger": 0x1BA,
    "index and thumb": 0x1CD, "thumb": 0x1F5, "": 0x205,
}  # fmt: skip
VIEWS = 96
FIRST_VIEW = 0x40001  # its code in the font

Make = Callable[[np.random.Generator], list[Sample]]


def by_kind(make: Make, kinds: Mapping[str, str]) -> Make:
    """How to make a set whose class is the kind of the letter that a class of the other set is named after."""
    return lambda rng: [(pixels, kinds[name[0]], group) for pixels, name, group in make(rng)]


def _forms() -> dict[str, str]:
    """The joined forms of Arabic letters, and the name of each form."""
    found = {}
    for code in range(0xFE8F, 0xFEF5):
        words = unicodedata.name(chr(code)).split()
        if unicodedata.normalize("NFKC", chr(code)) in JOINED and words[-1] == "FORM":
            found[chr(code)] = words[-2].lower()
    return found


def cuneiform_frames(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(turn=4, size=0.8, shift=0.05, noise=20, ink="any")
    for face in CUNEIFORM_FACES:
        (file,) = (file for one in CUNEIFORM_FONTS for file in files_of(one, f"usr/share/fonts/**/{face}.ttf"))
        font = ImageFont.truetype(file, HEIGHT, layout_engine=ImageFont.Layout.BASIC)
        for sign in drawable(font, map(chr, CUNEIFORM)):
            frame, _, inner = unicodedata.name(sign, "").removeprefix("CUNEIFORM SIGN ").partition(" TIMES ")
            if frame in FRAMES and inner:
                for _ in range(7):
                    yield ink(draw_text(font, sign, 36, variety, rng), variety, rng), frame, inner


def sign_hands(rng: np.random.Generator) -> list[Sample]:
    def draw() -> Iterator[Sample]:
        variety = Variety(size=0.75, shift=0.08, blur=0.02, noise=20, ink="any")
        (file,) = files_of(SIGN_WRITING, "package/font/SuttonSignWritingOneD.ttf")
        font = ImageFont.truetype(file, HEIGHT, layout_engine=ImageFont.Layout.BASIC)
        for (kind, first), (_, end) in pairwise(HANDS.items()):
            for shape in range(first, end):
                start = FIRST_VIEW + (shape - 0x100) * VIEWS
                views = drawable(font, map(chr, range(start, start + VIEWS)))
                for view in rng.permutation(views)[:24].tolist():
                    yield ink(draw_text(font, view, 28, variety, rng), variety, rng), kind, f"{shape:x}"

    return thin(draw(), 700, rng)


_GUJARATI = """
    anek-gujarati baloo-bhai-2 farsan hind-vadodara kumar-one mogra mukta-vaani noto-sans-gujarati noto-serif-gujarati
    rasa shrikhand
"""
GUJARATI_FONTS = (
    *(package("apt", f"fonts-{name}") for name in ("gujr-extra", "lohit-gujr", "samyak-gujr")),
    *(package("npm", f"@fontsource/{name}") for name in _GUJARATI.split()),
)
_SMC = """
    anjalioldlipi chilanka dyuthi gayathri karumbi keraleeyam manjari meera rachana raghumalayalamsans suruma uroob
"""
_MALAYALAM = "anek-malayalam baloo-chettan-2 noto-sans-malayalam noto-serif-malayalam"
MALAYALAM_FONTS = (
    package("apt", "fonts-lohit-mlym"),
    *(package("apt", f"fonts-smc-{name}") for name in _SMC.split()),
    *(package("npm", f"@fontsource/{name}") for name in _MALAYALAM.split()),
)
_LATIN = """
    amatic-sc andada-pro anton athiti bai-jamjuree be-vietnam-pro big-shoulders-display bona-nova chakra-petch charm
    charmonman chonburi comfortaa commissioner cormorant-infant cuprum dancing-script eb-garamond encode-sans
    epilogue fahkwang faustina francois-one grenze itim k2d kanit kodchasan koho krub lemonada lexend
    m-plus-rounded-1c maitree major-mono-display mali manuale mitr niramit noticia-text old-standard-tt pangolin
    pattaya paytone-one philosopher piazzolla plus-jakarta-sans podkova prata pridi prompt public-sans quicksand
    saira sansita-swashed sarabun sedgwick-ave sriracha taviraj texturina trirong varela-round vollkorn
    vujahday-script yeseva-one
"""
LATIN_FONTS = tuple(package("npm", f"@fontsource/{name}") for name in _LATIN.split())
ARABIC_FONTS = tuple(package("apt", f"fonts-{name}") for name in ARABIC.split())
CUNEIFORM_FONTS = (package("apt", "fonts-ancient-scripts"), package("apt", "fonts-noto-core"))
SIGN_WRITING = package("npm", "@sutton-signwriting/font-ttf")
ALPHABETS = (
    ZooSet(
        "gujarati_letters",
        "Gujarati letters without a bar, in plain and fancy faces, grey. Groups: families of fonts",
        GUJARATI_FONTS,
        letters(
            GUJARATI_FONTS, one_by_one(GUJARATI), 28, Variety(turn=6, size=0.75, shift=0.06, noise=20, ink="any"), 9, 2,
            subset="gujarati",
        ),
        "medium", 1, (3, 2, 2, 3), lot=5,
    ),
    ZooSet(
        "malayalam_letters",
        "Malayalam letters, made of loops, small and blurred, grey. Groups: families of fonts",
        MALAYALAM_FONTS,
        letters(
            MALAYALAM_FONTS, one_by_one(MALAYALAM), 22, Variety(turn=5, size=0.8, blur=0.03, noise=25), 9, 2,
            subset="malayalam",
        ),
        "hard", 1, (3, 2, 2, 4), lot=5,
    ),
    ZooSet(
        "vietnamese_tones",
        "Vietnamese vowels with two marks, grey; the class is the tone, a small mark. Groups: families of fonts",
        LATIN_FONTS,
        by_kind(
            letters(
                LATIN_FONTS, one_by_one("".join(TONES.values())), 28, Variety(turn=6, size=0.75, shift=0.06, noise=15),
                3, 1, subset="vietnamese",
            ),
            {letter: tone for tone, found in TONES.items() for letter in found},
        ),
        "easy", 1, lot=5,
    ),
    ZooSet(
        "arabic_forms",
        "Arabic letters, small, grey; the class is how they are joined to their neighbors. Groups: families of fonts",
        ARABIC_FONTS,
        by_kind(
            letters(
                ARABIC_FONTS, one_by_one("".join(_forms())), 20, Variety(turn=5, size=0.8, blur=0.03, noise=20), 2, 2
            ),
            _forms(),
        ),
        "medium", 1, (5, 1, 1, 3), lot=5,
    ),
    ZooSet(
        "roman_numerals",
        "Roman numerals from I to XX in two colors each. Groups: families of fonts",
        LATIN_FONTS,
        letters(
            LATIN_FONTS, {f"{number:02d}": text for number, text in enumerate(NUMERALS.split(), 1)}, 32,
            Variety(turn=8, size=0.8, shift=0.05, noise=20, ink="colour"), 4, 1,
            probes=PROBES,
        ),
        "easy", 3, lot=5,
    ),
    ZooSet(
        "cuneiform_frames",
        "Cuneiform signs that are written inside another, grey; the class is the outer sign. Groups: inner signs",
        CUNEIFORM_FONTS, cuneiform_frames, "medium", 1, lot=5,
    ),
    ZooSet(
        "sign_hands",
        "Hands as sign languages are written, turned and mirrored, grey; the class is the fingers that are stretched. "
        "Groups: shapes",
        (SIGN_WRITING,), sign_hands, "hard", 1, lot=5,
    ),
)  # fmt: skip
