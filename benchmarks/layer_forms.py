"""Other forms of a block (convolution, bias, ReLU, pooling) with its gradients: `python -m benchmarks.layer_forms`.

Processor time on one core of a step through each form, as a share of the form that Keras' layers take, in 32 and in
16 bits; and whether all results have the same bits: the pooled maps, and the gradients of kernel, bias and input.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.naive import in_process

BATCH = 32
STEPS = int(os.environ.get("BENCH_STEPS", "40"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Block:
    """A block's input (side, channels), its filters and its padding; the first of a network needs no gradient of it."""

    side: int
    channels: int
    filters: int
    padding: Literal["valid", "same"] = "valid"

    @property
    def is_first(self) -> bool:
        return self.channels == 1


BLOCKS = {
    "A 1": Block(28, 1, 32),
    "A 2": Block(13, 32, 64),
    "A 3": Block(5, 64, 128),
    "C": Block(28, 1, 16),
    "64-128-256 same, 1": Block(28, 1, 64, "same"),
    "64-128-256 same, 2": Block(14, 64, 128, "same"),
}


def main() -> None:
    """Print a table for each precision."""
    for dtype in ("float32", "bfloat16"):
        print(f"\n| {dtype} | {' | '.join(BLOCKS)} |\n|---|{'---|' * len(BLOCKS)}")
        found = [in_process(_measured, (block, dtype)) for block in BLOCKS.values()]
        for name in FORMS:
            cells = []
            for of_block in found:
                took, bits = of_block[name]
                if name == KERAS:
                    cells.append(f"{1000 * took:.2f} ms")
                elif math.isnan(took):
                    cells.append("–")
                else:
                    cells.append(f"{took / of_block[KERAS][0]:.2f}, {bits}")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _measured(task: tuple[Block, Dtype]) -> dict[str, tuple[float, str]]:
    """Of each form its shortest seconds of processor time a step, and which results have other bits."""
    import tensorflow as tf

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    block, dtype = task
    given = _inputs(block, dtype)
    fitting = {name: form for name, form in FORMS.items() if block.is_first or name not in FOR_FIRST_BLOCKS}
    calls = {name: _in_loop(form, block, dtype, given) for name, form in fitting.items()}
    results = {name: _results(form, block, dtype, given) for name, form in fitting.items()}
    shortest = dict.fromkeys(fitting, math.inf)
    for _ in range(ROUNDS):
        for name, call in calls.items():  # in turn, so that other work on the machine meets all alike
            began = time.process_time()
            call(STEPS)
            shortest[name] = min(shortest[name], (time.process_time() - began) / STEPS)
    told = {name: (shortest[name], _difference(results[KERAS], results[name])) for name in fitting}
    return {name: told.get(name, (math.nan, "")) for name in FORMS}


def _inputs(block: Block, dtype: Dtype) -> tuple[Any, ...]:
    """Input, kernel, bias, and the gradient that comes from above. A fifth of the input is zero, as after a ReLU."""
    import tensorflow as tf

    draws = tf.random.Generator.from_seed(3)
    shape = (BATCH, block.side, block.side, block.channels)
    pixels = tf.cast(tf.nn.relu(draws.uniform(shape, -0.25, 1.0)), dtype)
    kernel = draws.normal((3, 3, block.channels, block.filters), stddev=0.1)
    bias = draws.normal((block.filters,), stddev=0.1)
    above = tf.cast(draws.normal(_keras(pixels, tf.cast(kernel, dtype), tf.cast(bias, dtype), block).shape), dtype)
    return pixels, kernel, bias, above


def _step(form: Any, block: Block, dtype: Dtype, pixels: Any, kernel: Any, bias: Any, above: Any) -> tuple[Any, ...]:
    """In a graph: the pooled maps, and the gradients of kernel and bias, and of the input where it has one."""
    import tensorflow as tf

    wanted = [kernel, bias] if block.is_first else [kernel, bias, pixels]
    with tf.GradientTape() as tape:
        tape.watch(wanted)
        pooled = form(pixels, tf.cast(kernel, dtype), tf.cast(bias, dtype), block)
    return pooled, *tape.gradient(pooled, wanted, output_gradients=above)


def _in_loop(form: Any, block: Block, dtype: Dtype, given: tuple[Any, ...]) -> Callable[[int], None]:
    """So many steps in one call; each needs the gradients of the one before."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def call(count: Any, pixels: Any, kernel: Any, bias: Any, above: Any) -> Any:
        def body(step: Any, pixels: Any, kernel: Any, bias: Any) -> tuple[Any, ...]:
            _, of_kernel, of_bias, *of_pixels = _step(form, block, dtype, pixels, kernel, bias, above)
            if of_pixels:  # so that it is computed; one value in place of a pass over all
                bias += tf.cast(of_pixels[0][0, 0, 0, 0], tf.float32) * 1e-30
            return step + 1, pixels, kernel - 1e-9 * of_kernel, bias - 1e-9 * of_bias

        return tf.while_loop(lambda step, *_: step < count, body, (0, pixels, kernel, bias), parallel_iterations=1)[2]

    def run(count: int) -> None:
        call(tf.constant(count), *given)[0, 0, 0, 0].numpy()

    run(2)
    return run


def _results(form: Any, block: Block, dtype: Dtype, given: tuple[Any, ...]) -> list[Any]:
    import tensorflow as tf

    found = tf.function(lambda *values: _step(form, block, dtype, *values), autograph=False)(*given)
    return [tf.cast(value, tf.float32).numpy() for value in found]


def _difference(expected: list[Any], found: list[Any]) -> str:
    """Which results have other bits."""
    names = ("maps", "kernel", "bias", "input")
    other = [name for name, one, two in zip(names, expected, found, strict=False) if (one != two).any()]
    return f"other bits: {', '.join(other)}" if other else "same bits"


def _convolved(pixels: Any, kernel: Any, bias: Any, block: Block) -> Any:
    import tensorflow as tf

    return tf.nn.bias_add(tf.nn.conv2d(pixels, kernel, 1, block.padding.upper()), bias)


def _pooled(maps: Any) -> Any:
    import tensorflow as tf

    return tf.nn.max_pool2d(maps, 2, 2, "VALID")


def _keras(pixels: Any, kernel: Any, bias: Any, block: Block) -> Any:
    import tensorflow as tf

    return _pooled(tf.nn.relu(_convolved(pixels, kernel, bias, block)))


def _pooled_before_relu(pixels: Any, kernel: Any, bias: Any, block: Block) -> Any:
    import tensorflow as tf

    return tf.nn.relu(_pooled(_convolved(pixels, kernel, bias, block)))


def _pooled_before_bias(pixels: Any, kernel: Any, bias: Any, block: Block) -> Any:
    import tensorflow as tf

    maps = tf.nn.conv2d(pixels, kernel, 1, block.padding.upper())
    return tf.nn.relu(tf.nn.bias_add(_pooled(maps), bias))


def _by_slices(pixels: Any, kernel: Any, bias: Any, block: Block) -> Any:
    import tensorflow as tf

    maps = tf.nn.relu(_convolved(pixels, kernel, bias, block))
    even = maps.shape[1] // 2 * 2
    one, two, three, four = (maps[:, row:even:2, column:even:2] for row in (0, 1) for column in (0, 1))
    return tf.maximum(tf.maximum(one, two), tf.maximum(three, four))


def _by_reduce_max(pixels: Any, kernel: Any, bias: Any, block: Block) -> Any:
    import tensorflow as tf

    maps = tf.nn.relu(_convolved(pixels, kernel, bias, block))
    half = maps.shape[1] // 2
    whole = maps[:, : 2 * half, : 2 * half]
    return tf.reduce_max(tf.reshape(whole, (-1, half, 2, half, 2, block.filters)), axis=(2, 4))


def _with_patches(patches_of: Callable[[Any, Block], Any]) -> Callable[..., Any]:
    """The convolution as one matrix product over patches of the input."""

    def form(pixels: Any, kernel: Any, bias: Any, block: Block) -> Any:
        import tensorflow as tf

        patches = patches_of(pixels, block)
        _, height, width, values = patches.shape
        flat = tf.matmul(tf.reshape(patches, (-1, values)), tf.reshape(kernel, (values, block.filters)))
        maps = tf.reshape(flat, (-1, height, width, block.filters))
        return _pooled(tf.nn.relu(tf.nn.bias_add(maps, bias)))

    return form


def _extracted(pixels: Any, block: Block) -> Any:
    import tensorflow as tf

    return tf.image.extract_patches(pixels, (1, 3, 3, 1), (1, 1, 1, 1), (1, 1, 1, 1), block.padding.upper())


def _sliced(pixels: Any, block: Block) -> Any:
    import tensorflow as tf

    if block.padding == "same":
        pixels = tf.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)))
    side = pixels.shape[1] - 2
    return tf.concat([pixels[:, row : row + side, at : at + side] for row in range(3) for at in range(3)], axis=-1)


def _with_channels(count: int) -> Callable[..., Any]:
    """The input with channels of zeros. TensorFlow 2.21 aborts in its layout pass where `tf.pad` gives the kernel."""

    def form(pixels: Any, kernel: Any, bias: Any, block: Block) -> Any:
        import tensorflow as tf

        more = count - block.channels
        wider = tf.concat([pixels, tf.zeros((*pixels.shape[:3], more), pixels.dtype)], axis=3)
        return _keras(
            wider, tf.concat([kernel, tf.zeros((3, 3, more, block.filters), kernel.dtype)], axis=2), bias, block
        )

    return form


def _kernel_gradient_by_product(pixels: Any, kernel: Any, bias: Any, block: Block) -> Any:
    """Forward as Keras has it; the gradient of the kernel as a matrix product over patches."""
    import tensorflow as tf

    @tf.custom_gradient
    def convolved(kernel: Any) -> tuple[Any, Callable[[Any], Any]]:
        def gradient(above: Any) -> Any:
            patches = tf.reshape(_sliced(pixels, block), (-1, 9 * block.channels))
            found = tf.matmul(patches, tf.reshape(above, (-1, block.filters)), transpose_a=True)
            return tf.reshape(found, kernel.shape)

        return tf.nn.conv2d(pixels, kernel, 1, block.padding.upper()), gradient

    return _pooled(tf.nn.relu(tf.nn.bias_add(convolved(kernel), bias)))


KERAS = "as Keras has it"
FORMS: dict[str, Callable[..., Any]] = {
    KERAS: _keras,
    "pooled before ReLU": _pooled_before_relu,
    "pooled before bias and ReLU": _pooled_before_bias,
    "pooled by the maximum of four slices": _by_slices,
    "pooled by reshape and `reduce_max`": _by_reduce_max,
    "product over patches (`extract_patches`)": _with_patches(_extracted),
    "product over patches (nine slices)": _with_patches(_sliced),
    "kernel's gradient by a product over patches": _kernel_gradient_by_product,
    "input padded to 4 channels": _with_channels(4),
    "input padded to 16 channels": _with_channels(16),
}
# They are forms of a layer whose input has one channel.
FOR_FIRST_BLOCKS = {
    "product over patches (`extract_patches`)",
    "product over patches (nine slices)",
    "kernel's gradient by a product over patches",
    "input padded to 4 channels",
    "input padded to 16 channels",
}

if __name__ == "__main__":
    main()
