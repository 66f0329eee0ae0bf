"""Directions beyond cells: atoms, whose sums make up a layer's activations.

A cell of an atlas is a mean of activations that are alike. An activation is also a sum: of the parts that
non-negative matrix factorisation finds, of a few entries of a sparse dictionary, or of the features of a
sparse autoencoder. Each of these atoms gets a page like a unit's, and the atlas shows where it is strong, and
what no atom explains.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages.atlas import whiten
from atlas_pipeline.stages.directions import (
    atom_cells,
    atom_classes,
    atom_examples,
    atom_icons,
    atom_maps,
    atom_pages,
    atom_patches,
    atom_strengths,
    atoms,
)
from atlas_pipeline.stages.sampling import crops, index, sample
from atlas_pipeline.view_atlas import layer_layouts, view_atlas
from atlas_pipeline.views.view import layer_view


def pipeline(config: Config) -> Iterator[Step]:
    images, view = index.step(config), layer_view(config)
    samples, real_crops = sample.steps(config, images), crops.step(config, images)
    layouts = layer_layouts(config, samples)
    for layer in config.direction_layers:
        activations, layout = samples[layer], layouts[layer]
        found = atoms.step(config, activations)
        strengths = atom_strengths.step(config, activations, found)
        examples = atom_examples.step(config.seed, activations, found, strengths)

        # The atlas on which the atoms are placed.
        atlas = view_atlas(config, view, images, activations, real_crops, layout)
        finest = max(atlas.icons)
        cells = atom_cells.step(config, layout, atlas.cells[finest], strengths, examples)
        known = {
            "atoms": found,
            "examples": examples,
            "cells": cells,
            "cell_icons": atlas.icons[finest],
            "icons": atom_icons.step(config, found, examples, whiten.step(activations), real_crops),
            "patches": atom_patches.step(config, images, examples),
            "classes": atom_classes.step(config, activations, strengths, examples),
        }
        yield from (step for step in known.values() if step is not None)
        yield atom_pages.step(config, {"index": images, **known}, cells)
        yield atom_maps.step(config, found, examples, cells, atlas.icons[finest])
