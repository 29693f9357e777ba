"""All sets of the zoo, by name."""

from benchmarks.zoo.alphabets import ALPHABETS
from benchmarks.zoo.diagrams import DIAGRAMS
from benchmarks.zoo.emblems import EMBLEMS
from benchmarks.zoo.games import GAMES
from benchmarks.zoo.generated import GENERATED
from benchmarks.zoo.glyphs import GLYPHS
from benchmarks.zoo.letters import LETTERS
from benchmarks.zoo.measured import MEASURED
from benchmarks.zoo.photographs import PHOTOGRAPHS
from benchmarks.zoo.pictures import PICTURES
from benchmarks.zoo.scans import SCANS
from benchmarks.zoo.signs import SIGNS
from benchmarks.zoo.sprites import SPRITES
from benchmarks.zoo.tuned import TUNED
from benchmarks.zoo.vectors import VECTORS

_ALL = (
    *LETTERS,
    *VECTORS,
    *PICTURES,
    *SCANS,
    *TUNED,
    *GLYPHS,
    *SPRITES,
    *DIAGRAMS,
    *SIGNS,
    *GENERATED,
    *ALPHABETS,
    *GAMES,
    *MEASURED,
    *EMBLEMS,
    *PHOTOGRAPHS,
)
ZOO = {entry.name: entry for entry in sorted(_ALL, key=lambda entry: entry.name)}
