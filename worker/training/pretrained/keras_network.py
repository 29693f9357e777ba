"""Networks of `keras.applications` without their head, for pixels from 0 to 255."""

from pathlib import Path

import keras

from heldout.spec.pretrained import KerasNetwork
from worker.training.networks.backbone import scale_pixels


def build_with(network: KerasNetwork, weights: Path | None) -> keras.Model:
    """Build the network, from images of any size in [0, 255] to feature maps, as after Keras' `preprocess_input`.

    Args:
        weights: a file of Keras' store; None for random weights.
    Raises:
        OSError, ValueError, KeyError: the file has other weights, or none.
    """
    images = keras.Input((None, None, 3), name="images")
    pixels = images if network.pixels == "bytes" else scale_pixels(images, network.pixels, 255)
    build = getattr(keras.applications, network.builder)
    built = build(include_top=False, weights=weights and str(weights), input_tensor=pixels)
    return keras.Model(images, built.outputs[0], name=network.builder)  # which takes a tensor, and not a list of one
