"""Sets of letters, digits and words, drawn from fonts; a group is a family of fonts."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import ImageFont
from scipy.spatial.distance import cdist

from benchmarks.zoo.drawing import Variety, draw_text, ink
from benchmarks.zoo.packages import Package, files_of, package
from benchmarks.zoo.sets import Sample, ZooSet, thin

HEIGHT = 64  # pixels, of the letters before they are made small
COPIED = 0.045  # mean difference of two fonts' letters, of full ink, below which one is copied from the other
UNKNOWN = "\U0010fffe"  # no font has it
FOUNDRIES = {"gfs", "bpg", "ethiopia", "ethiopic"}  # first words of names that do not identify the family


def fonts_of(packages: Sequence[Package], per_family: int, subset: str = "latin") -> list[tuple[str, Path]]:
    """Family and file of each face that Pillow can read, at most this many of a family.

    A family is what shares the first word of its name ("DejaVu Sans", "DejaVu Serif"): coarse, so that close relatives
    never lie in two splits.

    Args:
        subset: which file of a font is read if its package has one for each script.
    """
    found: list[tuple[str, Path]] = []
    count: Counter[str] = Counter()
    for file in (file for one in packages for file in _faces(one, subset)):
        try:
            name = ImageFont.truetype(file, 16).getname()[0] or file.stem
        except OSError:
            continue
        first, *others = name.replace("-", " ").lower().split()
        family = others[0] if others and first in FOUNDRIES else first
        count[family] += 1
        if count[family] <= per_family:
            found.append((family, file))
    return found


def _faces(one: Package, subset: str) -> list[Path]:
    by_script = f"package/files/*-{subset}-[47]00-normal.woff"
    return files_of(one, by_script if one.name.startswith("@fontsource/") else "**/*.[ot]tf")


def without_twins(faces: Sequence[tuple[str, ImageFont.FreeTypeFont]], texts: Sequence[str]) -> list[str]:
    """The family of each face, or that of an earlier one with nearly the same letters: many fonts are copied."""
    rng, plain = np.random.default_rng(0), Variety(size=1, shift=0)
    shown = texts[:: max(1, len(texts) // 9)]
    sketches = np.stack(
        [np.concatenate([np.ravel(draw_text(font, text, 24, plain, rng)) for text in shown]) for _, font in faces]
    ).astype(np.float32)
    near = cdist(sketches, sketches, "cityblock") / (255 * sketches.shape[1]) < COPIED
    families = [family for family, _ in faces]
    for first, second in np.argwhere(np.triu(near, 1)):
        families = [families[first] if family == families[second] else family for family in families]
    return families


def drawable(font: ImageFont.FreeTypeFont, texts: Iterable[str]) -> list[str]:
    """Those of the texts that the font has, and draws differently from each other."""
    unknown = bytes(font.getmask(UNKNOWN))
    masks: dict[str, bytes] = {}
    for text in texts:
        mask = bytes(font.getmask(text))
        if any(mask) and mask != unknown and all(bytes(font.getmask(sign)) != unknown for sign in text):
            masks[text] = mask
    times = Counter(masks.values())
    return [text for text, mask in masks.items() if times[mask] == 1]


def letters(
    packages: Sequence[Package],
    classes: dict[str, str],
    side: int,
    variety: Variety,
    times: int,
    per_family: int = 3,
    per_class: int = 100_000,
    ratio: float = 1,
    probes: str = "",
    subset: str = "latin",
) -> Callable[[np.random.Generator], list[Sample]]:
    """How to make a set with a class for each text, drawn several times with each font.

    Args:
        classes: name of each class to its text.
        per_family: fonts of one family, at most. per_class, ratio: see `thin`.
        probes: letters by which copied fonts are noticed, if those of the classes are too plain.
        subset: see `fonts_of`.
    """

    def make(rng: np.random.Generator) -> list[Sample]:
        return thin(draw(rng), per_class, rng, ratio)

    def draw(rng: np.random.Generator) -> Iterator[Sample]:
        faces = []
        for family, file in fonts_of(packages, per_family, subset):
            font = ImageFont.truetype(file, HEIGHT, layout_engine=ImageFont.Layout.BASIC)
            try:
                known = set(drawable(font, classes.values()))
            except OSError:
                continue
            if len(known) >= 0.6 * len(classes):
                faces.append((family, font, known))
        families = without_twins([(family, font) for family, font, _ in faces], list(probes or classes.values()))
        for family, (_, font, known) in zip(families, faces, strict=True):
            for name, text in classes.items():
                for _ in range(times if text in known else 0):
                    yield ink(draw_text(font, text, side, variety, rng), variety, rng), name, family

    return make


def words(packages: Sequence[Package], side: int) -> Callable[[np.random.Generator], Iterator[Sample]]:
    """How to make a set of short random words; the class is the face: regular, bold, italic or both."""
    styles = {
        "Regular": "regular", "Book": "regular", "Roman": "regular", "Bold": "bold", "Italic": "italic",
        "Oblique": "italic", "Bold Italic": "bold italic", "Bold Oblique": "bold italic", "BoldItalic": "bold italic",
    }  # fmt: skip

    def make(rng: np.random.Generator) -> Iterator[Sample]:
        variety = Variety(size=0.9, shift=0.03, noise=20, ink="any")
        faces = []
        for family, file in fonts_of(packages, 12):
            font = ImageFont.truetype(file, HEIGHT, layout_engine=ImageFont.Layout.BASIC)
            if font.getname()[1] in styles and drawable(font, "ae"):
                faces.append((family, font))
        for family, (_, font) in zip(without_twins(faces, PROBES), faces, strict=True):
            style = styles[font.getname()[1] or ""]
            for _ in range(14):
                text = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 4))
                yield ink(draw_text(font, text, side, variety, rng), variety, rng), style, family

    return make


def one_by_one(text: str) -> dict[str, str]:
    """A class for each sign, named by the sign and its code."""
    return {f"{sign} U+{ord(sign):04X}": sign for sign in text}


def _packages(*patterns: str) -> tuple[Package, ...]:
    return tuple(package("apt", f"fonts-{name}") for name in " ".join(patterns).split())


PLAIN = """
    dejavu-core liberation lato open-sans roboto-unhinted inter cantarell comfortaa dosis ebgaramond fanwood
    lobstertwo quicksand play vollkorn yanone-kaffeesatz oldstandard linuxlibertine junicode sil-gentiumplus
    sil-charis sil-andika cabin jura hack firacode inconsolata jetbrains-mono anonymous-pro courier-prime tuffy sora
    national-park cmu goudybookletter lindenhill prociono essays1743 league-spartan opendyslexic cascadia-code go b612
    karla quattrocento comic-neue clear-sans averia-sans-gwf averia-serif-gwf tiresias paratype freefont-ttf
    sil-galatia fantasque-sans league-mono hermit agave adf-accanthis adf-baskervald adf-berenis adf-gillius
    adf-ikarius adf-irianis adf-libris adf-mekanus adf-oldania adf-romande adf-switzera adf-tribun adf-universalis
    adf-verana
"""
FANCY = """
    dustin georgewilliams sjfonts isabella gamaliel blankenburg roadgeek tomsontalks staypuft summersby engadget
    radisnoir okolaks ocr-a ocr-b ubuntu-title
"""
BY_HAND = """
    sjfonts breip bwht dkg-handwriting femkeklaver humor-sans kristi rufscript dancingscript kaushanscript
    ecolier-court comic-neue tomsontalks dustin georgewilliams
"""
HEBREW = "culmus culmus-fancy sil-ezra noto-core ldco freefont-ttf dejavu-core"
ARABIC = """
    arabeyes kacst-one hosny-amiri hosny-thabit farsiweb freefarsi sil-scheherazade sil-lateef sil-harmattan lemonada
    paktype sahel vazirmatn ukij-uyghur noto-core dejavu-core
"""
THAI = """
    tlwg-garuda-ttf tlwg-kinnari-ttf tlwg-laksaman-ttf tlwg-loma-ttf tlwg-mono-ttf tlwg-norasi-ttf tlwg-purisa-ttf
    tlwg-sawasdee-ttf tlwg-typewriter-ttf tlwg-typist-ttf tlwg-typo-ttf tlwg-umpush-ttf tlwg-waree-ttf arundina
    noto-core
"""
JAPANESE = """
    ipaexfont-gothic ipaexfont-mincho vlgothic horai-umefont sawarabi-gothic sawarabi-mincho konatu kiloji seto
    aoyagi-kouzan-t aoyagi-soseki kouzan-mouhitsu klee reggae rocknroll stick yusei-magic dotgothic16 dejima-mincho
    oradano-mincho-gsrr yozvox-yozfont mplus motoya-l-cedar motoya-l-maruberi
"""
KOREAN = "nanum nanum-extra unfonts-core unfonts-extra baekmuk alee woowa-bm"

CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
ACCENTED = "aàáâãäåāăąạảǎ"
PROBES = "abdefgqrs"
LOOKALIKES = "Il1|i!jtfJ"
ARABIC_LETTERS = "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"
HEBREW_LETTERS = "אבגדהוזחטיכךלמםנןסעפףצץקרשת"
THAI_LETTERS = "กขคฆงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรลวศษสหฬอฮ"
KANA = "かがきぎくぐけげこごさざしじすずせぜそぞただちぢつづてでとどはばぱひびぴふぶぷへべぺほぼぽ"
TWINS = "土士未末日曰己已巳入人八大太犬千干于王玉主午牛天夫矢失田由甲申目且刀力木本石右鳥烏微徴績積侍待"
HANGUL = "가갸거겨고교구규그기나냐너녀노뇨누뉴느니다댜더뎌도됴두듀드디마머모무바버보부사서"

LETTERS = (
    ZooSet(
        "latin_capitals",
        "Capital letters A to Z, grey. Groups: font families, plain, decorative and odd ones",
        _packages(PLAIN, FANCY, "aenigma"),
        letters(_packages(PLAIN, FANCY, "aenigma"), one_by_one("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 28, Variety(turn=6), 1),
        "medium",
        1,
        (5, 1, 1, 3),
    ),
    ZooSet(
        "cyrillic_letters",
        "Small Cyrillic letters, turned a little and noisy, grey. Groups: font families",
        _packages(PLAIN),
        letters(
            _packages(PLAIN), one_by_one(CYRILLIC), 24,
            Variety(turn=8, size=0.75, shift=0.08, noise=20, ink="any"), 18, 4, per_class=1_870,
        ),
        "easy",
        1,
        (6, 1, 1, 2),
    ),
    ZooSet(
        "accented_a",
        "The letter a with and without twelve different accents, grey. Groups: font families",
        _packages(PLAIN),
        letters(_packages(PLAIN), one_by_one(ACCENTED), 32, Variety(turn=4, size=0.8, blur=0.02, noise=10), 4),
        "medium",
        1,
        (4, 1, 1, 4),
    ),
    ZooSet(
        "lookalike_strokes",
        "Ten signs that are little more than a stroke (I, l, 1, |, i, …), tiny and blurred, grey. Groups: families",
        _packages(PLAIN, FANCY),
        letters(
            _packages(PLAIN, FANCY), one_by_one(LOOKALIKES), 10,
            Variety(turn=8, size=0.7, shift=0.1, blur=0.06, noise=25, ink="any"), 3, probes=PROBES,
        ),
        "hard",
        1,
        (4, 1, 1, 4),
    ),
    ZooSet(
        "arabic_letters",
        "Arabic letters, many of which differ in dots alone, grey. Groups: font families",
        _packages(ARABIC),
        letters(_packages(ARABIC), one_by_one(ARABIC_LETTERS), 32, Variety(turn=5, size=0.8), 2, 4),
        "medium",
        1,
    ),
    ZooSet(
        "hebrew_letters",
        "Hebrew letters, small and noisy, grey. Groups: font families",
        _packages(HEBREW),
        letters(
            _packages(HEBREW), one_by_one(HEBREW_LETTERS), 16,
            Variety(turn=5, size=0.75, blur=0.05, noise=35, ink="any"),
            3, 4,
        ),
        "medium",
        1,
        (5, 1, 1, 3),
    ),
    ZooSet(
        "thai_letters",
        "Thai consonants, which differ in small loops and tails, tiny, grey. Groups: font families",
        _packages(THAI),
        letters(_packages(THAI), one_by_one(THAI_LETTERS), 20, Variety(turn=6, size=0.8, blur=0.04, noise=20), 3, 4),
        "hard",
        1,
        (5, 2, 2, 0),
    ),
    ZooSet(
        "kana_marks",
        "Hiragana with no mark, two strokes or a ring, in colour. Groups: font families",
        _packages(JAPANESE),
        letters(
            _packages(JAPANESE), one_by_one(KANA), 28,
            Variety(turn=5, size=0.8, blur=0.04, noise=20, ink="colour"), 3, 2,
        ),
        "medium",
        3,
    ),
    ZooSet(
        "kanji_twins",
        "Pairs and triples of kanji that differ in one stroke or its length, grey. Groups: font families",
        _packages(JAPANESE),
        letters(_packages(JAPANESE), one_by_one(TWINS), 40, Variety(turn=4, size=0.85, blur=0.02), 2, 2),
        "medium",
        1,
    ),
    ZooSet(
        "hangul_syllables",
        "Korean syllables that differ in one short stroke, few of each, grey. Groups: font families",
        _packages(KOREAN),
        letters(_packages(KOREAN), one_by_one(HANGUL), 48, Variety(turn=8, size=0.7, shift=0.12, ink="any"), 1, 2),
        "medium",
        1,
    ),
    ZooSet(
        "printed_digits",
        "Printed digits in all colours, tiny, noisy, classes up to 1:50. Groups: font families",
        _packages(PLAIN, FANCY),
        letters(
            _packages(PLAIN, FANCY), one_by_one("0123456789"), 16,
            Variety(turn=12, size=0.7, shift=0.1, blur=0.04, noise=25, ink="colour"), 5, per_class=600, ratio=50,
        ),
        "medium",
        3,
    ),
    ZooSet(
        "handwritten_digits",
        "Digits of fonts drawn by hand, few, grey. Groups: font families",
        _packages(BY_HAND),
        letters(_packages(BY_HAND), one_by_one("0123456789"), 28, Variety(turn=15, size=0.8, shift=0.08), 2),
        "medium",
        1,
    ),
    ZooSet(
        "type_styles",
        "Random words of four letters; the class is the style: regular, bold, italic or both. Groups: font families",
        _packages(PLAIN),
        words(_packages(PLAIN), 48),
        "hard",
        1,
    ),
)  # fmt: skip
