"""Checks of what a network sees: the sizes of its maps, and how many pixels each value comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

from heldout.network_check.checked import Check, Checked, Note
from heldout.words import percent, pluralize

# Global pooling after values that come from less than this share of an image's side sees textures, not shapes.
MIN_FIELD = 0.25
# Convolutions whose inputs already come from this many times an image's side add little, if half of them are such
# (Richter et al. 2021: "(Input) Size Matters for CNN Classifiers").
LARGE_FIELD, MIN_LARGE, MIN_SHARE = 2.0, 3, 0.5
# Convolutions over maps of one pixel, as a share of all.
MIN_TINY, MIN_TINY_SHARE = 2, 1 / 3
MIN_SKIPPED = 0.5
_ENLARGING = {"Conv2DTranspose", "UpSampling2D", "Resizing"}


@dataclass(frozen=True)
class Field:
    """How many pixels of a side a value comes from: along its shortest way and its longest, and the way of a step."""

    smallest: float
    largest: float
    jump: int


def trace_fields(network: Checked) -> list[Field]:
    """Return the field of each step's values; nothing for networks whose graph is not simply a chain of maps."""
    if any(step.is_shared or step.type in _ENLARGING for step in network.steps):
        return []
    found = list[Field]()
    for step in network.steps:
        if any(source >= len(found) for source in step.sources):
            return []
        sources = [found[source] for source in step.sources] or [Field(1, 1, 1)]
        jump, grown = max(source.jump for source in sources), max(0, step.kernel - 1)
        field = Field(
            min(source.smallest for source in sources) + grown * jump,
            max(source.largest for source in sources) + grown * jump,
            jump * step.strides,
        )
        found.append(field if step.is_map and not step.type.startswith("Global") else Field(inf, inf, jump))
    return found


def check_tiny_maps(network: Checked) -> Iterator[Note]:
    fields, convolutions = trace_fields(network), _list_convolutions(network)
    if network.image is None or not fields:
        return
    tiny = [place for place in convolutions if _get_jump(network, fields, place) >= min(network.image[:2])]
    if len(tiny) >= max(MIN_TINY, MIN_TINY_SHARE * len(convolutions)):
        first, rest = network.steps[tiny[0]].name, pluralize(len(tiny), "convolution")
        yield Note(
            first,
            f"Maps are down to 1×1 pixel at `{first}`, with {rest} to come whose kernels only see padding.",
            "Use smaller strides, or fewer pooling layers, before it.",
        )


def check_skipped_pixels(network: Checked) -> Iterator[Note]:
    for place in network.weighted:
        step = network.steps[place]
        is_shortcut = step.kernel == 1 and any(len(network.consumers[source]) > 1 for source in step.sources)
        skipped = 1 - (step.kernel / step.strides) ** 2 if step.kernel else 0.0
        if skipped > MIN_SKIPPED and not is_shortcut:
            yield Note(
                step.name,
                f"`{step.name}` moves by {step.strides} pixels but sees {step.kernel}, so it skips "
                f"{percent(skipped, 0)} of the pixels.",
                f'`{step.type}(…, strides={max(1, step.kernel // 2)}, name="{step.name}")`',
            )


def check_small_field(network: Checked) -> Iterator[Note]:
    fields = trace_fields(network)
    pools = [place for place, step in enumerate(network.steps) if step.type.startswith("Global") and step.sources]
    if network.image is None or not fields or not pools:
        return
    side, field = min(network.image[:2]), fields[network.steps[pools[-1]].sources[0]].largest
    if field < MIN_FIELD * side:
        yield Note(
            network.steps[pools[-1]].name,
            f"Each value before `{network.steps[pools[-1]].name}` comes from {field:g}×{field:g} pixels of an image of "
            f"{network.image[0]}×{network.image[1]}: enough for textures, but not for larger objects.",
            "Add convolutions and pooling layers before it, or use `Flatten`.",
        )


def check_large_field(network: Checked) -> Iterator[Note]:
    fields, convolutions = trace_fields(network), _list_convolutions(network)
    if network.image is None or not fields:
        return
    side = max(network.image[:2])
    large = [
        place
        for place in convolutions
        for source in network.steps[place].sources
        if LARGE_FIELD * side <= fields[source].smallest < inf
    ]
    if len(large) >= max(MIN_LARGE, MIN_SHARE * len(convolutions)):
        yield Note(
            network.steps[large[0]].name,
            f"From `{network.steps[large[0]].name}` on, {len(large)} of {len(convolutions)} convolutions take values "
            f"that already come from more than twice an image of {network.image[0]}×{network.image[1]}.",
            "Use smaller strides or fewer pooling layers at the beginning, or fewer layers at the end.",
        )


def _list_convolutions(network: Checked) -> list[int]:
    return [place for place in network.weighted if network.steps[place].kernel > 1]


def _get_jump(network: Checked, fields: list[Field], place: int) -> int:
    return max((fields[source].jump for source in network.steps[place].sources), default=1)


CHECKS: Mapping[str, Check] = {
    "tiny_maps": Check(
        "Maps of one pixel", "Maps are larger than one pixel until shortly before the end.", check_tiny_maps
    ),
    "skipped_pixels": Check("Skipped pixels", "A stride is at most as large as its kernel.", check_skipped_pixels),
    "small_field": Check(
        "Sees too little", "Values before global pooling come from a quarter of an image's side.", check_small_field
    ),
    "large_field": Check(
        "Sees more than the image",
        "Most convolutions take values that come from a part of the image.",
        check_large_field,
    ),
}
