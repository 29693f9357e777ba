"""Sets of the later lots that are drawn from fonts: letters of other alphabets, musical and other signs, scripts."""

import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.zoo.drawing import Variety, draw_text, ink, place
from benchmarks.zoo.letters import HEIGHT, PROBES, drawable, fonts_of, letters, one_by_one, without_twins
from benchmarks.zoo.packages import Package, files_of, package
from benchmarks.zoo.sets import Sample, ZooSet, thin

WORDS = 60  # of each face
CANVAS = 20  # pixels of a side, for a glyph of 16 × 16
_MUSIC = """
    gClef E050 cClef E05C fClef E062 percussionClef E069 timeSig2 E082 timeSig3 E083 timeSig4 E084 timeSig6 E086
    timeSig8 E088 timeSigCommon E08A timeSigCut E08B noteheadWhole E0A2 noteheadHalf E0A3 noteheadX E0A9 flag8thUp E240
    flag8thDown E241 flag16thUp E242 flag16thDown E243 flat E260 natural E261 sharp E262 doubleSharp E263
    doubleFlat E264 accent E4A0 marcato E4AC fermataAbove E4C0 fermataBelow E4C1 restQuarter E4E5 rest8th E4E6
    rest16th E4E7 rest32nd E4E8 piano E520 mezzo E521 forte E522 sforzando E524 trill E566 turn E567 mordent E56D
    pedal E650 segno E047 coda E048
"""
MUSIC = dict(zip(_MUSIC.split()[::2], (chr(int(code, 16)) for code in _MUSIC.split()[1::2]), strict=True))
GREEK = "αβγδεζηθικλμνξοπρσςτυφχψω"
GEORGIAN = "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ"
DEVANAGARI = "अइउऋएकखगघङचछजझञटठडढणतथदधनपफबभमयरलवशषसहळ"
SIGNS = "&@#%$£¥€§¶©®?!*†‡~+=<{[/"
TELUGU = "అఆఇఈఉఊఎఏఐఒఓఔకఖగఘచఛజఝటఠడఢణతథదధనపఫబభమయరలవశషసహళ"
KHMER = "កខគឃងចឆជឈញដឋឌឍណតថទធនបផពភមយរលវសហឡអ"
TAMIL = "அஆஇஈஉஊஎஏஐஒஓகஙசஞடணதநபமயரலவழளறன"
MATHEMATICAL = "∀∂∃∅∆∇∈∉∋∏∑∓√∝∞∠∧∨∩∪∫∴∼≅≈≠≡≤≥⊂⊃⊄⊆⊇⊕⊗⊥±×÷"
STYLES = {
    "bold": 0x1D400, "italic": 0x1D434, "bold italic": 0x1D468, "script": 0x1D49C, "bold script": 0x1D4D0,
    "fraktur": 0x1D504, "double-struck": 0x1D538, "bold fraktur": 0x1D56C, "sans": 0x1D5A0, "sans bold": 0x1D5D4,
    "sans italic": 0x1D608, "sans bold italic": 0x1D63C, "monospace": 0x1D670,
}  # fmt: skip
DOTS = "⣿"  # a braille cell with all eight dots
ONE_SIDED = "BCDEFGJKLNPQRSZ"
SCRIPTS = """
    ARABIC ARMENIAN BENGALI BOPOMOFO BRAILLE CANADIAN CHEROKEE COPTIC CYRILLIC DEVANAGARI ETHIOPIC GEORGIAN GLAGOLITIC
    GREEK GUJARATI HEBREW HIRAGANA KANNADA KATAKANA KHMER LAO LATIN MALAYALAM MONGOLIAN MYANMAR NKO ORIYA RUNIC SINHALA
    TAMIL TELUGU THAI TIBETAN TIFINAGH VAI YI
"""


def mirrored(packages: Sequence[Package], side: int) -> Callable[[np.random.Generator], Iterator[Sample]]:
    """How to make a set of capital letters, some of which are mirrored; the class is whether they are."""
    as_they_are = letters(packages, one_by_one(ONE_SIDED), side, Variety(turn=10, size=0.8, noise=15, ink="any"), 4, 1)

    def make(rng: np.random.Generator) -> Iterator[Sample]:
        for pixels, _, family in as_they_are(rng):
            if rng.random() < 0.5:
                yield np.ascontiguousarray(pixels[:, ::-1]), "mirrored", family
            else:
                yield pixels, "as it is", family

    return make


def kinds_of_font(packages: Sequence[Package], side: int) -> Callable[[np.random.Generator], Iterator[Sample]]:
    """How to make a set of short random words; the class is the kind of font that its package says."""

    def make(rng: np.random.Generator) -> Iterator[Sample]:
        variety = Variety(size=0.9, shift=0.03, noise=20, ink="any")
        faces, kinds = [], []
        for one in packages:
            (about,) = files_of(one, "package/metadata.json")
            for family, file in fonts_of([one], 1):
                font = ImageFont.truetype(file, HEIGHT, layout_engine=ImageFont.Layout.BASIC)
                if drawable(font, "ae"):
                    faces.append((family, font))
                    kinds.append(json.loads(about.read_text("utf-8"))["category"])
        for family, (_, font), kind in zip(without_twins(faces, PROBES), faces, kinds, strict=True):
            for _ in range(WORDS):
                text = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 4))
                yield ink(draw_text(font, text, side, variety, rng), variety, rng), kind, family

    return make


def math_alphabets(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(turn=5, size=0.8, blur=0.02, noise=20, ink="any")
    for font in _faces_with(MATH_FONTS, [chr(STYLES["bold fraktur"])]):
        for style, start in STYLES.items():
            for place_ in range(52):
                if drawable(font, [chr(start + place_)]):
                    mask = draw_text(font, chr(start + place_), 32, variety, rng)
                    yield ink(mask, variety, rng), style, str(place_ % 26)


def braille_dots(rng: np.random.Generator) -> Iterator[Sample]:
    """Whole cells, whose dots are placed as in the cell with all dots; the class is how many there are."""
    variety = Variety(turn=8, size=0.75, shift=0.08, blur=0.02, noise=20, ink="colour")
    for font in _faces_with(BRAILLE_FONTS, [DOTS]):
        left, top, right, bottom = map(int, font.getbbox(DOTS))
        for dots in (cell for cell in range(1, 255) if 2 <= cell.bit_count() <= 6):
            mask = Image.new("L", (right - left, bottom - top))
            ImageDraw.Draw(mask).text((-left, -top), chr(0x2800 + dots), fill=255, font=font)
            for _ in range(2):
                yield ink(place(mask, 24, variety, rng), variety, rng), f"{dots.bit_count()} dots", str(dots)


def _faces_with(packages: Sequence[Package], texts: Sequence[str]) -> Iterator[ImageFont.FreeTypeFont]:
    for _, file in fonts_of(packages, 4):
        font = ImageFont.truetype(file, HEIGHT, layout_engine=ImageFont.Layout.BASIC)
        if drawable(font, texts):
            yield font


def scripts(rng: np.random.Generator) -> list[Sample]:
    """Letters of one font, which is made of 8 × 16 or 16 × 16 pixels."""

    def draw() -> Iterator[Sample]:
        variety = Variety(noise=25, ink="any")
        (file,) = files_of(UNIFONT, "usr/share/unifont/unifont.hex")
        for line in file.read_text("ascii").splitlines():
            code, rows = line.split(":")
            # "LATIN SMALL LETTER A WITH GRAVE" is of one group with "LATIN CAPITAL LETTER A".
            name = unicodedata.name(chr(int(code, 16)), "").split(" WITH ")[0]
            script = name.split(" ")[0]
            if script not in SCRIPTS.split() or unicodedata.category(chr(int(code, 16))) not in {
                "Lu",
                "Ll",
                "Lo",
                "So",
            }:
                continue
            bits = np.unpackbits(np.frombuffer(bytes.fromhex(rows), np.uint8)).reshape(16, -1) * np.uint8(255)
            for _ in range(2):
                canvas = Image.new("L", (CANVAS, CANVAS))
                across, down = rng.integers(0, (CANVAS - bits.shape[1] + 1, CANVAS - 16 + 1)).tolist()
                canvas.paste(Image.fromarray(bits), (across, down))
                yield ink(canvas, variety, rng), script, name.replace("CAPITAL ", "").replace("SMALL ", "")

    return thin(draw(), 240, rng)


def _apt(names: str) -> tuple[Package, ...]:
    return tuple(package("apt", f"fonts-{name}") for name in names.split())


def _npm(scope: str, names: str) -> tuple[Package, ...]:
    return tuple(package("npm", f"{scope}/{name}") for name in names.split())


GFS = _apt("""
    gfs-artemisia gfs-baskerville gfs-bodoni-classic gfs-complutum gfs-didot gfs-didot-classic gfs-gazis gfs-neohellenic
    gfs-olga gfs-porson gfs-solomos gfs-theokritos
""")
GEORGIAN_FONTS = _apt("bpg-georgian dejavu-core freefont-ttf")
DEVANAGARI_FONTS = (
    *_apt("deva-extra lohit-deva samyak-deva"),
    *_npm(
        "@fontsource",
        """
        baloo-2 biryani hind inknut-antiqua kalam karma khand martel modak mukta noto-sans-devanagari poppins rajdhani
        teko yantramanav
    """,
    ),
)
SMUFL = _npm(
    "@vexflow-fonts",
    """
        bravura finaleash finalebroadway finalejazz finalemaestro gonville gootville leipzig leland musejazz petaluma
        sebastian
    """,
)
# In the order of their kinds: handwriting, serif, sans-serif, monospace, display.
LATIN = _npm(
    "@fontsource",
    """
    caveat indie-flower shadows-into-light patrick-hand handlee gochi-hand architects-daughter gloria-hallelujah
    covered-by-your-grace reenie-beanie permanent-marker rock-salt sacramento great-vibes pacifico satisfy cookie
    damion courgette yellowtail marck-script homemade-apple cedarville-cursive sue-ellen-francisco mansalva
    merriweather lora playfair-display bitter crimson-text libre-baskerville cardo cormorant-garamond spectral tinos
    roboto-slab zilla-slab arvo rokkitt domine alegreya volkhov unna gelasio fraunces literata newsreader rufina
    esteban ovo montserrat oswald raleway nunito rubik work-sans mulish barlow titillium-web josefin-sans exo-2
    heebo manrope dm-sans archivo overpass oxygen asap signika questrial maven-pro roboto-mono source-code-pro
    space-mono ibm-plex-mono fira-mono cousine ubuntu-mono overpass-mono share-tech-mono dm-mono red-hat-mono
    azeret-mono victor-mono lekton pt-mono vt323 spline-sans-mono kode-mono sometype-mono fragment-mono lobster
    bangers abril-fatface alfa-slab-one righteous bungee black-ops-one monoton audiowide creepster
    fredericka-the-great special-elite orbitron press-start-2p graduate cinzel-decorative uncial-antiqua
    unifrakturcook nosifer rammetto-one luckiest-guy titan-one sigmar-one bowlby-one-sc iceland
""",
)
TELUGU_FONTS = (
    *_apt("lohit-telu teluguvijayam"),
    *_npm("@fontsource", "hind-guntur noto-sans-telugu noto-serif-telugu tiro-telugu"),
)
KHMER_FONTS = _npm(
    "@fontsource",
    """
    angkor battambang bayon bokor chenla content dangrek fasthand freehand hanuman kantumruy-pro koulen moul moulpali
    noto-sans-khmer noto-serif-khmer odor-mean-chey preahvihear siemreap suwannaphum taprom
""",
)
TAMIL_FONTS = (
    *_apt("lohit-taml samyak-taml taml-tscu"),
    *_npm(
        "@fontsource",
        """
        anek-tamil arima baloo-thambi-2 catamaran coiny hind-madurai kavivanar mukta-malar noto-sans-tamil
        noto-serif-tamil pavanam
    """,
    ),
)
MATH_FONTS = _apt("dejavu-core freefont-ttf stix symbola texgyre-math")
SIGN_FONTS = (*MATH_FONTS, *_apt("firacode hack jetbrains-mono opensymbol sil-charis"))
BRAILLE_FONTS = _apt("agave cascadia-code dejavu-core freefont-ttf symbola")
UNIFONT = package("apt", "unifont")
GLYPHS = (
    ZooSet(
        "music_signs",
        "Forty musical signs (clefs, rests, flags, dynamics), grey. Groups: families of fonts",
        SMUFL,
        letters(SMUFL, MUSIC, 32, Variety(turn=5, size=0.75, shift=0.06, blur=0.02, noise=20, ink="any"), 8, 4),
        "medium", 1, (3, 1, 1, 0), lot=2,
    ),
    ZooSet(
        "greek_letters",
        "Small Greek letters in the faces of one foundry, old and new, small, grey. Groups: families of fonts",
        GFS,
        letters(GFS, one_by_one(GREEK), 20, Variety(turn=8, size=0.75, shift=0.06, blur=0.03, noise=20), 8, 3),
        "medium", 1, (4, 1, 1, 0), lot=2,
    ),
    ZooSet(
        "georgian_letters",
        "Georgian letters, round and alike, noisy, grey. Groups: families of fonts",
        GEORGIAN_FONTS,
        letters(
            GEORGIAN_FONTS, one_by_one(GEORGIAN), 24, Variety(turn=6, size=0.75, shift=0.06, noise=35, ink="any"), 4, 3,
        ),
        "medium", 1, lot=2,
    ),
    ZooSet(
        "devanagari_letters",
        "Devanagari letters, which differ in small strokes below one bar, grey. Groups: families of fonts",
        DEVANAGARI_FONTS,
        letters(
            DEVANAGARI_FONTS, one_by_one(DEVANAGARI), 28, Variety(turn=5, size=0.8, blur=0.02, noise=15), 5, 2,
            subset="devanagari",
        ),
        "medium", 1, lot=2,
    ),
    ZooSet(
        "typed_signs",
        "Signs of the keyboard and of print (&, @, %, §, €, …), in two colours each. Groups: families of fonts",
        LATIN,
        letters(
            LATIN, one_by_one(SIGNS), 20, Variety(turn=12, size=0.7, shift=0.08, blur=0.03, noise=25, ink="colour"), 3,
            1, probes=PROBES,
        ),
        "easy", 3, lot=2,
    ),
    ZooSet(
        "font_kinds",
        "Random words of four letters; the class is the font's kind (serif, handwriting, …). Groups: families of fonts",
        LATIN, kinds_of_font(LATIN, 40), "hard", 1, lot=2,
    ),
    ZooSet(
        "mirrored_letters",
        "Capital letters, grey; the two classes are as it is and mirrored. Groups: families of fonts",
        LATIN, mirrored(LATIN, 16), "medium", 1, lot=2,
    ),
    ZooSet(
        "pixel_scripts",
        "Letters of 16 pixels in one font; the class is the script (Arabic, Cherokee, Thai, …). Groups: letters",
        (UNIFONT,), scripts, "hard", 1, lot=2,
    ),
    ZooSet(
        "telugu_letters",
        "Telugu letters, round and alike, grey. Groups: families of fonts",
        TELUGU_FONTS,
        letters(
            TELUGU_FONTS, one_by_one(TELUGU), 24, Variety(turn=5, size=0.8, blur=0.02, noise=20), 5, 2, subset="telugu",
        ),
        "hard", 1, lot=3,
    ),
    ZooSet(
        "khmer_letters",
        "Khmer consonants in plain and ornate faces, large, grey. Groups: families of fonts",
        KHMER_FONTS,
        letters(
            KHMER_FONTS, one_by_one(KHMER), 36, Variety(turn=5, size=0.75, shift=0.06, noise=15, ink="any"), 10, 1,
            subset="khmer",
        ),
        "hard", 1, (4, 1, 1, 4), lot=3,
    ),
    ZooSet(
        "tamil_letters",
        "Tamil letters in two colours each. Groups: families of fonts",
        TAMIL_FONTS,
        letters(
            TAMIL_FONTS, one_by_one(TAMIL), 28,
            Variety(turn=8, size=0.75, shift=0.06, blur=0.02, noise=20, ink="colour"), 14, 1, subset="tamil",
        ),
        "medium", 3, lot=3,
    ),
    ZooSet(
        "math_signs",
        "Mathematical signs (sums, relations, sets), many of which differ in one stroke, grey. Groups: families of "
        "fonts",
        SIGN_FONTS,
        letters(
            SIGN_FONTS, one_by_one(MATHEMATICAL), 20, Variety(turn=6, size=0.75, shift=0.06, blur=0.03, noise=25), 4, 2,
        ),
        "medium", 1, lot=3,
    ),
    ZooSet(
        "math_alphabets",
        "Letters of mathematical alphabets, grey; the class is the style (bold, script, fraktur, …). Groups: letters",
        MATH_FONTS, math_alphabets, "medium", 1, lot=3,
    ),
    ZooSet(
        "braille_dots",
        "Braille cells in two colours each; the class is the number of dots, 2 to 6. Groups: patterns of dots",
        BRAILLE_FONTS, braille_dots, "medium", 3, lot=3,
    ),
)  # fmt: skip
