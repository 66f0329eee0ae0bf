"""Fixtures of the tests that pretend that this machine has a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pretended_cuda import Log, pretended_cuda


@pytest.fixture
def gpu() -> Iterator[Log]:
    """The log of one pretended GPU; the whole test runs on a machine that has it."""
    with pretended_cuda() as log:
        yield log
