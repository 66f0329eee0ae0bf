"""Draw a figure of docs/inversion.md: logits, channels, neurons and DeepDream of the demo network.

python -m scripts.measurements.draw_objectives --out docs/images/inversion-objectives.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from atlas_pipeline.inversion import Channel, DeepDream, InversionSettings, Logit, Neuron, optimise
from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.cut import cut

NUM_ICONS = 12
GAP_PX = 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("objectives.png"))
    parser.add_argument("--layer", default="mixed4")
    parser.add_argument("--steps", type=int, default=128)
    arguments = parser.parse_args()
    network = open_network(ModelSpec(source="demo"))
    feature_map = cut(network, arguments.layer)
    numbers = range(NUM_ICONS)
    objectives = [
        Logit(network.logits, numbers),
        Channel(feature_map, numbers),
        Neuron(feature_map, numbers),
        DeepDream(feature_map, NUM_ICONS),
    ]
    settings = InversionSettings(size_px=network.preprocess.crop, steps=arguments.steps)
    rows = [optimise(objective, numbers, settings).images.numpy() for objective in objectives]
    side = settings.size_px + GAP_PX
    sheet = np.full((len(rows) * side, NUM_ICONS * side, 3), 255, np.uint8)
    for row, icons in enumerate(rows):
        for col, icon in enumerate(icons):
            sheet[row * side : row * side + settings.size_px, col * side : col * side + settings.size_px] = (
                icon
            )
    Image.fromarray(sheet).save(arguments.out)


if __name__ == "__main__":
    main()
