"""The choice of how a run reports its progress."""

from __future__ import annotations

import sys
from typing import TextIO

from atlas_pipeline.engine.progress import PlainReporter, Reporter, SilentReporter


def open_reporter(*, quiet: bool = False, stream: TextIO | None = None) -> Reporter:
    """Choose a reporter: bars on a terminal, plain lines elsewhere, none if quiet. stream: None is stderr."""
    stream = stream or sys.stderr
    if quiet:
        return SilentReporter()
    if not stream.isatty():
        return PlainReporter(stream)
    # rich takes long to import; logs need none of it.
    from atlas_pipeline.engine.bars import BarsReporter

    return BarsReporter(stream)
