"""Reads the tensors of a PyTorch file in its legacy form, without PyTorch.

The file begins with five pickles: a magic number, a version, facts about the machine, the tensors by name, and the
keys of their storages. Each storage follows, with its length and its numbers. A pickle can call any function. So only
four names are known here, and they make dictionaries and tensors and nothing else.
"""

import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_TYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_MAX_DIMENSIONS = 8


class NotTensors(Exception):
    """The file is not a legacy PyTorch file of tensors, or it is damaged. The text says what was found."""


@dataclass
class _Storage:
    """Numbers that tensors share, once they are read."""

    dtype: np.dtype[Any]
    size: int
    numbers: NDArray[Any] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def rebuild(cls, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> "_Tensor":
        """Stand in for `torch._utils._rebuild_tensor_v2`."""
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or not all(type(number) is int and number >= 0 for number in numbers):
            raise NotTensors("a tensor is not described by a storage and whole numbers")
        if len(shape) != len(strides) or len(shape) > _MAX_DIMENSIONS:
            raise NotTensors(f"a tensor has {len(shape)} sizes and {len(strides)} strides")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if prod(shape) > storage.size or (prod(shape) and last >= storage.size):
            raise NotTensors("a tensor reaches beyond its storage")
        return cls(storage, offset, tuple(shape), tuple(strides))

    def to_array(self) -> NDArray[Any]:
        """Copy to an array that is contiguous."""
        numbers = self.storage.numbers
        strides = [stride * numbers.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides, writeable=False).copy()


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles tensors. Every other name is refused before anything is called."""

    _known: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor.rebuild,
        **{("torch", name): name for name in _TYPES},
    }

    def __init__(self, file: io.BufferedIOBase) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._known:
            raise NotTensors(f"it names `{module}.{name}`, which is not a tensor")
        return self._known[module, name]

    def persistent_load(self, described: Any) -> _Storage:
        try:
            kind, type_name, key, _device, size, view = described
        except (TypeError, ValueError):
            kind = view = None
            type_name = key = size = ""
        if kind != "storage" or type_name not in _TYPES or type(key) is not str or type(size) is not int or view:
            raise NotTensors(f"it has a storage that is described by {str(described)[:80]}")
        storage = self.storages.setdefault(key, _Storage(_TYPES[type_name], size))
        if (storage.dtype, storage.size) != (_TYPES[type_name], size):
            raise NotTensors("a storage is described in two ways")
        return storage


def read_tensors(file: Path) -> dict[str, NDArray[Any]]:
    """Read all tensors of a file, by name.

    Raises:
        NotTensors.
    """
    with file.open("rb") as opened:
        try:
            return _read(opened, file.stat().st_size)
        except NotTensors:
            raise
        except Exception as error:  # whatever a damaged pickle makes Python raise
            raise NotTensors(f"it is damaged ({type(error).__name__})") from error


def _read(opened: io.BufferedReader, size_bytes: int) -> dict[str, NDArray[Any]]:
    if (_TensorUnpickler(opened).load(), _TensorUnpickler(opened).load()) != (_MAGIC, _VERSION):
        raise NotTensors("it does not begin as a PyTorch file of the legacy form")
    _TensorUnpickler(opened).load()
    unpickler = _TensorUnpickler(opened)
    found = unpickler.load()
    keys = _TensorUnpickler(opened).load()
    if not isinstance(found, dict) or not all(isinstance(tensor, _Tensor) for tensor in found.values()):
        raise NotTensors("it holds something else than tensors by name")
    if sorted(keys) != sorted(unpickler.storages):
        raise NotTensors("its list of storages does not fit its tensors")
    for key in keys:
        storage = unpickler.storages[key]
        if int(np.frombuffer(opened.read(8), "<i8")[0]) != storage.size or storage.size > size_bytes:
            raise NotTensors("a storage has another length than its tensors say")
        storage.numbers = np.frombuffer(opened.read(storage.size * storage.dtype.itemsize), storage.dtype)
        if len(storage.numbers) != storage.size:
            raise NotTensors("it ends too early")
    if opened.read(1):
        raise NotTensors("it has more than its tensors")
    return {str(name): tensor.to_array() for name, tensor in found.items()}
