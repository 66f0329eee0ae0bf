"""The precision of a layer has equal bits on any number of threads."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_limits

from atlas_pipeline.engine import Runtime
from atlas_pipeline.stages.atlas.whiten import WHITEN
from atlas_pipeline.tables.columns import column_matrix, matrix_column


@pytest.fixture
def job():
    """A job whose sample has 6,000 activations of 200 channels in two parts."""
    rng = np.random.default_rng(0)
    parts = [
        pa.table({"activation": matrix_column(rng.exponential(size=(3000, 200)).astype(np.float32))})
        for _ in range(2)
    ]
    return SimpleNamespace(inputs=SimpleNamespace(sample=SimpleNamespace(parts=lambda columns: iter(parts))))


def test_the_precision_does_not_depend_on_the_number_of_threads(job):
    found = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, user_api="blas"):
            (output,) = WHITEN.compute({"rows": 6000}, [job], Runtime())
        found.append(column_matrix(output.table, "precision"))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
