"""The start of a network for photographs: features of a pretrained network, and which images suit them."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

# The shared model of the service (`HELDOUT_PRETRAINED`), and a head on its pooled features.
PRETRAINED_MODEL = "efficientnet_lite0"
START_FOR_PHOTOGRAPHS: dict[str, Any] = {
    "backbone": {"model": PRETRAINED_MODEL},
    "head": "global_average",
    "dense": [{"units": 256, "dropout": 0.5}],
}
# From this side on, images show enough for features that were learned from photographs.
LEAST_SIDE = 48


def suits_pretrained(image: tuple[int, int, int]) -> bool:
    """Whether images of this shape (height, width, channels) are in color and large enough."""
    return image[2] == 3 and min(image[:2]) >= LEAST_SIDE


# How far the median of a channel is from the nearer end of its values, as a share of them: the mean of all channels.
# Photographs have all tones; drawings and icons are mostly one plain ground. (docs/measurements/pretrained.md)
LEAST_DISTANCE = 0.25


def shows_photographs(image: Sequence[int], statistics: Mapping[str, Any]) -> bool:
    """Whether images are like photographs: in color, and without a plain ground that fills most of them.

    Args:
        image: (height, width, channels).
        statistics: of pixel values, by split, as an audit has them.
    """
    channels = statistics.get("train", {}).get("channels", ())
    return image[2] == 3 and bool(channels) and fmean(map(_measure_distance, channels)) >= LEAST_DISTANCE


def _measure_distance(values: Mapping[str, float]) -> float:
    low, middle, high = (values[name] for name in ("p01", "median", "p99"))
    return min(middle - low, high - middle) / (high - low) if high > low else 0.0
