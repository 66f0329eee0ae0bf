"""The notes of a layout's artefact (its quality, how it was made), and the remarks that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from atlas_pipeline.engine.stage import Artefact, Step
from atlas_pipeline.errors import counted
from atlas_pipeline.numerics.blocks import Blocks, ChosenRows
from atlas_pipeline.numerics.near_rows import Metric

if TYPE_CHECKING:
    from atlas_pipeline.layout.layout_result import LayoutResult

# Share of repeated activations above which the run prints a remark.
_MANY_EQUAL = 0.05


def layout_notes(
    activations: Blocks,
    layout: np.ndarray,
    result: LayoutResult,
    figures: Mapping[str, Any],
    *,
    seed: int,
    metric: Metric,
    device: str,
    perplexity: float | None,
) -> dict[str, Any]:
    """The notes of a layout.

    Args: layout: (activation, 2), in the unit square. figures: further quality figures, by name.
          seed: of the activations on which the quality is measured. perplexity: as configured, of a t-SNE.
    """
    from atlas_pipeline.layout.layout_result import quality_on
    from atlas_pipeline.layout.tsne_layout import effective_perplexity

    # Measure one activation of each group of equals: distances within a group are all zero.
    rows = np.sort(result.same.rows)
    quality = quality_on(device, ChosenRows(activations, rows), layout[rows], seed, metric)
    equal = {"num_distinct": len(rows), "largest_group": result.same.largest_group}
    notes: dict[str, Any] = {"quality": {**quality, **figures, **equal}, "made_by": dict(result.made_by)}
    if perplexity is not None:
        notes["perplexity"] = effective_perplexity(perplexity, len(rows))
    return notes


def layout_remarks(step: Step, artefact: Artefact) -> Iterator[str]:
    """Report a perplexity lower than configured, many equal activations, and a GPU with too little memory."""
    num_rows, quality, where = artefact.num_rows, artefact.notes["quality"], f"{step.layer}, {step.view}"
    if not num_rows:
        # `select` reports why a selection is empty.
        return
    # Artefacts of earlier versions do not say how they were made.
    made_by = artefact.notes.get("made_by", {})
    if made_by.get("gpu_was_full"):
        yield (
            f"{where}: the GPU's memory was too small for the layout, which the CPU made (engine "
            f"{made_by['engine']}); close other programs on the GPU, or fit on fewer activations "
            "(project.fit_on)"
        )
    used = artefact.notes.get("perplexity")
    if used is not None and used < artefact.config["perplexity"]:
        yield (
            f"{where}: t-SNE's perplexity lowered to {used:.3g}, because it has only "
            f"{counted(quality['num_distinct'], 'distinct activation')}"
        )
    num_repeated = num_rows - quality["num_distinct"]
    if num_repeated > _MANY_EQUAL * num_rows:
        yield (
            f"{where}: {num_repeated:,} of {num_rows:,} activations repeat another one exactly (the largest "
            f"group: {quality['largest_group']:,}), as on a blank background or behind a closed ReLU; equal "
            "activations share one place"
        )
