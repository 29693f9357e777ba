"""The network of a script, and the weights that it starts from."""

from collections.abc import Iterator, Sequence

import numpy as np

from heldout.spec import JobSpec, NetworkSpec


def build(network: NetworkSpec, classes: int, seed: int) -> str:
    """The function that gives the network: the layers of `worker/training/network.py`."""
    seeds, lines = _seeds(seed), list[str]()

    def kernel() -> str:
        return f"kernel_initializer=glorot({next(seeds)})"

    def penalty(factor: float | None) -> str:
        return f", kernel_regularizer=keras.regularizers.L2({factor!r})" if factor else ""

    def add(layer: str) -> None:
        lines.append(f"    x = keras.layers.{layer}(x)")

    for number, block in enumerate(network.blocks, start=1):
        for repeat in range(1, block.repeat + 1):
            add(
                f'Conv2D({block.filters}, {block.kernel_size}, padding="{block.padding}", {kernel()}'
                f'{penalty(network.penalty(block))}, name="block{number}_conv{repeat}")'
            )
            if block.batch_norm:
                add(f'BatchNormalization(name="block{number}_norm{repeat}")')
            add(f'Activation("{block.activation}")')
        if block.pool > 1:
            add(f"MaxPooling2D({block.pool})")
        if block.dropout:
            add(f"Dropout({block.dropout!r}, seed={next(seeds)})")
    add("Flatten()" if network.head == "flatten" else "GlobalAveragePooling2D()")
    for number, dense in enumerate(network.dense, start=1):
        add(
            f'Dense({dense.units}, activation="{dense.activation}", {kernel()}{penalty(dense.l2)}, '
            f'name="dense{number}")'
        )
        if dense.dropout:
            add(f"Dropout({dense.dropout!r}, seed={next(seeds)})")
    add(f'Dense({classes}, {kernel()}, name="output")')
    body = "\n".join(lines)
    return f'''
def build():
    """The network: images in 0–1 in, logits out. The job drew its weights and masks from the same seeds."""
    glorot = keras.initializers.GlorotUniform
    x = images = keras.Input(SHAPE)
{body}
    return keras.Model(images, x)
'''


def start(spec: JobSpec, source: str, taken: Sequence[str]) -> str:
    """The function that puts first weights into the network: those of another job by name, of a model by place."""
    assert spec.initial is not None
    if source.startswith("mod_"):
        copy = f"""
    known = [layer for layer in leaves_of(keras.saving.load_model(path, compile=False)) if layer.weights]
    for own, other in zip([layer for layer in network.layers if layer.weights], known):
        if own.name in {list(taken)!r}:
            own.set_weights(other.get_weights())"""
    else:
        copy = f"""
    known = keras.saving.load_model(path, compile=False)
    for name in {list(taken)!r}:
        network.get_layer(name).set_weights(known.get_layer(name).get_weights())"""
    frozen = tuple(f"block{number}_" for number in range(1, spec.initial.freeze_blocks + 1))
    freeze = f"""
    for layer in network.layers:
        if layer.name.startswith({frozen!r}):
            layer.trainable = False"""
    text = f'''
def start_from(network, path):
    """Take over the weights of {source} where they fit."""{copy}{freeze if frozen else ""}
'''
    return _LEAVES_OF + text if source.startswith("mod_") else text


_LEAVES_OF = '''
def leaves_of(model):
    """All layers that have no layers inside, in order."""
    for layer in model.layers:
        yield from leaves_of(layer) if isinstance(layer, keras.Model) else [layer]


'''


def _seeds(seed: int) -> Iterator[int]:
    """As `worker/training/network.py` draws them: one for each layer that draws, in order."""
    draws = np.random.default_rng([seed, 0])
    while True:
        yield int(draws.integers(2**31))
