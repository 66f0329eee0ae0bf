"""Advice to install an optional dependency: a command that works in a clone and for an installed package."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

PACKAGE = "atlas-pipeline"


def install_command(extra: str) -> str:
    """The command that installs the packages of an extra into the running environment.

    It names these packages: ``atlas-pipeline[timm]`` would be looked up in a package index, from a clone too.
    """
    try:
        declared = requires(PACKAGE) or []
    except PackageNotFoundError:
        declared = []
    # The metadata has lines such as: timm>=1.0.9; extra == 'timm'
    needed = [text.partition(";")[0] for text in declared if re.search(rf"extra == ['\"]{extra}['\"]", text)]
    # uv's environments have no pip of their own.
    if find_spec("pip") is None:
        command = ["uv", "pip", "install", "--python", sys.executable]
    else:
        command = [sys.executable, "-m", "pip", "install"]
    return shlex.join([*command, *(needed or [f"{PACKAGE}[{extra}]"])])
