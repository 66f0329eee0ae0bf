"""The examples in docstrings of functions that people call in a notebook give what they show."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "inversion.fourier",
    "inversion.icons",
    "inversion.loop",
    "inversion.objective",
    "inversion.objectives",
    "inversion.settings",
    "numerics.comparison",
    "numerics.fidelity",
    "numerics.grid",
    "numerics.whitening",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_give_what_they_show(name):
    results = doctest.testmod(importlib.import_module(f"atlas_pipeline.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
