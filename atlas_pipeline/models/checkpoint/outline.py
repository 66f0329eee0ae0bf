"""A checkpoint's contents: tensors by name, shape and place in the file. No torch, and no code is run.

A pickle names classes and functions to call. Here every such name is replaced by an `Inert` class that keeps
its arguments and does nothing; names of torch functions that rebuild tensors are replaced by methods that
record where a tensor lies. Nothing named in a file is ever imported.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from atlas_pipeline.models.checkpoint.formats import COPY_AGAIN, STATE_DICT, kind_of, record_of, weights_error

# torch dtypes by the storage classes of pickles, and by their names in safetensors.
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}
SAFETENSORS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
# Bytes per item of a storage, whatever its tensors are; 1 for types not listed.
ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "complex64": 8,
    "complex128": 16,
    "torch.QInt32Storage": 4,
}
# Modules whose names occur in plain state dicts too, and need no mention.
STATE_DICT_MODULES = ("torch.", "torch._utils.", "collections.", "torch.storage.")


class _Immutable:
    """A value that a pickle may hold but not alter; without this it could set any attribute."""

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a tensor with a state")


@dataclass(frozen=True)
class StoredTensor(_Immutable):
    """A tensor in a file. shape, stride and offset count elements of ``dtype``, which is a torch name.

    storage: key of its storage in the file, or its name in a .safetensors file. kind: ``dense``, or why its
    numbers cannot be read.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str = ""
    stride: tuple[int, ...] = ()
    offset: int = 0
    storage: str = ""
    kind: str = "dense"


@dataclass(frozen=True)
class Outline:
    """The contents of a file.

    content: mappings, lists and `Inert` objects with `StoredTensor` inside. classes: dotted names that the
    file refers to. storages: key and bytes per element, in file order; start: bytes before the first storage.
    Both are set for torch's old format only, in which storages have no names and follow each other.
    """

    content: Any
    classes: tuple[str, ...] = ()
    storages: tuple[tuple[str, int], ...] = ()
    start: int = 0


class Inert(dict):
    """Replacement for an object of any class and for the result of any call; keeps the items of mappings."""

    global_name = ""
    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        return dict.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # An OrderedDict from Python 2 passes its items as an argument.
        if (
            args
            and isinstance(args[0], list)
            and all(isinstance(i, list | tuple) and len(i) == 2 for i in args[0])
        ):
            super().__init__(args[0])

    def __call__(self, *args: Any, **kwargs: Any) -> Inert:
        """A pickle may call the result of a call, such as a method found by ``getattr``."""
        return type(self)()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """Drop the items of lists and sets."""

    extend = add = append
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__
    __ne__ = object.__ne__


@dataclass(frozen=True)
class _Storage(_Immutable):
    key: str
    dtype: str
    offset: int


def read_outline(path: Path) -> Outline:
    """The outline of any weights file; for shards, the tensors of all of them.

    Raises: ModelError: no weights file, or a damaged one.
    """
    kind = kind_of(path)
    try:
        if kind == "safetensors":
            return Outline(_safetensors(path))
        if kind == "shards":
            return Outline(_shards(path))
        return _zip(path) if kind == "zip" else _legacy(path)
    except (pickle.UnpicklingError, EOFError, OSError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise weights_error(path, f"is damaged ({_first_line(error)})", COPY_AGAIN) from error
    except (
        AttributeError,
        TypeError,
        ArithmeticError,
        ValueError,
        MemoryError,
        RuntimeError,
        struct.error,
    ) as error:
        raise weights_error(
            path, f"cannot be read as a state dict ({_first_line(error)})", STATE_DICT
        ) from error


def shard_files(index: Path) -> list[Path]:
    """The files named by an index of shards (``model.safetensors.index.json``), sorted.

    Raises: ModelError: no such index, or a missing shard.
    """
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        files = [index.parent / Path(name).name for name in sorted(names)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise weights_error(index, "is no index of shards: it has no weight_map", COPY_AGAIN) from None
    for file in files:
        if not file.is_file():
            raise weights_error(
                index, f"names the shard '{file.name}', which is not beside it", "put it there"
            )
    return files


def _shards(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for file in shard_files(path):
        shard = read_outline(file).content
        content |= shard
    return content


def _safetensors(path: Path) -> dict[str, StoredTensor]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    end = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    if end != path.stat().st_size:
        raise EOFError(f"not a whole .safetensors file: {path.stat().st_size} bytes of {end}")
    return {
        name: StoredTensor(
            path,
            tuple(entry["shape"]),
            SAFETENSORS.get(entry["dtype"], entry["dtype"]),
            storage=name,
            kind="dense" if entry["dtype"] in SAFETENSORS else f"of type {entry['dtype']}",
        )
        for name, entry in entries.items()
    }


def _zip(path: Path) -> Outline:
    with zipfile.ZipFile(path) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        unpickler = _Outliner(io.BytesIO(record_of(archive, path, record)), path)
        content = unpickler.load()
    return Outline(content, unpickler.classes)


def _legacy(path: Path) -> Outline:
    with path.open("rb") as file:
        # A magic number, a version and machine details come first; the storages come last.
        for _ in range(3):
            _Outliner(file, path).load()
        unpickler = _Outliner(file, path)
        content = unpickler.load()
        keys = [str(key) for key in _Outliner(file, path).load()]
        storages = tuple((key, unpickler.item_bytes[key]) for key in keys)
        return Outline(content, unpickler.classes, storages, file.tell())


# Python's unpickler, not the C one, in which a damaged file can request any amount of memory.
class _Outliner(pickle._Unpickler):
    """An unpickler in which only `find_class` and `persistent_load` bring in anything from outside."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        # latin1 decodes any bytes of Python 2, and names are ASCII.
        super().__init__(file, encoding="latin1")
        self._path = path
        self._inert: dict[str, type[Inert]] = {}
        self.item_bytes: dict[str, int] = {}
        # Methods, since a pickle could alter the attributes of functions.
        self._own: dict[str, Callable[..., Any]] = {
            "torch._utils._rebuild_tensor": self._dense,
            "torch._utils._rebuild_tensor_v2": self._dense,
            "torch._utils._rebuild_tensor_v3": self._dense_v3,
            "torch._utils._rebuild_parameter": self._parameter,
            "torch._utils._rebuild_parameter_with_state": self._parameter,
            "torch._utils._rebuild_meta_tensor_no_storage": self._meta,
            "torch._utils._rebuild_qtensor": self._quantised,
            "torch._utils._rebuild_sparse_tensor": self._sparse,
            "torch._utils._rebuild_nested_tensor": self._nested,
            "torch._utils._rebuild_wrapper_subclass": self._subclass,
            "torch._tensor._rebuild_from_type_v2": self._from_type,
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """Dotted names that the pickle refers to, except those in every state dict."""
        return tuple(n for n in self._inert if n.rpartition(".")[0] + "." not in STATE_DICT_MODULES)

    def find_class(self, module: str, name: str) -> Any:
        """An inert class, or a method that records a tensor; never the object that the name refers to."""
        full = f"{module}.{name}"
        if full in self._own:
            return self._own[full]
        if full not in self._inert:
            self._inert[full] = type("Inert", (Inert,), {"global_name": full})
        return self._inert[full]

    def persistent_load(self, pid: Any) -> Any:
        """A storage, or the class of a module that was saved with its source."""
        if pid[0] == "module":
            return pid[1]
        _, storage_class, key, _, _, *view = pid
        name = storage_class.global_name.rpartition(".")[2]
        offset = view[0][1] if view and view[0] else 0
        dtype = STORAGES.get(name, f"torch.{name}")
        self.item_bytes[str(key)] = ITEM_BYTES.get(dtype, 1)
        return _Storage(str(key), dtype, int(offset))

    def _dense(self, storage: Any, offset: int, size: Iterable[int], stride: Iterable[int], *_: Any) -> Any:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        known = storage.dtype in STORAGES.values()
        return StoredTensor(
            self._path,
            _sizes(size),
            storage.dtype,
            _sizes(stride),
            int(offset) + storage.offset,
            storage.key,
            "dense" if known else f"of type {storage.dtype}",
        )

    def _dense_v3(
        self, storage: Any, offset: int, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
    ) -> StoredTensor:
        return StoredTensor(self._path, _sizes(size), kind=f"of type {_name(dtype)}")

    def _parameter(self, value: Any, *_: Any) -> Any:
        return value

    def _meta(self, dtype: Any, size: Any, *_: Any) -> StoredTensor:
        return StoredTensor(
            self._path, _sizes(size), kind="on the meta device, which keeps shapes and no numbers"
        )

    def _quantised(self, storage: Any, offset: Any, size: Any, *_: Any) -> StoredTensor:
        return StoredTensor(self._path, _sizes(size), kind="quantised")

    def _sparse(self, *_: Any) -> StoredTensor:
        return StoredTensor(self._path, (), kind="sparse")

    def _nested(self, *_: Any) -> StoredTensor:
        return StoredTensor(self._path, (), kind="nested")

    def _subclass(self, kind: Any, *_: Any) -> StoredTensor:
        return StoredTensor(self._path, (), kind=f"of the class {_name(kind)}")

    def _from_type(self, rebuild: Any, kind: Any, args: Any, *_: Any) -> Any:
        if rebuild in self._own.values() and _name(kind) in ("torch.Tensor", "torch.nn.parameter.Parameter"):
            return rebuild(*args)
        return self._subclass(kind)


def _name(inert: Any) -> str:
    return str(getattr(inert, "global_name", type(inert).__name__))


def _sizes(sizes: Iterable[int]) -> tuple[int, ...]:
    found = tuple(int(size) for size in sizes)
    if any(size < 0 for size in found) or math.prod(found) >= 2**63:
        raise pickle.UnpicklingError("a tensor of an impossible size")
    return found


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
