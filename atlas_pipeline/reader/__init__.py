"""Opens a finished run: its atlases as pandas frames and PIL images. Imports neither a network nor torch.

>>> from atlas_pipeline.reader import open_run
>>> run = open_run("data/runs/quickstart")  # or a zip made by `atlas export`, or the unpacked zip
>>> atlas = run.atlas("mixed5", grid=20)
>>> best = atlas.cells.nlargest(5, "fidelity")  # one row per cell
>>> icon = atlas.icon(row=3, col=7)  # a PIL image
"""

from __future__ import annotations

from atlas_pipeline.lazy import lazy_names

CONFIG_FILE = "config.yaml"
"""Name of the config in a run's folder. It stands here because the modules below import numpy and pyarrow."""

__all__ = ["CONFIG_FILE", "Atlas", "AtlasRun", "open_run"]

__getattr__ = lazy_names(__name__, {"Atlas": "atlas", "AtlasRun": "run", "open_run": "run"})
