"""What remedies are called where people read of them: in answers, reports and tables. Pure.

`web/src/words/verdicts.ts` says the same on the dashboard; a test holds both together.
"""

from collections.abc import Mapping, Sequence

# Where the name itself, with spaces for underscores, says too little.
_WORDS: Mapping[str, str] = {
    "l2": "L2 penalty",
    "ema": "averaged weights",
    "batch_norm": "batch normalisation",
    "longer_cosine": "longer training with a cosine",
    "retune": "tuned learning rate",
}


def words_of(name: str) -> str:
    """Of a remedy, a combination, or a client's own patch: `l2+dropout` is `L2 penalty + dropout`."""
    return " + ".join(_WORDS.get(part, part.replace("_", " ")) for part in name.split("+"))


def quoted(name: str) -> str:
    """`label smoothing`: a remedy's words within a sentence."""
    return f'"{words_of(name)}"'


def named(names: Sequence[str]) -> str:
    """`dropout`, `dropout` and `mixup`, `dropout`, `mixup` and `L2 penalty`."""
    words = [quoted(name) for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
