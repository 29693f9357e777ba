"""The first sentences of a diagnosis: how many points lie between training and test, and what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10

from heldout.diagnosis.gap.budget import (
    Bounds,
    Gap,
    Term,
    accuracy_of,
    chosen_pixels,
    counts_of,
    includes_0,
    late_epoch_by_accuracy,
    late_epoch_by_loss,
)
from heldout.diagnosis.thresholds import MIN_WHOLE_POINTS
from heldout.statistics.intervals import newcombe_interval
from heldout.stored.gap import PixelsUndone, StoredGap
from heldout.words import percent
from heldout.words.labels import TERMS

# What widens the gap to new images, by the finding that it belongs to.
_CAUSES: Mapping[str, str] = {
    "memorised_noise": "memorized labels",
    "label_noise": "wrong training labels",
    "collapsed_class": "a class that the network does not know",
    "class_imbalance": "classes with few or no training images",
    "overfitting": "memorized training images",
    "too_little_data": "too few training images",
    "overconfidence": "too much confidence in wrong answers",
}
_HIDE = ("copies_in_validation", "label_order", "pixel_values", "copies_in_test")
# What is wrong with the pixels of test.
_PIXELS = {
    "scale": "another scale",
    "inversion": "inverted",
    "channel_order": "swapped color channels",
    "brightness": "another brightness or contrast",
}


@dataclass(frozen=True)
class Part:
    """What is said of some terms.

    value: in points, or nats. half: of its interval's width; None where it may be chance. hides: whether it makes test
    look better than it is, where it narrows the gap.
    """

    phrase: str
    value: float
    half: float | None
    hides: bool = False

    def with_verb(self, verb: str) -> str:
        """`a different test set costs`, `copies in test cost`."""
        is_one = self.phrase.startswith(("a ", "the ", "training "))
        first, *others = verb.split(" ")
        return " ".join([self.phrase, f"{first}s" if is_one else first, *others])


def lead_of(gap: Gap, stored: StoredGap, *, by_loss: bool) -> str:
    """The budget in a sentence or two; that of the loss after that of accuracy, where it gives the verdict."""
    accuracy = _about_accuracy(gap, stored)
    return f"{accuracy} {_about_loss(gap, stored)}" if by_loss else accuracy


def training_comes_first(gap: Gap) -> str:
    """Why a fault of training is the verdict, whatever the parts of the gap are."""
    return (
        f"The network answers only {percent(accuracy_of(gap.train))} of its training images correctly, so training has "
        "to be fixed first."
    )


def _about_accuracy(gap: Gap, stored: StoredGap) -> str:
    points = 100 * gap.accuracy
    unit = 1.0 if abs(points) >= MIN_WHOLE_POINTS else 1 / 10
    parts = _parts([(one, 100 * one.accuracy, _scaled(one.accuracy_interval)) for one in gap.terms], stored, False)
    train, test = percent(accuracy_of(gap.train)), percent(accuracy_of(gap.test))
    shown = _Shown.of(points, parts, unit)
    if not any(part.half is not None for part, _ in shown.parts):
        return _about_chance(gap)
    if not shown.hiding and shown.steps > 0 and shown.chance >= 0:
        return f"Of {shown.whole} points between training and test, {shown.widening()}."
    side = f"{shown.whole} points {'below' if shown.steps > 0 else 'above'}" if shown.steps else "the same as"
    start = f"Test accuracy ({test}) is {side} training accuracy ({train})"
    return f"{start}: {shown.balance() if shown.costs or shown.total > 0 else shown.surplus()}."


def _about_chance(gap: Gap) -> str:
    """No term is surely there."""
    train, test = percent(accuracy_of(gap.train)), percent(accuracy_of(gap.test))
    if train == test:
        return f"Training and test accuracy are the same ({test})."
    start = f"Training accuracy is {train} and test accuracy {test}"
    if includes_0(newcombe_interval(counts_of(gap.train), counts_of(gap.test))):
        return f"{start}: the difference is small enough to be chance."
    return f"{start}: the difference is more than chance, but there are too few images to say what causes it."


def _about_loss(gap: Gap, stored: StoredGap) -> str:
    parts = _parts([(one, one.loss, one.loss_interval) for one in gap.terms], stored, True)
    size = abs(gap.loss) or max(abs(one.loss) for one in gap.terms)
    shown = _Shown.of(gap.loss, parts, 10 ** (floor(log10(size)) - 1))
    trained, tested = (f"{loss:.{shown.decimals + 1}f}" for loss in (gap.train.loss, gap.test.loss))
    start = f"But the loss is {trained} on training images and {tested} on test images"
    if shown.hiding or shown.total <= 0:
        return f"{start}."
    if shown.chance < 0:
        return f"{start}: {shown.balance(in_points=False)}."
    return f"{start}. Of this difference of {shown.whole}, {shown.widening()}."


def _parts(terms: Sequence[tuple[Term, float, Bounds | None]], stored: StoredGap, of_loss: bool) -> list[Part]:
    """A part for each term that is surely there; all that may be chance is one."""
    found, chance = [], 0.0
    for term, value, interval in terms:
        if includes_0(interval):
            chance += value
        else:
            assert interval is not None
            half = (interval[1] - interval[0]) / 2
            found.append(Part(_phrase_of(term, value, stored, of_loss), value, half, term.code in _HIDE))
    return [*found, Part("unexplained", chance, None)]


def _phrase_of(term: Term, value: float, stored: StoredGap, of_loss: bool) -> str:
    """The term's name, and in parentheses what is behind it: `the gap to new images (too few training images)`."""
    detail = None
    if term.code == "late_epochs":
        best = late_epoch_by_loss(stored) if of_loss else late_epoch_by_accuracy(stored)
        detail = None if best is None else f"the best epoch by {'loss' if of_loss else 'accuracy'} was {best.epoch}"
    elif term.code == "pixel_values" and stored.pixels is not None:
        detail = _kind_of_light(stored.pixels) or _PIXELS.get(chosen_pixels(stored.pixels))
    elif term.code == "split_difference" and term.finding == "label_order_mismatch":
        detail = TERMS["label_order"].phrase
    elif term.code == "generalisation" and value > 0:
        detail = _CAUSES.get(term.finding or "")
    phrase = TERMS[term.code].phrase
    return phrase if detail is None else f"{phrase} ({detail})"


def _kind_of_light(pixels: PixelsUndone) -> str | None:
    """`brighter` if undoing it makes all pixels darker, or `darker`; None where some get darker, and others lighter."""
    signs = set[str | None]()
    for choice, numbers in zip(pixels.choices, pixels.parameters, strict=True):
        if choice == "brightness":
            factor, offset = numbers.get("factor", 1.0), numbers.get("offset", 0.0)
            darkens, lightens = factor < 1 or offset < 0, factor > 1 or offset > 0
            signs.add(None if darkens == lightens else "brighter" if darkens else "darker")
    return signs.pop() if len(signs) == 1 else None


def _scaled(bounds: Bounds | None) -> Bounds | None:
    return None if bounds is None else (100 * bounds[0], 100 * bounds[1])


@dataclass(frozen=True)
class _Shown:
    """Figures as they are printed: parts are rounded together, so that they add up to the rounded whole."""

    steps: int
    parts: list[tuple[Part, int]]
    unit: float

    @classmethod
    def of(cls, whole: float, parts: Sequence[Part], unit: float) -> "_Shown":
        steps = apportioned([part.value / unit for part in parts], round(whole / unit))
        shown = [(part, count) for part, count in zip(parts, steps, strict=True) if count]
        return cls(round(whole / unit), sorted(shown, key=lambda pair: (pair[0].half is None, -abs(pair[1]))), unit)

    @property
    def whole(self) -> str:
        return self.number(self.steps)

    @property
    def costs(self) -> list[tuple[Part, int]]:
        """What surely widens the gap."""
        return [(part, count) for part, count in self.parts if count > 0 and part.half is not None]

    @property
    def hiding(self) -> list[tuple[Part, int]]:
        """What surely narrows the gap."""
        return [(part, count) for part, count in self.parts if count < 0 and part.half is not None]

    @property
    def total(self) -> int:
        """The whole without what narrows it, in units."""
        return sum(count for _, count in self.parts) - sum(count for _, count in self.hiding)

    @property
    def chance(self) -> int:
        """What may be chance, in units."""
        return next((count for part, count in self.parts if part.half is None), 0)

    def widening(self) -> str:
        """`49 are the gap to new images and 6 a different test set; ±4 may be chance`. Nothing is below 0."""
        said = list[str]()
        for part, count in self.parts:
            if count > 0:
                verb = "" if said else " is" if self.number(count) == "1" else " are"
                said.append(f"{self.number(count)}{verb} {part.phrase}")
        if len(self.parts) == 1:
            said = [f"all are {self.parts[0][0].phrase}"]
        return f"{_listed(said)}{self._uncertainty(self.costs)}"

    def balance(self, *, in_points: bool = True) -> str:
        """`the gap to new images costs 22 points, but copies in test hide 4; ±3 may be chance`.

        Parts that may be chance and narrow the gap: `but 2 are won back, which may be chance`.
        """
        lost = [] if self.costs else [f"chance may cost {self._points(self.chance)}"]
        for part, count in self.costs:
            lost.append(
                f"{part.with_verb('cost')} {self._points(count) if in_points and not lost else self.number(count)}"
            )
        if self.costs and self.chance > 0:
            lost.append(f"{self._these(self.chance)} unexplained")
        back = [
            f"{part.with_verb('hide' if part.hides else 'make up for')} {self.number(count)}"
            for part, count in self.hiding
        ]
        if self.chance < 0:
            back.append(f"{self._these(self.chance)} won back, which may be chance")
        but = f", but {_listed(back)}" if back else ""
        is_told = self.chance < 0 or not self.costs
        return f"{_listed(lost)}{but}{'' if is_told else self._uncertainty([*self.costs, *self.hiding])}"

    def surplus(self) -> str:
        """`a different test set accounts for 7 of them, and 2 may be chance`. Nothing widens the gap."""
        said = list[str]()
        for part, count in self.hiding:
            of_them = "" if said else " of them"
            shown = "all" if count == self.steps else self.number(count)
            said.append(f"{part.with_verb('account for')} {shown}{of_them}")
        return _listed(said) + (f", and {self.number(self.chance)} may be chance" if self.chance else "")

    def _uncertainty(self, parts: Sequence[tuple[Part, int]]) -> str:
        """By how much the figure of the least certain part may be chance."""
        steps = max(1, round(max(part.half or 0.0 for part, _ in parts) / self.unit))
        return f"; ±{self.number(steps)} may be chance"

    def _these(self, count: int) -> str:
        """`1 is`, `2.1 are`."""
        return f"{self.number(count)} {'is' if self.number(count) == '1' else 'are'}"

    def number(self, count: int) -> str:
        """So many units, without a sign."""
        return f"{abs(count) * self.unit:.{self.decimals}f}"

    def _points(self, count: int) -> str:
        """`1 point`, `2 points`, `1.0 points`."""
        return f"{self.number(count)} {'point' if self.number(count) == '1' else 'points'}"

    @property
    def decimals(self) -> int:
        return max(0, -floor(log10(self.unit)))


def apportioned(parts: Sequence[float], whole: int) -> list[int]:
    """Parts rounded to whole numbers that add up to `whole`, each up or down (the largest remainders go up)."""
    steps = [floor(part) for part in parts]
    upwards = sorted(range(len(parts)), key=lambda place: steps[place] - parts[place])
    for place in upwards[: max(0, whole - sum(steps))]:
        steps[place] += 1
    return steps


def _listed(things: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(things[:-1]), things[-1]] if len(things) > 1 else things)
