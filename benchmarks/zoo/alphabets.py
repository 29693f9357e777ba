"""Sets of the fifth lot that are drawn from fonts: letters of further scripts, tones, forms, and strokes."""

from benchmarks.zoo.drawing import Variety
from benchmarks.zoo.letters import letters, one_by_one
from benchmarks.zoo.packages import package
from benchmarks.zoo.sets import ZooSet

GUJARATI = "અઆઇઈઉઊએઐઓઔકખગઘચછજઝઞટઠડઢણતથદધનપફબભમયરલળવશષસહ"
MALAYALAM = "അആഇഈഉഎഏഒഓകഖഗഘങചഛജഝഞടഠഡഢണതഥദധനപഫബഭമയരറലളഴവശഷസഹ"

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
)  # fmt: skip
