"""The first text that people read of a diagnosis, 80 times: `python -m benchmarks.verdict_texts` writes the page.

The texts are those of real trainings: of the zoo's first lot and, for verdicts that these lack, of the collection that
the first rules were made with. No training shows which pixels a model expects, and the sets have no columns; those six
are constructed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from benchmarks.diagnosis.record import read_all
from benchmarks.zoo.draw import sets_of_lot
from benchmarks.zoo.record import read_set
from heldout.diagnosis import Evaluation, History, diagnose
from heldout.diagnosis.evaluation import SplitFigures
from heldout.stored.evaluation import StoredColumn, StoredGroup, StoredIntervention
from heldout.stored.results import Preprocessing
from heldout.words.labels import VERDICT_NAMES

PAGE = Path(__file__).resolve().parents[1] / "docs/explanation/verdicts.md"
COUNT = 80


class Text(NamedTuple):
    """The headline and summary of one training's diagnosis."""

    verdict: str
    headline: str
    summary: str


def choose(found: Iterable[Text]) -> list[Text]:
    """Pick `COUNT` different texts, spread evenly over the verdicts and sorted by verdict."""
    by_verdict: dict[str, dict[Text, None]] = {verdict: {} for verdict in VERDICT_NAMES}
    for text in found:
        by_verdict[text.verdict].setdefault(text)
    # Different headlines first: summaries differ by their figures alone.
    queues = {verdict: _spread(list(different)) for verdict, different in by_verdict.items()}
    chosen: dict[str, list[Text]] = {verdict: [] for verdict in queues}
    while sum(map(len, chosen.values())) < COUNT and any(queues.values()):
        for verdict, queue in queues.items():
            if queue and sum(map(len, chosen.values())) < COUNT:
                chosen[verdict].append(queue.pop(0))
    return [text for several in chosen.values() for text in several]


def all_texts() -> Iterator[Text]:
    """One of every kept training of the first lot, and the made ones."""
    for one in sets_of_lot(1):
        for record in read_set(one):
            found = record.diagnosis()
            yield Text(found.verdict, found.headline, found.summary)
    for record in read_all():
        found = record.diagnosis()
        yield Text(found.verdict, found.headline, found.summary)
    yield from _made()


def _made() -> Iterator[Text]:
    """Uploaded models that expect other pixels than they are given, a group that is answered worse, and shortcuts."""
    for kind, words, given, right in (
        ("unit", "pixels from 0 to 1", 0.12, 0.94),
        ("symmetric", "pixels from −1 to 1", 0.31, 0.885),
        ("inverted", "light and dark swapped", 0.004, 0.76),
        ("caffe", "pixels from 0 to 255, less the means of ImageNet", 0.1, 0.999),
    ):
        found = diagnose(
            History(),
            None,
            Evaluation(
                _splits(right),
                tuple("abcdefghij"),
                preprocessing=Preprocessing(
                    kind=kind,
                    reversed_channels=False,
                    factor=(1.0,),
                    offset=(0.0,),
                    value_range=(0, 255),
                    in_words=words,
                ),
                as_given=_splits(given),
            ),
        )
        yield Text(found.verdict, found.headline, found.summary)
    for value, right in (("B", 177), ("night", 121)):
        cameras = (StoredGroup(value="A", count=760, right=707), StoredGroup(value=value, count=240, right=right))
        accuracy = (707 + right) / 1000
        columns = (StoredColumn(name="camera", groups=cameras),)
        splits = {"train": SplitFigures(accuracy, 1000), "validation": SplitFigures(accuracy, 1000, columns=columns)}
        found = diagnose(History(), None, Evaluation(splits))
        yield Text(found.verdict, found.headline, found.summary)
    for what, lost in (("border", 310), ("top left corner", 190)):
        columns = (StoredColumn(name="camera", groups=(), right_by_column=920, right_by_majority=120),)
        tried = StoredIntervention(
            what=what,
            count=1000,
            right=940,
            right_changed=940 - lost,
            right_control=930,
            points=(lost - 10) / 1000,
            interval=((lost - 50) / 1000, (lost + 30) / 1000),
            is_confirmed=True,
        )
        splits = {"train": SplitFigures(0.94, 1000), "test": SplitFigures(0.94, 1000, None, (), columns, (tried,))}
        found = diagnose(History(), None, Evaluation(splits))
        yield Text(found.verdict, found.headline, found.summary)


def _splits(accuracy: float) -> Mapping[str, SplitFigures]:
    return {split: SplitFigures(accuracy, 1000) for split in ("train", "validation", "test")}


def _spread(found: Sequence[Text]) -> list[Text]:
    """One text of each headline without its figures, then a second one of each, and so on."""
    turns: dict[str, int] = {}
    order = []
    for place, text in enumerate(found):
        pattern = re.sub(r"\d[\d,.]*|\"[^\"]*\"", "#", text.headline)
        turns[pattern] = turns.get(pattern, 0) + 1
        order.append((turns[pattern], place, text))
    return [text for _, _, text in sorted(order)]


def grade_of(text: str) -> float:
    """Flesch–Kincaid: the American school grade that reads a text without effort. A number counts as one syllable.

    Source: Kincaid et al. 1975, Derivation of New Readability Formulas for Navy Enlisted Personnel.
    """
    words = re.findall(r"[A-Za-z'’-]+|\d[\d,.]*", text)
    sentences = len(re.findall(r"[.?!](?=\s|$)", text)) or 1
    syllables = sum(map(_syllables, words))
    return 0.39 * len(words) / sentences + 11.8 * syllables / len(words) - 15.59


def _syllables(word: str) -> int:
    """Groups of vowels, without a silent e at the end."""
    plain = re.sub(r"[^a-z]", "", word.lower())
    plain = re.sub(r"(?<=[^aeiouyl])e$|(?<=[^aeioutd])ed$|(?<=[^aeiouscgzx])es$", "", plain)
    return len(re.findall(r"[aeiouy]+", plain)) or 1


def page_of(found: Sequence[Text]) -> str:
    """The page, as Markdown."""
    headline, summary, both = (
        mean(map(grade_of, said))
        for said in (
            [text.headline for text in found],
            [text.summary for text in found],
            [f"{text.headline} {text.summary}" for text in found],
        )
    )
    rows = [
        f"| {VERDICT_NAMES[text.verdict]} | {_cell(text.headline)} | {_cell(text.summary)} | "
        f"{max(0.0, grade_of(f'{text.headline} {text.summary}')):.0f} |"
        for text in found
    ]
    return "\n".join(
        [
            "# What a verdict says",
            "",
            "<!-- Written by `python -m benchmarks.verdict_texts`. -->",
            "",
            "A diagnosis has three layers: a headline (at most 12 words), a summary (at most two sentences and "
            "40 words, with what to do next), and the details. These are",
            f"{len(found)} headlines and summaries, every verdict among them. They are from trainings on the open sets "
            "of the zoo, and of the collection that the first rules were made with. Only",
            f'those of "{VERDICT_NAMES["preprocessing_mismatch"]}", "{VERDICT_NAMES["worst_group"]}" and '
            f'"{VERDICT_NAMES["shortcut_suspected"]}" are made up. '
            "`python -m benchmarks.verdict_texts` writes this page.",
            "",
            f"Reading grade (Flesch–Kincaid, numbers counted as one syllable), on average: headlines {headline:.1f}, "
            f"summaries {summary:.1f}, both together {both:.1f}.",
            "",
            "| verdict | headline | summary | grade |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page_of(choose(all_texts())), encoding="utf-8")
