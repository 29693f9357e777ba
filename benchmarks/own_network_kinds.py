"""The ten networks of `benchmarks.own_networks`: some of `keras.applications`, and small ones from the literature."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CLASSES = 10
Side = int


@dataclass(frozen=True)
class Kind:
    """A network's builder, the side of its square images, and its number of images per epoch."""

    make: Callable[[int], Any]
    side: Side
    images: int

    def build(self) -> Any:
        """Return the network, from images in [0, 1] to logits."""
        return self.make(self.side)

    def draw_images(self) -> tuple[Any, Any]:
        """Return bytes of random pixels and labels: their content does not change the time."""
        import numpy as np

        draws = np.random.default_rng(0)
        pixels = draws.integers(0, 256, (self.images, self.side, self.side, 3), np.uint8)
        return pixels, draws.integers(0, CLASSES, self.images, np.int32)


def _application(name: str) -> Callable[[int], Any]:
    def make(side: int) -> Any:
        import keras

        return getattr(keras.applications, name)(
            weights=None, classes=CLASSES, classifier_activation=None, input_shape=(side, side, 3)
        )

    return make


def make_resnet20(side: int) -> Any:
    """He et al. 2016, with a projection where shapes differ: 0.27 M parameters."""
    import keras
    from keras import layers

    def norm_conv(maps: Any, filters: int, strides: int = 1, size: int = 3) -> Any:
        maps = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(maps)
        return layers.BatchNormalization()(maps)

    images = keras.Input((side, side, 3))
    maps = layers.ReLU()(norm_conv(images, 16))
    for filters in (16, 32, 64):
        for number in range(3):
            strides = 2 if filters > 16 and number == 0 else 1
            inner = layers.ReLU()(norm_conv(maps, filters, strides))
            inner = norm_conv(inner, filters)
            past = maps if strides == 1 else norm_conv(maps, filters, strides, size=1)
            maps = layers.ReLU()(layers.Add()([inner, past]))
    return keras.Model(images, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(maps)))


def make_densenet(side: int) -> Any:
    """Huang et al. 2017: three dense blocks of four layers that grow by 12."""
    import keras
    from keras import layers

    images = keras.Input((side, side, 3))
    maps = layers.Conv2D(24, 3, padding="same", use_bias=False)(images)
    for block in range(3):
        for _ in range(4):
            new = layers.ReLU()(layers.BatchNormalization()(maps))
            new = layers.Conv2D(12, 3, padding="same", use_bias=False)(new)
            maps = layers.Concatenate()([maps, new])
        if block < 2:
            maps = layers.ReLU()(layers.BatchNormalization()(maps))
            maps = layers.Conv2D(maps.shape[-1] // 2, 1, use_bias=False)(maps)
            maps = layers.AveragePooling2D(2)(maps)
    maps = layers.ReLU()(layers.BatchNormalization()(maps))
    return keras.Model(images, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(maps)))


def make_inception(side: int) -> Any:
    """Szegedy et al. 2015: three modules of four branches."""
    import keras
    from keras import layers

    def conv(maps: Any, filters: int, size: int) -> Any:
        return layers.Conv2D(filters, size, padding="same", activation="relu")(maps)

    images = keras.Input((side, side, 3))
    maps = conv(images, 32, 3)
    for width in (16, 24, 32):
        branches = [
            conv(maps, width, 1),
            conv(conv(maps, width, 1), 2 * width, 3),
            conv(conv(maps, width // 2, 1), width, 5),
            conv(layers.MaxPooling2D(3, 1, padding="same")(maps), width, 1),
        ]
        maps = layers.MaxPooling2D(2)(layers.Concatenate()(branches))
    features = layers.Dropout(0.4)(layers.GlobalAveragePooling2D()(maps))
    return keras.Model(images, layers.Dense(CLASSES)(features))


def make_squeeze_excitation(side: int) -> Any:
    """Hu et al. 2018: depthwise separable convolutions whose channels are weighted by what the image shows."""
    import keras
    from keras import layers

    images = keras.Input((side, side, 3))
    maps = layers.Conv2D(24, 3, padding="same", activation="relu")(images)
    for filters in (32, 64, 96):
        maps = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(maps)
        maps = layers.ReLU()(layers.BatchNormalization()(maps))
        squeezed = layers.GlobalAveragePooling2D(keepdims=True)(maps)
        squeezed = layers.Conv2D(filters // 4, 1, activation="relu")(squeezed)
        maps = layers.Multiply()([maps, layers.Conv2D(filters, 1, activation="sigmoid")(squeezed)])
        maps = layers.MaxPooling2D(2)(maps)
    features = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(maps))
    return keras.Model(images, layers.Dense(CLASSES)(features))


def make_of_operations(side: int) -> Any:
    """Layers with weights, and everything between them in `keras.ops`."""
    import keras
    from keras import layers, ops

    images = keras.Input((side, side, 3))
    maps = 2.0 * images - 1.0
    for filters in (32, 64, 96):
        maps = layers.Conv2D(2 * filters, 3, padding="same")(maps)
        maps, gate = ops.split(maps, 2, axis=-1)
        maps = maps * ops.sigmoid(gate)
        maps = ops.max_pool(maps, 2)
        maps = maps / ops.sqrt(ops.mean(ops.square(maps), axis=-1, keepdims=True) + 1e-3)
    features = ops.concatenate([ops.mean(maps, axis=(1, 2)), ops.max(maps, axis=(1, 2))], axis=-1)
    return keras.Model(images, layers.Dense(CLASSES)(ops.silu(layers.Dense(64)(features))))


def make_vit(side: int) -> Any:
    """Dosovitskiy et al. 2021, with the mean of all tokens in place of a class token: patches of 4×4, four blocks."""
    import keras
    from keras import layers

    width, tokens = 64, (side // 4) ** 2
    images = keras.Input((side, side, 3))
    patches = layers.Reshape((tokens, width))(layers.Conv2D(width, 4, strides=4)(images))
    # Its bias has a row for each token: what the place of a patch means.
    maps = layers.EinsumDense("btc,cd->btd", (tokens, width), bias_axes="td")(patches)
    for _ in range(4):
        normed = layers.LayerNormalization()(maps)
        maps = layers.Add()([maps, layers.MultiHeadAttention(4, width // 4, dropout=0.1)(normed, normed)])
        normed = layers.LayerNormalization()(maps)
        inner = layers.Dense(width)(layers.Dense(2 * width, activation="gelu")(normed))
        maps = layers.Add()([maps, layers.Dropout(0.1)(inner)])
    features = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(maps))
    return keras.Model(images, layers.Dense(CLASSES)(features))


def _make_plain(activation: str) -> Callable[[int], Any]:
    """Simonyan and Zisserman 2014, with batch normalization: three stages of two convolutions."""

    def make(side: int) -> Any:
        import keras
        from keras import layers

        images = maps = keras.Input((side, side, 3))
        for filters in (32, 64, 128):
            for _ in range(2):
                maps = layers.Conv2D(filters, 3, padding="same", use_bias=False)(maps)
                maps = layers.Activation(activation)(layers.BatchNormalization()(maps))
            maps = layers.MaxPooling2D(2)(maps)
        return keras.Model(images, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(maps)))

    return make


KINDS = {
    "ResNet20": Kind(make_resnet20, 32, 320),
    "ResNet50": Kind(_application("ResNet50"), 96, 96),
    "MobileNetV3Small": Kind(_application("MobileNetV3Small"), 96, 160),
    "EfficientNetB0": Kind(_application("EfficientNetB0"), 96, 96),
    "ConvNeXtTiny": Kind(_application("ConvNeXtTiny"), 96, 96),
    "DenseNet": Kind(make_densenet, 32, 320),
    "Inception": Kind(make_inception, 32, 320),
    "squeeze and excitation": Kind(make_squeeze_excitation, 32, 320),
    "keras.ops": Kind(make_of_operations, 32, 320),
    "ViT": Kind(make_vit, 32, 320),
}
# What the rule of `precision: auto` was checked on, but not made from.
VARIANTS = {f"convolutions, {name}": Kind(_make_plain(name), 32, 320) for name in ("relu", "silu", "hard_silu", "gelu")}
VARIANTS |= {name: Kind(_application(name), 64, 64) for name in ("MobileNetV2", "DenseNet121")}
