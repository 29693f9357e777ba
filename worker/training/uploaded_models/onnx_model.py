"""An ONNX file as a classifier, run by onnxruntime. Weights are counted without it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.onnx_tensors import INITIALIZER, TensorElsewhere, import_onnxruntime, iterate_tensors
from heldout.histories.event_files import NotThisFormatError, iterate_fields
from heldout.lifecycle.resources import ModelFormat, ModelRejectionCode
from heldout.spec.model_facts import ModelFacts, ModelLayer
from worker.ingest.rejection import clean_name
from worker.training.model_files.refusal import ModelRefused, make_damaged, make_failure_on

# Fields of onnx.proto: of ModelProto and of TensorProto.
_PRODUCER_NAME, _PRODUCER_VERSION = 2, 3
_DIMS, _NAME = 1, 8
# Meanings of onnxruntime's error classes. Their own texts would quote the file and its path on the worker.
_WHY_NOT_LOADED = {
    "InvalidProtobuf": "the file is not a complete ONNX file",
    "InvalidGraph": "its graph is not valid",
    "NotImplemented": "it has an operator that onnxruntime does not have",
}
# Channels that images have.
_CHANNELS = (1, 3, 4)
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
TRIED_SIZE = 64


class OnnxAnswers:
    """Answers images with an ONNX model.

    Raises:
        ModelRefused: if it is not an ONNX model, or onnxruntime is not installed.
    """

    gives_logits = False  # whether it ends in a softmax is unknown

    def __init__(self, file: Path) -> None:
        self._session = open_session(file)
        taken, given = self._session.get_inputs(), self._session.get_outputs()
        if len(taken) != 1 or len(taken[0].shape) != 4 or taken[0].type not in {*_TYPES, "tensor(uint8)"}:
            shapes = ", ".join(f"{tensor.type} {tensor.shape}" for tensor in taken)[:200]
            raise ModelRefused(
                ModelRejectionCode.NOT_FOR_IMAGES,
                f"The model takes {shapes}; expected one input of four dimensions: the batch, and an image with its "
                "channels first or last.",
            )
        # Further outputs, such as class names, are ignored.
        if not given or len(given[0].shape) not in {2, 4} or given[0].type not in _TYPES:
            shapes = ", ".join(f"{tensor.type} {tensor.shape}" for tensor in given)[:200]
            raise ModelRefused(
                ModelRejectionCode.UNFIT_OUTPUT, f"The model gives {shapes}; expected one output of (batch, classes)."
            )
        self._name, self._output = taken[0].name, given[0].name
        self._dtype = _TYPES.get(taken[0].type, np.uint8)
        sizes = [size if isinstance(size, int) and size > 0 else None for size in taken[0].shape]
        self._batch = sizes[0]
        self.channels_first = sizes[3] not in _CHANNELS and sizes[1] in _CHANNELS
        self.input_shape = tuple(sizes[2:] + sizes[1:2]) if self.channels_first else tuple(sizes[1:])
        self.output_shape = tuple(size if isinstance(size, int) and size > 0 else None for size in given[0].shape[1:])

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (batch, figures) for (batch, height, width, channels)."""
        size = self._batch or len(images)
        found = []
        for begin in range(0, len(images), size):
            part = images[begin : begin + size]
            missing = size - len(part)
            if missing:  # a model of one batch size takes no smaller one
                part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])
            if self.channels_first:
                part = np.ascontiguousarray(part.transpose(0, 3, 1, 2))
            [answer] = self._session.run([self._output], {self._name: part.astype(self._dtype)})
            found.append(answer[: size - missing])
        return np.concatenate(found).astype(np.float32)


def read_onnx_facts(file: Path) -> ModelFacts:
    """Read the file for the first time, and try the model on a black image.

    Raises:
        ModelRefused.
    """
    made_by, weights = _read_contents(file)
    model = OnnxAnswers(file)
    image = np.zeros((1, *(TRIED_SIZE if size is None else size for size in model.input_shape)), np.float32)
    try:
        answer = model(image)
    except Exception as error:  # whatever onnxruntime raises
        raise make_failure_on(image.shape) from error
    if not np.isfinite(answer).all():
        code = ModelRejectionCode.CANNOT_ANSWER
        raise ModelRefused(code, "The model gives figures that are not finite on a black image.")
    return ModelFacts(
        format=ModelFormat.ONNX,
        channels_first=model.channels_first,
        input_shape=model.input_shape,
        output_shape=tuple(answer.shape[1:]) if len(model.output_shape) == 1 else model.output_shape,
        parameters=sum(int(np.prod(shape)) for _, shape in weights),
        layers=tuple(ModelLayer(name=name, type="initializer", weights=(shape,)) for name, shape in weights),
        made_by=made_by,
    )


def open_session(file: Path) -> Any:
    """Load a model into onnxruntime, with one thread. Raises ModelRefused."""
    try:
        onnxruntime = import_onnxruntime()
    except ImportError as error:
        raise ModelRefused(
            ModelRejectionCode.NO_ONNX_RUNTIME,
            "This worker has no onnxruntime, which reads ONNX files. Upload the model as a `.keras` file, or ask the "
            "operator to run `pip install --group cpu` in the repository.",
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # anything that a broken file makes it raise
        why = _WHY_NOT_LOADED.get(type(error).__name__, "its parts do not fit together")
        raise make_damaged(
            f"onnxruntime {onnxruntime.__version__} cannot load the model: {why}. Export it again, for operators that "
            "this release has.",
        ) from error


def _read_contents(file: Path) -> tuple[str, list[tuple[str, tuple[int, ...]]]]:
    """Return the program that wrote the file, and the names and shapes of its weights.

    Raises:
        ModelRefused: it is not an ONNX file, or a tensor at any depth is stored in another file.
    """
    maker = ["", ""]
    content = file.read_bytes()
    try:
        for number, value in iterate_fields(content):
            if number in (_PRODUCER_NAME, _PRODUCER_VERSION) and isinstance(value, bytes):
                maker[number - _PRODUCER_NAME] = clean_name(value.decode("utf-8", "replace")[:80])
        weights = [_read_weight(tensor) for field, tensor in iterate_tensors(content) if field == INITIALIZER]
    except TensorElsewhere as error:
        code = ModelRejectionCode.UNSAFE_MODEL
        raise ModelRefused(code, "The model keeps weights in another file. Export it as one file.") from error
    except NotThisFormatError as error:
        raise ModelRefused(
            ModelRejectionCode.NOT_A_MODEL,
            "The file is neither a `.keras` file nor a complete ONNX file. Save a model of Keras with "
            "`model.save('model.keras')`, or export it as ONNX.",
        ) from error
    return " ".join(filter(None, maker)), weights


def _read_weight(tensor: bytes) -> tuple[str, tuple[int, ...]]:
    name, shape = "", list[int]()
    for number, value in iterate_fields(tensor):
        if number == _NAME and isinstance(value, bytes):
            name = clean_name(value.decode("utf-8", "replace"))
        if number == _DIMS:
            shape += [value] if isinstance(value, int) else _unpack_numbers(value)
    return name, tuple(shape)


def _unpack_numbers(numbers: bytes) -> list[int]:
    """Read a packed list of numbers, as some programs write dimensions."""
    found, value, shift = [], 0, 0
    for byte in numbers:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(value)
            value = shift = 0
    return found
