"""A model that understands other pixels than those of the dataset: what had to be done to them, in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heldout.diagnosis.evaluation import SplitFigures
from heldout.stored.measurement import Preprocessing
from heldout.words import percent


@dataclass(frozen=True)
class NeededPreprocessing:
    """A change of pixels under which the model answers surely more training images.

    before, after: its figures on each split without the change and with it.
    """

    change: Preprocessing
    before: Mapping[str, SplitFigures]
    after: Mapping[str, SplitFigures]

    @property
    def explanation(self) -> str:
        split = "test" if "test" in self.before else "train"
        images = "test images" if split == "test" else "training images"
        low, high = (f"{value:g}" for value in self.change.value_range)
        before, after = (_figures(figures[split]) for figures in (self.before, self.after))
        return (
            f"The model was trained on other pixels than the dataset has, which go from {low} to {high}. It answers "
            f"best with {self.change.in_words}. Of the {images} it answers {before} correctly with the dataset's "
            f"pixels as they are, and {after} with these. All other figures here are those with these pixels."
        )

    @property
    def advice(self) -> str:
        return (
            "Prepare images in the same way wherever the model is used, or make it a part of the model: "
            f"{self._layers()} in front of its first layer."
        )

    def _layers(self) -> str:
        """What does the same in Keras."""
        factors, offsets = self.change.factor, self.change.offset
        parts = ["a reversal of the channels"] if self.change.reversed_channels else []
        if set(factors) != {1.0} or set(offsets) != {0.0}:
            scale, offset = (_number(factors), _number(offsets))
            parts.append(f"`Rescaling(scale={scale}, offset={offset})`")
        return " and ".join(parts)

    @property
    def evidence(self) -> dict[str, Any]:
        splits = [name for name in self.after if name in self.before]
        return {
            "change": self.change.kind,
            "reversed_channels": self.change.reversed_channels,
            "factor": list(self.change.factor),
            "offset": list(self.change.offset),
            **{f"{name}_accuracy": self.after[name].accuracy for name in splits},
            **{f"{name}_accuracy_as_given": self.before[name].accuracy for name in splits},
        }


def _figures(figures: SplitFigures) -> str:
    """`97.5% (loss 0.08)`."""
    return percent(figures.accuracy) + ("" if figures.loss is None else f" (loss {figures.loss:.3g})")


def _number(values: tuple[float, ...]) -> str:
    """One number where all channels have it."""
    return f"{values[0]:.6g}" if len(set(values)) == 1 else f"[{', '.join(f'{value:.6g}' for value in values)}]"
