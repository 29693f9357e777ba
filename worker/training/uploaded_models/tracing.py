"""Follows an image through a model: the shapes of what each step gives, and which steps it takes that from."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

Shape = tuple[int, ...]
# The output shapes of each step, without the batch axis: one for each output of each call.
Shapes = dict[int, list[Shape]]


@dataclass(frozen=True)
class Trace:
    """What is known of each step, by its identity. sources: for each call, the steps whose outputs it takes."""

    shapes: Shapes = field(default_factory=lambda: defaultdict(list))
    sources: dict[int, list[tuple[int, ...]]] = field(default_factory=lambda: defaultdict(list))


def trace_model(model: keras.Model, image: Shape) -> Trace:
    """Trace all steps, those of inner models included, for one size of image."""
    found = Trace()
    made: dict[int, tuple[Any, int]] = {}  # holds the tensors, whose identities would be used again

    def make_tracer(step: Any) -> Callable[..., Any]:
        def trace(*args: Any, **kwargs: Any) -> Any:
            if isinstance(step, keras.Model):
                return run(step, args[0])
            given = step.compute_output_spec(*args, **kwargs)
            outputs = [part for part in keras.tree.flatten(given) if part is not None]
            found.shapes[id(step)] += [tuple(size or 1 for size in part.shape[1:]) for part in outputs]
            inputs = [made[id(part)][1] for part in keras.tree.flatten((args, kwargs)) if id(part) in made]
            found.sources[id(step)].append(tuple(inputs))
            made.update((id(part), (part, id(step))) for part in outputs)
            return given

        return trace

    def run(model: keras.Model, images: Any) -> Any:
        graph = model._functional if isinstance(model, keras.Sequential) else model
        return graph._run_through_graph(images, operation_fn=make_tracer)

    run(model, keras.KerasTensor((None, *image), dtype=model.inputs[0].dtype))
    return found
