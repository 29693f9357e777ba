"""Networks as people write them in Keras: those that can be trained, and those that are refused, with the reason."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

IMAGE, CLASSES = (32, 32, 3), 5


def make_augmented() -> keras.Model:
    """A chain that begins with another chain of augmentation, as tutorials have it."""
    augmentation = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
    model = keras.Sequential([keras.Input(IMAGE), augmentation, layers.Rescaling(1.0 / 255)])
    for filters in (8, 16):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    for layer in (layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dropout(0.5), layers.Dense(CLASSES)):
        model.add(layer)
    return model


def make_resnet() -> keras.Model:
    """A ResNet with 1×1 projections, whose layers Keras adds to the model in another order than it named them."""

    def add_block(maps: Any, filters: int, strides: int) -> Any:
        shortcut = maps
        if strides != 1 or maps.shape[-1] != filters:
            shortcut = layers.Conv2D(filters, 1, strides=strides, use_bias=False)(maps)
            shortcut = layers.BatchNormalization()(shortcut)
        maps = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(maps)
        maps = layers.Activation("relu")(layers.BatchNormalization()(maps))
        maps = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", use_bias=False)(maps))
        return layers.Activation("relu")(layers.add([shortcut, maps]))

    images = keras.Input(IMAGE)
    maps = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Rescaling(1.0 / 255)(images))
    for filters, strides in ((8, 1), (16, 2), (32, 2)):
        maps = add_block(maps, filters, strides)
    return keras.Model(images, layers.Dense(CLASSES, activation="softmax")(layers.GlobalAveragePooling2D()(maps)))


def make_digit_resnet() -> keras.Model:
    """The same for digits: three stages, which a few epochs teach more than averages with Keras' momentum show."""

    def add_block(maps: Any, filters: int, strides: int) -> Any:
        shortcut = maps
        if strides != 1:
            shortcut = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides, use_bias=False)(maps))
        maps = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(maps)
        maps = layers.Activation("relu")(layers.BatchNormalization()(maps))
        maps = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", use_bias=False)(maps))
        return layers.Activation("relu")(layers.add([shortcut, maps]))

    images = keras.Input((28, 28, 1))
    maps = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", use_bias=False)(images))
    maps = layers.Activation("relu")(maps)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        maps = add_block(maps, filters, strides)
    return keras.Model(images, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(maps)))


def make_shared() -> keras.Model:
    """A convolution that is called three times, and a chain that is called twice."""
    images = keras.Input(IMAGE)
    shared = layers.Conv2D(8, 3, padding="same", activation="relu")
    first = shared(layers.Conv2D(8, 1)(images))
    last = shared(shared(first))
    features = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(8, activation="relu")])
    return keras.Model(images, layers.Dense(CLASSES)(layers.concatenate([features(first), features(last)])))


def make_nested() -> keras.Model:
    """Functional models inside a functional model, whose inputs and outputs are lists."""

    def make_stage(shape: tuple[int, ...], filters: int) -> keras.Model:
        maps = keras.Input(shape)
        inner = layers.ReLU()(layers.Conv2D(filters, 3, padding="same")(maps))
        return keras.Model(maps, layers.MaxPooling2D()(layers.Add()([inner, layers.Conv2D(filters, 1)(maps)])))

    images = keras.Input(IMAGE)
    maps = make_stage((16, 16, 8), 16)(make_stage(IMAGE, 8)(images))
    head = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, activation="softmax")])
    return keras.Model(inputs=[images], outputs=[head(maps)])


def make_named() -> keras.Model:
    """Names of the user's own, some of which Keras may give too, and an answer with a name."""
    keras.utils.clear_session()  # Keras' names are those of a program's first lines: `conv2d` and `dense`
    images = keras.Input(IMAGE, name="my image")
    maps = layers.Conv2D(8, 3, name="block 1: conv")(images)
    maps = layers.Conv2D(8, 3, name="dense_1")(layers.Conv2D(8, 3)(maps))
    features = layers.Dense(8)(layers.GlobalAveragePooling2D(name="conv2d_1")(maps))
    answer = layers.Dense(CLASSES, name="predictions")(features)
    return keras.Model({"my image": images}, {"class": answer}, name="My network v1")


def make_application() -> keras.Model:
    """A network of `keras.applications` below a head, with the pixels that it was made for."""
    base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=IMAGE)
    base.trainable = False
    images = keras.Input(IMAGE)
    maps = base(keras.applications.mobilenet_v2.preprocess_input(images), training=False)
    features = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(maps))
    return keras.Model(images, layers.Dense(CLASSES)(features))


def make_mixed() -> keras.Model:
    """A network made under `mixed_float16`, which ends in float32."""
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        images = keras.Input(IMAGE)
        maps = layers.Conv2D(8, 3, activation="relu")(layers.Rescaling(1.0 / 255)(images))
        figures = layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(layers.BatchNormalization()(maps)))
        return keras.Model(images, layers.Activation("softmax", dtype="float32")(figures))
    finally:
        keras.mixed_precision.set_global_policy("float32")


TRAINED: dict[str, Callable[[], keras.Model]] = {
    "augmentation inside": make_augmented,
    "ResNet with projections": make_resnet,
    "shared layers": make_shared,
    "nested models": make_nested,
    "own names": make_named,
    "keras.applications": make_application,
    "mixed precision": make_mixed,
}


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """The network of the first page of TensorFlow's tutorials for experts."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conv, self.flatten = layers.Conv2D(8, 3, activation="relu"), layers.Flatten()
        self.answer = layers.Dense(CLASSES)

    def call(self, images: Any) -> Any:
        return self.answer(self.flatten(self.conv(images)))


def make_subclassed() -> keras.Model:
    model = Subclassed()
    model(ops.zeros((1, *IMAGE)))
    return model


def make_lambda() -> keras.Model:
    parts = [layers.Lambda(lambda images: images / 127.5 - 1), layers.Conv2D(8, 3), layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input(IMAGE), *parts, layers.Dense(CLASSES)])


def make_two_answers() -> keras.Model:
    """A second answer at half the depth, as in GoogLeNet."""
    images = keras.Input(IMAGE)
    maps = layers.Conv2D(8, 3)(images)
    early = layers.Dense(CLASSES, name="auxiliary")(layers.GlobalAveragePooling2D()(maps))
    late = layers.Dense(CLASSES, name="main")(layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(maps)))
    return keras.Model(images, [late, early])


def make_without_input() -> keras.Model:
    parts = [layers.Rescaling(1.0 / 255), layers.Conv2D(8, 3), layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)]
    return keras.Sequential(parts)


# The code of each refusal, and words that say what to do.
REFUSED: dict[str, tuple[Callable[[], keras.Model], str, str]] = {
    "a class of the program": (make_subclassed, "custom_object", "`keras.Model(inputs, outputs)`"),
    "program code": (make_lambda, "unsafe_model", "such as `Rescaling`"),
    "two answers": (make_two_answers, "unfit_output", "`keras.Model(model.input, model.outputs[0])`"),
    "no input": (make_without_input, "not_for_images", "`keras.Input((height, width, channels))`"),
}
