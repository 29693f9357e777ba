"""An ONNX file, by tf2onnx, answered by onnxruntime."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from analysis.arrays.onnx_tensors import import_onnxruntime
from heldout.stored.results import ModelAbout
from worker.training.exports.proof import ProofImages
from worker.training.uploaded_models.onnx_model import open_session

INPUT, OUTPUT = "pixels", "probabilities"


def write(model: keras.Model, about: ModelAbout, card: str, file: Path, scratch: Path) -> None:
    import onnx

    _teach_erfc()
    model(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras only exports functions that were called
    model.export(str(file), format="onnx", verbose=False)
    made = onnx.load(str(file))
    _name_ends(made.graph)
    made.producer_name, made.producer_version = "heldout", ""
    facts = about.model_dump(mode="json")
    # ONNX metadata are strings; lists are written as JSON.
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in facts.items()
    }
    onnx.helper.set_model_props(made, {**texts, "model_card": card})
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, str(file))


def compute_answers(file: Path, images: ProofImages, scratch: Path) -> NDArray[np.float32]:
    """Compute (images, classes) probabilities."""
    session = open_session(file)
    return np.concatenate([session.run([OUTPUT], {INPUT: batch})[0] for batch in images.batches()])


def describe_runtime() -> str:
    return f"onnxruntime {import_onnxruntime().__version__}"


def _name_ends(graph: Any) -> None:
    """Give input, output and their batch dimension readable names; tf2onnx numbers them."""
    (taken,), (given,) = graph.input, graph.output
    old = {taken.name: INPUT, given.name: OUTPUT}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [old.get(name, name) for name in names]
    taken.name, given.name = INPUT, OUTPUT
    for end in (taken, given):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]


def _teach_erfc() -> None:
    """Replace erfc, by which TensorFlow computes `gelu`, with 1 - erf, since ONNX does not have it."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
            node.type = "Erf"
            one = ctx.make_const(f"{node.name}_one", np.array(1, np.float32)).output[0]
            erf = node.output[0]
            ctx.insert_new_node_on_output("Sub", erf, inputs=[one, erf], name=f"{node.name}_from_one")
