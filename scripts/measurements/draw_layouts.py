"""Draw layouts of one layer: by umap-learn, by the parallel engine, and fitted on a subset.

    python -m scripts.measurements.draw_layouts configs/cifar10.yaml mixed5 docs/images/layouts.png --set ...

Runs `atlas project` for each where it is not finished, and puts the scatter plots side by side, coloured by
image class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from atlas_pipeline.config.loading import load_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.pictures.layout_pictures import scatter_plot
from atlas_pipeline.pictures.lettering import canvas, place, write
from atlas_pipeline.runs import commands
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables.population import layout_xy

PANEL_PX, MARGIN_PX, TITLE_PX, FIT_ON = 480, 24, 44, 10_000
VARIANTS = {
    "umap-learn": ["project.engine=cpu"],
    "parallel": ["project.engine=parallel"],
    f"parallel, fitted on {FIT_ON:,}": ["project.engine=parallel", f"project.fit_on={FIT_ON}"],
}


def panel(config: Config, layer: str) -> np.ndarray:
    """Scatter plot of the layout, (PANEL_PX, PANEL_PX, 3) uint8; lay the layer out first if needed."""
    commands.run(config, command="project")
    (step,) = [s for s in steps_of(config) if (s.stage.name, s.layer, s.view) == ("project", layer, "all")]
    store = Store(config.run.workspace)
    layout, sample = artefact_of(step, store), artefact_of(step.inputs["sample"], store)
    assert layout is not None, "`atlas project` has just finished"
    assert sample is not None, "a finished layout has a sample"
    return scatter_plot(
        layout_xy(layout.read(["x", "y"])), sample.read(["label"])["label"].to_numpy(), size_px=PANEL_PX
    )


def main() -> None:
    """Draw the plots and save the image."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("config")
    parser.add_argument("layer")
    parser.add_argument("output", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="A.B=C")
    options = parser.parse_args()
    width = len(VARIANTS) * (PANEL_PX + MARGIN_PX) - MARGIN_PX
    image = canvas(width, PANEL_PX + TITLE_PX)
    for number, (title, variant) in enumerate(VARIANTS.items()):
        config = load_config(options.config, [*options.overrides, *variant])
        left = number * (PANEL_PX + MARGIN_PX)
        write(image, (left + PANEL_PX / 2, TITLE_PX / 2), title, 20, align="middle")
        place(image, panel(config, options.layer), left, TITLE_PX)
    image.quantize(256, Image.Quantize.MEDIANCUT).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
