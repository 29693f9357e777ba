"""What the job's own training shows of the order of its causes."""

from collections.abc import Mapping
from dataclasses import dataclass

from heldout.statistics import compute_newcombe_interval

Counts = tuple[int, int]  # right, all
# Share of the training images. A network that knows more of them has nothing left to learn from further epochs.
MIN_KNOWN = 0.98


@dataclass(frozen=True)
class Known:
    """What one training shows.

    tiers: of the causes that the diagnosis lists, in its order. splits: correct answers and images.
    has_high_rate: whether its learning rate is above its optimizer's usual one.
    """

    tiers: Mapping[str, str]
    splits: Mapping[str, Counts]
    has_high_rate: bool = False

    @property
    def is_poor(self) -> bool:
        """Whether the network gets more of its training images wrong than its answers to new ones are worse."""
        train, heldout = self.splits.get("train"), self.splits.get("validation") or self.splits.get("test")
        if train is None or heldout is None or not train[1] or not heldout[1]:
            return False
        accuracy = train[0] / train[1]
        return 1 - accuracy > accuracy - heldout[0] / heldout[1]

    @property
    def knows_all(self) -> bool:
        """Whether hardly a training image is left to learn, so that more epochs have nothing to teach."""
        right, count = self.splits.get("train", (0, 0))
        return count > 0 and right / count >= MIN_KNOWN

    @property
    def splits_disagree(self) -> bool:
        """Whether validation and test are answered differently by more than chance, if all images are independent."""
        validation, test = self.splits.get("validation"), self.splits.get("test")
        if validation is None or test is None or not validation[1] or not test[1]:
            return False
        low, high = compute_newcombe_interval(validation, test)
        return low > 0 or high < 0
