"""pynndescent, whose compiled functions are kept on disk for the next process."""

from __future__ import annotations

import inspect
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynndescent import NNDescent


@cache
def nn_descent() -> type[NNDescent]:
    """The class ``NNDescent``; numba compiles most of its functions once a machine, not once a process.

    pynndescent asks numba to keep a few of them. Compiling the others takes most of a minute. Functions that
    take a distance function cannot be kept: it is another object in every process.
    """
    from numba.core.dispatcher import Dispatcher
    from pynndescent import NNDescent

    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "pynndescent"]
    for module in modules:
        for function in vars(module).values():
            if (
                isinstance(function, Dispatcher)
                and "dist" not in inspect.signature(function.py_func).parameters
            ):
                function.enable_caching()
    return NNDescent
