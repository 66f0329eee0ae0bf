"""The atoms of a sparse autoencoder, read from a file of its decoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.models.named_file import named_file

KEY = "directions.file"
SUFFIXES = (".npy", ".npz", ".safetensors")


def decoder_path(text: str) -> Path:
    """The path of a decoder's file.

    Raises: ConfigError: no such file, or of another kind.
    """
    path = named_file(text, KEY)
    if not path.is_file():
        raise ConfigError(f"{KEY} '{text}' does not exist; give a .npy, .npz or .safetensors file")
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"{KEY} '{text}' is not a .npy, .npz or .safetensors file; save the decoder as one of them"
        )
    return path


def decoder_atoms(path: Path, num_channels: int, layer: str) -> NDArray[np.float32]:
    """The rows of a decoder, (atom, channel), each scaled to length 1; a row of zeros stays as it is.

    In a file of several arrays, the only one of two axes is taken, or the only one with ``dec`` in its name.

    Raises: ConfigError: not readable, no such array, another number of channels, or a value not finite.
    """
    name, decoder = _only_matrix(path, _arrays(path))
    where = f"{KEY} '{path}'" + (f", array '{name}'" if name else "")
    if decoder.shape[1] != num_channels:
        is_turned = decoder.shape[0] == num_channels
        remedy = "transpose it" if is_turned else "give the decoder of an autoencoder of this layer"
        raise ConfigError(
            f"{where} has {decoder.shape[1]} channels (shape {tuple(decoder.shape)}, atom by channel), and "
            f"layer '{layer}' has {num_channels}; {remedy}"
        )
    values = decoder.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values).all(axis=1)))
        raise ConfigError(f"{where} has a value that is not finite, in row {row}; save a sound decoder")
    lengths = np.linalg.norm(values, axis=1)
    if not lengths.any():
        raise ConfigError(f"{where} is zero everywhere; save the decoder's weights")
    return (values / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)


def _arrays(path: Path) -> Mapping[str, NDArray]:
    try:
        if path.suffix == ".safetensors":
            # Through torch: NumPy has no bfloat16.
            from safetensors.torch import load_file

            return {name: tensor.float().numpy() for name, tensor in load_file(path).items()}
        loaded = np.load(path, allow_pickle=False)
        return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded}
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{KEY} '{path}' cannot be read ({reason}); save the decoder again") from error


def _only_matrix(path: Path, arrays: Mapping[str, NDArray]) -> tuple[str, NDArray]:
    found = {
        name: array
        for name, array in arrays.items()
        if array.ndim == 2 and array.dtype.kind in "fiu" and array.size
    }
    if len(found) > 1:
        found = {name: array for name, array in found.items() if "dec" in name.lower()} or found
    if len(found) != 1:
        names = ", ".join(
            f"{name or 'array'} of shape {tuple(array.shape)}" for name, array in arrays.items()
        )
        raise ConfigError(
            f"{KEY} '{path}' must hold one matrix, atom by channel, and holds {len(found) or 'none'} "
            f"({names[:200]}); save the decoder alone"
        )
    return next(iter(found.items()))
