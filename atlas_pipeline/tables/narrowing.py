"""Vectors as float16 where that preserves them, else as float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Largest norm of the rounding error that float16 may introduce, as a share of the vector's norm. The cosine
# between the vector and its stored form is then above 0.99995.
MAX_LOST_SHARE = 0.01
_BLOCK_ROWS = 1024
# float16 rounds a value to 2^-11 of itself, and a value below 2^-14 to 2^-25. So a vector without values of
# 65,520 or more loses at most the share sqrt(2^-22 + length * 2^-50 / its squared norm).
_SURE_MEAN_SQUARE = 2.0**-50 / (0.5 * MAX_LOST_SHARE**2)
_SURE_SQUARE = 65_504.0**2
# torch copies so few numbers without starting threads.
_NUMBERS_AT_ONCE = 1 << 14


def narrow(values: np.ndarray, axes: Sequence[int] = (0, 1)) -> np.ndarray:
    """The values as float16 if that preserves every vector, else unchanged.

    Args:    values: (row, channel) float32. axes: which vectors must be preserved: 1: rows, 0: columns.
    Returns: (row, channel) float16; float32 if some vector would lose more than ``MAX_LOST_SHARE``.
    """
    narrowing = Narrowing(len(values), axes)
    narrowing.add(values)
    return narrowing.finished()


class Narrowing:
    """Does what ``narrow`` does for rows that arrive in batches, while they arrive.

    Norms decide about nearly all vectors, in a hundredth of the time that ``float16_losses`` takes.

    Args: max_rows: of all batches together. axes: as in ``narrow``.
    """

    def __init__(self, max_rows: int, axes: Sequence[int]):
        self._max_rows, self._axes = max_rows, axes
        self._exact: list[np.ndarray] = []
        self._num_rows, self._is_lossy = 0, False

    def add(self, values: np.ndarray) -> None:
        """Add rows: (row, channel) float32, finite; they must not change afterwards."""
        if not self._exact:
            self._narrow = np.empty((self._max_rows, values.shape[1]), np.float16)
            self._squares = np.zeros(values.shape[1])
        self._exact.append(values)
        start, self._num_rows = self._num_rows, self._num_rows + len(values)
        if self._is_lossy:
            return
        if 1 in self._axes:
            unsure = ~_is_sure(np.einsum("ij,ij->i", values, values), values.shape[1])
            self._is_lossy = _loses_too_much(values[unsure], axis=1)
        if 0 in self._axes:
            self._squares += np.einsum("ij,ij->j", values, values)
        _copy(values, self._narrow[start : self._num_rows])

    def finished(self) -> np.ndarray:
        """All rows, after at least one `add`: (row, channel) float16, or float32 as in ``narrow``."""
        if 0 in self._axes and not self._is_lossy:
            unsure = ~_is_sure(self._squares, self._num_rows)
            if unsure.any():
                columns = np.concatenate([values[:, unsure] for values in self._exact])
                self._is_lossy = _loses_too_much(columns, axis=0)
        if not self._is_lossy:
            return self._narrow[: self._num_rows]
        return self._exact[0] if len(self._exact) == 1 else np.concatenate(self._exact)


def _is_sure(squares: np.ndarray, length: int) -> np.ndarray:
    """Whether vectors of these squared norms lose less than ``MAX_LOST_SHARE``, whatever their values."""
    return (squares >= length * _SURE_MEAN_SQUARE) & (squares <= _SURE_SQUARE)


def _loses_too_much(values: np.ndarray, axis: int) -> bool:
    return bool(float16_losses(values)[1 - axis].max(initial=0.0) > MAX_LOST_SHARE)


def _copy(values: np.ndarray, narrow: np.ndarray) -> None:
    """Round as NumPy does, in a fiftieth of its time."""
    import torch

    rows = max(1, _NUMBERS_AT_ONCE // max(1, values.shape[1]))
    source, target = torch.from_numpy(values), torch.from_numpy(narrow)
    for start in range(0, len(values), rows):
        target[start : start + rows].copy_(source[start : start + rows])


def float16_losses(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Norm of the error of float16 storage, as a share of the norm, for each row and each column.

    Rounding loses up to 5e-4. Values below 6e-5 lose more, and values below 3e-8 become zero. Values above
    65,504 overflow, and the loss is infinite. A row or column of zeros loses nothing.

    Args:    values: (row, channel), finite.
    Returns: (row,) and (channel,) float64.
    """
    lost_rows, lost, norms = [np.empty(0)], np.zeros(values.shape[1]), np.zeros(values.shape[1])
    # Work in blocks: float64 copies of a whole shard would be large.
    for start in range(0, len(values), _BLOCK_ROWS):
        exact = values[start : start + _BLOCK_ROWS]
        with np.errstate(over="ignore"):
            stored = exact.astype(np.float16)
        exact = exact.astype(np.float64)
        squared_error, squared = (exact - stored) ** 2, exact**2
        lost_rows.append(_share(squared_error.sum(1), squared.sum(1)))
        lost, norms = lost + squared_error.sum(0), norms + squared.sum(0)
    return np.concatenate(lost_rows), _share(lost, norms)


def _share(squared_error: np.ndarray, squared_norm: np.ndarray) -> np.ndarray:
    zeros = np.zeros_like(squared_norm)
    return np.sqrt(np.divide(squared_error, squared_norm, out=zeros, where=squared_norm > 0))
