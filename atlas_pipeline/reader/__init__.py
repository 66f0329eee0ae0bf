"""Reading a finished run: its atlases as pandas frames and PIL images. Imports no network and no torch.

run = open_run("data/runs/quickstart")     # or a zip made by `atlas export`, or its unpacked folder
atlas = run.atlas("mixed5", grid=20)
atlas.cells.nlargest(5, "fidelity")        # one row a cell
atlas.icon(row=3, col=7)                   # a PIL image
"""

from __future__ import annotations

from atlas_pipeline.lazy import lazy_names

__all__ = ["Atlas", "AtlasRun", "open_run"]

__getattr__ = lazy_names(__name__, {"Atlas": "atlas", "AtlasRun": "run", "open_run": "run"})
