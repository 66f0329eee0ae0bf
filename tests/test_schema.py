"""Vectors are stored as float16 where it is precise enough, otherwise as float32."""

import numpy as np
import pytest

from atlas_pipeline.tables.narrowing import MAX_LOST_SHARE, Narrowing, float16_losses, narrow

ROWS = np.random.default_rng(0).normal(size=(1500, 6)).astype(np.float32)


def test_what_float16_loses_is_counted_by_row_and_column():
    values = np.array([[1.0, 3e-8], [0.0, 0.0], [1e-6, 1e-6]], np.float32)
    error = values.astype(np.float64) - values.astype(np.float16)
    rows, columns = float16_losses(values)
    assert rows[1] == 0
    for axis, found in ((1, rows), (0, columns)):
        norms = np.linalg.norm(values.astype(np.float64), axis=axis)
        wanted = np.linalg.norm(error, axis=axis)[norms > 0] / norms[norms > 0]
        assert found[norms > 0] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (ROWS, np.float16),
        (ROWS * 1e-3, np.float16),
        (ROWS * 1e-7, np.float32),
        (ROWS * 1e-30, np.float32),
        (ROWS * 1e5, np.float32),
        (ROWS * 0, np.float16),
        (ROWS[:0], np.float16),
        # One very small row among large ones.
        (ROWS * np.where(np.arange(1500) == 1400, 1e-7, 1.0)[:, None].astype(np.float32), np.float32),
    ],
)
def test_vectors_that_float16_would_lose_stay_float32(values, dtype):
    stored = narrow(values, (1,))
    assert stored.dtype == dtype
    lost, _ = float16_losses(values) if dtype == np.float16 else (np.zeros(1), None)
    assert lost.max(initial=0.0) <= MAX_LOST_SHARE


def test_a_faint_column_counts_where_columns_are_vectors_too():
    """Example: a class with only tiny values, which are all that it has and which float16 would lose."""
    values = ROWS * np.array([1, 1, 1, 1, 1, 1e-9], np.float32)
    assert narrow(values, (1,)).dtype == np.float16
    assert narrow(values, (0, 1)).dtype == np.float32


@pytest.mark.parametrize("axes", [(1,), (0, 1)])
@pytest.mark.parametrize("batch_rows", [1, 7, 1500])
def test_rows_narrowed_in_batches_are_those_narrowed_at_once(axes, batch_rows):
    rng = np.random.default_rng(1)
    found = set()
    # Scales around those at which float16 begins to lose too much, by small values and by overflow.
    for scale in (*np.geomspace(1e-7, 1e-4, 7), 1.0, 1e4, 65_519, 65_520, 1e5):
        values = (ROWS[:90].clip(-1, 1) * scale).astype(np.float32)
        values[rng.integers(90, size=30)] *= rng.choice([0, 1e-3, 1e-9, 1])
        values[:, 2] *= rng.choice([0, 1e-3, 1])
        narrowing = Narrowing(len(values), axes)
        for start in range(0, len(values), batch_rows):
            narrowing.add(values[start : start + batch_rows])
        losses = float16_losses(values)
        lossy = any(losses[1 - axis].max() > MAX_LOST_SHARE for axis in axes)
        with np.errstate(over="ignore"):
            wanted = values if lossy else values.astype(np.float16)
        stored = narrowing.finished()
        assert stored.dtype == wanted.dtype
        assert np.array_equal(stored, wanted)
        found.add(lossy)
    assert found == {True, False}
