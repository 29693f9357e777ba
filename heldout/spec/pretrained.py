"""Pretrained networks: the start for photographs and which images suit it, and those that operators can fetch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from heldout.spec.network import Pixels  # the command line starts without Pydantic

# The shared model of the service (`HELDOUT_PRETRAINED`), and a head on its pooled features.
PRETRAINED_MODEL = "efficientnet_lite0"
START_FOR_PHOTOGRAPHS: dict[str, Any] = {
    "backbone": {"model": PRETRAINED_MODEL},
    "head": "global_average",
    "dense": [{"units": 256, "dropout": 0.5}],
}
# How far the median of a channel is from the nearer end of its values, as a share of them: the mean of all channels.
# Photographs have all tones; drawings and icons are mostly one plain ground. (docs/measurements/pretrained.md)
LEAST_DISTANCE = 0.25


def shows_photographs(image: Sequence[int], statistics: Mapping[str, Any]) -> bool:
    """Return whether images are like photographs: in color, and without a plain ground that fills most of them.

    Args:
        image: (height, width, channels).
        statistics: of pixel values, by split, as an audit has them.
    """
    channels = statistics.get("train", {}).get("channels", ())
    return image[2] == 3 and bool(channels) and fmean(map(_measure_distance, channels)) >= LEAST_DISTANCE


# From this side on, images show enough for a first job to start from features of photographs.
LEAST_SIDE = 48


@dataclass(frozen=True)
class ProposedStart:
    """The preset that a first job on a dataset should start from. reason: why, in one sentence for people."""

    preset: Literal["photos", "regularized"]
    reason: str


def propose_start(
    image: Sequence[int] | None, statistics: Mapping[str, Any], *, has_pretrained: bool = True
) -> ProposedStart:
    """Propose pretrained features for photographs of `LEAST_SIDE` pixels or more, and else a network from scratch.

    Args:
        image: (height, width, channels); None if images differ in size.
        statistics: of pixel values, by split, as an audit has them.
        has_pretrained: whether the service has the pretrained network.
    """
    if image is None or not statistics:
        return ProposedStart("regularized", "Too little is known about these images to propose pretrained features.")
    if image[2] != 3:
        why_not = "The images are gray, and pretrained features were learned from color photographs."
    elif min(image[:2]) < LEAST_SIDE:
        why_not = f"The images are smaller than {LEAST_SIDE} pixels, too small for pretrained features."
    elif not shows_photographs(image, statistics):
        why_not = "One plain ground fills most of these images, as in drawings; pretrained features suit photographs."
    elif not has_pretrained:
        why_not = "The images look like photographs, but the service has no pretrained network, or none yet."
    else:
        return ProposedStart("photos", "The images look like photographs, so pretrained features suit them.")
    return ProposedStart("regularized", why_not)


def _measure_distance(values: Mapping[str, float]) -> float:
    low, middle, high = (values[name] for name in ("p01", "median", "p99"))
    return min(middle - low, high - middle) / (high - low) if high > low else 0.0


@dataclass(frozen=True)
class KerasNetwork:
    """A network of `keras.applications` without its head, with weights that Keras keeps in its store.

    builder: its function in `keras.applications`.
    pixels: the values that it gets from `preprocess_input`; `bytes` if it scales pixels itself.
    path, md5: where its file is in the store, and the digest that Keras compares; None where Keras has none.
    license: of the weights, as Keras states it.
    """

    builder: str
    pixels: "Pixels"
    path: str
    md5: str | None
    license: str = "Apache-2.0"

    @property
    def source(self) -> str:
        """Say what it is, for people."""
        return f"keras.applications.{self.builder}, trained on ImageNet"


# No file of these is larger. The largest has 95 MB.
MAX_KERAS_BYTES = 128 * 2**20
# Those that take images of any size, shrink them evenly, and have a license that Keras states.
_STORE = "tensorflow/keras-applications"
KERAS_NETWORKS = {
    "densenet121": KerasNetwork(
        "DenseNet121",
        "imagenet",
        f"{_STORE}/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "30ee3e1110167f948a6b9946edeeb738",
        "BSD-3-Clause",
    ),
    "efficientnet_v2_b0": KerasNetwork(
        "EfficientNetV2B0",
        "bytes",
        f"{_STORE}/efficientnet_v2/efficientnetv2-b0_notop.h5",
        "893217f2bb855e2983157299931e43ff",
    ),
    "mobilenet": KerasNetwork("MobileNet", "symmetric", f"{_STORE}/mobilenet/mobilenet_1_0_224_tf_no_top.h5", None),
    "mobilenet_v2": KerasNetwork(
        "MobileNetV2",
        "symmetric",
        f"{_STORE}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        None,
    ),
    "mobilenet_v3_large": KerasNetwork(
        "MobileNetV3Large",
        "bytes",
        f"{_STORE}/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "mobilenet_v3_small": KerasNetwork(
        "MobileNetV3Small",
        "bytes",
        f"{_STORE}/mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    "resnet50": KerasNetwork(
        "ResNet50",
        "caffe",
        f"{_STORE}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
        "MIT",
    ),
    "vgg16": KerasNetwork(
        "VGG16",
        "caffe",
        f"{_STORE}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
        "CC-BY-4.0",
    ),
    "xception": KerasNetwork(
        "Xception",
        "symmetric",
        f"{_STORE}/xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "b0042744bf5b25fce3cb969f33bebb97",
        "MIT",
    ),
}
