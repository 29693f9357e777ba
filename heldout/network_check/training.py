"""Checks of a network against how it is trained: its loss, its pixels, its penalties and the number of steps."""

from collections.abc import Iterator, Mapping
from math import log, pi, prod, sqrt

from heldout.network_check.checked import Check, Checked, Note, get_fans
from heldout.words import pluralize

# Averages of batch normalization lag behind if a training is shorter than this many of their time constants.
# (a ResNet on digits: 7 still spoil every evaluation)
LAGGING_CONSTANTS = 7
# A rescaling by at most this expects bytes; 1/255 is 0.004.
MAX_SCALE_OF_BYTES = 0.02


def check_loss(network: Checked) -> Iterator[Note]:
    facts = network.facts
    if facts is None or not facts.compiled_loss:
        return
    name, line = facts.compiled_loss.lower().replace("_", ""), "`loss=keras.losses.SparseCategoricalCrossentropy(…)`"
    does = "Heldout trains with the loss of the spec, whatever the file says."
    if "crossentropy" not in name:
        yield Note("", f"The model was compiled with {facts.compiled_loss}, which is not for classes. {does}", line)
    elif name.startswith("binary") and (network.classes or 0) > 2:
        text = f"The model was compiled with {facts.compiled_loss}, which judges each class by itself. {does}"
        yield Note("", text, line)
    elif facts.takes_logits is not None and facts.takes_logits != (facts.output == "logits"):
        gives, expects = ("probabilities", "logits") if facts.takes_logits else ("logits", "probabilities")
        yield Note(
            "",
            f"The network gives {gives}, but it was compiled with a loss that expects {expects}. {does}",
            f"`loss=keras.losses.{facts.compiled_loss}(from_logits={not facts.takes_logits})`",
        )


def check_momentum(network: Checked) -> Iterator[Note]:
    steps = network.gradient_steps
    norms = [step for step in network.steps if step.momentum is not None and step.is_trained]
    if steps is None or not norms or (network.spec or {}).get("evaluation", {}).get("recount_batch_norm"):
        return
    given = (network.training.get("batch_norm") or {}).get("momentum")
    momentum = given if given is not None else max(step.momentum or 0.0 for step in norms)
    if network.is_fresh and steps * (1 - momentum) < LAGGING_CONSTANTS:
        yield Note(
            norms[0].name,
            f"Batch normalization averages with a momentum of {momentum:g}, but the training has only "
            f"{pluralize(steps, 'step')}: its averages may lag behind.",
            '`keras.layers.BatchNormalization(momentum=0.9)`, or `"batch_norm": {"momentum": 0.9}` in the spec',
        )


def check_pixels(network: Checked) -> Iterator[Note]:
    first = network.weighted[0] if network.weighted else 0
    before = network.steps[:first]
    of_bytes = [step for step in before if step.scale and abs(step.scale) <= MAX_SCALE_OF_BYTES]
    if len(of_bytes) > 1:
        text = f"`{of_bytes[1].name}` scales pixels that `{of_bytes[0].name}` has already scaled."
        yield Note(of_bytes[1].name, text, f"Remove `{of_bytes[1].name}`.")
    pixels = network.network.get("pixels")
    if pixels in ("bytes", "caffe") and network.facts is not None and not network.facts.scales_pixels:
        # Batch normalization makes up for the size of its inputs.
        if not any(step.momentum for step in before) and not network.is_normed(first):
            yield Note(
                "",
                f"The network gets pixels from 0 to 255 (`network.pixels` is `{pixels}`) and does not scale them.",
                '`keras.layers.Rescaling(1 / 255)` as the first layer, or `"pixels": "unit"` in the spec',
            )
    elif pixels in ("unit", "symmetric", "imagenet") and of_bytes:
        yield Note(
            of_bytes[0].name,
            f"`{of_bytes[0].name}` expects pixels from 0 to 255, but the network gets pixels that are scaled already "
            f"(`network.pixels` is `{pixels}`).",
            f'Remove `{of_bytes[0].name}`, or set `"pixels": "bytes"` in the spec.',
        )


def check_penalties(network: Checked) -> Iterator[Note]:
    added = float(network.network.get("l2") or 0.0) if "model" in network.network else 0.0
    penalty = 0.0
    for place in network.weighted:
        step = network.steps[place]
        # Batch normalization undoes what a penalty does to the size of weights.
        if len(step.weights) < 2 or network.is_normed(place):
            continue
        inputs, outputs = get_fans(step.weights)
        deviation = sqrt(2 / (inputs + outputs)) if step.deviation is None else step.deviation
        l2 = step.l2 or (0.0 if step.l1 else added)
        penalty += prod(step.weights) * (l2 * deviation**2 + step.l1 * deviation * sqrt(2 / pi))
    guessing = log(network.classes or 10)
    if penalty > guessing:
        yield Note(
            "",
            f"The penalties of the weights begin at about {penalty:.2g}, but the loss of guessing is {guessing:.2g}: "
            "training would shrink weights before it learns anything.",
            "`kernel_regularizer=keras.regularizers.L2(1e-4)`",
        )


CHECKS: Mapping[str, Check] = {
    "loss": Check("Loss", "The loss that the file was compiled with fits its last layer.", check_loss),
    "momentum": Check(
        "Averages of batch normalization", "Averages of batch normalization follow within the training.", check_momentum
    ),
    "pixels": Check("Pixels", "Pixels are scaled once, by the network or before it.", check_pixels),
    "penalties": Check("Penalties", "Penalties of the first weights are smaller than the loss.", check_penalties),
}
