"""Checks of single layers: the last ones, activations, first weights, dropout, and what is trained."""

from collections.abc import Iterator, Mapping
from math import sqrt

from heldout.network_check.checked import LINEAR, Check, Checked, Note, get_fans
from heldout.words import percent, pluralize

# Fresh weights this many times larger or smaller than usual (He et al. 2015) make signals explode or vanish.
LARGE_WEIGHTS, SMALL_WEIGHTS = 5.0, 20.0
MIN_LARGE_DROPOUT = 0.75
SATURATING = {"sigmoid", "hard_sigmoid"}
MIN_SATURATING = 3
PROBABILITIES = {"softmax", "sigmoid"}
FREE = {"linear", "log_softmax", *PROBABILITIES}
# Operations without a gradient.
BLOCKING = {"StopGradient", "Argmax", "Argmin", "Round", "Floor", "Ceil", "Sign", "OneHot", "Argsort"}


def check_output(network: Checked) -> Iterator[Note]:
    if not network.weighted:
        return
    place = network.weighted[-1]
    last, after = network.steps[place], list(network.iterate_after(place))
    if any("Pooling" in step.type or step.type in {"Mean", "Max"} for step in after):
        return  # a pooled map may be cut off before, as in SqueezeNet
    for step in (last, *after):
        if step.activation not in FREE:
            how = "comes after the last layer with weights and" if step is not last else "ends in an activation that"
            yield Note(
                step.name,
                f"`{step.name}` ({step.activation}) {how} limits the figures of the classes.",
                f'`keras.layers.Dense(…, activation=None, name="{last.name}")`' if step is last
                else f"Remove `{step.name}`, and train on the logits of `{last.name}`.",
            )  # fmt: skip
        if step.rate:
            yield Note(
                step.name, f"`{step.name}` drops out the network's own answers.", f"Move it before `{last.name}`."
            )


def check_probabilities(network: Checked) -> Iterator[Note]:
    for place, step in enumerate(network.steps):
        is_end = place == (network.weighted or [-1])[-1]
        if step.activation != "softmax" and not (is_end and step.activation == "sigmoid"):
            continue
        for later in network.iterate_after(place):
            if later.activation in PROBABILITIES and later.type in {"Softmax", "Sigmoid", "Activation"}:
                text = f"`{later.name}` makes probabilities of what `{step.name}` has already made probabilities."
                yield Note(later.name, text, f"Remove `{later.name}`.")
            elif later.type == "Dense" and step.type in {"Dense", "Softmax", "Activation"}:
                text = f"`{step.name}` has a softmax in the middle of the network, which leaves little of its signal."
                yield Note(step.name, text, f'`{step.type}(…, activation="relu", name="{step.name}")`')
            if later.type not in LINEAR:
                break


def check_activations(network: Checked) -> Iterator[Note]:
    for place in network.weighted:
        step, source = network.steps[place], network.find_before(place, LINEAR)
        before = None if source is None else network.steps[source]
        if before is None or source not in network.weighted or before.activation != "linear":
            continue
        is_bottleneck = step.type != "Dense" and (step.kernel == 1 or before.kernel == 1)
        if not is_bottleneck and not (step.is_grouped or before.is_grouped):
            yield Note(
                before.name,
                f"There is no activation between `{before.name}` and `{step.name}`, so both compute no more than one "
                "layer could.",
                f'`{before.type}(…, activation="relu", name="{before.name}")`',
            )


def check_saturation(network: Checked) -> Iterator[Note]:
    last = network.weighted[-1] if network.weighted else 0
    found = [step for step in network.steps[:last] if step.activation in SATURATING]
    is_gate = any(step.type == "Multiply" for step in network.steps)
    if len(found) >= MIN_SATURATING and not is_gate and not any(step.momentum for step in network.steps):
        yield Note(
            found[0].name,
            f"{pluralize(len(found), 'layer')} have a sigmoid, which passes on at most a quarter of a gradient.",
            f'`{found[0].type}(…, activation="relu", name="{found[0].name}")`',
        )


def check_equal_weights(network: Checked) -> Iterator[Note]:
    for place in network.weighted[:-1] if network.is_fresh is not False else ():
        step, after = network.steps[place], list(network.iterate_after(place))
        is_branch = bool(after) and after[-1].type == "Add"  # a residual branch may begin as zeros
        if step.deviation == 0 and len(step.weights) > 1 and not (step.initializer == "Zeros" and is_branch):
            yield Note(
                step.name,
                f"All weights of `{step.name}` begin with the same value ({step.initializer}), so all of its units "
                "learn the same, or nothing.",
                f'`{step.type}(…, kernel_initializer="he_normal", name="{step.name}")`',
            )


def check_large_weights(network: Checked) -> Iterator[Note]:
    for layer, ratio, line in _compare_weights(network):
        if ratio > LARGE_WEIGHTS:
            yield Note(layer, f"The weights of `{layer}` begin {ratio:,.0f} times larger than usual.", line)


def check_small_weights(network: Checked) -> Iterator[Note]:
    for layer, ratio, line in _compare_weights(network):
        if ratio < 1 / SMALL_WEIGHTS:
            yield Note(layer, f"The weights of `{layer}` begin {1 / ratio:,.0f} times smaller than usual.", line)


def _compare_weights(network: Checked) -> Iterator[tuple[str, float, str]]:
    """Return the size of each layer's fresh weights as a multiple of that of He et al. (2015), and code for that."""
    for place in network.weighted[:-1] if network.is_fresh is not False else ():
        step = network.steps[place]
        if step.deviation and len(step.weights) > 1 and not step.is_grouped and not network.is_normed(place):
            ratio = step.deviation / sqrt(2 / get_fans(step.weights)[0])
            yield step.name, ratio, f'`{step.type}(…, kernel_initializer="he_normal", name="{step.name}")`'


def check_dropout(network: Checked) -> Iterator[Note]:
    added = float(network.network.get("dropout") or 0.0)
    if added >= MIN_LARGE_DROPOUT:
        yield Note("", f"`network.dropout` drops {percent(added, 0)} of the values.", '`"dropout": 0.3` in the spec')
    for step in network.steps:
        if step.rate >= MIN_LARGE_DROPOUT:
            text = f"`{step.name}` drops {percent(step.rate, 0)} of the values."
            yield Note(step.name, text, f'`keras.layers.{step.type}(0.3, name="{step.name}")`')


def check_dropout_by_norm(network: Checked) -> Iterator[Note]:
    norms = [place for place, step in enumerate(network.steps) if step.momentum is not None]
    for place, step in enumerate(network.steps):
        beside = [other for other in (*network.consumers[place], *step.sources) if other in norms]
        # After the last one, dropout changes no averages.
        if step.rate and beside and max(norms) > place:
            yield Note(
                step.name,
                f"`{step.name}` is next to the batch normalization `{network.steps[beside[0]].name}`: averages are "
                "taken with dropout, and used without it.",
                f"Move `{step.name}` behind the last batch normalization.",
            )


def check_frozen(network: Checked) -> Iterator[Note]:
    frozen = [network.steps[place] for place in network.weighted if not network.steps[place].is_trained]
    is_all = len(frozen) == len(network.weighted)
    # Layers with weights from other images may be frozen on purpose.
    if frozen and (network.is_fresh or (is_all and network.network.get("head") != "replace")):
        what = "All layers" if is_all else f"{pluralize(len(frozen), 'layer')}, such as `{frozen[0].name}`,"
        weights = " with fresh weights" if network.is_fresh else ""
        yield Note(
            frozen[0].name,
            f"{what}{weights} would not be trained: `trainable` is false.",
            f'`model.get_layer("{frozen[0].name}").trainable = True`',
        )


def check_gradients(network: Checked) -> Iterator[Note]:
    reached, waiting = set[int](), [len(network.steps) - 1]
    while waiting:
        place = waiting.pop()
        if place in reached or network.steps[place].type in BLOCKING:
            continue
        reached.add(place)
        waiting += network.steps[place].sources
    cut = [network.steps[place] for place in network.weighted if place not in reached]
    if cut and not any(step.is_shared for step in network.steps):
        blocking = next((step.name for step in network.steps if step.type in BLOCKING), "")
        yield Note(
            cut[0].name,
            f"No gradient reaches {pluralize(len(cut), 'layer')}, such as `{cut[0].name}`, past `{blocking}`.",
            f"Remove `{blocking}`.",
        )


CHECKS: Mapping[str, Check] = {
    "output": Check("Last layer", "The last layer gives one unbounded figure for each class.", check_output),
    "probabilities": Check("Softmax twice", "Probabilities are made once, at the end.", check_probabilities),
    "activations": Check("No activation", "Layers with weights have an activation between them.", check_activations),
    "saturation": Check("Sigmoids", "A deep network without batch normalization has no sigmoids.", check_saturation),
    "equal_weights": Check("Equal first weights", "First weights differ from each other.", check_equal_weights),
    "large_weights": Check(
        "Large first weights", "First weights are at most five times as large as usual.", check_large_weights
    ),
    "small_weights": Check(
        "Small first weights", "First weights are at least a twentieth of usual ones.", check_small_weights
    ),
    "dropout": Check("Much dropout", "Dropout leaves more than a quarter of the values.", check_dropout),
    "dropout_by_norm": Check(
        "Dropout next to batch normalization", "No batch normalization is next to dropout.", check_dropout_by_norm
    ),
    "frozen": Check("Frozen layers", "Layers with fresh weights are trained.", check_frozen),
    "gradients": Check("No gradient", "A gradient reaches all weights.", check_gradients),
}
