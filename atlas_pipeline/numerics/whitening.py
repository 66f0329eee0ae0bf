"""Second moment of a layer's activations, and its regularised inverse, the precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.errors import UserError

# Rows converted to float64 at a time: 64 MB at 2,048 channels.
_ROWS_AT_ONCE = 4096


class EmptyActivationsError(UserError):
    """There are no activations, or all are zero, so that they cannot be whitened."""


class SecondMoment:
    """Streaming mean and uncentred second moment E[a aT]: add shards in any order, merge accumulators.

    >>> moment = SecondMoment()
    >>> moment.add(np.array([[1.0, 0.0]]))
    >>> moment.add(np.array([[1.0, 2.0]]))
    >>> moment.value().tolist()
    [[1.0, 1.0], [1.0, 2.0]]
    """

    def __init__(self) -> None:
        self.num_rows = 0
        self._sum: NDArray[np.float64] | None = None
        self._row_sum: NDArray[np.float64] | None = None

    def add(self, activations: NDArray[np.floating]) -> None:
        """Add rows (activation, channel), any float dtype, finite."""
        # float64: at 1e6 rows a float32 sum loses the small eigenvalues we invert.
        for start in range(0, len(activations), _ROWS_AT_ONCE):
            rows = activations[start : start + _ROWS_AT_ONCE].astype(np.float64)
            self._add_sums(rows.T @ rows, rows.sum(axis=0), len(rows))

    def merge(self, other: SecondMoment) -> None:
        """Add the rows of another accumulator."""
        if other._sum is not None and other._row_sum is not None:
            self._add_sums(other._sum, other._row_sum, other.num_rows)

    def _add_sums(self, outer: NDArray[np.float64], row_sum: NDArray[np.float64], num_rows: int) -> None:
        self._sum = outer if self._sum is None else self._sum + outer
        self._row_sum = row_sum if self._row_sum is None else self._row_sum + row_sum
        self.num_rows += num_rows

    def mean(self) -> NDArray[np.float64]:
        """The mean activation (channel,).

        Raises: EmptyActivationsError: no rows.
        """
        if self._row_sum is None:
            raise EmptyActivationsError("whitening needs activations and there are none; sample more images")
        return self._row_sum / self.num_rows

    def value(self) -> NDArray[np.float64]:
        """The second moment (channel, channel), symmetric, squared activation units.

        Raises: EmptyActivationsError: no rows. ValueError: activations are NaN or infinite.
        """
        if self._sum is None:
            raise EmptyActivationsError("whitening needs activations and there are none; sample more images")
        if not np.isfinite(self._sum).all():
            raise ValueError("activations hold NaN or infinite values, so they have no second moment")
        return (self._sum + self._sum.T) / (2 * self.num_rows)


def second_moment(activations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Uncentred second moment E[a aT], accumulated in float64.

    Args:    activations: (activation, channel), finite.
    Returns: (channel, channel), symmetric, squared activation units.
    Raises:  EmptyActivationsError: no rows. ValueError: activations are NaN or infinite.

    >>> second_moment(np.array([[1.0, 0.0], [1.0, 2.0]])).tolist()
    [[1.0, 1.0], [1.0, 2.0]]
    """
    moment = SecondMoment()
    moment.add(activations)
    return moment.value()


def precision(moment: NDArray[np.float64], ridge: float = 1e-3) -> NDArray[np.float64]:
    """Regularised inverse of a second moment: ``(M + ridge * mean(diag M) * I)^-1``.

    The ridge is relative to the mean second moment of a channel, so scaling the activations only scales the
    result. The ridge also makes the moment invertible if some channels never fire or if there are fewer rows
    than channels.

    Args:    moment: (channel, channel), symmetric, positive semi-definite. ridge: > 0.
    Returns: (channel, channel), symmetric, 1 / squared activation units.
    Raises:  EmptyActivationsError: every activation is zero. ValueError: the ridge is not positive.
    Source:  Carter et al. 2019, "Whitening": the direction v becomes P v.

    >>> moment = second_moment(np.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> precision(moment, ridge=1e-9).round(3).tolist()
    [[0.5, 0.0], [0.0, 2.0]]
    """
    if ridge <= 0:
        raise ValueError(f"ridge is {ridge}; it must be above 0, or the moment may be singular")
    mean_square = float(np.trace(moment)) / max(len(moment), 1)
    if mean_square <= 0:
        raise EmptyActivationsError(
            "every activation of the layer is zero, so it cannot be whitened; check the weights"
        )
    # Scale to a mean diagonal of 1: with activations of 1e-8 the inverse would otherwise underflow.
    inverse = np.linalg.inv(moment / mean_square + ridge * np.eye(len(moment)))
    return (inverse + inverse.T) / (2 * mean_square)
