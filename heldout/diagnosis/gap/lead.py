"""The first sentences of a diagnosis: how many points lie between training and test, and what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10

from heldout.diagnosis.gap.budget import Bounds, Gap, Term, TermCode, accuracy_of, chosen_pixels, counts_of, includes_0
from heldout.diagnosis.thresholds import MIN_WHOLE_POINTS
from heldout.diagnosis.words import percent
from heldout.intervals import newcombe_interval
from heldout.stored.gap import PixelsUndone, StoredGap

# What a term is, by the finding that it belongs to; under None if it belongs to none.
_WIDENING: Mapping[TermCode, Mapping[str | None, str]] = {
    "late_epochs": {None: "epochs after the best one"},
    "generalisation": {
        "memorised_noise": "labels learned by heart",
        "label_noise": "wrong training labels",
        "collapsed_class": "a class that the network does not know",
        "class_imbalance": "a class with few training images",
        "overfitting": "memorised training images",
        "too_little_data": "too few training images",
        "overconfidence": "too much confidence in wrong answers",
        None: "the step from training images to unseen ones",
    },
    "copies_in_validation": {None: "copies that flatter validation"},
    "split_difference": {"split_shift": "a test set of another kind", None: "a harder test set"},
    "label_order": {None: "test labels in another order"},
    "copies_in_test": {None: "copies in test that are answered worse"},
}
# What a term is that narrows the gap.
_HIDING: Mapping[TermCode, str] = {
    "late_epochs": "earlier epochs that were worse",
    "generalisation": "validation images that are easier than training images",
    "copies_in_validation": "copies in validation that are answered worse",
    "split_difference": "an easier test set",
    "label_order": "test labels that happen to help",
    "pixel_values": "test pixels that happen to help",
    "copies_in_test": "test images that were trained on",
}
_PIXELS = {
    "scale": "test pixels on another scale",
    "inversion": "inverted test images",
    "channel_order": "swapped colour channels in test",
    "brightness": "a test set of another brightness or contrast",
    "none": "the pixel values of test",
}


@dataclass(frozen=True)
class Part:
    """What is said of some terms. value: in points, or nats. half: of its interval's width; None where it is chance."""

    phrase: str
    value: float
    half: float | None


def lead_of(gap: Gap, stored: StoredGap, *, by_loss: bool) -> str:
    """The budget in a sentence or two; that of the loss after that of accuracy, where it gives the verdict."""
    accuracy = _about_accuracy(gap, stored)
    return f"{accuracy} {_about_loss(gap, stored)}" if by_loss else accuracy


def _about_accuracy(gap: Gap, stored: StoredGap) -> str:
    points = 100 * gap.accuracy
    unit = 1.0 if abs(points) >= MIN_WHOLE_POINTS else 1 / 10
    parts = _parts([(one, 100 * one.accuracy, _scaled(one.accuracy_interval)) for one in gap.terms], stored)
    train, test = percent(accuracy_of(gap.train)), percent(accuracy_of(gap.test))
    shown = _Shown.of(points, parts, unit)
    if not any(part.half is not None for part, _ in shown.parts):
        return _about_chance(gap)
    if not shown.hiding:
        return f"Of {shown.whole} points between training and test, {shown.widening()}."
    side = "below" if shown.steps > 0 else "above"
    compared = (
        f"{shown.whole} points {side} training accuracy ({train})" if shown.steps else f"that of training ({train})"
    )
    without = f"without {_listed([part.phrase for part, _ in shown.hiding])}"
    start = f"Test accuracy ({test}) is {compared}"
    if shown.total <= 0:
        return f"{start}, but would not be {without}."
    if not any(count > 0 and part.half is not None for part, count in shown.parts):
        return f"{start}; {without}, it would be {shown.number(shown.total)} points below, which chance can explain."
    return f"{start}: {shown.widening()}."


def _about_chance(gap: Gap) -> str:
    """No term is surely there."""
    train, test = percent(accuracy_of(gap.train)), percent(accuracy_of(gap.test))
    if train == test:
        return f"Training and test accuracy are the same ({test})."
    start = f"Training accuracy is {train} and test accuracy {test}"
    if includes_0(newcombe_interval(counts_of(gap.train), counts_of(gap.test))):
        return f"{start}: the difference is small enough to be chance."
    return f"{start}, and no single cause of the difference can be told from chance."


def _about_loss(gap: Gap, stored: StoredGap) -> str:
    parts = _parts([(one, one.loss, one.loss_interval) for one in gap.terms], stored)
    size = abs(gap.loss) or max(abs(one.loss) for one in gap.terms)
    shown = _Shown.of(gap.loss, parts, 10 ** (floor(log10(size)) - 1))
    start = f"But the loss is {gap.train.loss:.3g} on training images and {gap.test.loss:.3g} on test images"
    if shown.hiding or shown.total <= 0:
        return f"{start}."
    return f"{start}. Of this difference of {shown.whole}, {shown.widening()}."


def _parts(terms: Sequence[tuple[Term, float, Bounds | None]], stored: StoredGap) -> list[Part]:
    """A part for each term that is surely there; all that may be chance is one."""
    found, chance = [], 0.0
    for term, value, interval in terms:
        if includes_0(interval):
            chance += value
        else:
            assert interval is not None
            found.append(Part(_phrase_of(term, value, stored), value, (interval[1] - interval[0]) / 2))
    return [*found, Part("left to chance", chance, None)]


def _phrase_of(term: Term, value: float, stored: StoredGap) -> str:
    if value < 0:
        return _HIDING[term.code]
    if term.code == "pixel_values" and stored.pixels is not None:
        light = _kind_of_light(stored.pixels)
        return _PIXELS[chosen_pixels(stored.pixels)] if light is None else f"a {light} test set"
    phrases = _WIDENING[term.code]
    return phrases.get(term.finding, phrases[None])


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
        return cls(round(whole / unit), sorted(shown, key=lambda pair: -abs(pair[1])), unit)

    @property
    def whole(self) -> str:
        return self.number(self.steps)

    @property
    def hiding(self) -> list[tuple[Part, int]]:
        """What surely narrows the gap."""
        return [(part, count) for part, count in self.parts if count < 0 and part.half is not None]

    @property
    def total(self) -> int:
        """The whole without what narrows it, in units."""
        return sum(count for _, count in self.parts) - sum(count for _, count in self.hiding)

    def widening(self) -> str:
        """`49 are memorised training images and 6 a brighter test set; ±4 may be chance`.

        What surely narrows the gap follows: `6 points are memorised training images, and 2 are hidden by ...`.
        """
        said, halves, back = list[str](), list[float](), ""
        for part, count in self.parts:
            if count == self.total and not self.hiding:
                said.append(f"all are {part.phrase}")
                halves += [] if part.half is None else [part.half]
            elif count > 0:
                unit = f" {'point' if self.number(count) == '1' else 'points'}" if self.hiding else ""
                verb = "" if said else unit + (" is" if self.number(count) == "1" else " are")
                said.append(f"{self.number(count)}{verb} {part.phrase}")
                halves += [] if part.half is None else [part.half]
            elif part.half is None:
                back = f", and chance may take {self.number(count)} back"
        steps = max(1, round(max(halves, default=0.0) / self.unit))
        chance = f"; ±{self.number(steps)} may be chance" if halves and not back else ""
        return f"{_listed(said)}{back}{self._hidden()}{chance}"

    def _hidden(self) -> str:
        """`, and 2.6 are hidden by an easier test set`."""
        said = list[str]()
        for part, count in self.hiding:
            verb = "" if said else f" {'is' if self.number(count) == '1' else 'are'} hidden by"
            said.append(f"{self.number(count)}{verb} {part.phrase}")
        return f", and {_listed(said)}" if said else ""

    def number(self, count: int) -> str:
        """So many units, without a sign."""
        return f"{abs(count) * self.unit:.{max(0, -floor(log10(self.unit)))}f}"


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
