"""What an uploaded network costs at half its width, or why it cannot be halved."""

import keras
import tensorflow as tf

from heldout.spec.model_facts import NetworkFacts
from worker.ingest.rejection import clean_name
from worker.training.foreign.description import describe_network
from worker.training.keras_file import build_model
from worker.training.own_changes import Config, drops_out, halve_width, penalizes, replace_head
from worker.training.own_network import list_steps

ADDED_LAYERS = 2  # by `replace_head`, after a feature map


def add_what_changes_need(
    facts: NetworkFacts, config: Config, size: tuple[int, int], *, gives_map: bool
) -> NetworkFacts:
    """Add what changes of a network depend on: its own dropout and penalties, and its cost at half the width.

    Args:
        config: as read by `keras_config.read_network`.
        size: height and width of its images, if it takes any.
        gives_map: whether it gives a feature map, whose channels are halved too.
    """
    half, refusal = _describe_half(facts, config, size, gives_map=gives_map)
    found = {"drops_out": drops_out(config), "penalizes": penalizes(config), "half": half, "half_refusal": refusal}
    return facts.model_copy(update=found)


def _describe_half(
    whole: NetworkFacts, config: Config, size: tuple[int, int], *, gives_map: bool
) -> tuple[NetworkFacts | None, str]:
    """Return the cost of the network at half its width, or None and the reason."""
    if gives_map:
        config = replace_head(config, 1, gives_map=True)
    keras.config.disable_traceback_filtering()  # Keras' own frames say which layer does not fit
    try:
        model = build_model(halve_width(config))
        half = describe_network(model, size)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # noqa: BLE001 - anything that mismatched layers raise
        return None, _explain(error)
    finally:
        keras.config.enable_traceback_filtering()
    layers = half.layers[:-ADDED_LAYERS] if gives_map else half.layers
    for step in list_steps(model):
        if any(0 in weight.shape for weight in getattr(step, "weights", ())):  # a slice of half the width is empty
            return None, _describe_misfit(step.name, type(step).__name__)
    if [layer.parameters for layer in layers] == [layer.parameters for layer in whole.layers]:
        return None, "Only its last layer has filters or units."
    return half.model_copy(update={"layers": layers}), ""


def _explain(error: BaseException | None) -> str:
    """Name the layer that was being called, or built, when Keras raised an error: the innermost one."""
    found = None
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            caller = trace.tb_frame.f_locals.get("self")
            if isinstance(caller, keras.Operation) and not isinstance(caller, keras.Model):
                found = caller
            trace = trace.tb_next
        error = error.__cause__
    return "Its layers would not fit together." if found is None else _describe_misfit(found.name, type(found).__name__)


def _describe_misfit(name: str, kind: str) -> str:
    return f"Layer `{clean_name(name, 60)}` ({kind}) does not fit layers of half the width."
