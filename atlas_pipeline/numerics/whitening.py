"""Second moment of a layer's activations, and its regularised inverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.errors import UserError

# Rows turned to float64 at a time: at 2,048 channels 64 MB.
_ROWS_AT_ONCE = 4096


class EmptyActivationsError(UserError):
    """No activations, or none but zeros: there is nothing to whiten by."""


class SecondMoment:
    """Uncentred second moment E[a aT], streamed: add shards in any order, merge accumulators."""

    def __init__(self) -> None:
        self.num_rows = 0
        self._sum: NDArray[np.float64] | None = None

    def add(self, activations: NDArray[np.floating]) -> None:
        """Add rows (activation, channel), of any float dtype, finite."""
        # float64: at 1e6 rows a float32 sum loses the small eigenvalues we invert.
        for start in range(0, len(activations), _ROWS_AT_ONCE):
            rows = activations[start : start + _ROWS_AT_ONCE].astype(np.float64)
            self._add_sum(rows.T @ rows, len(rows))

    def merge(self, other: SecondMoment) -> None:
        """Add what another accumulator has seen."""
        if other._sum is not None:
            self._add_sum(other._sum, other.num_rows)

    def _add_sum(self, outer: NDArray[np.float64], num_rows: int) -> None:
        self._sum = outer if self._sum is None else self._sum + outer
        self.num_rows += num_rows

    def value(self) -> NDArray[np.float64]:
        """(channel, channel), symmetric, squared activation units.

        Raises: EmptyActivationsError: no rows. ValueError: NaN or infinite activations.
        """
        if self._sum is None:
            raise EmptyActivationsError("whitening needs activations and there are none; sample more images")
        if not np.isfinite(self._sum).all():
            raise ValueError("activations hold NaN or infinite values; their second moment does not exist")
        return (self._sum + self._sum.T) / (2 * self.num_rows)


def second_moment(activations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Uncentred second moment E[a aT], accumulated in float64.

    Args:    activations: (activation, channel), finite.
    Returns: (channel, channel), symmetric, squared activation units.
    Raises:  EmptyActivationsError: no rows. ValueError: NaN or infinite activations.
    """
    moment = SecondMoment()
    moment.add(activations)
    return moment.value()


def precision(moment: NDArray[np.float64], ridge: float = 1e-3) -> NDArray[np.float64]:
    """Regularised inverse of a second moment: ``(M + ridge * mean(diag M) * I)^-1``.

    The ridge is relative to the mean second moment of a channel, so scaling the activations scales the
    result alone. It also makes channels that never fire, and fewer rows than channels, invertible.

    Args:    moment: (channel, channel), symmetric, positive semi-definite. ridge: > 0.
    Returns: (channel, channel), symmetric, 1 / squared activation units.
    Raises:  EmptyActivationsError: every activation is zero. ValueError: a ridge that is not positive.
    Source:  Carter et al. 2019, "Whitening": the direction v becomes P v.
    """
    if ridge <= 0:
        raise ValueError(f"ridge is {ridge}; it must be above 0, or the moment may be singular")
    mean_square = float(np.trace(moment)) / max(len(moment), 1)
    if mean_square <= 0:
        raise EmptyActivationsError(
            "every activation of the layer is zero: nothing to whiten by; check the weights"
        )
    # Scaled to a mean diagonal of 1: activations of 1e-8 would lose the inverse to underflow.
    inverse = np.linalg.inv(moment / mean_square + ridge * np.eye(len(moment)))
    return (inverse + inverse.T) / (2 * mean_square)
