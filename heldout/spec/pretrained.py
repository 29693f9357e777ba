"""The start of a network for photographs: features of a pretrained network, and which images suit them."""

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
